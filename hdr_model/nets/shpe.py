"""SHPE, the single hand pose estimator: DetNet.

Zhou et al. 2020, *Monocular Real-Time Hand Shape and Motion Capture Using Multi-Modal Data*.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_model.config import SHPEConfig
from hdr_model.nets.pretrained import PretrainedNetwork

JOINTS = 21


class SHPEOutput(NamedTuple):
    """Joints of one right hand, wrist first; ``h, w`` are a quarter of the image's sides."""

    heatmap: Tensor
    """(B, 21, h, w) in [0, 1]"""
    delta_map: Tensor
    """(B, 21, 3, h, w) joint minus its parent joint, in bone units"""
    location_map: Tensor
    """(B, 21, 3, h, w) joint minus wrist, in bone units (1 = wrist to middle MCP)"""
    uv: Tensor
    """(B, 21, 2) row and column of each heat map's highest point, int64"""
    xyz: Tensor
    """(B, 21, 3) the location map there, in bone units"""


class SHPE(PretrainedNetwork):
    """A dilated residual trunk, then heat, delta and location maps, each head fed with all before it."""

    task = "shpe"
    config_type = SHPEConfig
    config: SHPEConfig

    def __init__(self, config: SHPEConfig) -> None:
        super().__init__()
        self.config = config
        width = config.head_width
        self.resnet = _Trunk(config)
        self.heat_head = _Head(width + 2, width, JOINTS)
        self.delta_head = _Head(width + 2 + JOINTS, width, 3 * JOINTS)
        self.location_head = _Head(width + 2 + 4 * JOINTS, width, 3 * JOINTS)

    @property
    def stride(self) -> int:
        return 4

    def features(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> the trunk's maps: 4 width channels at H/2, 8 and 16 width channels at H/4."""
        return self.resnet.stages(image)

    def forward(self, image: Tensor) -> SHPEOutput:
        """(B, 3, H, W) normalised crop of one right hand -> its joints."""
        self._check_sides(image)
        features = self.resnet(image)
        features = torch.cat([features, _coordinates(features)], 1)
        heatmap = torch.sigmoid(self.heat_head(features))
        features = torch.cat([features, heatmap], 1)
        delta = self.delta_head(features)
        location = self.location_head(torch.cat([features, delta], 1))
        delta_map, location_map = (x.unflatten(1, (JOINTS, 3)) for x in (delta, location))
        uv = highest_point(heatmap)
        return SHPEOutput(heatmap, delta_map, location_map, uv, read_at(location_map, uv))


def highest_point(heatmap: Tensor) -> Tensor:
    """(B, J, h, w) -> (B, J, 2) int64, row and column of each map's maximum."""
    place = heatmap.flatten(2).argmax(2)
    width = heatmap.shape[-1]
    return torch.stack([place // width, place % width], -1)


def read_at(maps: Tensor, uv: Tensor) -> Tensor:
    """(B, J, 3, h, w) read at (B, J, 2) rows and columns -> (B, J, 3)."""
    place = (uv[..., 0] * maps.shape[-1] + uv[..., 1])[..., None, None]
    return maps.flatten(3).gather(3, place.expand(-1, -1, 3, 1)).squeeze(3)


class _Trunk(nn.Module):
    def __init__(self, config: SHPEConfig) -> None:
        super().__init__()
        width = config.width
        first, second, third = config.layers
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.block1 = _stage(width, width, first)
        self.pool = _stage(4 * width, width, 1, stride=2)
        self.block2 = _stage(4 * width, 2 * width, second, dilation=2)
        self.block3 = _stage(8 * width, 4 * width, third, dilation=4)
        self.squeeze = nn.Sequential(
            nn.Conv2d(16 * width, config.head_width, 3, padding=1, bias=False),
            nn.BatchNorm2d(config.head_width),
            nn.ReLU(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, head_width, H/4, W/4)."""
        return self.squeeze(self.stages(image)[-1])

    def stages(self, image: Tensor) -> list[Tensor]:
        """The maps of its three stages of residual blocks."""
        first = self.block1(F.relu(self.bn1(self.conv1(image))))
        second = self.block2(self.pool(first))
        return [first, second, self.block3(second)]


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut (He et al. 2016)."""

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out_channels = 4 * width
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
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


class _Head(nn.Module):
    def __init__(self, in_channels: int, width: int, out_channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.prediction = nn.Conv2d(width, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.prediction(self.project(features))


def _stage(in_channels: int, width: int, blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        *(_Bottleneck(4 * width if i else in_channels, width, 1 if i else stride, dilation) for i in range(blocks))
    )


def _coordinates(like: Tensor) -> Tensor:
    """(B, 2, h, w): column and row of each place, in [-1, 1]."""
    batch, _, height, width = like.shape
    rows = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype)
    columns = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype)
    grid = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)])
    return grid.expand(batch, 2, height, width)
