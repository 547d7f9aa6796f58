"""Who is it? A 128-d identity embedding that gradients can pass through.

The network is dlib's face recognition ResNet with the uint8 weights of face-api. Distances between embeddings
are Euclidean: the same person gives 0.28-0.47, different people 0.52-1.02 (cosine tells nothing here).
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perse import assets
from perse.errors import PerseError

CHIP_SIZE = 150
_PADDING = 0.25
# dlib's mean positions, in a unit box, of: left eye outer, inner, right eye outer, inner corner, nose base.
_CHIP_POINTS = (
    (0.8595674595992, 0.2134981538014),
    (0.6460604764104, 0.2289674387677),
    (0.1205750620789, 0.2137274526848),
    (0.3340850613712, 0.2290642403242),
    (0.4901123135679, 0.6277975316475),
)
_LANDMARK_INDICES = (263, 362, 33, 133, 2)  # the same five points among the 478 landmarks
_MEAN_RGB = (122.782, 117.001, 104.298)
_MAX_WEIGHT_BYTES = 64 << 20


def read_tfjs_weights(directory: Path, stem: str) -> dict[str, Tensor]:
    """Float weights by name from a tfjs manifest `<stem>-weights_manifest.json` and the files it names.

    uint8 weights are `value * scale + min`. Sizes are bounded and must add up; raises PerseError otherwise.
    """
    manifest_path = directory / f"{stem}-weights_manifest.json"
    try:
        groups = json.loads(manifest_path.read_text())
        return {
            entry["name"]: values
            for group in groups
            for entry, values in _read_group(directory, group["paths"], group["weights"])
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PerseError(f"{manifest_path}: not a readable tfjs weights manifest ({error})") from error


def _read_group(directory: Path, names: list[str], entries: list[dict]) -> list[tuple[dict, Tensor]]:
    files = [directory / Path(name).name for name in names]
    if sum(file.stat().st_size for file in files) > _MAX_WEIGHT_BYTES:
        raise ValueError("weight files are larger than 64 MB")
    data = b"".join(file.read_bytes() for file in files)
    offset, result = 0, []
    for entry in entries:
        count = int(np.prod(entry["shape"], dtype=np.int64))
        quantization = entry.get("quantization")
        kind = np.dtype(np.uint8 if quantization else np.float32)
        if quantization and quantization["dtype"] != "uint8":
            raise ValueError(f"unexpected quantization {quantization['dtype']}")
        if count < 0 or offset + count * kind.itemsize > len(data):
            raise ValueError("weights end early")
        values = np.frombuffer(data, kind, count, offset).astype(np.float32)
        if quantization:
            values = values * np.float32(quantization["scale"]) + np.float32(quantization["min"])
        offset += count * kind.itemsize
        result.append((entry, torch.from_numpy(values.reshape(entry["shape"]).copy())))
    if offset != len(data):
        raise ValueError(f"{len(data) - offset} bytes too many in the weight files")
    return result


class IdentityNet(nn.Module):
    """dlib's 29-layer face ResNet: aligned chips [N, 3, 150, 150] in [0, 1] -> embeddings [N, 128].

    Frozen, differentiable with respect to its input.
    """

    def __init__(self) -> None:
        super().__init__()
        weights = read_tfjs_weights(assets.path("face_recognition"), "face_recognition_model")
        self._names = {}
        for i, (name, values) in enumerate(sorted(weights.items())):
            if name.endswith("filters"):
                values = values.permute(3, 2, 0, 1).contiguous()  # [out, in, kh, kw]
            self._names[name] = f"weight_{i}"
            self.register_buffer(f"weight_{i}", values, persistent=False)
        self.register_buffer("mean_rgb", torch.tensor(_MEAN_RGB).view(1, 3, 1, 1), persistent=False)

    def _weight(self, name: str) -> Tensor:
        return self.get_buffer(self._names[name])

    def _conv(self, x: Tensor, name: str, stride: int = 1, padding: int = 1, relu: bool = True) -> Tensor:
        x = F.conv2d(
            x, self._weight(f"{name}/conv/filters"), self._weight(f"{name}/conv/bias"), stride, padding
        )
        scale, bias = self._weight(f"{name}/scale/weights"), self._weight(f"{name}/scale/biases")
        x = x * scale.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)
        return F.relu(x) if relu else x

    def _residual(self, x: Tensor, name: str) -> Tensor:
        return F.relu(self._conv(self._conv(x, f"{name}/conv1"), f"{name}/conv2", relu=False) + x)

    def _residual_down(self, x: Tensor, name: str) -> Tensor:
        """Halve the size; the shortcut is an average pool padded with zeros in space and channels."""
        out = self._conv(self._conv(x, f"{name}/conv1", 2, 0), f"{name}/conv2", relu=False)
        pooled = F.avg_pool2d(x, 2, 2)
        height, width = max(out.shape[2], pooled.shape[2]), max(out.shape[3], pooled.shape[3])
        channels = max(out.shape[1], pooled.shape[1])
        return F.relu(_pad_to(out, channels, height, width) + _pad_to(pooled, channels, height, width))

    def forward(self, chips: Tensor) -> Tensor:
        """Embeddings [N, 128] of aligned chips [N, 3, 150, 150] in [0, 1]."""
        if chips.shape[1:] != (3, CHIP_SIZE, CHIP_SIZE):
            raise ValueError(f"IdentityNet takes [N, 3, 150, 150], got {tuple(chips.shape)}")
        x = (chips * 255 - self.get_buffer("mean_rgb")) / 256
        x = F.max_pool2d(self._conv(x, "conv32_down", 2, 0), 3, 2)
        for name in ("conv32_1", "conv32_2", "conv32_3"):
            x = self._residual(x, name)
        x = self._residual_down(x, "conv64_down")
        for name in ("conv64_1", "conv64_2", "conv64_3"):
            x = self._residual(x, name)
        x = self._residual_down(x, "conv128_down")
        for name in ("conv128_1", "conv128_2"):
            x = self._residual(x, name)
        x = self._residual_down(x, "conv256_down")
        for name in ("conv256_1", "conv256_2"):
            x = self._residual(x, name)
        x = self._residual_down(x, "conv256_down_out")
        return x.mean((2, 3)) @ self._weight("fc")

    def embed(self, image: Tensor, landmarks: Tensor) -> Tensor:
        """Embedding of the face in `image`.

        `image` [H, W, 3] or [N, H, W, 3] in [0, 1]; `landmarks` [478, 2+] or [N, 478, 2+] in pixels, found here
        or shared from a reference with the same camera. Returns [128] or [N, 128].
        """
        images = image if image.ndim == 4 else image[None]
        points = landmarks if landmarks.ndim == 3 else landmarks[None].expand(len(images), -1, -1)
        chips = torch.cat([face_chip(one, pts) for one, pts in zip(images, points)])
        result = self(chips)
        return result if image.ndim == 4 else result[0]


def _pad_to(x: Tensor, channels: int, height: int, width: int) -> Tensor:
    return F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2], 0, channels - x.shape[1]))


def chip_transform(landmarks: Tensor) -> Tensor:
    """Similarity [2, 3] that maps chip pixels to image pixels (dlib's alignment, padding 0.25).

    Least squares over eye corners and nose base, as dlib's five-point model does.
    """
    points = landmarks[list(_LANDMARK_INDICES), :2].detach().double().cpu()
    chip = (torch.tensor(_CHIP_POINTS, dtype=torch.float64) + _PADDING) / (1 + 2 * _PADDING) * CHIP_SIZE
    source = torch.view_as_complex((chip - chip.mean(0)).contiguous())
    target = torch.view_as_complex((points - points.mean(0)).contiguous())
    scale_turn = (source.conj() * target).sum() / source.abs().square().sum()
    a, b = float(scale_turn.real), float(scale_turn.imag)
    linear = torch.tensor([[a, -b], [b, a]], dtype=torch.float64)
    offset = points.mean(0) - linear @ chip.mean(0)
    return torch.cat([linear, offset[:, None]], 1)  # [2, 3]


def face_chip(image: Tensor, landmarks: Tensor) -> Tensor:
    """Aligned chip [1, 3, 150, 150] cut from `image` [H, W, 3]; differentiable in the image."""
    transform = chip_transform(landmarks)
    step = float(torch.linalg.det(transform[:, :2]).abs().sqrt())  # image pixels per chip pixel
    source = image.permute(2, 0, 1)[None]
    if step > 1.5:  # shrink first: bilinear sampling alone would alias
        size = (max(1, round(image.shape[0] / step)), max(1, round(image.shape[1] / step)))
        source = F.interpolate(source, size=size, mode="bilinear", antialias=True, align_corners=False)
    centres = torch.arange(CHIP_SIZE, dtype=torch.float64) + 0.5
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    pixels = torch.stack([columns, rows], -1) @ transform[:, :2].T + transform[:, 2]  # [150, 150, 2] image px
    extent = torch.tensor([image.shape[1], image.shape[0]], dtype=torch.float64)
    grid = (pixels / extent * 2 - 1).to(image)
    return F.grid_sample(source, grid[None], mode="bilinear", padding_mode="border", align_corners=False)


@functools.cache
def identity_net() -> IdentityNet:
    """The shared CPU network, read once per process."""
    return IdentityNet().eval()


def identity_embedding(image: Tensor, landmarks: Tensor) -> Tensor:
    """Embedding [128] of the face at `landmarks` [478, 2+] (pixels) in `image` [H, W, 3] in [0, 1]."""
    return identity_net().embed(image, landmarks)
