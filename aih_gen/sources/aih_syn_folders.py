"""The authors' AIH_Syn, which is lists of numbers and single-hand crops -> samples, as they compose them while loading.

Both hands are moved by their augmentation, and the left one is pasted over the right one, whose own crop is the target.
Entries that loop over left hands are mirrored first: there a right hand is pasted over a left one, seen in a mirror.

By default the samples are AIH_Syn's as everywhere in this project: pixels beyond a crop's border continue it, colours
are rounded, edges of the pasted hand carry its colour and are blended, and mirrored entries are turned back, so that a
left hand is a left hand in the place where it was photographed. ``as_published`` repeats what the viewer does: OpenCV's
bilinear warp with black beyond the border, colours cut off below the point, and mirrored entries left in the mirror.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from aih_gen.compose.copy_paste import compose_pair
from aih_gen.compose.crops import HandCrop
from aih_gen.compose.recipe import Affine, Arrangement
from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES, SourceConfig, SynConfig
from aih_gen.errors import AIHError
from aih_gen.io.images import image_fault, read_image
from aih_gen.sources.aih_folders import LETTERS
from aih_gen.sources.image_only import image_only_sample
from aih_gen.sources.object_npy import read_object_array
from aih_gen.sources.opencv_warp import warp
from aih_gen.sources.records import ReadReport
from aih_gen.typing import AIHBranch, Array, Mask, Side, UInt8

SYN, CROP = "AIH_syn", 256
BOX = 255.0
"""Side of the box that is augmented."""


@dataclass(frozen=True)
class AIHSynConfig(SourceConfig):
    """The authors' AIH_Syn: one split of one branch."""

    subset: ClassVar[str] = SynConfig.subset

    split: str = "train"
    branch: AIHBranch = "machine"
    as_published: bool = False
    """Their masks, borders and colours, faults included."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One line of ``syn_cfgs``, checked."""

    number: int
    loop_side: Side
    """The covered hand's."""
    images: tuple[int, int]
    """Numbers of the right and the left hand's crop."""
    base: tuple[Affine, Array]
    """Of the hand the authors call right (the covered one): from its crop, mirrored where ``loop_side`` is left, to the
    sample; and its colour gain (3,)."""
    pasted: tuple[Affine, Array]
    occlusion_rate: float


