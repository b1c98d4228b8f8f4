"""Joint states from pixels and depths, for samples that are rendered, pasted or annotated."""

from __future__ import annotations

import numpy as np

from aih_gen.compose.sample import BELOW_SKIN, JOINT_OTHER_OCCLUDED, JOINT_SELF_OCCLUDED, JOINT_VISIBLE
from aih_gen.render.layers import HAND, Layers
from aih_gen.typing import Float32, Int64, Mask, UInt8


def joint_pixels(joints_2d: Float32, size: int) -> tuple[Int64, Int64, Mask]:
    """Rows and columns (...,21) of joints (...,21,2) px, clipped to the image, and True (...,21) for those outside it,
    unknown ones included.
    """  # fmt: skip
    located = np.asarray(np.isfinite(joints_2d).all(-1))
    pixel = np.rint(np.where(located[..., None], joints_2d, -1)).astype(np.int64)
    column, row = np.moveaxis(np.clip(pixel, 0, size - 1), -1, 0)
    return row, column, np.asarray(((pixel < 0) | (pixel >= size)).any(-1))


def layer_joint_states(
    layers: Layers, covered: Mask, pixels: tuple[Int64, Int64], depths: Float32
) -> tuple[UInt8, Mask]:
    """(2,21) states of joints at ``pixels`` and ``depths`` (2,21) m, and True where the hand itself is at that pixel.

    Visible means that the joint's own pixel shows this hand's skin near it; ``covered`` (2,H,W) are the pixels where
    the other hand is nearer than this one.
    """
    states, on_hand = np.full(depths.shape, JOINT_VISIBLE, np.uint8), np.zeros(depths.shape, np.bool_)
    for side, at in enumerate(zip(*pixels, strict=True)):
        on_hand[side] = layers.part[side][at] == HAND
        buried = layers.depth[side][at] < depths[side] - BELOW_SKIN
        states[side][buried | ~on_hand[side]] = JOINT_SELF_OCCLUDED
        states[side][covered[side][at]] = JOINT_OTHER_OCCLUDED
    return states, on_hand
