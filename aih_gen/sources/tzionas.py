"""Tzionas et al., hands in action (IJCV 2016): frames 640x480 and the 2D joints of the two hands in them.

    ROOT/.../rgb/NAME.png  ROOT/.../joints_2D_GT/NAME.txt      or both in one folder: NAME.png, NAME_joints_2d.txt

A text file has 28 lines ``index x y``; ``0 0`` is not annotated. 14 joints a hand: little, ring, middle, index finger
(three each, from the palm out), then two of the thumb: lines 0-13 are the right hand, 14-27 the left one. No masks, no
depth, no wrist: those are unknown.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from aih_gen.compose.sample import JOINT_OUTSIDE, JOINT_UNKNOWN, Sample
from aih_gen.config import SIDES, SourceConfig
from aih_gen.errors import AIHError
from aih_gen.hands.joints import TO_TZIONAS
from aih_gen.io.images import ONE_COLOUR, SUFFIXES, image_fault, image_size, read_image
from aih_gen.sources.crops import crop_around
from aih_gen.sources.image_only import image_only_sample
from aih_gen.sources.records import ReadReport
from aih_gen.sources.shown import Fault, box_fault
from aih_gen.typing import Array

JOINTS_FOLDER, IMAGES_FOLDER, ENDING = "joints_2D_GT", "rgb", "_joints_2d.txt"
LINES = 28


@dataclass(frozen=True)
class TzionasConfig(SourceConfig):
    """Frames with 2D joints."""

    subset: ClassVar[str] = "Tzionas"

    margin: float = 2.0
    """Side of an image / longer side of the box of its annotated joints, which end before the finger tips; HDR's."""


class TzionasFrames:
    """One square image around both hands for each annotated frame, sorted by path."""

    def __init__(self, config: TzionasConfig) -> None:
        if not 1 <= config.margin <= 10:
            raise AIHError(f"margin: expected 1 to 10, found {config.margin}")
        self.config, self.root = config, Path(config.source)
        self.report, self._hash = ReadReport("frames"), hashlib.sha256()
        self.frames = list(self._usable())
        self.report.used = len(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of these positions, in their order."""
        return [self._sample(index, *self.frames[index]) for index in indices]

    def describe(self) -> dict[str, Any]:
        """Names and bytes of all files of joints."""
        return {"source": {"sha256": self._hash.hexdigest(), "samples": len(self)}}

    def _usable(self) -> Iterator[tuple[Path, Array]]:
        files = sorted({*self.root.rglob(f"{JOINTS_FOLDER}/[!.]*.txt"), *self.root.rglob(f"[!.]*{ENDING}")})
        if not files:
            raise AIHError(f"{self.root}: expected {JOINTS_FOLDER}/NAME.txt or NAME{ENDING}, found neither")
        for path in tqdm(files, desc="frames", unit="frame", leave=False, mininterval=1):
            name = path.relative_to(self.root).as_posix()
            image, joints = _image_of(path), read_joints(path)
            if isinstance(joints, str) or image is None:
                self.report.add_broken(joints if isinstance(joints, str) else "missing image", name)
                continue
            fault = _photo_fault(image, joints)
            if fault is not None:
                (self.report.add_broken if fault.broken else self.report.leave_out)(fault.reason, name)
                continue
            self._hash.update(os.fsencode(name) + b"\0" + path.read_bytes())
            yield image, joints

    def _sample(self, index: int, path: Path, joints: Array) -> Sample:
        photo = read_image(path, "RGB")
        known = np.asarray(np.isfinite(joints).all(-1))
        present = np.asarray(known.any(1))
        crop = crop_around(joints[known], self.config.margin, self.config.size)
        matrix = crop.matrix()
        joints_2d = (joints @ matrix[:2, :2].T + matrix[:2, 2]).astype(np.float32)
        inside = ((joints_2d > -0.5) & (joints_2d < crop.size - 0.5)).all(-1)
        state = np.where(known & ~inside, np.uint8(JOINT_OUTSIDE), np.uint8(JOINT_UNKNOWN))
        image, nothing = crop.cut(photo), np.zeros((2, crop.size, crop.size), bool)
        provenance = {
            "dataset": self.config.subset,
            "hand_type": "interacting" if present.all() else SIDES[int(present.argmax())],
            "file": path.relative_to(self.root).as_posix(),
            "crop": "pair",
            "crop_centre": list(crop.centre),
            "crop_side": crop.side,
        }
        sample = image_only_sample(index, image, (image, image), nothing, nothing, provenance)
        return replace(sample, joints_2d=joints_2d, joint_state=state, present=present)


def read_joints(path: Path) -> Array | str:
    """(2,21,2) px of the frame, NaN where not annotated; or what is wrong with the file."""
    try:
        table = np.array([line.split() for line in path.read_text().splitlines() if line.strip()], np.float64)
    except (OSError, ValueError):
        return "joints that are no numbers"
    if table.shape != (LINES, 3) or not np.array_equal(table[:, 0], np.arange(LINES)):
        return "wrong count of joints"
    if not np.isfinite(table).all():
        return "joints that are no numbers"
    found = table[:, 1:].reshape(2, LINES // 2, 2)
    found[(found == 0).all(-1)] = np.nan
    if not np.isfinite(found).any():
        return "no joint annotated"
    joints = np.full((2, 21, 2), np.nan)
    joints[:, TO_TZIONAS] = found
    return joints


def _photo_fault(image: Path, joints: Array) -> Fault | None:
    """The fault of a frame, or of its joints in it."""
    known = joints[np.isfinite(joints).all(-1)]
    (left, top), (right, bottom) = known.min(0).tolist(), known.max(0).tolist()
    reason = image_fault(image, box=(left, top, right, bottom))
    if reason:
        return Fault(reason != ONE_COLOUR, reason)
    return box_fault((left, top, max(right - left, 1.0), max(bottom - top, 1.0)), *image_size(image))


def _image_of(joints: Path) -> Path | None:
    if joints.name.endswith(ENDING):
        places = [joints.with_name(joints.name.removesuffix(ENDING))]
    else:
        places = [joints.parent.parent / folder / joints.stem for folder in (IMAGES_FOLDER, "")]
        places.append(joints.with_suffix(""))
    for place in places:
        for ending in SUFFIXES:
            image = place.with_name(place.name + ending)
            if image.is_file():
                return image
    return None
