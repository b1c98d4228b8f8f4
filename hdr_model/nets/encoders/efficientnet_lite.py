"""EfficientNet-Lite (Tan and Le 2019; Lite: no squeeze-and-excitation, ReLU6), up to its last convolution of blocks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_model.nets.depthwise import DepthwiseConv2d
from hdr_model.nets.normalisation import IMAGE_MEAN, IMAGE_STD

STEM = 32
EXPANSIONS, STRIDES, KERNELS = (1, 6, 6, 6, 6, 6, 6), (1, 2, 2, 2, 1, 2, 1), (3, 3, 5, 3, 5, 5, 3)
"""Of the seven groups of equal blocks."""
MAP_GROUPS = (2, 3, 5, 7)
"""The maps are those after so many groups, at strides 4, 8, 16 and 32."""
MOMENTUM, EPSILON = 0.01, 1e-3
"""Of batch normalisation: small batches move ImageNet's statistics slowly."""
INPUT_MEAN, INPUT_SCALE = 127.0, 128.0
"""The weights were trained on (grey level - mean) / scale."""


class EfficientNetLite(nn.Module):
    """A stem and seven groups of inverted residual blocks, as four stages."""

    stride = 32

    def __init__(self, widths: Sequence[int], repeats: Sequence[int], drop_path: float = 0.0) -> None:
        super().__init__()
        self.channels = tuple(widths[groups - 1] for groups in MAP_GROUPS)
        self.frozen = 0
        groups: list[list[nn.Module]] = []
        channels = STEM
        for width, count, expansion, stride, kernel in zip(widths, repeats, EXPANSIONS, STRIDES, KERNELS, strict=True):
            blocks: list[nn.Module] = []
            for k in range(count):
                blocks.append(_Block(channels, width, expansion, kernel, 1 if k else stride, drop_path))
                channels = width
            groups.append(blocks)
        groups[0].insert(0, _Stem())
        ends = (0, *MAP_GROUPS)
        self.stages = nn.ModuleList(
            nn.Sequential(*(block for group in groups[first:last] for block in group))
            for first, last in itertools.pairwise(ends)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps at H/4, H/8, H/16 and H/32."""
        mean, deviation = (image.new_tensor(values)[:, None, None] * 255 for values in (IMAGE_MEAN, IMAGE_STD))
        features = (image * deviation + (mean - INPUT_MEAN)) / INPUT_SCALE
        maps = []
        for k, stage in enumerate(self.stages):
            with torch.set_grad_enabled(torch.is_grad_enabled() and k >= self.frozen):
                features = stage(features)
            maps.append(features)
        return maps

    def freeze(self, stages: int) -> None:
        """Keep the first ``stages`` stages, the stem among them, as they are while training."""
        self.frozen = stages
        for stage in self.stages[:stages]:
            stage.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Frozen stages stay in evaluation mode."""
        super().train(mode)
        for stage in self.stages[: self.frozen]:
            stage.eval()
        return self


class _Stem(nn.Sequential):
    """A strided convolution, padded as TensorFlow does: at even sides one pixel, on the right and below."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, STEM, 3, 2, bias=False), _batch_norm(STEM))

    def forward(self, image: Tensor) -> Tensor:
        convolution, normalise = self
        return F.relu6(normalise(convolution(F.pad(image, (0, 1, 0, 1)))))


class _Block(nn.Module):
    """Widen, convolve each channel, narrow; a shortcut where neither size nor width changes (Sandler et al. 2018)."""

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, kernel: int, stride: int, drop_path: float
    ) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expand = _pointwise(in_channels, width) if expansion > 1 else None
        self.depthwise = nn.Sequential(DepthwiseConv2d(width, kernel, stride), _batch_norm(width))
        self.project = _pointwise(width, out_channels)
        self.residual = stride == 1 and in_channels == out_channels
        self.drop_path = drop_path

    def forward(self, features: Tensor) -> Tensor:
        inner = features if self.expand is None else F.relu6(self.expand(features))
        inner = self.project(F.relu6(self.depthwise(inner)))
        if not self.residual:
            return inner
        if self.training and self.drop_path:
            kept = torch.rand(len(inner), 1, 1, 1, device=inner.device) >= self.drop_path
            inner = inner * kept / (1 - self.drop_path)
        return features + inner


def _pointwise(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), _batch_norm(out_channels))


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, EPSILON, MOMENTUM)
