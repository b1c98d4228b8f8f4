"""Other people's results: masks, images and joints that another program made for AIH samples, in a folder.

The folder has one of each sample, named by the sample's number as ``aih-gen export --to coco`` names its image; in it
lie files of the names that ``hdr infer`` writes (docs/benchmark.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from aih_gen.hands.joints import JOINT_NAMES
from aih_gen.io.archives import read_npz
from aih_gen.io.images import as_rgb, read_image
from aih_gen.io.json import read_json
from aih_gen.typing import Float32
from hdr_model.evaluation.predict import Predictions
from hdr_model.geometry import sample
from hdr_model.inference.pipeline import MEAN_BONE_LENGTH
from hdr_model.nets.hasm import HAND_MASKS

ENTRY = "predictions"
"""Their name in tables."""
Kind = Literal["masks", "images", "joints"]
IMAGE_FILES: dict[Kind, dict[str, str]] = {
    "masks": {name: f"mask_{name}.png" for name in HAND_MASKS},
    "images": {side: f"{side}_alone.png" for side in SIDES},
}
JOINTS_NPZ, JOINTS_JSON = "joints.npz", "result.json"
"""One of these; the first where there are both."""
COORDINATES = {"joints_2d": 2, "joints_3d": 3}
MAX_BYTES = 1 << 20
"""Of a file of joints."""


@dataclass(frozen=True, eq=False)
class Entry:
    """Another program's results for B samples; None, or NaN, what it does not give."""

    masks: dict[str, Tensor] | None  # by HASM's names, (B,H,W) bool
    images: Tensor | None  # (B,2,H,W,3) uint8: the image with the right, the left hand alone
    joints: dict[str, Tensor]  # (B,2,21,2) px, (B,2,21,3) m relative to the wrist; not found: at the middle, the wrist
    not_found: Tensor  # (B,2) bool: hands without joints, where others have some


class EntryFolder:
    """The folder of an entry. What kinds there are of one sample, there are of all."""

    def __init__(self, folder: Path, positions: Sequence[int]) -> None:
        """``positions``: the numbers of the samples that will be read.

        Raises:
            AIHError: no kind is there, or one lacks a file of a sample.
        """
        if not folder.is_dir():
            found = "a file" if folder.exists() else "nothing"
            raise AIHError(f"{ENTRY} {folder}: expected a folder, found {found}")
        self.folder = folder
        self.kinds: list[Kind] = []
        for kind in ("masks", "images", "joints"):
            lacking = [path for k in positions for path in self._lacking(kind, k)]
            at_all = sum(not self._lacks_all(kind, k) for k in positions)
            if at_all and lacking:
                raise AIHError(
                    f"{ENTRY} {folder}: expected the {kind} of {len(positions)} samples, found {len(lacking)} files "
                    f"missing, the first {lacking[0].relative_to(folder)}"
                )
            if at_all:
                self.kinds.append(kind)
        if not self.kinds:
            names = ", ".join(next(iter(files.values())) for files in IMAGE_FILES.values())
            raise AIHError(
                f"{ENTRY} {folder}: expected {self._of(positions[0]).name}/ and so on with {names}, {JOINTS_NPZ} or "
                f"{JOINTS_JSON}, found none of {len(positions)} samples"
            )
        self._names = tuple(_read_joints(self._joints_file(positions[0]))) if "joints" in self.kinds else ()

    def read(self, positions: Sequence[int], height: int, width: int) -> Entry:
        """The results for samples of images of this size.

        Raises:
            AIHError: a file cannot be read, is of another size or shape, or lacks joints that others have.
        """
        masks: dict[str, Tensor] | None = None
        images: Tensor | None = None
        if "masks" in self.kinds:
            masks = {str(name): self._stacked("masks", name, positions, (height, width)) for name in HAND_MASKS}
        if "images" in self.kinds:
            sides = [self._stacked("images", side, positions, (height, width)) for side in SIDES]
            images = torch.stack(sides, 1)
        joints = [self._joints(position) for position in positions]
        of_all = {name: np.stack([of[name] for of in joints]) for name in self._names}
        not_found = np.zeros((len(positions), len(SIDES)), bool)
        for name, array in of_all.items():
            lost = ~np.isfinite(array).all((2, 3))
            array[lost] = ((width - 1) / 2, (height - 1) / 2) if name == "joints_2d" else 0.0
            not_found |= lost
        tensors = {name: torch.from_numpy(array) for name, array in of_all.items()}
        return Entry(masks, images, tensors, torch.from_numpy(not_found))

    def _of(self, position: int) -> Path:
        return self.folder / f"{position:08d}"

    def _files(self, kind: Kind, position: int) -> Iterator[Path]:
        if kind == "joints":
            yield self._joints_file(position)
        else:
            yield from (self._of(position) / name for name in IMAGE_FILES[kind].values())

    def _lacking(self, kind: Kind, position: int) -> list[Path]:
        return [path for path in self._files(kind, position) if not path.is_file()]

    def _lacks_all(self, kind: Kind, position: int) -> bool:
        return not any(path.is_file() for path in self._files(kind, position))

    def _joints_file(self, position: int) -> Path:
        archive, document = (self._of(position) / name for name in (JOINTS_NPZ, JOINTS_JSON))
        return document if document.is_file() and not archive.is_file() else archive

    def _stacked(self, kind: Kind, name: str, positions: Sequence[int], size: tuple[int, int]) -> Tensor:
        paths = [self._of(position) / IMAGE_FILES[kind][name] for position in positions]
        return torch.from_numpy(np.stack([_read_pixels(path, kind, size) for path in paths]))

    def _joints(self, position: int) -> dict[str, Float32]:
        if "joints" not in self.kinds:
            return {}
        path = self._joints_file(position)
        joints = _read_joints(path)
        if tuple(joints) != self._names:
            expected, found = (" and ".join(names) or "none" for names in (self._names, joints))
            raise AIHError(f"{path}: expected {expected}, as in the first sample, found {found}")
        return joints


