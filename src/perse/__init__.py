"""PERSE: one portrait photo in, an editable and animatable 3D Gaussian head avatar out."""

__version__ = "0.1.0"
