"""A folder of images and masks of single hands -> samples with one hand each (see ``aih_gen.sources.folder``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES, SourceConfig
from aih_gen.errors import AIHError
from aih_gen.io.images import SUFFIXES, image_fault, read_image
from aih_gen.sources.folder import MASK_ENDING, THRESHOLD, is_hand_folder, mask_of, square_image
from aih_gen.sources.image_only import image_only_sample
from aih_gen.sources.records import ReadReport


@dataclass(frozen=True)
class SingleHandsConfig(SourceConfig):
    """Photos of one hand each, with masks."""

    subset: ClassVar[str] = "Hands"


class SingleHandPhotos:
    """First the right hands, then the left ones, each sorted by name."""

    def __init__(self, config: SingleHandsConfig) -> None:
        self.config, self.folder = config, Path(config.source)
        if not is_hand_folder(self.folder):
            raise AIHError(f"{self.folder}: expected folders right and left with images and masks, found neither")
        self.report, self._hash = ReadReport("images"), hashlib.sha256()
        self.photos = list(self._usable())
        self.report.used = len(self.photos)

    def __len__(self) -> int:
        return len(self.photos)

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of these positions, in their order."""
        return [self._sample(index, *self.photos[index]) for index in indices]

    def describe(self) -> dict[str, Any]:
        """Names and bytes of all images and masks that are used."""
        return {"source": {"sha256": self._hash.hexdigest(), "samples": len(self)}}

    def _usable(self) -> Iterator[tuple[int, Path]]:
        found = [
            (side, path)
            for side, name in enumerate(SIDES)
            for path in sorted((self.folder / name).glob("*"))
            if path.suffix.lower() in SUFFIXES and not path.name.endswith(MASK_ENDING)
        ]
        for side, path in tqdm(found, desc="images", unit="image", leave=False, mininterval=1):
            fault = _fault(path)
            if fault:
                self.report.add_broken(fault, f"{SIDES[side]}/{path.name}")
                continue
            for one in (path, mask_of(path)):
                self._hash.update(f"{SIDES[side]}/{one.name}\0".encode() + one.read_bytes())
            yield side, path

    def _sample(self, index: int, side: int, path: Path) -> Sample:
        image, hand = square_image(path, self.config.size)
        masks = np.zeros((2, *hand.shape), bool)
        masks[side] = hand
        provenance = {"dataset": self.config.subset, "file": f"{SIDES[side]}/{path.name}", "hand_type": SIDES[side]}
        return image_only_sample(index, image, (image, image), masks, masks, provenance)


def _fault(path: Path) -> str | None:
    fault = image_fault(path)
    if fault:
        return fault
    mask = mask_of(path)
    fault = image_fault(mask, read_image(path, "L").size)
    if fault:
        return {"missing image": "no mask", "image of another size": "mask of another size"}.get(fault, "broken mask")
    return "empty mask" if np.asarray(read_image(mask, "L")).max() < THRESHOLD else None
