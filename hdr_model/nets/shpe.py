"""SHPE, the single hand pose estimator: an encoder, and a decoder to joints in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hdr_model.config import SHPEConfig
from hdr_model.nets.encoders import make_encoder
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.nets.pyramid import Pyramid

JOINTS = 21
HIDDEN = 512
"""Width of the branch that regresses the joints."""


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
    """(B, 21, 3) joint minus wrist, in bone units: regressed by the pyramid's branch, or read off the location map of
    the cascade at ``uv``"""


class SHPE(PretrainedNetwork):
    """An encoder and a decoder to heat, delta and location maps, and the joints."""

    task = "shpe"
    config_type = SHPEConfig
    config: SHPEConfig

    def __init__(self, config: SHPEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config.encoder)
        decoder = {"cascade": CascadeDecoder, "pyramid": PyramidDecoder}[config.decoder]
        self.decoder = decoder(self.encoder.channels, config.decoder_width)

    @property
    def stride(self) -> int:
        return self.encoder.stride

    def features(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) normalised -> the encoder's maps."""
        self.check_sides(image)
        return self.encoder(image)

    def forward(self, image: Tensor) -> SHPEOutput:
        """(B, 3, H, W) normalised crop of one right hand -> its joints."""
        output: SHPEOutput = self.decoder(self.features(image))
        return output


class CascadeDecoder(nn.Module):
    """The heads of DetNet (Zhou et al. 2020, *Monocular Real-Time Hand Shape and Motion Capture Using Multi-Modal
    Data*), each fed with all before it.
    """  # fmt: skip

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels[-1], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.heat_head = _Head(width + 2, width, JOINTS)
        self.delta_head = _Head(width + 2 + JOINTS, width, 3 * JOINTS)
        self.location_head = _Head(width + 2 + 4 * JOINTS, width, 3 * JOINTS)

    @property
    def heat_bias(self) -> Tensor:
        """(21,) what the heat maps' logits begin with."""
        bias = self.heat_head.prediction.bias
        assert bias is not None
        return bias

    def forward(self, maps: Sequence[Tensor]) -> SHPEOutput:
        """The encoder's maps -> joints read off the location maps."""
        features = self.squeeze(maps[-1])
        features = torch.cat([features, _coordinates(features)], 1)
        heatmap = torch.sigmoid(self.heat_head(features))
        features = torch.cat([features, heatmap], 1)
        delta = self.delta_head(features)
        location = self.location_head(torch.cat([features, delta], 1))
        delta_map, location_map = (x.unflatten(1, (JOINTS, 3)) for x in (delta, location))
        uv = highest_point(heatmap)
        return SHPEOutput(heatmap, delta_map, location_map, uv, read_at(location_map, uv))


class PyramidDecoder(nn.Module):
    """A feature pyramid with a 1x1 convolution for each kind of map, and a branch that regresses the joints.

    The branch sees the mean of the encoder's last map, and for each joint the pyramid's features and the place where
    its heat map is high.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(channels, width)
        self.heat = nn.Conv2d(width, JOINTS, 1)
        self.maps = nn.Conv2d(width, 6 * JOINTS, 1)
        self.branch = nn.Sequential(
            nn.Linear(channels[-1] + JOINTS * (width + 2), HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 3 * JOINTS),
        )

    @property
    def heat_bias(self) -> Tensor:
        """(21,) what the heat maps' logits begin with."""
        assert self.heat.bias is not None
        return self.heat.bias

    def forward(self, maps: Sequence[Tensor]) -> SHPEOutput:
        """The encoder's maps -> joints regressed by the branch."""
        features = self.pyramid(maps)
        heatmap = torch.sigmoid(self.heat(features))
        delta_map, location_map = self.maps(features).unflatten(1, (2, JOINTS, 3)).unbind(1)
        weight = heatmap.flatten(2) / heatmap.flatten(2).sum(2, keepdim=True)
        seen = torch.cat([features, _coordinates(features)], 1).flatten(2)
        at_joints = torch.einsum("bjp,bcp->bjc", weight, seen.to(weight.dtype))
        known = torch.cat([maps[-1].mean((2, 3)), at_joints.flatten(1)], 1)
        joints = self.branch(known).float().unflatten(1, (JOINTS, 3))
        return SHPEOutput(heatmap, delta_map, location_map, highest_point(heatmap), joints - joints[:, :1])


def highest_point(heatmap: Tensor) -> Tensor:
    """(B, J, h, w) -> (B, J, 2) int64, row and column of each map's maximum."""
    place = heatmap.flatten(2).argmax(2)
    width = heatmap.shape[-1]
    return torch.stack([place // width, place % width], -1)


def read_at(maps: Tensor, uv: Tensor) -> Tensor:
    """(B, J, 3, h, w) read at (B, J, 2) rows and columns -> (B, J, 3)."""
    place = (uv[..., 0] * maps.shape[-1] + uv[..., 1])[..., None, None]
    return maps.flatten(3).gather(3, place.expand(-1, -1, 3, 1)).squeeze(3)


class _Head(nn.Module):
    def __init__(self, in_channels: int, width: int, out_channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.prediction = nn.Conv2d(width, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.prediction(self.project(features))


def _coordinates(like: Tensor) -> Tensor:
    """(B, 2, h, w): column and row of each place, in [-1, 1]."""
    batch, _, height, width = like.shape
    rows = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype)
    columns = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype)
    grid = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)])
    return grid.expand(batch, 2, height, width)
