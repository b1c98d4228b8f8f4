"""Rows of images for the training log, as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

GAP = 2
"""White pixels between images."""


def grid(columns: Sequence[Tensor]) -> Tensor:
    """Columns of images (B,3,S,S) in [0, 1], one sample a row, as one image (3,H,W) uint8."""
    padded = [torch.nn.functional.pad(column.float().clamp(0, 1), (0, GAP, 0, GAP), value=1.0) for column in columns]
    rows = torch.cat(padded, 3)  # (B,3,S,columns * S)
    return (torch.cat(list(rows), 1) * 255).round().byte()


def tint(images: Tensor, masks: Mapping[str, Tensor]) -> Tensor:
    """Images (B,3,S,S) in [0, 1] with masks (B,S,S) bool over them: visible parts and arms tinted, hidden parts bright.

    ``masks``: ``right_amodal``, ``right_visible`` and the same for ``left``.
    """
    for side, colour in (("right", (1.0, 0.3, 0.3)), ("left", (0.25, 0.8, 0.4))):
        paint = images.new_tensor(colour).view(1, 3, 1, 1)
        amodal, visible = masks[f"{side}_amodal"], masks[f"{side}_visible"]
        for region, opacity in ((visible, 0.5), (amodal & ~visible, 0.8)):
            images = torch.where(region[:, None], images * (1 - opacity) + paint * opacity, images)
    return images


def dots(images: Tensor, joints: Tensor) -> Tensor:
    """Images (B,3,S,S) in [0, 1] with a dot at each joint (B,21,2) px, coloured by finger."""
    size = images.shape[-1]
    steps = torch.arange(size, device=images.device)
    radius = max(1.5, size / 70)
    for joint in range(joints.shape[1]):
        hue = images.new_tensor(_COLOURS[(joint + 3) // 4]).view(1, 3, 1, 1)
        x, y = joints[:, joint, 0, None, None], joints[:, joint, 1, None, None]
        near = (steps - x) ** 2 + (steps[:, None] - y) ** 2 <= radius**2
        images = torch.where(near[:, None], hue, images)
    return images


_COLOURS = ((1.0, 1.0, 1.0), (1.0, 0.4, 0.3), (1.0, 0.7, 0.0), (0.3, 0.75, 0.3), (0.2, 0.6, 1.0), (0.75, 0.35, 0.95))
"""Wrist, thumb, index, middle, ring, little."""
