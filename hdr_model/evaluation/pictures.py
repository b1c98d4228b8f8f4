"""Before and after: the best, the middle and the worst of the held-out samples, so that nobody sees one kind only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from aih_gen.hands.joints import MIDDLE_MCP
from hdr_model.data.aih import AIHDataset
from hdr_model.device import to_device
from hdr_model.evaluation.examine import ALONE, FOUND, TRUE, Examined, examine
from hdr_model.geometry import rotate_to_crop, to_crop
from hdr_model.inference.pipeline import HDR
from hdr_model.visual import (
    HOLE_COLOUR,
    Picture,
    captioned_row,
    draw_joints,
    draw_masks,
    draw_skeletons,
    overlay,
    stack_rows,
)

EACH = 2
"""Pictures of each kind: best, middle, worst."""
_HEIGHT = 192

Place = tuple[int, int]
"""A sample's number in its data set, and a hand."""


def ranked(values: Sequence[float], better: str) -> list[tuple[str, int]]:
    """The best, the middle and the worst as (name, position in ``values``); NaN is nothing of these."""
    order = sorted((k for k, v in enumerate(values) if not math.isnan(v)), key=lambda k: values[k])
    if better == "higher":
        order.reverse()
    middle = max(0, (len(order) - EACH) // 2)
    groups = {"best": order[:EACH], "middle": order[middle:][:EACH], "worst": order[::-1][:EACH]}
    return [(name, k) for name, group in groups.items() for k in group]


@dataclass(frozen=True, eq=False)
class Look:
    """One place, among the others that were examined with it."""

    seen: Examined
    image: Picture
    sample: int
    """Row of the sample in ``seen``."""
    hand: int | None
    """Row of the hand there; None where it is not present."""


def look(hdr: HDR, dataset: AIHDataset, places: Sequence[Place]) -> list[Look]:
    """Examine the samples of some places, all at once."""
    samples = sorted({sample for sample, _ in places})
    batch = to_device(dataset[samples], hdr.device)
    seen = examine(hdr, batch)
    hands = list(zip(seen.sample.tolist(), seen.hand.tolist(), strict=True))
    looks = []
    for sample, hand in places:
        row = samples.index(sample)
        found = hands.index((row, hand)) if (row, hand) in hands else None
        looks.append(Look(seen, batch["rgb"][row, 0].cpu().numpy(), row, found))
    return looks


def mask_row(place: Look, caption: str) -> Picture:
    """Image, true masks, found masks."""
    true, found = (
        {name: mask[place.sample].cpu().numpy() for name, mask in masks.items()}
        for masks in (place.seen.true_masks, place.seen.found_masks)
    )
    pictures = [place.image, draw_masks(place.image, true), draw_masks(place.image, found)]
    return captioned_row(pictures, [caption, "truth (outline: whole)", "HASM"], _HEIGHT)


def image_row(place: Look, caption: str) -> Picture:
    """Crop, hole, what was painted with true masks and with HASM's, truth."""
    seen, k, c = place.seen, place.hand, place.seen.crops
    crop = _pixels(c.image[k])
    holes = c.masks.hole[k].squeeze().cpu().numpy()
    painted = [_pixels(seen.composites[name][k]) for name in (TRUE, FOUND)]
    pictures = [crop, overlay(crop, holes, HOLE_COLOUR), *painted, _pixels(c.target[k])]
    return captioned_row(pictures, [caption, "hole", "HDRM, true masks", "HDRM, HASM's masks", "truth"], _HEIGHT)


def pose_row(place: Look, caption: str) -> Picture:
    """True joints, joints of SHPE alone and of SHPE after HDRM, and the last in 3D beside the truth."""
    seen, k = place.seen, place.hand
    crop, painted = _pixels(seen.crops.image[k]), _pixels(seen.composites[TRUE][k])
    true = seen.crops.joints_3d[k].cpu().numpy()
    assert k is not None
    here = seen.crops.affine[k : k + 1]
    unscaled = rotate_to_crop(seen.joints_3d[FOUND][k : k + 1], here)[0].cpu().numpy()
    found = unscaled * np.linalg.norm(true[MIDDLE_MCP])
    alone, after = (to_crop(seen.joints_2d[name][k : k + 1], here)[0].cpu().numpy() for name in (ALONE, TRUE))
    radius = 1.15 * float(np.abs(true - (true.max(0) + true.min(0)) / 2).max())
    pictures = [
        crop,
        draw_joints(crop, seen.crops.joints_2d[k].cpu().numpy()),
        draw_joints(crop, alone),
        draw_joints(painted, after),
        *(draw_skeletons({"right": joints}, turn, radius=radius) for turn in (0, 90) for joints in (true, found)),
    ]
    captions = [caption, "truth", "SHPE alone", "SHPE + HDR, true masks"]
    captions += ["3D, truth", "3D, HASM's masks", "turned, truth", "turned, HASM's masks"]
    return captioned_row(pictures, captions, _HEIGHT)


def save_rows(path: Path, rows: Sequence[Picture]) -> None:
    """Rows under one another as a PNG; no rows, no file."""
    path.unlink(missing_ok=True)
    if rows:
        Image.fromarray(stack_rows(rows)).save(path)


def _pixels(image: Tensor) -> Picture:
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(pixels)
