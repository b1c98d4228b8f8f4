"""Single hands out of a folder of images and masks, such as crops of InterHand2.6M.

    DIR/right/NAME.jpg  DIR/right/NAME_mask.png
    DIR/left/NAME.jpg   DIR/left/NAME_mask.png

An image (JPEG, PNG, WebP, BMP, GIF, TIFF or PPM) shows one hand; its mask, of the same size, is bright (128 to 255)
where the hand is, to the wrist, and dark elsewhere (``hand_masks`` says what else is taken). Images of any size are
taken: the largest square around the hand is brought to the size of the samples. Joints, pose and camera are unknown.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aih_gen.compose.crops import HandCrop, hand_box, is_fit
from aih_gen.config import SIDES, SynConfig
from aih_gen.errors import AIHError
from aih_gen.io.images import SUFFIXES, image_size, images_in, read_image, tell_unread
from aih_gen.sources.hand_masks import THRESHOLD, read_hand_mask
from aih_gen.typing import Mask, UInt8

MASK_ENDING = "_mask.png"

Box = tuple[int, int, int, int]


def is_hand_folder(path: Path) -> bool:
    """True for such a folder."""
    return any((path / side).is_dir() for side in SIDES)


class HandFolder:
    """The hands of ``config.source``, sorted by name. Images are opened when needed.

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
        path = self.images[side][position]
        image, hand = square_image(path, self.config.size)
        if not is_fit(hand, self.config):
            return None
        return HandCrop(image, hand, hand, {"file": f"{SIDES[side]}/{path.name}"})

    def describe(self) -> dict[str, Any]:
        """Names and bytes of all images and masks."""
        total = hashlib.sha256()
        for image in (path for of_side in self.images for path in of_side):
            for path in (image, mask_of(image)):
                try:
                    total.update(os.fsencode(path.relative_to(self.folder)) + b"\0")
                    total.update(hashlib.sha256(path.read_bytes()).digest())
                except OSError as error:
                    raise AIHError(f"{path}: expected a file that can be read ({error.strerror})") from error
        return {"source": {"sha256": total.hexdigest(), "samples": sum(len(of_side) for of_side in self.images)}}


def _listed(folder: Path) -> list[Path]:
    found, unread = images_in(folder)
    images = [path for path in found if not path.name.endswith(MASK_ENDING)]
    if not images:
        raise AIHError(f"{folder}: expected images of {folder.name} hands ({', '.join(SUFFIXES)}), found none")
    tell_unread(folder, tuple(unread))
    for image in images:
        if not mask_of(image).exists():
            raise AIHError(f"{image}: expected its mask {mask_of(image).name} beside it, found none")
    return images


def mask_of(image: Path) -> Path:
    """The path of an image's mask."""
    return image.with_name(image.stem + MASK_ENDING)


def square_image(path: Path, side: int) -> tuple[UInt8, Mask]:
    """An image (side,side,3) and the hand in it (side,side): the largest square around the hand.

    Raises:
        AIHError: image or mask cannot be read, their sizes differ, or the mask is empty.
    """
    image, mask = read_image(path, "RGB"), mask_of(path)
    width, height = image_size(mask)
    if image.size != (width, height):
        raise AIHError(
            f"{mask}: expected {image.width}x{image.height} as its image {path.name}, found {width}x{height}"
        )
    hand = read_hand_mask(mask)
    if image.size == (side, side):
        return np.asarray(image), hand
    box = _square_around(hand)
    grey = Image.fromarray(np.where(hand, np.uint8(255), np.uint8(0)))
    # Pillow's filter covers all pixels that one of a smaller image stands for.
    image, grey = (layer.resize((side, side), Image.Resampling.BILINEAR, box) for layer in (image, grey))
    return np.asarray(image), np.asarray(grey) >= THRESHOLD


def _square_around(hand: Mask) -> Box:
    """The largest square of an image centred on the hand as nearly as its borders allow: left, top, right, bottom."""
    height, width = hand.shape
    side = min(height, width)
    middle = hand_box(hand).mean(0) + 0.5
    left, top = np.clip(np.rint(middle - side / 2), 0, [width - side, height - side]).astype(int).tolist()
    return left, top, left + side, top + side
