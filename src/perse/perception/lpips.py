"""LPIPS v0.1 (Zhang et al. 2018) in plain torch, with its real AlexNet and VGG16 backbones.

The checkpoint files are pickles of nested dictionaries of arrays. They are read by an unpickler that can build
numpy arrays and nothing else, so that no code in the file can ever run.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perse import assets
from perse.errors import PerseError

_ASSET = {"alexnet": "lpips_alexnet", "vgg16": "lpips_vgg16"}
_MAX_BYTES = 128 << 20
# The network's own input normalisation, for images in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_ALEX_LAYERS = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))  # (stride, padding)
_ALEX_POOL_BEFORE = (1, 2)
_VGG_BLOCKS = (2, 2, 3, 3, 3)  # convolutions per block; a 2x2 max pool stands between blocks
_EPS = 1e-10


class ArrayUnpickler(pickle.Unpickler):
    """Reads dictionaries, lists, strings, numbers and numpy arrays; refuses every other class."""

    _ALLOWED = frozenset({("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> Any:
        """Resolve one of the three names that a pickled numpy array needs."""
        key = (module.rpartition(".")[2], name)
        if key not in self._ALLOWED or module not in (
            "numpy",
            "numpy.core.multiarray",
            "numpy._core.multiarray",
        ):
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file")
        if name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        return getattr(np, name)


def read_array_pickle(path: Path) -> dict[str, Any]:
    """Nested dictionary of numpy arrays from a pickle file.

    Raises PerseError when the file is too large, damaged, or holds anything but arrays.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise PerseError(f"{path}: {path.stat().st_size >> 20} MB is too large for an LPIPS checkpoint")
    try:
        with path.open("rb") as stream:
            content = ArrayUnpickler(stream, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError) as error:
        raise PerseError(f"{path}: not a readable LPIPS checkpoint ({error})") from error
    if not isinstance(content, dict):
        raise PerseError(
            f"{path}: an LPIPS checkpoint holds a dictionary, this holds {type(content).__name__}"
        )
    return content


def _torch_kernel(array: np.ndarray) -> Tensor:
    """[kh, kw, in, out] (jax) to [out, in, kh, kw] (torch), laid out channels last.

    Pictures [N, H, W, 3] seen as [N, 3, H, W] are channels last too: kernels of another layout would be copied at every
    call, forwards and backwards.
    """
    kernel = torch.from_numpy(np.array(array, dtype=np.float32)).permute(3, 2, 0, 1)
    return kernel.contiguous(memory_format=torch.channels_last)


class LPIPS(nn.Module):
    """Learned perceptual distance between images.

    `net` is "alexnet" (fast, for metrics and small machines) or "vgg16" (the paper's loss). Inputs are
    [N, 3, H, W] in [0, 1], at least 64 pixels a side. Parameters are frozen; gradients flow to the images.
    Runs under bf16 autocast: convolutions then take bf16, normalisation and the sum stay float32.
    """

    def __init__(self, net: str = "alexnet") -> None:
        super().__init__()
        if net not in _ASSET:
            raise PerseError(f"LPIPS has no network {net!r}; choose one of {', '.join(_ASSET)}")
        self.net = net
        content = read_array_pickle(assets.path(_ASSET[net]))
        (backbone,) = [value for key, value in content.items() if not key.startswith("NetLin")]
        self._layers = len(backbone)
        for i in range(self._layers):
            conv = backbone[f"Conv_{i}"]
            self.register_buffer(f"kernel_{i}", _torch_kernel(conv["kernel"]), persistent=False)
            bias = torch.from_numpy(np.array(conv["bias"], dtype=np.float32))
            self.register_buffer(f"bias_{i}", bias, persistent=False)
        for i in range(5):
            # The linear heads are non-negative, so their root can be folded into the features.
            head = _torch_kernel(content[f"NetLinLayer_{i}"]["Conv_0"]["kernel"])  # [1, C, 1, 1]
            self.register_buffer(f"root_{i}", head.clamp_min(0).sqrt(), persistent=False)
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1), persistent=False)

    def _conv(self, x: Tensor, i: int, stride: int = 1, padding: int = 1) -> Tensor:
        weight, bias = self.get_buffer(f"kernel_{i}"), self.get_buffer(f"bias_{i}")
        return F.relu(F.conv2d(x, weight, bias, stride, padding))

    def _alexnet(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for i, (stride, padding) in enumerate(_ALEX_LAYERS):
            if i in _ALEX_POOL_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            x = self._conv(x, i, stride, padding)
            outputs.append(x)
        return outputs

    def _vgg16(self, x: Tensor) -> list[Tensor]:
        outputs, i = [], 0
        for block, count in enumerate(_VGG_BLOCKS):
            if block:
                x = F.max_pool2d(x, 2)
            for _ in range(count):
                x = self._conv(x, i)
                i += 1
            outputs.append(x)
        return outputs

    def features(self, images: Tensor) -> list[Tensor]:
        """Five maps [N, C, h, w]: unit-length features times the root of the learned weights.

        The squared difference of two such maps, summed over channels and averaged over space, is LPIPS.
        Compute them once for a target that is compared often.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"LPIPS takes [N, 3, H, W], got {tuple(images.shape)}")
        x = (images * 2 - 1 - self.get_buffer("shift")) / self.get_buffer("scale")
        maps = self._alexnet(x) if self.net == "alexnet" else self._vgg16(x)
        weighted = []
        for i, values in enumerate(maps):
            values = values.float()
            # An exact zero has no gradient of its root: the tiny term keeps black regions finite.
            length = (values.square().sum(1, keepdim=True) + _EPS**2).sqrt()
            weighted.append(values / (length + _EPS) * self.get_buffer(f"root_{i}"))
        return weighted

    @staticmethod
    def distance(first: list[Tensor], second: list[Tensor]) -> Tensor:
        """LPIPS [N] from two outputs of :meth:`features`."""
        terms = [(a.float() - b.float()).square().sum(1).mean((1, 2)) for a, b in zip(first, second)]
        return torch.stack(terms).sum(0)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """LPIPS [N] between images [N, 3, H, W] in [0, 1]."""
        return self.distance(self.features(first), self.features(second))
