"""Image features f_I and text features f_T that condition the latent codes (paper section 4.1, z = MLP_z(f_I, f_T)).

The paper uses CLIP. No CLIP weights can be had from a package registry, so the default pair is an ImageNet
network (EfficientNet-lite0, 1280-d) and a sentence encoder (MiniLM, 384-d). Both are L2-normalised.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perse import assets

IMAGE_DIM = 1280
TEXT_DIM = 384
# (repeats, kernel, stride, expansion, output channels) of EfficientNet-lite0
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_BATCH_NORM_EPS = 1e-3
_INPUT_SIZE = 224
# (value * 255 - 127) / 128, as these weights were trained
_INPUT_MEAN = 127 / 255
_INPUT_STD = 128 / 255


class _SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding, which is uneven for even sizes."""

    def forward(self, x: Tensor) -> Tensor:
        (kernel_h, kernel_w), (stride_h, stride_w) = self.kernel_size, self.stride
        pad_h = max((-(-x.shape[2] // stride_h) - 1) * stride_h + kernel_h - x.shape[2], 0)
        pad_w = max((-(-x.shape[3] // stride_w) - 1) * stride_w + kernel_w - x.shape[3], 0)
        padding = (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2)
        return F.conv2d(F.pad(x, padding), self.weight, self.bias, self.stride, 0, 1, self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_BATCH_NORM_EPS)


class _Block(nn.Module):
    """Inverted residual: expand, depthwise, project. Attribute names are those of the checkpoint."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expands = expansion != 1
        self.skips = stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = _SameConv(inputs, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = _SameConv(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = _norm(hidden)
        self._project_conv = _SameConv(hidden, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class ImageFeatures(nn.Module):
    """EfficientNet-lite0 without its classifier: images [N, 3, H, W] in [0, 1] -> features [N, 1280].

    Images are resized to 224 pixels. Features are the pooled penultimate layer, not normalised (a Frechet
    distance wants them raw). Frozen, differentiable.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            for i in range(repeats):
                blocks.append(_Block(channels, outputs, kernel, stride if i == 0 else 1, expansion))
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _SameConv(channels, IMAGE_DIM, 1, bias=False)
        self._bn1 = _norm(IMAGE_DIM)
        self._fc = nn.Linear(IMAGE_DIM, 1000)
        state = torch.load(assets.path("efficientnet_lite0"), map_location="cpu", weights_only=True)
        self.load_state_dict(state, strict=True)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> ImageFeatures:
        """Stay in evaluation mode: the batch statistics are part of the weights."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Features [N, 1280] of images [N, 3, H, W] in [0, 1]."""
        size = (_INPUT_SIZE, _INPUT_SIZE)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        x = (images - _INPUT_MEAN) / _INPUT_STD
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def classify(self, images: Tensor) -> Tensor:
        """ImageNet logits [N, 1000]; only for checking that the weights are read rightly."""
        return self._fc(self(images))


class TextFeatures:
    """MiniLM sentence embeddings: texts -> [N, 384], L2-normalised, mean-pooled over tokens. Never goes online."""

    def __init__(self) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        directory = str(assets.path("minilm"))
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()  # for what takes half a second
        self._tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        self._model: Any = AutoModel.from_pretrained(directory, local_files_only=True).eval()
        if shown:
            logging.enable_progress_bar()

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> Tensor:
        """Embeddings [N, 384] of N texts; longer than 128 tokens are cut."""
        batch = self._tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
        hidden = self._model(**batch).last_hidden_state  # [N, T, 384]
        mask = batch["attention_mask"][..., None].to(hidden.dtype)
        return F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


class FeatureEncoder:
    """The default `Encoder`: `image(img) -> [1280]`, `text(str) -> [384]`, both L2-normalised.

    Each network is read on first use, so image features never wait for the text encoder.
    """

    name = "efficientnet-lite0+minilm"
    image_dim = IMAGE_DIM
    text_dim = TEXT_DIM

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @functools.cached_property
    def _image_net(self) -> ImageFeatures:
        return ImageFeatures()

    @functools.cached_property
    def _text_net(self) -> TextFeatures:
        return TextFeatures()

    @torch.no_grad()
    def image(self, image: Tensor) -> Tensor:
        """Feature f_I [1280] of an image [H, W, 3] in [0, 1] (uint8 is taken as 0-255)."""
        pixels = image.float() / 255 if image.dtype == torch.uint8 else image.float()
        with self._lock:
            net = self._image_net
        return F.normalize(net(pixels.permute(2, 0, 1)[None])[0], dim=0)

    def text(self, text: str) -> Tensor:
        """Feature f_T [384] of a text."""
        with self._lock:
            net = self._text_net
        return net([text])[0]
