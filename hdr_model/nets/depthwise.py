"""Depthwise convolutions that a CPU trains quickly.

oneDNN (as of torch 2.13) computes the weight gradient of a depthwise convolution fast only for 3x3 windows with one
pixel of padding and stride 1: 5x5 windows take 15 to 70 times as long in bfloat16, and strides too. Both are put
together from what is fast; ``tests/hdr_model/test_encoders.py`` holds them against torch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DepthwiseConv2d(nn.Conv2d):
    """Each channel by itself, without bias, padded as TensorFlow's SAME pads even sides; ``kernel`` is 3 or 5."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, groups=channels, bias=False)
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        self.margin = (before, after, before, after)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if features.device.type != "cpu" or not (torch.is_grad_enabled() and self.weight.requires_grad):
            if stride == 1:
                return F.conv2d(features, self.weight, padding=kernel // 2, groups=self.groups)
            return F.conv2d(F.pad(features, self.margin), self.weight, stride=stride, groups=self.groups)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            features, weight = features.to(dtype), weight.to(dtype)
        if kernel == 3:
            full = F.conv2d(features, weight, padding=1, groups=self.groups)
        else:
            full = _Depthwise5x5.apply(features, weight)  # type: ignore[no-untyped-call]
        return full[:, :, 1::2, 1::2] if stride == 2 else full


class _Depthwise5x5(torch.autograd.Function):
    """A 5x5 window with two pixels of padding, whose weight gradient is that of four 3x3 windows."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(features, weight)
        return F.conv2d(features, weight, padding=2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        features, weight = ctx.saved_tensors
        gradient, channels = gradients[0], len(weight)
        of_features = F.conv2d(gradient, weight.flip(2, 3), padding=2, groups=channels)
        ringed = F.pad(features, (1, 1, 1, 1))
        window = weight.new_zeros(channels, 1, 3, 3).to(memory_format=torch.channels_last)
        of_weight = torch.empty_like(weight)
        for top in (0, 2):
            for left in (0, 2):
                # The 3x3 window whose first offset is (top - 2, left - 2): the gradient lies that far into the ring.
                shifted = F.pad(gradient, (left, 2 - left, top, 2 - top)).contiguous(memory_format=torch.channels_last)
                part = torch.ops.aten.convolution_backward(
                    shifted, ringed, window, None, [1, 1], [1, 1], [1, 1], False, [0, 0], channels, [False, True, False]
                )[1]
                of_weight[:, :, top : top + 3, left : left + 3] = part
        return of_features, of_weight
