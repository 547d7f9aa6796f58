"""Colour words as sRGB albedos in 0..1, before the photo's light and exposure."""

from __future__ import annotations

RGB = tuple[float, float, float]

HAIR: dict[str, RGB] = {
    "black": (0.085, 0.072, 0.068),
    "dark brown": (0.165, 0.105, 0.072),
    "brown": (0.27, 0.165, 0.10),
    "light brown": (0.42, 0.29, 0.185),
    "auburn": (0.31, 0.115, 0.07),
    "chestnut": (0.36, 0.165, 0.085),
    "dark blond": (0.53, 0.40, 0.255),
    "blond": (0.66, 0.52, 0.34),
    "strawberry blond": (0.74, 0.52, 0.34),
    "platinum": (0.86, 0.80, 0.67),
    "red": (0.43, 0.165, 0.085),
    "ginger": (0.60, 0.27, 0.11),
    "grey": (0.50, 0.49, 0.48),
    "salt-and-pepper": (0.24, 0.23, 0.225),
    "white": (0.82, 0.81, 0.79),
    "pink": (0.86, 0.38, 0.55),
    "burgundy": (0.34, 0.055, 0.10),
    "purple": (0.36, 0.17, 0.50),
    "blue": (0.14, 0.28, 0.60),
    "turquoise": (0.12, 0.56, 0.56),
    "green": (0.17, 0.45, 0.20),
}

CLOTH: dict[str, RGB] = {
    "black": (0.115, 0.115, 0.125),
    "white": (0.90, 0.90, 0.89),
    "grey": (0.50, 0.51, 0.53),
    "red": (0.70, 0.09, 0.10),
    "green": (0.10, 0.42, 0.24),
    "blue": (0.14, 0.32, 0.66),
    "navy": (0.10, 0.145, 0.30),
    "yellow": (0.90, 0.73, 0.16),
    "purple": (0.38, 0.18, 0.52),
    "brown": (0.38, 0.25, 0.16),
    "pink": (0.89, 0.51, 0.62),
    "silver": (0.72, 0.73, 0.75),
    "cream": (0.93, 0.90, 0.82),
    "orange": (0.90, 0.42, 0.10),
    "straw": (0.82, 0.68, 0.42),
}

METAL: dict[str, RGB] = {
    "gold": (1.00, 0.76, 0.33),
    "silver": (0.90, 0.91, 0.93),
    "rose-gold": (0.95, 0.62, 0.50),
    "black": (0.17, 0.17, 0.19),
}

STONE: dict[str, RGB] = {
    "pearl": (0.93, 0.90, 0.86),
    "ruby": (0.66, 0.04, 0.12),
    "emerald": (0.03, 0.46, 0.26),
    "sapphire": (0.05, 0.14, 0.62),
    "amethyst": (0.42, 0.14, 0.62),
    "diamond": (0.80, 0.84, 0.88),
    "turquoise": (0.14, 0.66, 0.64),
}

LIPS: dict[str, RGB] = {
    "red": (0.60, 0.10, 0.12),
    "pink": (0.80, 0.40, 0.47),
    "pale": (0.80, 0.66, 0.60),
    "brown": (0.45, 0.24, 0.19),
    "plum": (0.40, 0.12, 0.25),
    "coral": (0.86, 0.38, 0.31),
}
