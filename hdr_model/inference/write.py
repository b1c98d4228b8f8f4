"""A result as files: the ones that ``hdr infer`` leaves for each photo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aih_gen.config import SIDES
from aih_gen.hands.joints import JOINT_NAMES
from hdr_model.inference.result import Result
from hdr_model.visual import (
    HAND_COLOURS,
    Picture,
    captioned_row,
    draw_joints,
    draw_masks,
    draw_skeletons,
    overlay,
    stack_rows,
)

_VIEWS = {"as seen": 0.0, "from the right": 90.0}


def write_result(result: Result, image: Picture, folder: Path) -> None:
    """Write what HDR found in ``image`` into ``folder``: PNG pictures, ``result.json`` and ``joints.npz``."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {f"mask_{name}": 255 * mask.astype(np.uint8) for name, mask in result.masks.items()}
    pictures |= {f"{side}_alone": getattr(result, side).image for side in SIDES}
    pictures["joints"] = _joints(result, image)
    pictures["skeletons"] = _skeletons(result)
    pictures["overview"] = overview(result, image)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
    (folder / "result.json").write_text(json.dumps(plain_result(result), indent=1, allow_nan=False) + "\n")
    write_joints(folder / "joints.npz", [joints_of(result)])


def joints_of(result: Result) -> dict[str, NDArray[np.generic]]:
    """Both hands, right first: ``joints_2d`` (2,21,2) px, ``joints_3d`` (2,21,3) m relative to the wrist, ``crop``
    (2,4) px, ``present`` (2,) bool; NaN where a hand is not present.
    """
    names = ("joints_2d", "joints_3d", "crop", "present")
    return {name: np.stack([getattr(getattr(result, side), name) for side in SIDES]) for name in names}


def write_joints(path: Path, frames: Sequence[Mapping[str, NDArray[np.generic]]]) -> None:
    """The ``joints_of`` T photos or frames, with a first axis of T."""
    stacked = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
    np.savez_compressed(path, allow_pickle=False, **stacked)


def overview(result: Result, image: Picture) -> Picture:
    """One picture of everything found: the photo; around the hands, masks, each hand alone and joints; and 3D."""
    near = _around_hands(result, image)
    right, left = (overlay(image, result.masks[f"{side}_amodal"], HAND_COLOURS[side])[near] for side in SIDES)
    rows = [
        captioned_row(
            [image, draw_masks(image, result.masks)[near], right, left],
            ["photo", "visible (filled), whole (outlined)", "right, whole", "left, whole"],
        ),
        captioned_row(
            [result.right.image[near], result.left.image[near], _joints(result, image)[near], _skeletons(result)],
            ["right hand alone", "left hand alone", "joints", "joints in 3D"],
        ),
    ]
    return stack_rows(rows)


def _around_hands(result: Result, image: Picture) -> tuple[slice, slice]:
    """Rows and columns of the photo that hold both hands' crops; all of it where no hand was found."""
    boxes = [hand.crop for hand in (result.right, result.left) if hand.present]
    if not boxes:
        return slice(None), slice(None)
    height, width = image.shape[:2]
    (left, top), (right, bottom) = np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]
    rows = slice(int(np.clip(top, 0, height - 1)), int(np.clip(bottom, 1, height)))
    return rows, slice(int(np.clip(left, 0, width - 1)), int(np.clip(right, 1, width)))


def on_photo(result: Result, image: Picture) -> Picture:
    """The photo with masks and joints on it."""
    return _joints(result, draw_masks(image, result.masks))


def _joints(result: Result, image: Picture) -> Picture:
    for side in SIDES:
        image = draw_joints(image, getattr(result, side).joints_2d, HAND_COLOURS[side])
    return image


def _skeletons(result: Result) -> Picture:
    pictures, captions = [], []
    for side in SIDES:
        for name, turn in _VIEWS.items():
            pictures.append(draw_skeletons({side: getattr(result, side).joints_3d}, turn))
            captions.append(f"{side} hand, {name}" if getattr(result, side).present else f"no {side} hand found")
    return captioned_row(pictures, captions)


def plain_result(result: Result) -> dict[str, object]:
    """What ``result.json`` holds: joints, crops and presence of both hands, null where a hand is not present."""
    hands: dict[str, object] = {}
    for side in SIDES:
        hand = getattr(result, side)
        arrays = {"joints_2d": hand.joints_2d, "joints_3d": hand.joints_3d, "crop": hand.crop}
        numbers = {name: array.astype(np.float64).round(5).tolist() for name, array in arrays.items()}
        hands[side] = {"present": hand.present, **(numbers if hand.present else dict.fromkeys(numbers))}
    units = "joints_2d px of the photo (x, y); joints_3d m relative to the wrist (x right, y down, z away); crop px"
    return {"units": units, "joint_names": JOINT_NAMES, **hands}
