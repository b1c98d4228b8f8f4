"""Samples -> COCO: images, masks as RLE, keypoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from aih_gen.compose.sample import JOINT_VISIBLE, Sample
from aih_gen.config import SIDES
from aih_gen.exports.common import each_sample
from aih_gen.hands.joints import BONES, JOINT_NAMES
from aih_gen.io.images import encoded
from aih_gen.shards.reader import AIHShards
from aih_gen.typing import Mask

COCO_JSON = "annotations.json"


def export_coco(shards: AIHShards, folder: Path) -> int:
    """Fill an empty folder with ``images/00000000.png`` and `COCO_JSON`: one annotation a hand that is present.

    ``segmentation`` is what is visible of the hand, ``amodal_segmentation`` all of it, both as compressed RLE; ``area``
    and ``bbox`` are the visible part's. Keypoints have COCO's visibility: 0 unknown or outside, 1 hidden, 2 visible.

    Returns:
        The number of samples written.
    """
    (folder / "images").mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for position, sample in each_sample(shards):
        name = f"images/{position:08d}.png"
        (folder / name).write_bytes(encoded(sample.image))
        height, width = sample.shaded.shape
        images.append({"id": position, "file_name": name, "height": height, "width": width})
        for side in np.flatnonzero(sample.present).tolist():
            annotations.append(_annotation(sample, position, side) | {"id": len(annotations) + 1})
    skeleton = [[parent + 1, child + 1] for parent, child in BONES]
    categories = [
        {"id": side + 1, "name": f"{name} hand", "keypoints": list(JOINT_NAMES), "skeleton": skeleton}
        for side, name in enumerate(SIDES)
    ]
    header = shards.shards[0].header
    info = {
        "description": f"{header.subset}, exported by aih-gen",
        "version": header.generator_version,
        "contributor": "",
        "url": "",
        "year": 0,
        "date_created": "",
    }  # pycocotools' loadRes wants this key and the next; a date would differ from run to run
    document = {
        "info": info,
        "licenses": list[dict[str, Any]](),
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    (folder / COCO_JSON).write_text(json.dumps(document, allow_nan=False))
    return len(shards)


def rle(mask: Mask) -> dict[str, Any]:
    """A mask (H,W) as COCO's compressed run lengths: columns from left to right, zeros first.

    Each count, from the fourth on less the one two before it, is written in groups of 5 bits, the lowest first, as the
    characters from "0" on; a sixth bit says that more groups follow.
    """
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    text = ""
    for k, count in enumerate(counts.tolist()):
        rest = count - int(counts[k - 2]) if k > 2 else count
        while True:
            group, rest = rest & 31, rest >> 5
            more = rest != (-1 if group & 16 else 0)
            text += chr(48 + (group | 32 * more))
            if not more:
                break
    return {"size": list(mask.shape), "counts": text}


def _annotation(sample: Sample, position: int, side: int) -> dict[str, Any]:
    visible = sample.visible[side]
    rows, columns = (np.flatnonzero(visible.any(axis)).tolist() for axis in (1, 0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1] if rows else [0, 0, 0, 0]
    points = sample.joints_2d[side].astype(float)
    inside = (np.isfinite(points) & (points >= -0.5) & (points < np.array(visible.shape[::-1]) - 0.5)).all(-1)
    shown = np.where(sample.joint_state[side] == JOINT_VISIBLE, 2, 1) * inside
    keypoints = np.column_stack([np.where(inside[:, None], points, 0), shown])
    hidden = sample.occlusion[side]
    return {
        "image_id": position,
        "category_id": side + 1,
        "segmentation": rle(visible),
        "amodal_segmentation": rle(sample.amodal[side]),
        "area": int(visible.sum()),
        "bbox": box,
        "iscrowd": 0,
        "keypoints": keypoints.ravel().tolist(),
        "num_keypoints": int(inside.sum()),
        "occlusion": float(hidden) if np.isfinite(hidden) else None,
    }
