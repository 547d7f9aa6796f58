"""Read a photo from anywhere without trusting it: [H, W, 3] float32 sRGB in [0, 1], upright."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from perse.errors import PerseError

MAX_PIXELS = 50_000_000
MAX_FILE_BYTES = 512 << 20
MIN_SIDE = 32
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF")


def load_image(photo: str | Path | bytes | np.ndarray | Tensor) -> Tensor:
    """A photo as [H, W, 3] float32 sRGB in [0, 1].

    `photo` is a file or its content (its EXIF turn and colour profile are applied, transparency is put on white, an
    animation gives its first frame), or an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]: uint8, uint16 or float in
    [0, 1].

    Raises PerseError for files that are missing, truncated or not pictures, for more than 50 million pixels (read
    from the header, before anything is unpacked), and for arrays of other shapes, types or ranges.
    """
    if isinstance(photo, (str, Path)):
        return _from_array(_read_file(Path(photo)), str(photo))
    if isinstance(photo, bytes):
        return _from_array(_read(io.BytesIO(photo), "the picture"), "the picture")
    array = photo.detach().cpu().numpy() if isinstance(photo, Tensor) else np.asarray(photo)
    return _from_array(array, "the picture")


def _read_file(path: Path) -> np.ndarray:
    if not path.is_file():
        raise PerseError(f"{path}: there is no such file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise PerseError(f"{path}: {path.stat().st_size >> 20} MB is too large for a photo (512 MB at most)")
    if path.suffix.lower() in (".heic", ".heif"):
        raise PerseError(f"{path}: HEIC photos cannot be read; save it as JPEG or PNG first")
    return _read(path, str(path))


def _read(file: Path | IO[bytes], what: str) -> np.ndarray:
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings(), Image.open(file, formats=formats) as picture:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            _check_size(*picture.size, what)
            picture.load()
            return _to_array(_to_srgb(ImageOps.exif_transpose(picture)))
    except PerseError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PerseError(f"{what}: more pixels than the {MAX_PIXELS // 10**6} million allowed") from error
    except Image.UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise PerseError(f"{what}: not a picture that can be read (known: {known})") from error
    except MemoryError:
        raise
    except Exception as error:  # decoders of untrusted files fail in every way there is
        raise PerseError(f"{what}: the picture is damaged or cut short ({error}); save it anew") from error


def _check_size(width: int, height: int, what: str) -> None:
    if width * height > MAX_PIXELS:
        raise PerseError(
            f"{what}: {width} x {height} pixels is more than {MAX_PIXELS // 10**6} million; make it smaller first"
        )
    if min(width, height) < MIN_SIDE:
        raise PerseError(f"{what}: {width} x {height} pixels is too small for a portrait")


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Apply an embedded RGB colour profile; a broken one is passed over, as browsers do."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "RGBA"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
    return picture if converted is None else converted


def _to_array(picture: Image.Image) -> np.ndarray:
    """uint8, uint16 or float array of any PIL mode."""
    mode = picture.mode
    if mode.startswith("I;16"):
        return np.asarray(picture).astype(np.uint16)
    if mode in ("I", "F"):  # 32-bit greys: 0..65535, 0..255 or 0..1, whichever holds them
        values = np.nan_to_num(np.asarray(picture).astype(np.float32))
        limit = next((top for top in (1.0, 255.0, 65535.0) if values.max() <= top), None)
        if limit is None or values.min() < 0:
            raise ValueError("its 32-bit values are outside 0..65535")
        return values / limit
    if mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        return np.asarray(picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def _from_array(array: np.ndarray, what: str) -> Tensor:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise PerseError(
            f"{what}: a picture is [height, width, 1, 3 or 4], this has shape {list(array.shape)}"
        )
    _check_size(array.shape[1], array.shape[0], what)
    pixels = _unit_range(array, what)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:]
        pixels = pixels[..., :3] * alpha + (1 - alpha)
    elif pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return torch.from_numpy(np.ascontiguousarray(pixels))


def _unit_range(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype in (np.uint8, np.uint16):
        return array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    if array.dtype.kind == "b":
        return array.astype(np.float32)
    if array.dtype.kind != "f":
        raise PerseError(f"{what}: values of type {array.dtype}; give uint8, uint16 or float in [0, 1]")
    if not np.isfinite(array).all() or array.min() < -1e-3 or array.max() > 1 + 1e-3:
        raise PerseError(f"{what}: float values must be finite and in [0, 1]")
    return array.astype(np.float32).clip(0, 1)
