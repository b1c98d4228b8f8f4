"""Which of two hands is the right one: a small residual network looks at each of them closely.

The paper's HASM names its masks in one go. A small one, trained for an hour, then gives both hands to every mask, as it
cannot tell them apart at a glance. Told apart first and looked at one by one, each at the same size, they can be named
after a tenth of the pictures. The directions of palm and fingers are learned beside the name: they are what tells it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdr_model.data.crops import crop_affine, mask_boxes, sample

SIDE = 64
"""Of a close look, in pixels."""
BOX_SCALE = 1.4
"""Side of the look / side of the square around the visible hand."""
WIDTH = 32
AXES = 9
"""Numbers in three directions."""


class Named(NamedTuple):
    """What close looks at N hands tell."""

    score: Tensor
    """(N,) logit of being a right hand"""
    axes: Tensor
    """(N, 9) as ``hdr_model.data.targets.hand_axes`` has them"""


class Naming(nn.Module):
    """Residual blocks (He et al. 2016) down to a sixteenth of the side, then a linear layer and a small perceptron."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(5, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        widths = [width, *(width * 2**k for k in (1, 1, 2, 2, 3, 3))]
        strides = (2, 1, 2, 1, 2, 1)
        blocks = zip(widths[:-1], widths[1:], strides, strict=True)
        self.blocks = nn.Sequential(*(_Residual(*block) for block in blocks))
        features = widths[-1] * (SIDE // 16) ** 2
        self.axes = nn.Linear(features, AXES)
        self.score = nn.Sequential(nn.Linear(features, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, looks: Tensor) -> Named:
        """(N, 5, SIDE, SIDE), as ``close_looks`` cuts them."""
        features = self.blocks(self.stem(looks.contiguous(memory_format=torch.channels_last))).flatten(1)
        return Named(self.score(features)[:, 0], self.axes(features))


class _Residual(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.extend([nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)])
            self.shortcut.append(nn.BatchNorm2d(out_channels))

    def forward(self, features: Tensor) -> Tensor:
        inner = F.relu(self.bn1(self.conv1(features)))
        return F.relu(self.bn2(self.conv2(inner)) + self.shortcut(features))


def close_looks(image: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Both hands of each picture, cut out for ``Naming``.

    Args:
        image: (B, 3, H, W) normalised.
        visible: (B, 2, h, w) in [0, 1], how much of each cell the hands cover.

    Returns:
        (B, 2, 5, SIDE, SIDE): the picture around that hand, this hand's share and the other's; and (B, 2) bool, whether
        there is such a hand.
    """
    height, width = image.shape[-2:]
    share = F.interpolate(visible.to(image.dtype), (height, width), mode="bilinear")
    mask = (share > 0.5).flatten(0, 1)
    plain = torch.zeros(len(mask), dtype=torch.bool, device=image.device)
    affine = crop_affine(*mask_boxes(mask), SIDE, plain, box_scale=BOX_SCALE)
    seen = torch.cat([image[:, None].expand(-1, 2, -1, -1, -1), share[:, :, None], share.flip(1)[:, :, None]], 2)
    looks = sample(seen.flatten(0, 1).float(), affine, SIDE)
    return looks.unflatten(0, (-1, 2)), mask.flatten(1).any(1).unflatten(0, (-1, 2))
