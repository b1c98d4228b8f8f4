"""The one door through which a photo enters."""

from __future__ import annotations

import mimetypes
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from aih_gen.errors import AIHError
from aih_gen.io.images import SUFFIXES, as_rgb, images_in, read_image, tell_unread
from hdr_model.visual import RGB

MIN_SIDE = 16
MAX_PIXELS = 64_000_000
"""Larger photos are refused: what is computed of one takes 50 bytes a pixel."""


def read_photo(path: Path) -> RGB:
    """A photo as (H,W,3) uint8: turned as its EXIF says, grey made RGB, 16 bit made 8, transparency laid on white.

    Raises:
        AIHError: there is no readable image of at least 16 x 16 pixels and at most ``MAX_PIXELS``.
    """
    image = read_image(path, max_pixels=MAX_PIXELS)
    if min(image.size) < MIN_SIDE:
        found = f"{image.width}x{image.height}"
        raise AIHError(f"{path}: expected a photo of at least {MIN_SIDE}x{MIN_SIDE} pixels, found {found}")
    return as_rgb(image)


def as_image(photo: object) -> RGB:
    """A photo (H,W,3) uint8, of any size up to ``MAX_PIXELS``, from the same, a Pillow image or a path.

    Raises:
        TypeError: it is none of these.
        AIHError: it is an array of another shape or type, or cannot be read.
    """
    if isinstance(photo, str | Path):
        return read_photo(Path(photo))
    if isinstance(photo, Image.Image):
        check_size("photo", *photo.size)
        try:
            return as_rgb(ImageOps.exif_transpose(photo))
        except (OSError, ValueError, SyntaxError) as error:
            raise AIHError(f"photo: expected a whole image, found {str(error).splitlines()[0]}") from error
    if not isinstance(photo, np.ndarray):
        found = f"{type(photo).__module__}.{type(photo).__name__}".removeprefix("builtins.")
        raise TypeError(f"photo: expected an array (H,W,3) of uint8, a Pillow image or a path, found {found}")
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise AIHError(f"photo: expected an array (H,W,3) of uint8, found {photo.shape} of {photo.dtype}")
    check_size("photo", photo.shape[1], photo.shape[0])
    return photo


def photos_in(path: Path) -> list[Path]:
    """The photo, or those of a folder, in the order of their names; images of other formats are named on stderr.

    Raises:
        AIHError: the folder has none, or it is a video by its name.
    """
    if (mimetypes.guess_type(path.name)[0] or "").startswith("video/") and path.is_file():
        raise AIHError(f"{path}: expected a photo, found a video, which --video takes")
    if not path.is_dir():
        return [path]
    found, unread = images_in(path)
    tell_unread(path, tuple(unread))
    if not found:
        raise AIHError(f"{path}: expected photos ({', '.join(SUFFIXES)}) in this folder, found none")
    return found


def check_size(where: str, width: int, height: int) -> None:
    """Raise AIHError for more than ``MAX_PIXELS``."""
    if width * height > MAX_PIXELS:
        most = f"{MAX_PIXELS / 1e6:.0f} million pixels"
        raise AIHError(f"{where}: expected at most {most}, found {width}x{height}; make it smaller first")
