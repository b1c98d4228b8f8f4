"""The door for image files: one short list of formats, sizes known before pixels are decoded, upright images."""

from __future__ import annotations

import contextlib
import functools
import io
import multiprocessing
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from aih_gen.errors import AssetError
from aih_gen.typing import UInt8

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of what is decoded. Others are programs (PostScript starts Ghostscript) or hardly tried decoders."""
SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".jfif", ".jpe", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Names of images in a folder of data end so."""
UNREAD_SUFFIXES = (
    *(".heic", ".heif", ".hif", ".avif", ".jp2", ".jxl", ".jxr", ".psd", ".svg", ".tga", ".exr", ".hdr", ".ico"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".raw"),
)
"""Those of images in formats that are not read."""
MAX_PIXELS = 89_478_485
"""256 MiB of RGB, and Pillow's own limit."""
MAX_BYTES = 1 << 30
"""Of a file."""
MAX_SCANS = 100
"""Of a JPEG, each of which is as much work as a whole image; progressive ones have about ten."""

ONE_COLOUR = "image of one colour"

_SCAN = re.compile(rb"\xff\xda\x00[\x08\x0a\x0c\x0e][\x01-\x04]")
"""The head of a scan with one to four components; its length says the same, or decoders refuse it."""
_ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations in which an image's width is stored as its height."""
_MIN_CONTRAST = 4
"""Grey levels, which a compressed image of one colour stays below."""
_DRAFT = 8
"""By how much a JPEG may be reduced while it is decoded: all its bytes are read, few of its pixels computed."""


def read_image(
    path: Path, mode: str | None = None, draft: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """An image, upright as its EXIF says.

    Args:
        path: the file; its content alone says which of `FORMATS` it is.
        mode: what to convert to, ``RGB`` or ``L``; by default as it is stored.
        draft: a JPEG may be decoded at a fraction of its size, its sides no shorter than this.
        max_pixels: larger ones are refused.

    Raises:
        AssetError: it cannot be read, or is too large.
    """
    with _opened(path, max_pixels) as stored:
        if draft is not None:
            stored.draft(mode, (draft, draft))
        image = ImageOps.exif_transpose(stored)
        image.load()
        return image if mode is None else _converted(image, mode)


def images_in(folder: Path, below: bool = False) -> tuple[list[Path], list[Path]]:
    """Sorted files of a folder that are images by their names, and those of formats that are not read.

    Folders do not count, nor do the ``._NAME`` that macOS leaves beside files; a link to nothing does, so that whoever
    reads it says so. ``below`` takes in subfolders.
    """
    found = [path for path in (folder.rglob("*") if below else folder.glob("*")) if not path.name.startswith("._")]
    named = [path for path in found if path.suffix.lower() in (*SUFFIXES, *UNREAD_SUFFIXES)]
    files = sorted(path for path in named if path.is_file() or not path.exists())
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    return images, [path for path in files if path.suffix.lower() not in SUFFIXES]


@functools.cache
def tell_unread(folder: Path, unread: tuple[Path, ...]) -> None:
    """Name and count on stderr the images of a folder that are not read, once a process and by none that it starts."""
    if unread and multiprocessing.parent_process() is None:
        names = ", ".join(path.name for path in unread[:3])
        message = f"{folder}: {len(unread)} images of formats that are not read are left out ({names}"
        print(message + (", ...)" if len(unread) > 3 else ")"), file=sys.stderr)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, upright as its EXIF says; its pixels are not decoded.

    Raises:
        AssetError: it cannot be read, or is too large.
    """
    with _opened(path, MAX_PIXELS) as stored:
        return _upright_size(stored)


def image_fault(
    path: Path, size: tuple[int, int] | None = None, box: tuple[float, float, float, float] | None = None
) -> str | None:
    """The fault of an image, None where it has none: missing, unreadable, of another size, or of one colour.

    Args:
        path: the file.
        size: width and height that the image, upright, is to have.
        box: left, top, right, bottom in its pixels, where it is to show something.
    """
    if not path.is_file():
        return "missing image"
    try:
        with _opened(path, MAX_PIXELS) as stored:
            width, height = _upright_size(stored)
            if size is not None and (width, height) != size:
                return "image of another size"
            stored.draft("L", (stored.width // _DRAFT, stored.height // _DRAFT))
            stored.load()
            if box is not None and _is_of_one_colour(ImageOps.exif_transpose(stored), box, width, height):
                return ONE_COLOUR
    except AssetError:
        return "unreadable image"
    return None


def _upright_size(stored: Image.Image) -> tuple[int, int]:
    on_its_side = stored.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
    return (stored.height, stored.width) if on_its_side else stored.size


def _is_of_one_colour(image: Image.Image, box: tuple[float, float, float, float], width: int, height: int) -> bool:
    """True where the part of an image in ``box``, given in pixels of the whole width and height, has no contrast."""
    columns, rows = np.clip(box[::2], 0, width) / width, np.clip(box[1::2], 0, height) / height
    grey = np.asarray(image.convert("L"))
    left, right = (int(at) for at in columns * image.width)
    top, bottom = (int(at) for at in rows * image.height)
    return bool(np.ptp(grey[top : bottom + 1, left : right + 1]) < _MIN_CONTRAST)


def encoded(image: Image.Image | UInt8, form: Literal["PNG", "JPEG"] = "PNG", **options: Any) -> bytes:
    """An image, or the pixels of one, as the bytes of a file; ``options`` are Pillow's.

    Files are written from these and never by Pillow, which does not notice when a write comes short.
    """
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, form, **options)
    return file.getvalue()


def as_rgb(image: Image.Image) -> UInt8:
    """(H,W,3) grey made RGB, 16 bit made 8, transparency laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_to_8_bit(np.asarray(image))[..., None], 3, 2)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.array(image.convert("RGB"))


