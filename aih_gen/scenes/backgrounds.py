"""Backgrounds: views of real places, or drawn walls, clutter and studios."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from aih_gen.assets import asset_path
from aih_gen.errors import AssetError
from aih_gen.io.images import SUFFIXES, images_in, read_image, tell_unread
from aih_gen.kernels.backgrounds import double, view
from aih_gen.kernels.blur import blurred
from aih_gen.scenes.drawn_backgrounds import draw_background
from aih_gen.typing import BackgroundKind, UInt8

SHARES: dict[BackgroundKind, float] = {"photo": 0.55, "clutter": 0.22, "gradient": 0.11, "plain": 0.04, "black": 0.08}
"""Share of each kind. Black is InterHand2.6M's studio."""

_KINDS, _CUMULATIVE = tuple(SHARES), np.cumsum(list(SHARES.values()))

OUTDOORS = ("city", "forest", "park", "sky", "sunrise", "sunset", "venice")
"""Shipped photographs that daylight suits; of a user's own, all do."""

_MIN_SIDE = 128
_MAX_SHORTER_SIDE = 640  # photographs are kept in memory with their shorter side no longer than this
_MAX_CACHED_PHOTOS = 128
_COARSE = 1.5  # radius of blur, in pixels, beyond which images of half the size hold all that is left to see


@dataclass(frozen=True)
class Background:
    """Plain data; with the library it was sampled from, it determines every pixel."""

    kind: BackgroundKind
    photo: str | None = None
    """Name in the library; None where the background is drawn."""
    seed: int = 0
    """Determines a drawn background."""
    zoom: float = 1.0
    """Side of the square shown / side of the largest square of this rotation inside the photograph."""
    centre: tuple[float, float] = (0.5, 0.5)
    """Column and row of that square: 0 at one border of the photograph, 1 at the other."""
    rotation: float = 0.0
    """Degrees."""
    flip: bool = False
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Brightness and white balance: each channel is multiplied by this."""
    blur: float = 0.0
    """Radius in image sides: a lens focused on the hands."""


class Photographs(Protocol):
    """Photographs by name."""

    def photo(self, name: str) -> UInt8:
        """One of them (H,W,3), upright; not to be changed by the caller."""
        ...


class Backgrounds(Photographs, Protocol):
    """A source of backgrounds, opened by the table ``scenes.sampler.BACKGROUNDS``."""

    @property
    def name(self) -> str:
        """The source, for the data set's configuration."""
        ...

    @property
    def fixed(self) -> bool:
        """True where a background belongs to a recorded pose: it keeps its place, light and contents."""
        ...

    @property
    def outdoors(self) -> Sequence[str]:
        """Names of the photographs that daylight suits."""
        ...

    def sample(self, rng: np.random.Generator, row: int | None) -> Background:
        """One background; ``row`` is the position of the photo that the pose was fitted to, None if it was sampled."""
        ...

    def digest(self) -> str:
        """Hash of all that can change a background."""
        ...


