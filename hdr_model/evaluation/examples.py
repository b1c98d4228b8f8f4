"""Before and after: the best, the median and the worst of the held-out samples, always together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aih_gen.hands.joints import MIDDLE_MCP
from aih_gen.io.images import encoded
from aih_gen.io.write import write_bytes
from aih_gen.reports.paint import HOLE_COLOUR
from hdr_model.data.aih import AIHDataset
from hdr_model.device import to_device
from hdr_model.evaluation.predict import ALONE, FOUND, TRUE, Predictions, predict
from hdr_model.geometry import rotate_to_crop, to_crop
from hdr_model.inference.pipeline import HDR
from hdr_model.visual import (
    RGB,
    captioned_row,
    draw_joints,
    draw_masks,
    draw_skeletons,
    overlay,
    stack_rows,
)

EACH = 2
"""Examples of each kind: best, middle, worst."""
_HEIGHT = 192

Place = tuple[int, int]
"""A sample's number in its data set, and a hand."""


def ranked(values: Sequence[float], better: str) -> list[tuple[str, int]]:
    """The best, the middle and the worst as (name, position in ``values``); NaN is left out."""
    order = sorted((k for k, v in enumerate(values) if not math.isnan(v)), key=lambda k: values[k])
    if better == "higher":
        order.reverse()
    middle = max(0, (len(order) - EACH) // 2)
    groups = {"best": order[:EACH], "middle": order[middle:][:EACH], "worst": order[::-1][:EACH]}
    return [(name, k) for name, group in groups.items() for k in group]


@dataclass(frozen=True, eq=False)
class Example:
    """One sample, or one hand of it, among the others that were predicted with it."""

    predictions: Predictions
    image: RGB
    sample: int
    """Row of the sample in ``predictions``."""
    hand: int | None
    """Row of the hand there; None where it is not present."""


def predict_examples(hdr: HDR, dataset: AIHDataset, places: Sequence[Place]) -> list[Example]:
    """Predict the samples of several places, all at once."""
    samples = sorted({sample for sample, _ in places})
    batch = to_device(dataset[samples], hdr.device)
    predictions = predict(hdr, batch)
    hands = list(zip(predictions.sample.tolist(), predictions.hand.tolist(), strict=True))
    examples = []
    for sample, hand in places:
        row = samples.index(sample)
        found = hands.index((row, hand)) if (row, hand) in hands else None
        examples.append(Example(predictions, batch["rgb"][row, 0].cpu().numpy(), row, found))
    return examples


def mask_row(example: Example, caption: str) -> RGB:
    """Image, true masks, predicted masks."""
    true, found = (
        {name: mask[example.sample].cpu().numpy() for name, mask in masks.items()}
        for masks in (example.predictions.true_masks, example.predictions.found_masks)
    )
    images = [example.image, draw_masks(example.image, true), draw_masks(example.image, found)]
    return captioned_row(images, [caption, "truth (outline: whole)", "HASM"], _HEIGHT)


def image_row(example: Example, caption: str) -> RGB:
    """Crop, hole, painted with true masks and with HASM's, truth."""
    predictions, k, c = example.predictions, example.hand, example.predictions.crops
    crop = _pixels(c.image[k])
    holes = c.masks.hole[k].squeeze().cpu().numpy()
    painted = [_pixels(predictions.composites[name][k]) for name in (TRUE, FOUND)]
    images = [crop, overlay(crop, holes, HOLE_COLOUR), *painted, _pixels(c.target[k])]
    return captioned_row(images, [caption, "hole", "HDRM, true masks", "HDRM, HASM's masks", "truth"], _HEIGHT)


def pose_row(example: Example, caption: str) -> RGB:
    """True joints, joints of SHPE alone and of SHPE after HDRM, and the last in 3D beside the truth."""
    predictions, k = example.predictions, example.hand
    crop, painted = _pixels(predictions.crops.image[k]), _pixels(predictions.composites[TRUE][k])
    true = predictions.crops.joints_3d[k].cpu().numpy()
    assert k is not None
    here = predictions.crops.affine[k : k + 1]
    unscaled = rotate_to_crop(predictions.joints_3d[FOUND][k : k + 1], here)[0].cpu().numpy()
    found = unscaled * np.linalg.norm(true[MIDDLE_MCP])
    alone, after = (to_crop(predictions.joints_2d[name][k : k + 1], here)[0].cpu().numpy() for name in (ALONE, TRUE))
    radius = 1.15 * float(np.abs(true - (true.max(0) + true.min(0)) / 2).max())
    images = [
        crop,
        draw_joints(crop, predictions.crops.joints_2d[k].cpu().numpy()),
        draw_joints(crop, alone),
        draw_joints(painted, after),
        *(draw_skeletons({"right": joints}, turn, radius=radius) for turn in (0, 90) for joints in (true, found)),
    ]
    captions = [caption, "truth", "SHPE alone", "SHPE + HDR, true masks"]
    captions += ["3D, truth", "3D, HASM's masks", "turned, truth", "turned, HASM's masks"]
    return captioned_row(images, captions, _HEIGHT)


def save_rows(path: Path, rows: Sequence[RGB]) -> None:
    """Rows under one another as a PNG; no rows, no file."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    write_bytes(path, encoded(stack_rows(rows)))


def _pixels(image: Tensor) -> RGB:
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(pixels)
