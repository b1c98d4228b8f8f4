"""Partial convolution (Liu et al. 2018, *Image Inpainting for Irregular Holes Using Partial Convolutions*)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Masked(NamedTuple):
    """Features, and where they are valid."""

    features: Tensor
    """(B, C, H, W)"""
    mask: Tensor
    """0 or 1: (B, C, H, W), or (B, 1, H, W) when all C channels share one mask."""


class PartialConv2d(nn.Module):
    """A convolution that sees valid values only.

    ``W (x * m) * sum(1) / sum(m) + b`` where the window holds a valid value, else 0. Both sums run over the window and
    *all* input channels. Padding counts as invalid, and keeps the resolution at stride 1.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, parts: Sequence[Masked]) -> Masked:
        """Convolves the parts, concatenated along their channels.

        Returns features (B, out_channels, H', W') and one mask for all of them (B, 1, H', W').
        """
        # One dtype for all parts: under autocast, concatenation would silently widen to the widest.
        dtype = parts[0].features.dtype
        features = self.conv(torch.cat([part.features.to(dtype) * part.mask.to(dtype) for part in parts], 1))
        valid = self._count_valid(parts)
        scale = torch.where(valid > 0, self.conv.weight[0].numel() / valid.clamp(min=1), 0)
        features = features * scale.to(features.dtype)
        mask = (valid > 0).to(valid.dtype)
        if self.bias is not None:
            features = features + self.bias.to(features.dtype).view(-1, 1, 1) * mask.to(features.dtype)
        return Masked(features, mask)

    def _count_valid(self, parts: Sequence[Masked]) -> Tensor:
        """The number of valid values in each window, (B, 1, H', W').

        Literally this is a convolution of the masks with ones, as dear as the real one. Its output channels are all
        equal, and so are most of its input channels, so one box sum of the valid channels per pixel gives the same.
        """
        per_pixel = torch.stack(
            [part.mask.float().sum(1) * (part.features.shape[1] // part.mask.shape[1]) for part in parts]
        ).sum(0)
        kernel, stride, padding = self.conv.kernel_size, self.conv.stride, self.conv.padding
        assert isinstance(padding, tuple)
        means = F.avg_pool2d(per_pixel[:, None], kernel, stride, padding)  # padding counts as zeros
        # Counts are integers; the box sum may be off by rounding, and 1e-7 valid values must not count as one.
        return (means * math.prod(kernel)).round()