class BackgroundLibrary:
    """The photographs of a folder, or the ``shipped`` ones; decoded when first needed.

    Args:
        source: ``shipped``, or the path of a folder with images (subfolders included).

    Raises:
        AssetError: the folder is missing or holds no photograph.
    """

    fixed = False

    def __init__(self, source: str | Path = "shipped") -> None:
        self.name = str(source)
        self.folder = asset_path("backgrounds") if self.name == "shipped" else Path(source)
        if not self.folder.is_dir():
            raise AssetError(f"{self.folder}: expected a folder of photographs, found no folder there")
        files, unread = images_in(self.folder, below=True)
        tell_unread(self.folder, tuple(unread))
        self.photos = tuple(sorted(path.relative_to(self.folder).as_posix() for path in files))
        if not self.photos:
            raise AssetError(f"{self.folder}: expected photographs ({', '.join(SUFFIXES)}), found none")
        self.outdoors = [name for name in self.photos if name.startswith(OUTDOORS) or self.name != "shipped"]
        self._decoded: dict[str, UInt8] = {}
        self._digest: str | None = None

    def sample(self, rng: np.random.Generator, row: int | None = None) -> Background:
        """One background; the kinds come in the proportions of ``SHARES``."""
        kind = _KINDS[int(_CUMULATIVE.searchsorted(_CUMULATIVE[-1] * rng.random(), side="right"))]
        index = int(rng.integers(len(self.photos)))
        brightness = float(np.exp(rng.normal(0.0, 0.18)))
        balance = np.exp(rng.normal(0.0, 0.04, 3))
        red, green, blue = (float(channel) for channel in brightness * balance)
        return Background(
            kind=kind,
            photo=self.photos[index] if kind == "photo" else None,
            seed=int(rng.integers(2**32)),
            zoom=float(rng.uniform(0.6, 1.0)),
            centre=(float(rng.random()), float(rng.random())),
            rotation=min(max(rng.normal(0.0, 5.0), -12.0), 12.0),
            flip=bool(rng.random() < 0.5),
            gain=(red, green, blue),
            blur=float(min(rng.exponential(0.005), 0.02)) if kind in ("photo", "clutter") else 0.0,
        )

    def photo(self, name: str) -> UInt8:
        """One photograph (H,W,3), upright, its shorter side at most 640 pixels; not to be changed by the caller.

        Raises:
            AssetError: it is missing, unreadable or smaller than 128 pixels on a side.
        """
        if name not in self._decoded:
            if len(self._decoded) >= _MAX_CACHED_PHOTOS:
                self._decoded.pop(next(iter(self._decoded)))
            self._decoded[name] = _read_photo(self.folder / name)
        return self._decoded[name]

    def digest(self) -> str:
        """sha256 (hexadecimal) over every photograph's name and bytes: two libraries with one digest are the same.

        Raises:
            AssetError: a file cannot be read.
        """
        if self._digest is None:
            total = hashlib.sha256()
            for name in self.photos:
                path = self.folder / name
                try:
                    total.update(os.fsencode(name) + b"\0" + hashlib.sha256(path.read_bytes()).digest())
                except OSError as error:
                    raise AssetError(f"{path}: expected a readable photograph, found: {error.strerror}") from error
            self._digest = total.hexdigest()
        return self._digest


def _read_photo(path: Path) -> UInt8:
    image = read_image(path, "RGB", draft=2 * _MAX_SHORTER_SIDE)
    shorter = min(image.size)
    if shorter < _MIN_SIDE:
        raise AssetError(
            f"{path}: expected a photograph of at least {_MIN_SIDE} pixels a side, found {image.width}x{image.height}"
        )
    if shorter > _MAX_SHORTER_SIDE:
        ratio = _MAX_SHORTER_SIDE / shorter
        image = image.resize((round(image.width * ratio), round(image.height * ratio)), Image.Resampling.LANCZOS)
    return np.array(image)


def background_image(background: Background, library: Photographs, size: int) -> UInt8:
    """The pixels of a background: (size,size,3) uint8.

    Raises:
        AssetError: its photograph is missing or unreadable.
    """
    blur = background.blur * size
    coarse = blur > _COARSE
    if coarse:
        size, blur = size // 2, blur / 2
    if background.kind == "photo":
        if background.photo is None:
            raise ValueError("a background of kind photo names a photograph, found None")
        sharp = _view(library.photo(background.photo), background, size)
    else:
        sharp = draw_background(background.kind, background.seed, size)
    image = blurred(sharp, blur if blur > 0.3 else 0.0, background.gain)
    if not coarse:
        return image
    doubled = np.empty((2 * size, 2 * size, 3), np.uint8)
    double(image, doubled)
    return doubled


def _view(photo: UInt8, background: Background, size: int) -> UInt8:
    """The square of the photograph that is shown, at the size it is needed."""
    angle = np.radians(background.rotation)
    cosine, sine = np.cos(angle), np.sin(angle)
    extent = abs(cosine) + abs(sine)  # side of the upright box around a rotated unit square
    lengths = photo.shape[1::-1]
    side = background.zoom * min(lengths) / extent
    column, row = (
        side * extent / 2 + fraction * (length - side * extent)
        for fraction, length in zip(background.centre, lengths, strict=True)
    )
    reduction = max(1, int(side // size))  # bilinear sampling alone would alias
    if reduction > 1:
        photo = np.array(Image.fromarray(photo).reduce(reduction))
    step = side / size / reduction
    turn = step * np.array([[cosine, -sine], [sine, cosine]]) * (-1.0 if background.flip else 1.0, 1.0)
    middle = np.array([column, row]) / reduction - 0.5  # pixels have their centres at whole numbers
    affine = np.column_stack([turn, middle - turn.sum(1) * (size - 1) / 2])
    image = np.empty((size, size, 3), np.uint8)
    view(np.ascontiguousarray(photo), affine, image)
    return image
