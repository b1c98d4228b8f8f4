"""The project's palette, and the painter of skeletons."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import ImageDraw

from aih_gen.typing import Floating, Mask

Colour = tuple[int, int, int]

HAND_COLOURS: tuple[Colour, Colour] = ((255, 82, 82), (66, 190, 120))
"""Right, left."""
ARM_COLOURS: tuple[Colour, Colour] = ((255, 196, 120), (130, 200, 255))
SHADED_COLOUR: Colour = (80, 80, 255)
HOLE_COLOUR: Colour = (255, 0, 200)
FINGER_COLOURS: tuple[Colour, ...] = ((255, 99, 71), (255, 179, 0), (76, 187, 70), (41, 152, 255), (190, 90, 240))
"""Thumb, index, middle, ring, little."""
CURVE_COLOURS = ("currentColor", "#d1495b", "#2e86ab", "#3fa34d", "#e09f3e", "#7b4fa3", "#8a6d5a", "#5c7c7d")
_JOINT, _ROOT = 0.9, 1.3
"""Radius of a joint's dot, and of the wrist's / width of a bone."""


def tint(image: Floating, mask: Mask, colour: Colour, share: float) -> None:
    """Mix a colour into the pixels (H,W,3) of a mask (H,W), in place; ``share`` is the colour's, 0 to 1."""
    image[mask] = image[mask] * (1 - share) + np.array(colour) * share


def draw_skeleton(
    draw: ImageDraw.ImageDraw,
    points: Floating,
    width: float,
    order: Iterable[int] | None = None,
    root_colour: Colour | None = None,
) -> None:
    """Draw the bones between 21 joints (21,2), px, in their finger's colour; bones of unknown joints are left out.

    Args:
        draw: the canvas.
        points: in its pixels; NaN where unknown.
        width: of a bone, px.
        order: positions in ``hands.joints.BONES``, the last one on top; by default from wrist to tips.
        root_colour: of a dot on the wrist, the other joints then having dots in their finger's colour.
    """
    from aih_gen.hands.joints import BONES  # its package loads PyTorch, which nothing else here needs

    known = np.asarray(np.isfinite(points).all(-1))
    for bone in range(len(BONES)) if order is None else order:
        parent, child = BONES[bone]
        if known[parent] and known[child]:
            colour = FINGER_COLOURS[(child - 1) // 4]
            draw.line([tuple(points[parent]), tuple(points[child])], fill=colour, width=max(1, round(width)))
            if root_colour:
                _draw_dot(draw, points[child], _JOINT * width, colour)
    if root_colour and known[0]:
        _draw_dot(draw, points[0], _ROOT * width, root_colour)


def _draw_dot(draw: ImageDraw.ImageDraw, centre: Floating, radius: float, colour: Colour) -> None:
    x, y = centre.tolist()
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