@contextlib.contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """The image, of which nothing but its size is decoded yet; errors within the block count as faults of the file."""
    try:
        raw = _content(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # max_pixels judges that
            with Image.open(io.BytesIO(raw), formats=FORMATS) as stored:
                if stored.width * stored.height > max_pixels:
                    raise AssetError(f"expected at most {max_pixels / 1e6:.0f} million pixels, found {_size(stored)}")
                if (scans := len(_SCAN.findall(raw))) > MAX_SCANS:
                    raise AssetError(f"expected a JPEG of at most {MAX_SCANS} scans, found {scans}")
                yield stored
    except AssetError as error:
        raise AssetError(f"{path}: {error}") from error
    except Image.DecompressionBombError as error:
        most = f"expected at most {max_pixels / 1e6:.0f} million pixels"
        raise AssetError(f"{path}: {most}, found more ({error})") from error
    except UnidentifiedImageError as error:
        raise AssetError(f"{path}: expected an image ({', '.join(FORMATS)}), found another kind of file") from error
    except Exception as error:  # a damaged file can fail in any way
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise AssetError(f"{path}: expected an image ({', '.join(FORMATS)}), found: {reason}") from error


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise AssetError(f"expected an image, found {'a folder' if path.is_dir() else 'no file'}")
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise AssetError(f"expected an image of at most {MAX_BYTES >> 20} MiB, found more")
    return raw


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """An image in another mode. Pillow would cut 16 bit off at 255; what stays below that is taken for 8 bit."""
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.max(initial=0) > 255:
            return Image.fromarray(_to_8_bit(levels)).convert(mode)
    return image.convert(mode)


def _to_8_bit(grey: NDArray[np.generic]) -> UInt8:
    """Grey levels of 16 bit or of any float range, as 8 bit."""
    if grey.dtype.kind == "f":
        finite = np.nan_to_num(grey.astype(np.float64), posinf=0.0, neginf=0.0)
        spread = float(np.ptp(finite)) or 1.0
        return np.asarray(((finite - finite.min()) / spread * 255).round(), np.uint8)
    return np.asarray(grey.astype(np.int64).clip(0, 65535) // 257, np.uint8)