class AIHSynFolder:
    """The entries of ``syn_cfgs`` in their order."""

    def __init__(self, config: AIHSynConfig) -> None:
        if config.size != CROP:
            raise AIHError(f"size: expected {CROP}, the authors' crops, found {config.size}")
        self.config, root = config, Path(config.source) / SYN
        branch = f"{config.branch}_annot"
        self.folder = root / branch / config.split
        self.report = ReadReport("entries")
        names = [root / "filtered_list" / f"{branch}_{config.split}_sh_{side}_filtered.txt" for side in SIDES]
        self.lists = [_numbers(path) for path in names]
        self.cfgs = root / "syn_cfgs" / f"all_{branch}_{config.split}_syn_cfgs.npy"
        self._faults: dict[tuple[int, int], str | None] = {}
        self.entries = list(self._usable())
        self.report.used = len(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of these positions, in their order."""
        compose = self._published if self.config.as_published else self._corrected
        return [compose(index, self.entries[index]) for index in indices]

    def describe(self) -> dict[str, Any]:
        """The bytes of the list of augmentations."""
        return {"source": {"sha256": hashlib.sha256(self.cfgs.read_bytes()).hexdigest(), "samples": len(self)}}

    def _usable(self) -> Iterator[Entry]:
        found = read_object_array(self.cfgs)
        for number, item in enumerate(tqdm(found, desc="entries", unit="entry", leave=False, mininterval=1)):
            try:
                entry = _entry(number, item, self.lists)
            except (KeyError, TypeError, ValueError, IndexError):
                self.report.add_broken("broken entry", f"entry {number}")
                continue
            fault = self._fault(0, entry.images[0]) or self._fault(1, entry.images[1])
            if fault:
                self.report.add_broken(fault, f"entry {number}")
            else:
                yield entry

    def _files(self, side: int, number: int) -> tuple[Path, Path]:
        letter = LETTERS[side]
        labels = self.folder / "labels" / f"in_{letter}_images" / f"{letter}_amodal"
        return self.folder / "images" / f"{letter}_images" / f"{number}.jpg", labels / f"{number}.png"

    def _fault(self, side: int, number: int) -> str | None:
        if (side, number) not in self._faults:
            image, mask = self._files(side, number)
            fault = image_fault(image, (CROP, CROP)) or image_fault(mask, (CROP, CROP))
            if fault is None and not np.asarray(read_image(mask, "L")).any():
                fault = "empty mask"
            self._faults[side, number] = fault
        return self._faults[side, number]

    def _crop(self, side: int, number: int) -> tuple[UInt8, Mask]:
        image, mask = self._files(side, number)
        return np.asarray(read_image(image, "RGB")), np.asarray(read_image(mask, "L")) > 0

    def _corrected(self, index: int, entry: Entry) -> Sample:
        front = 1 - SIDES.index(entry.loop_side)
        images = [self._crop(side, entry.images[side]) for side in (0, 1)]
        right, left = (
            HandCrop(image, hand, hand, {"file": str(number)})
            for (image, hand), number in zip(images, entry.images, strict=True)
        )
        unmirrored = [entry.base[0], entry.pasted[0]]
        if entry.loop_side == "left":
            unmirrored = [mirrored(affine) for affine in unmirrored]
        arrangement = Arrangement(front, unmirrored[0], unmirrored[1], entry.base[1], np.zeros(3), 1, True)
        return compose_pair(index, (right, left), arrangement, self._provenance(entry))

    def _published(self, index: int, entry: Entry) -> Sample:
        base, pasted = SIDES.index(entry.loop_side), 1 - SIDES.index(entry.loop_side)
        step = 1 if base == 0 else -1
        layers = []
        for side, (affine, gain) in ((base, entry.base), (pasted, entry.pasted)):
            image, hand = self._crop(side, entry.images[side])
            coloured = np.clip(warp(image[:, ::step], affine, CROP) * gain, 0, 255).astype(np.uint8)
            moved: Mask = warp(hand[:, ::step].astype(np.uint8), affine, CROP) > 0
            layers.append((coloured, moved))
        (target, right), (over, left) = layers
        image = np.where(left[..., None], over, target)
        amodal, visible = np.stack([right, left]), np.stack([right & ~left, left])
        return image_only_sample(
            index, image, (target, image), amodal, visible, self._provenance(entry) | {"covered": "right"}
        )

    def _provenance(self, entry: Entry) -> dict[str, Any]:
        return {
            "dataset": "AIH_syn, authors' folders",
            "branch": self.config.branch,
            "split": self.config.split,
            "entry": entry.number,
            "loop_side": entry.loop_side,
            "images": list(entry.images),
            "their_occlusion_rate": entry.occlusion_rate,
        }


def mirrored(affine: Affine) -> Affine:
    """The same motion in images (``CROP`` pixels wide) that are mirrored before it and mirrored back after it."""
    turned = affine * np.array([[1, -1, 1], [-1, 1, 1]])
    turned[0, 2] = CROP - 1 - affine[0, 2] - affine[0, 0] * (CROP - 1)
    turned[1, 2] = affine[1, 2] + affine[1, 0] * (CROP - 1)
    return turned


def _numbers(path: Path) -> list[int]:
    try:
        return [int(float(word)) for word in path.read_text().split()]
    except (OSError, ValueError) as error:
        raise AIHError(f"{path}: expected one image number a line, found no such list ({error})") from error


def _entry(number: int, item: dict[str, Any], lists: Sequence[list[int]]) -> Entry:
    side = item["loop_side"]
    places = [int(item["loop_side_idx"]), int(item["another_side_idx"])]
    if side not in SIDES or min(places) < 0:
        raise ValueError(f"{side} {places}")
    loop = SIDES.index(side)
    at = places if loop == 0 else places[::-1]
    images = lists[0][at[0]], lists[1][at[1]]
    base, pasted = _augmentation(item["r_aug_list"]), _augmentation(item["l_aug_list"])
    return Entry(number, side, images, base, pasted, float(item["occlusion_rate"]))


def _augmentation(found: Any) -> tuple[Affine, Array]:
    """From a crop to the sample, and the colour gain.

    The box (0, 0, 255, 255) is moved by the translation times 255, its sides are multiplied by ``scale``, it is turned
    about its middle by the angle in degrees, and is then mapped onto the image's 256 pixels.
    """
    translation, scale, degrees, gain = found[:4]
    shift, gains = np.asarray(translation, np.float64), np.broadcast_to(np.asarray(gain, np.float64), 3)
    if shift.shape != (2,) or not (0 < float(scale) < 100 and np.isfinite([*shift, float(degrees), *gains]).all()):
        raise ValueError("augmentation")
    angle, zoom = np.deg2rad(float(degrees)), float(scale) * BOX / CROP
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    forward = np.linalg.inv(turn)
    middle = BOX / 2 + BOX * shift
    return np.column_stack([forward, CROP / 2 - forward @ middle]), gains
