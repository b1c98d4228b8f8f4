"""A feature pyramid (Lin et al. 2017): an encoder's maps, from the coarsest to the finest, in one map."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class Pyramid(nn.Module):
    """Maps of ``channels`` -> (B, width, h, w) at the finest map's resolution, which knows the whole image."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_convolution(size, width, 1) for size in channels)
        self.smooth = nn.ModuleList(_convolution(width, width, 3) for _ in channels[:-1])
        self.context = nn.Linear(channels[-1], width)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The sum of all maps, resized to the finest; the mean of the last one is added everywhere."""
        context = self.context(maps[-1].mean((2, 3)))
        features = F.relu(self.lateral[-1](maps[-1]) + context[..., None, None])
        for k in reversed(range(len(maps) - 1)):
            finer = F.interpolate(features, maps[k].shape[-2:], mode="nearest")
            features = F.relu(self.smooth[k](F.relu(self.lateral[k](maps[k]) + finer)))
        return features


def _convolution(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(out_channels)
    )
