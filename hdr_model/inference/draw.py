"""A result as images: masks and joints over the photo, skeletons, and an overview of everything."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aih_gen.config import SIDES
from aih_gen.typing import Floating, Mask
from hdr_model.visual import (
    HAND_COLOURS,
    RGB,
    captioned_row,
    draw_joints,
    draw_masks,
    draw_skeletons,
    overlay,
    stack_rows,
)

_VIEWS = {"as seen": 0.0, "from the right": 90.0}

Arrays = Mapping[str, Floating]
"""By side; NaN where a hand is absent."""


def joints_on_photo(image: RGB, joints_2d: Arrays) -> RGB:
    """The photo (H,W,3) with the joints (21,2) px of both hands."""
    for side in SIDES:
        image = draw_joints(image, joints_2d[side], HAND_COLOURS[side])
    return image


def skeletons(joints_3d: Arrays) -> RGB:
    """Both hands' joints (21,3) from two sides, captioned."""
    images, captions = [], []
    for side in SIDES:
        for name, angle in _VIEWS.items():
            found = np.isfinite(joints_3d[side]).all()
            images.append(draw_skeletons({side: joints_3d[side]}, angle))
            captions.append(f"{side} hand, {name}" if found else f"no {side} hand found")
    return captioned_row(images, captions)


def overview(
    image: RGB,
    masks: Mapping[str, Mask],
    alone: Mapping[str, RGB],
    joints_2d: Arrays,
    joints_3d: Arrays,
    crops: Arrays,
) -> RGB:
    """The photo; around the hands, masks, each hand alone and joints; and 3D. ``crops``: (4,) px, left to bottom."""
    near = _around_hands(image, crops)
    right, left = (overlay(image, masks[f"{side}_amodal"], HAND_COLOURS[side])[near] for side in SIDES)
    rows = [
        captioned_row(
            [image, draw_masks(image, masks)[near], right, left],
            ["photo", "visible (filled), whole (outlined)", "right, whole", "left, whole"],
        ),
        captioned_row(
            [alone["right"][near], alone["left"][near], joints_on_photo(image, joints_2d)[near], skeletons(joints_3d)],
            ["right hand alone", "left hand alone", "joints", "joints in 3D"],
        ),
    ]
    return stack_rows(rows)


def _around_hands(image: RGB, crops: Arrays) -> tuple[slice, slice]:
    """Rows and columns of the photo that contain both hands' crops; all of it where no hand was found."""
    boxes = [crop for crop in crops.values() if np.isfinite(crop).all()]
    if not boxes:
        return slice(None), slice(None)
    height, width = image.shape[:2]
    (left, top), (right, bottom) = np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]
    rows = slice(int(np.clip(top, 0, height - 1)), int(np.clip(bottom, 1, height)))
    return rows, slice(int(np.clip(left, 0, width - 1)), int(np.clip(right, 1, width)))
