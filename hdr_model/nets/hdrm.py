"""HDRM, the hand de-occlusion and removal module: paints a hand's hidden part and what is behind the other hand."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from hdr_model.config import HDRMConfig
from hdr_model.nets.partial_conv import Masked, PartialConv2d
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.nets.pvt import TransformerBlock

INPUT_CHANNELS = 8
OUTPUT_CHANNELS = 3


class _Attention(NamedTuple):
    heads: int
    mlp_ratio: int
    reduction: int


_ATTENTION = {3: _Attention(heads=2, mlp_ratio=8, reduction=4), 5: _Attention(heads=8, mlp_ratio=4, reduction=1)}
"""The levels (from 1, in encoder and decoder alike) that end in a transformer block."""


class HDRM(PretrainedNetwork):
    """A U-Net of partial convolutions with transformer blocks (paper, section 3.3).

    Compositing is not its business: the output covers the whole image, and the caller keeps what lies in the hole.
    """

    task = "hdrm"
    config_type = HDRMConfig
    config: HDRMConfig

    def __init__(self, config: HDRMConfig) -> None:
        super().__init__()
        self.config = config
        widths = (INPUT_CHANNELS, *config.widths)
        levels = range(1, len(widths))
        self.encoder = nn.ModuleList(
            _Level(
                PartialConv2d(widths[i - 1], widths[i], config.kernels[i - 1], stride=2),
                nn.BatchNorm2d(widths[i]) if i > 1 else nn.Identity(),
                nn.ReLU(),
                _block(config, i, widths[i]),
            )
            for i in levels
        )
        self.decoder = nn.ModuleList(
            _Level(
                PartialConv2d(widths[i] + widths[i - 1], widths[i - 1], 3),
                nn.BatchNorm2d(widths[i - 1]),
                nn.LeakyReLU(0.2),
                _block(config, i, widths[i - 1]),
            )
            for i in levels[1:]
        )
        self.last = PartialConv2d(widths[1] + widths[0], OUTPUT_CHANNELS, 3, bias=True)

    @property
    def stride(self) -> int:
        return int(2 ** len(self.config.widths))

    def forward(self, x: Tensor, validity: Tensor) -> Tensor:
        """Paints.

        Args:
            x: (B, 8, H, W): normalised image without the hidden region (3), this hand's visible mask (1), normalised
                image without the region to remove (3), visible background mask (1).
            validity: (B, 8, H, W), 0 or 1: ``1 - D`` four times, ``1 - R`` four times.

        Returns:
            (B, 3, H, W) normalised image of this hand alone.
        """
        self.check_sides(x)
        skips = [Masked(x, validity)]
        for level in self.encoder:
            skips.append(level(skips[-1:]))
        current = skips.pop()
        for level in reversed(self.decoder):
            current = level([_double(current), skips.pop()])
        return self.last([_double(current), skips.pop()]).features


class _Level(nn.Module):
    """Partial convolution, batch normalisation, activation, and a transformer block where there is one."""

    def __init__(self, partial: PartialConv2d, bn: nn.Module, activation: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.partial = partial
        self.bn = bn
        self.activation = activation
        self.block = block

    def forward(self, parts: list[Masked]) -> Masked:
        features, mask = self.partial(parts)
        return Masked(self.block(self.activation(self.bn(features))), mask)


def _block(config: HDRMConfig, level: int, width: int) -> nn.Module:
    if not config.transformer or level not in _ATTENTION:
        return nn.Identity()
    return TransformerBlock(width, *_ATTENTION[level])


def _double(part: Masked) -> Masked:
    return Masked(*(F.interpolate(tensor, scale_factor=2.0, mode="nearest") for tensor in part))
