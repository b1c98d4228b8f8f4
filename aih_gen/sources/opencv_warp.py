"""OpenCV's bilinear ``warpAffine`` of 8-bit images as it was when AIH was published: positions in 1/32 pixel, weights
in 1/32768, black beyond the border. Only for repeating published images; ``compose.paste`` warps better.
"""  # fmt: skip

from __future__ import annotations

from typing import Any

import numpy as np

from aih_gen.compose.recipe import Affine, inverse
from aih_gen.typing import Int64, UInt8

POSITION, PART, WEIGHT = 10, 5, 15
"""Bits below the point: while positions are summed up, of a position, of a weight."""


def warp(image: UInt8, affine: Affine, size: int) -> UInt8:
    """An image (H,W) or (H,W,3) moved by ``affine`` (2,3) into one of ``size`` pixels a side."""
    back, steps, one = inverse(affine), np.arange(size), 1 << POSITION
    across = np.rint(back[:, 0, None] * steps * one).astype(np.int64)  # (2,size)
    down = np.rint((back[:, 1, None] * steps + back[:, 2, None]) * one).astype(np.int64) + (one >> PART >> 1)
    column, row = (down[axis][:, None] + across[axis] >> POSITION - PART for axis in (0, 1))
    total: Any = 0
    for dy in (0, 1):
        for dx in (0, 1):
            weight = _share(column, dx) * _share(row, dy) << WEIGHT - 2 * PART
            pixels = _taken(image, (row >> PART) + dy, (column >> PART) + dx).astype(np.int64)
            total = total + pixels * (weight if image.ndim == 2 else weight[..., None])
    return (total + (1 << WEIGHT - 1) >> WEIGHT).astype(np.uint8)


def _share(position: Int64, step: int) -> Int64:
    part = position & (1 << PART) - 1
    return part if step else (1 << PART) - part


def _taken(image: UInt8, row: Int64, column: Int64) -> UInt8:
    height, width = image.shape[:2]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    found = image[row.clip(0, height - 1), column.clip(0, width - 1)]
    return np.where(inside if image.ndim == 2 else inside[..., None], found, np.uint8(0))
