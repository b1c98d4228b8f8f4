"""A residual network (He et al. 2016) that widens its view by dilation, not by shrinking: the trunk of DetNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aih_gen.errors import AIHError


class DilatedResNet(nn.Module):
    """Three stages of ``layers`` residual blocks with 4, 8 and 16 times ``width`` channels, at strides 2, 4 and 4."""

    stride = 4

    def __init__(self, width: int, layers: tuple[int, int, int], drop_path: float = 0.0) -> None:
        """``drop_path`` is not used: the network has none."""
        super().__init__()
        first, second, third = layers
        self.channels: tuple[int, ...] = (4 * width, 8 * width, 16 * width)
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.block1 = _stage(width, width, first)
        self.pool = _stage(4 * width, width, 1, stride=2)
        self.block2 = _stage(4 * width, 2 * width, second, dilation=2)
        self.block3 = _stage(8 * width, 4 * width, third, dilation=4)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps at H/2, H/4 and H/4."""
        first = self.block1(F.relu(self.bn1(self.conv1(image))))
        second = self.block2(self.pool(first))
        return [first, second, self.block3(second)]

    def freeze(self, stages: int) -> None:
        """Freeze nothing: there are no trained weights to keep.

        Raises:
            AIHError: ``stages`` is not 0.
        """
        if stages:
            raise AIHError(f"frozen_stages: expected 0, as a dilated ResNet starts from random weights, found {stages}")


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut (He et al. 2016)."""

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out_channels = 4 * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _Conv3x3(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if in_channels != out_channels:
            self.shortcut.extend(
                [nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)]
            )
        elif stride > 1:
            self.shortcut.append(nn.MaxPool2d(stride))

    def forward(self, features: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(features)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        return F.relu(self.bn3(self.conv3(inner)) + self.shortcut(features))


class _Conv3x3(nn.Conv2d):
    """A convolution that a CPU trains in float32 where it is dilated.

    oneDNN (as of torch 2.13) computes weight gradients in bfloat16 for some numbers of channels, such as 24, that are
    wrong or NaN.
    """

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride)."""
        if features.device.type != "cpu" or self.dilation[0] == 1 or not torch.is_grad_enabled():
            return super().forward(features)
        with torch.autocast("cpu", enabled=False):
            return super().forward(features.float())


def _stage(in_channels: int, width: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        *(_Bottleneck(4 * width if i else in_channels, width, 1 if i else stride, dilation) for i in range(blocks))
    )
