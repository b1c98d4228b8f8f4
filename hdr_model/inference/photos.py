"""The one door through which a photo enters."""

from __future__ import annotations

from pathlib import Path

from aih_gen.errors import AIHError
from aih_gen.io.images import as_rgb, read_image
from hdr_model.visual import Picture

LEAST_SIDE = 16
MOST_PIXELS = 64_000_000
"""Larger photos are refused: what is computed of one takes 50 bytes a pixel."""
PHOTO_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What counts as a photo in a folder."""


def read_photo(path: Path) -> Picture:
    """A photo as (H,W,3) uint8: turned as its EXIF says, grey made RGB, 16 bit made 8, transparency laid on white.

    Raises:
        AIHError: there is no readable image of at least 16 x 16 pixels and at most ``MOST_PIXELS``.
    """
    image = read_image(path, max_pixels=MOST_PIXELS)
    if min(image.size) < LEAST_SIDE:
        found = f"{image.width}x{image.height}"
        raise AIHError(f"{path}: expected a photo of at least {LEAST_SIDE}x{LEAST_SIDE} pixels, found {found}")
    return as_rgb(image)


def photos_in(path: Path) -> list[Path]:
    """The photo, or those of a folder, in the order of their names.

    Raises:
        AIHError: the folder has none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in PHOTO_SUFFIXES)
    if not found:
        raise AIHError(f"{path}: expected photos ({', '.join(PHOTO_SUFFIXES)}) in this folder, found none")
    return found


def check_size(where: str, width: int, height: int) -> None:
    """Raise AIHError for more than ``MOST_PIXELS``."""
    if width * height > MOST_PIXELS:
        most = f"{MOST_PIXELS / 1e6:.0f} million pixels"
        raise AIHError(f"{where}: expected at most {most}, found {width}x{height}; make it smaller first")
