"""HDRM as it is written down (Liu et al. 2018), readable and slow: the twin that the fast one is compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.partial_conv import PartialConv2d


def literal_partial_convolution(layer: PartialConv2d, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The definition, with a whole convolution of ones over one mask channel per input channel."""
    conv = layer.conv
    ones = torch.ones_like(conv.weight)
    valid = F.conv2d(mask, ones, stride=conv.stride, padding=conv.padding)
    raw = F.conv2d(x * mask, conv.weight, stride=conv.stride, padding=conv.padding)
    bias = 0 if layer.bias is None else layer.bias.view(-1, 1, 1)
    out = raw * ones[0].numel() / valid.clamp(min=1) + bias
    return out * (valid > 0), (valid > 0).float()


class LiteralHDRM(nn.Module):
    """The U-Net written out, one mask channel per feature channel everywhere; its tensors are those of ``network``."""

    def __init__(self, network: HDRM) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """As HDRM's."""
        network, levels = self.network, [(x, mask)]
        for module in network.encoder:
            levels.append(_level(module, *levels[-1]))
        x, mask = levels[-1]
        for i in reversed(range(len(network.encoder))):
            x, mask = (
                torch.cat([t.repeat_interleave(2, 2).repeat_interleave(2, 3), skip], 1)
                for t, skip in zip((x, mask), levels[i], strict=True)
            )
            if i > 0:
                x, mask = _level(network.decoder[i - 1], x, mask)
        return literal_partial_convolution(network.last, x, mask)[0]


def _level(module: Any, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    x, mask = literal_partial_convolution(module.partial, x, mask)
    return module.block(module.activation(module.bn(x))), mask
