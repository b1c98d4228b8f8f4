"""Single hands out of a folder of images and masks, such as crops of InterHand2.6M.

    DIR/right/NAME.jpg  DIR/right/NAME_mask.png
    DIR/left/NAME.jpg   DIR/left/NAME_mask.png

An image (JPEG, PNG, WebP or BMP) shows one hand; its mask, of the same size, is bright (128 to 255) where the hand is,
to the wrist, and dark elsewhere. Images of any size are taken: the largest square around the hand is brought to the
size of the samples. Joints, pose and camera are unknown.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from aih_gen.compose.crops import HandCrop, hand_box, is_fit
from aih_gen.config import SIDES, SynConfig
from aih_gen.errors import AIHError

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"}
MASK_ENDING = "_mask.png"
THRESHOLD = 128
"""Grey level from which a mask's pixel is hand."""

Box = tuple[int, int, int, int]


def is_hand_folder(path: Path) -> bool:
    """Whether ``path`` looks like such a folder."""
    return any((path / side).is_dir() for side in SIDES)


class HandFolder:
    """The hands of ``config.source``, sorted by name. Images are opened when asked for.

    Raises:
        AIHError: there are no images of a side, or one has no mask.
    """

    def __init__(self, config: SynConfig) -> None:
        self.config, self.folder = config, Path(config.source)
        self.images = [_listed(self.folder / side) for side in SIDES]

    def count(self, side: int) -> int:
        """The images of that side."""
        return len(self.images[side])

    def crop(self, side: int, position: int) -> HandCrop | None:
        """The hand of an image, unless it is small or cut.

        Raises:
            AIHError: image or mask cannot be read, their sizes differ, or the mask is empty.
        """
        path, size = self.images[side][position], (self.config.size, self.config.size)
        image, grey = _read(path, "RGB"), _read(_mask_of(path), "L")
        if image.size != grey.size:
            raise AIHError(
                f"{_mask_of(path)}: expected {image.width}x{image.height} as its image {path.name}, "
                f"found {grey.width}x{grey.height}"
            )
        levels = np.asarray(grey)
        if levels.max() < THRESHOLD:
            raise AIHError(
                f"{_mask_of(path)}: expected a hand ({THRESHOLD} to 255), found no level above {levels.max()}"
            )
        if image.size != size:
            box = _square_around(levels >= THRESHOLD)
            # Pillow's filter covers all pixels that one of a smaller picture stands for.
            grey = Image.fromarray(np.where(levels >= THRESHOLD, np.uint8(255), np.uint8(0)))
            image, grey = (one.resize(size, Image.Resampling.BILINEAR, box) for one in (image, grey))
        hand = np.asarray(grey) >= THRESHOLD
        if not is_fit(hand, self.config):
            return None
        return HandCrop(np.asarray(image), hand, hand, {"file": f"{SIDES[side]}/{path.name}"})

    def describe(self) -> dict[str, Any]:
        """Names and bytes of all images and masks."""
        total = hashlib.sha256()
        for image in (path for of_side in self.images for path in of_side):
            for path in (image, _mask_of(image)):
                try:
                    total.update(path.relative_to(self.folder).as_posix().encode() + b"\0")
                    total.update(hashlib.sha256(path.read_bytes()).digest())
                except OSError as error:
                    raise AIHError(f"{path}: expected a file that can be read ({error.strerror})") from error
        return {"source": {"sha256": total.hexdigest(), "samples": sum(len(of_side) for of_side in self.images)}}


def _listed(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    names = {path.name for path in found}
    images = [path for path in found if path.suffix.lower() in FORMATS and not path.name.endswith(MASK_ENDING)]
    if not images:
        raise AIHError(f"{folder}: expected images of {folder.name} hands ({', '.join(FORMATS)}), found none")
    for image in images:
        if _mask_of(image).name not in names:
            raise AIHError(f"{image}: expected its mask {_mask_of(image).name} beside it, found none")
    return images


def _mask_of(image: Path) -> Path:
    return image.with_name(image.stem + MASK_ENDING)


def _read(path: Path, mode: str) -> Image.Image:
    """The one door for these files."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=sorted(set(FORMATS.values()))) as stored:
                return ImageOps.exif_transpose(stored).convert(mode)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise AIHError(f"{path}: expected an image that can be read, found: {error}") from error


def _square_around(hand: np.ndarray[Any, np.dtype[np.bool_]]) -> Box:
    """The largest square of a picture that is centred on the hand as well as may be: left, top, right, bottom."""
    height, width = hand.shape
    side = min(height, width)
    middle = hand_box(hand).mean(0) + 0.5
    left, top = np.clip(np.rint(middle - side / 2), 0, [width - side, height - side]).astype(int).tolist()
    return left, top, left + side, top + side
