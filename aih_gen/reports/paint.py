"""The project's palette, and the painter of skeletons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

HAND_COLOURS = np.array([[235, 64, 52], [60, 200, 90]])
"""Right, left."""
ARM_COLOURS = np.array([[240, 170, 60], [60, 180, 200]])
SHADED_COLOUR = np.array([80, 80, 255])
FINGER_COLOURS = ((245, 130, 48), (255, 215, 60), (70, 200, 90), (70, 150, 255), (200, 100, 240))
"""Thumb, index, middle, ring, little."""


def tint(image: NDArray[np.floating[Any]], mask: NDArray[np.bool_], colour: NDArray[np.int64], share: float) -> None:
    """Mix a colour into the pixels (H,W,3) of a mask (H,W), in place; ``share`` is the colour's, 0 to 1."""
    image[mask] = image[mask] * (1 - share) + colour * share


def draw_bones(
    draw: ImageDraw.ImageDraw, points: NDArray[np.floating[Any]], width: int, order: Sequence[int] | None = None
) -> None:
    """Draw the bones between 21 joints (21,2), px, in their finger's colour; bones of unknown joints are left out.

    Args:
        draw: the canvas.
        points: in its pixels; NaN where unknown.
        width: of a bone, px.
        order: positions in ``hands.joints.BONES``, the last one on top; by default from wrist to tips.
    """
    from aih_gen.hands.joints import BONES  # its package loads PyTorch, which nothing else here needs

    known = np.isfinite(points).all(-1)
    for bone in range(len(BONES)) if order is None else order:
        parent, child = BONES[bone]
        if known[parent] and known[child]:
            draw.line([tuple(points[parent]), tuple(points[child])], fill=FINGER_COLOURS[(child - 1) // 4], width=width)