def with_entry(predicted: Predictions, entry: Entry) -> Predictions:
    """The predictions of a batch, and those of an entry as one more method, ``ENTRY``."""
    rows, hand, device = predicted.sample, predicted.hand, predicted.sample.device
    more: dict[str, Any] = {}
    if entry.masks is not None:
        more["other_masks"] = {ENTRY: {name: mask.to(device) for name, mask in entry.masks.items()}}
    if entry.images is not None:
        pixels = entry.images.to(device)[rows, hand].permute(0, 3, 1, 2).contiguous().float()
        crops = sample(pixels, predicted.crops.affine, predicted.crops.image.shape[-1], "border") / 255
        more["composites"] = predicted.composites | {ENTRY: crops}
    if entry.joints:
        for name, width in COORDINATES.items():
            unknown = torch.full((len(rows), len(JOINT_NAMES), width), torch.nan, device=device)
            joints = entry.joints[name].to(device)[rows, hand] if name in entry.joints else unknown
            more[name] = getattr(predicted, name) | {ENTRY: joints / (MEAN_BONE_LENGTH if width == 3 else 1)}
    return replace(predicted, **more)


def _read_pixels(path: Path, kind: Kind, size: tuple[int, int]) -> NDArray[Any]:
    """A mask (H,W) bool or an image (H,W,3) uint8, of the size of its sample."""
    image = read_image(path)
    if image.size != size[::-1]:
        found = f"{image.width}x{image.height}"
        raise AIHError(f"{path}: expected the {size[1]}x{size[0]} pixels of its sample, found {found}")
    rgb = as_rgb(image)
    return np.asarray(rgb.any(2)) if kind == "masks" else rgb


def _read_joints(path: Path) -> dict[str, Float32]:
    """Of ``COORDINATES`` those that a file has, (2,21,2) and (2,21,3), right hand first; NaN where a hand is not found.

    Raises:
        AIHError: it cannot be read, has none, or they are of other shapes.
    """
    found = read_npz(path, COORDINATES, MAX_BYTES) if path.name == JOINTS_NPZ else _of_document(path)
    joints: dict[str, Float32] = {}
    for name, width in COORDINATES.items():
        if name not in found:
            continue
        array, shape = found[name], (len(SIDES), len(JOINT_NAMES), width)
        array = array.reshape(shape) if array.shape == (1, *shape) else array
        if array.shape != shape or array.dtype.kind not in "fiu":
            expected = f"{name} (2,21,{width}) of numbers, right hand first"
            raise AIHError(f"{path}: expected {expected}, found {array.shape} of {array.dtype}")
        for k, side in enumerate(SIDES):
            known = np.isfinite(array[k]).all(1)
            if known.any() and not known.all():
                expected = f"{name} of all joints of a hand or of none"
                raise AIHError(f"{path}: expected {expected}, found {known.sum()} of the {side} hand")
        joints[name] = array.astype(np.float32)
    if not joints:
        raise AIHError(f"{path}: expected {' or '.join(COORDINATES)}, found neither")
    return joints


def _of_document(path: Path) -> dict[str, NDArray[Any]]:
    """The joints in a document of the form of ``hdr infer``'s ``result.json``."""
    try:
        hands = read_json(path, MAX_BYTES)
        named = [name for name in COORDINATES if any(name in (hands[side] or {}) for side in SIDES)]
        arrays = {}
        for name in named:
            nothing = np.full((len(JOINT_NAMES), COORDINATES[name]), np.nan)
            given = [(hands[side] or {}).get(name) for side in SIDES]
            arrays[name] = np.stack([nothing if one is None else np.asarray(one, np.float64) for one in given])
        return arrays
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        expected = "right and left, each null or with joints_2d and joints_3d of 21 points"
        raise AIHError(f"{path}: expected {expected}, found something else ({error})") from error
