"""The one door through which a photo enters."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from aih_gen.errors import AIHError
from hdr_model.visual import RGB

MIN_SIDE = 16
MAX_PIXELS = 64_000_000
"""Larger photos are refused: what is computed of one takes 50 bytes a pixel."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of what is decoded. Others are programs (PostScript starts Ghostscript) or hardly tried decoders."""
PHOTO_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What counts as a photo in a folder."""


def read_photo(path: Path) -> RGB:
    """A photo as (H,W,3) uint8: turned as its EXIF says, grey made RGB, 16 bit made 8, transparency laid on white.

    Raises:
        AIHError: there is no readable image of at least 16 x 16 pixels and at most ``MAX_PIXELS``.
    """
    if not path.is_file():
        raise AIHError(f"{path}: expected a photo, found {'a folder' if path.is_dir() else 'no file'}")
    try:
        with _open(path) as opened:
            check_size(str(path), *opened.size)
            image = ImageOps.exif_transpose(opened)
            image.load()
    except Image.DecompressionBombError as error:
        most = f"{MAX_PIXELS / 1e6:.0f} million pixels"
        raise AIHError(f"{path}: expected at most {most}; make it smaller first ({error})") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise AIHError(
            f"{path}: expected a photo ({', '.join(FORMATS)}), found {str(error).splitlines()[0]}"
        ) from error
    if min(image.size) < MIN_SIDE:
        found = f"{image.width}x{image.height}"
        raise AIHError(f"{path}: expected a photo of at least {MIN_SIDE}x{MIN_SIDE} pixels, found {found}")
    return _as_rgb(image)


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
            return _as_rgb(ImageOps.exif_transpose(photo))
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
    """Raise AIHError for more than ``MAX_PIXELS``."""
    if width * height > MAX_PIXELS:
        most = f"{MAX_PIXELS / 1e6:.0f} million pixels"
        raise AIHError(f"{where}: expected at most {most}, found {width}x{height}; make it smaller first")


def _open(path: Path) -> Image.Image:
    """The image, of which nothing but its size is read yet; ``check_size`` judges that, not Pillow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=FORMATS)


def _as_rgb(image: Image.Image) -> RGB:
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_to_8_bit(np.asarray(image))[..., None], 3, 2)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.array(image.convert("RGB"))


def _to_8_bit(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey levels of 16 bit or of any float range, as 8 bit."""
    if grey.dtype.kind == "f":
        finite = np.nan_to_num(grey.astype(np.float64), posinf=0.0, neginf=0.0)
        spread = float(np.ptp(finite)) or 1.0
        return np.asarray(((finite - finite.min()) / spread * 255).round(), np.uint8)
    return np.asarray(grey.astype(np.int64).clip(0, 65535) // 257, np.uint8)
