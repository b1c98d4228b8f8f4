"""A folder of images and masks of single hands -> samples with one hand each (see ``aih_gen.sources.folder``)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES, SourceConfig
from aih_gen.errors import AIHError
from aih_gen.io.images import image_fault, image_size, images_in
from aih_gen.sources.folder import MASK_ENDING, is_hand_folder, mask_of, square_image
from aih_gen.sources.hand_masks import THRESHOLD, EmptyMask, read_hand_mask
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
        found = []
        for side, name in enumerate(SIDES):
            images, unread = images_in(self.folder / name)
            found += [(side, path) for path in images if not path.name.endswith(MASK_ENDING)]
            for path in unread:
                self.report.leave_out("format that is not read", f"{name}/{path.name}")
        for side, path in tqdm(found, desc="images", unit="image", leave=False, mininterval=1):
            fault = _fault(path)
            if fault:
                self.report.add_broken(fault, f"{SIDES[side]}/{path.name}")
                continue
            for file in (path, mask_of(path)):
                self._hash.update(os.fsencode(f"{SIDES[side]}/{file.name}") + b"\0" + file.read_bytes())
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
    fault = image_fault(mask, image_size(path))
    if fault:
        return {"missing image": "no mask", "image of another size": "mask of another size"}.get(fault, "broken mask")
    try:
        read_hand_mask(mask)
    except EmptyMask:
        return f"empty mask (no level of {THRESHOLD} or more)"
    except AIHError:
        return "mask that may be inverted, or has another shape in its transparency"
    return None
