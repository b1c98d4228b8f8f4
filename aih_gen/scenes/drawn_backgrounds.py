"""Backgrounds that are drawn: walls, clutter, plain colours, a black studio.

Clutter has wood and skin tones and finger-like rods in it on purpose: a network must not learn that skin colour, or a
round elongated thing, is a hand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from aih_gen.config import sample_rng
from aih_gen.kernels.backgrounds import blend_corners, shade, stretch
from aih_gen.kernels.blur import blurred
from aih_gen.typing import Array, DrawnKind, Float32, Int64, UInt8

Colour = tuple[int, int, int]

_SKIN = np.array([[246, 214, 190], [222, 176, 144], [190, 138, 104], [140, 94, 66], [88, 56, 40]], dtype=np.float64)
_WOOD = np.array([[214, 180, 136], [176, 128, 82], [132, 88, 52], [92, 60, 38], [196, 160, 122]], dtype=np.float64)


def draw_background(kind: DrawnKind, seed: int, size: int) -> UInt8:
    """An image (size,size,3) that depends on (kind, seed, size) alone."""
    return _DRAW[kind](sample_rng(seed, 0), size)


def _random_colour(rng: np.random.Generator) -> Colour:
    """Muted colours most of the time, as rooms have; saturated ones sometimes."""
    value = rng.uniform(25, 240)
    kind = rng.random()
    colourfulness = value * (0.12 if kind < 0.6 else 0.35 if kind < 0.92 else 0.8)
    return _as_colour(value + rng.uniform(-1, 1, 3) * colourfulness)


def _palette_colour(rng: np.random.Generator, palette: Array) -> Colour:
    return _as_colour(palette[rng.integers(len(palette))] * rng.uniform(0.75, 1.1) + rng.normal(0, 8, 3))


def _as_colour(values: Array) -> Colour:
    red, green, blue = (int(min(max(value, 0), 255)) for value in values.tolist())
    return red, green, blue


def _filled(colour: Colour, size: int) -> UInt8:
    line = np.tile(np.array(colour, np.uint8), size)  # NumPy fills rows many times faster than pixels
    return np.full((size, 3 * size), line).reshape(size, size, 3)


def _noise(rng: np.random.Generator, size: int, *layers: tuple[float, int, int]) -> Float32:
    """(size,size) smooth noise: layers of about a deviation, each with so many bumps down and across."""
    noise = np.zeros((size, size), np.float32)
    for deviation, rows, columns in layers:
        coarse = np.float32(deviation) * rng.standard_normal((rows, columns), dtype=np.float32)
        stretch(coarse, *_bicubic(rows, size), *_bicubic(columns, size), noise)
    return noise


@cache
def _bicubic(count: int, size: int) -> tuple[Int64, Float32]:
    """First places (size,) and weights (size,K) of the values that stretch ``count`` of them to ``size``: Pillow's."""
    unit = Image.fromarray(np.eye(count, dtype=np.float32))
    weights = np.asarray(unit.resize((count, size), Image.Resampling.BICUBIC))
    first, last = (weights != 0).argmax(1), count - (weights[:, ::-1] != 0).argmax(1)
    first = np.minimum(first, count - (last - first).max())
    return first, np.take_along_axis(weights, first[:, None] + np.arange((last - first).max()), 1)


def _plain(rng: np.random.Generator, size: int) -> UInt8:
    return _filled(_random_colour(rng), size)


def _black(rng: np.random.Generator, size: int) -> UInt8:
    image = Image.new("RGB", (size, size), _as_colour(np.full(3, rng.uniform(0, 14)) + rng.uniform(0, 5, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 6)):  # the studio's lamps and cameras, far behind
        (column, row), radius = rng.uniform(0, size, 2).tolist(), size * rng.uniform(0.004, 0.02)
        box = (column - radius, row - radius, column + radius, row + radius)
        draw.ellipse(box, fill=_as_colour(np.full(3, rng.uniform(25, 120))))
    return blurred(np.array(image), size / 128)


def _gradient(rng: np.random.Generator, size: int) -> UInt8:
    """A lit wall: four corner colours of one hue, and soft shadows across it."""
    base = np.array(_random_colour(rng), dtype=np.float64)
    corners = base + rng.uniform(-1, 1, (2, 2, 1)) * rng.uniform(10, 60) + rng.normal(0, 6, (2, 2, 3))
    image = np.empty((size, size, 3), np.uint8)
    blend_corners(np.floor(np.clip(corners, 0, 255)).astype(np.float32), _bicubic(2, size)[1], image)
    shade(image, _noise(rng, size, (rng.uniform(0.0, 0.12), 4, 4), (0.015, 96, 96)))
    return image


def _clutter(rng: np.random.Generator, size: int) -> UInt8:
    """A wall or a table, and things on it: boards, boxes, shelves, discs, striped cloth, rods."""
    drawn = Image.fromarray(_surface(rng, size) if rng.random() < 0.5 else _gradient(rng, size))
    draw = ImageDraw.Draw(drawn)
    things = (_box, _shelf, _disc, _stripes, _rod)
    for chosen in rng.choice(len(things), size=int(rng.integers(4, 22)), p=(0.42, 0.12, 0.16, 0.1, 0.2)):
        things[chosen](draw, rng, size)
    image = np.array(drawn)
    shade(image, _noise(rng, size, (0.07, 5, 5), (0.03, 40, 40)))
    return image


def _surface(rng: np.random.Generator, size: int) -> UInt8:
    """Wood grain or woven cloth, across the whole image."""
    if rng.random() < 0.6:
        colour, grain = _palette_colour(rng, _WOOD), _noise(rng, size, (0.12, 3, 60), (0.05, 6, 120))
    else:
        colour, grain = _random_colour(rng), _noise(rng, size, (0.07, 8, 90), (0.07, 90, 8))
    image = _filled(colour, size)
    shade(image, np.ascontiguousarray(np.rot90(grain)) if rng.random() < 0.5 else grain)
    return image


def _thing_colour(rng: np.random.Generator) -> Colour:
    kind = rng.random()
    if kind < 0.15:
        return _palette_colour(rng, _SKIN)
    return _palette_colour(rng, _WOOD) if kind < 0.3 else _random_colour(rng)


def _box(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int) -> None:
    """A rotated rectangle with one side in shadow."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * rng.uniform(0.03, 0.3, 2) * size
    angle = rng.normal(0, 0.4)
    rotated = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    placed = rotated + rng.uniform(-0.1, 1.1, 2) * size
    colour = np.array(_thing_colour(rng), dtype=np.float64)
    depth = rng.uniform(0, 0.12, 2) * size * (1, -1)
    draw.polygon((placed + depth).ravel().tolist(), fill=_as_colour(colour * 0.55))
    draw.polygon(placed.ravel().tolist(), fill=_as_colour(colour))


def _shelf(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int) -> None:
    """A row of books on a board."""
    left, right = np.sort(rng.uniform(-0.1, 1.1, 2)) * size
    bottom, height = rng.uniform(0.1, 1.1) * size, rng.uniform(0.08, 0.25) * size
    column = left
    while column < right:
        width = rng.uniform(0.01, 0.05) * size
        draw.rectangle((column, bottom - height * rng.uniform(0.7, 1), column + width, bottom), fill=_thing_colour(rng))
        column += width
    draw.rectangle((left, bottom, max(right, left + 1), bottom + 0.02 * size), fill=_palette_colour(rng, _WOOD))


def _disc(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int) -> None:
    """A plate, a ball or a lamp: nested ellipses."""
    centre, radii = rng.uniform(0, 1, 2) * size, rng.uniform(0.02, 0.18) * size * rng.uniform(0.6, 1, 2)
    colour = np.array(_thing_colour(rng), dtype=np.float64)
    offset = rng.uniform(-0.25, 0.25, 2) * radii
    for scale, brightness in ((1.0, 0.7), (0.85, 0.9), (0.6, 1.05)):
        middle = centre + offset * (1 - scale)
        box = (*(middle - radii * scale).tolist(), *(middle + radii * scale).tolist())
        draw.ellipse(box, fill=_as_colour(colour * brightness))


def _stripes(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int) -> None:
    """Striped or tiled cloth."""
    left, top = rng.uniform(-0.2, 0.8, 2) * size
    width, height = rng.uniform(0.15, 0.6, 2) * size
    spacing = rng.uniform(0.012, 0.06) * size
    draw.rectangle((left, top, left + width, top + height), fill=_thing_colour(rng))
    colour = _thing_colour(rng)
    thickness = max(1, round(spacing * rng.uniform(0.2, 0.6)))
    for column in np.arange(left, left + width, spacing).tolist():
        draw.line((column, top, column, top + height), fill=colour, width=thickness)
    if rng.random() < 0.5:
        for row in np.arange(top, top + height, spacing).tolist():
            draw.line((left, row, left + width, row), fill=colour, width=thickness)


def _rod(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: int) -> None:
    """A round stick, often the colour of skin, of about a finger's proportions."""
    start, angle = rng.uniform(0, 1, 2) * size, rng.uniform(0, 2 * np.pi)
    end = start + np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.08, 0.5) * size
    radius = rng.uniform(0.012, 0.045) * size
    colour = np.array(_palette_colour(rng, _SKIN if rng.random() < 0.6 else _WOOD), dtype=np.float64)
    for scale, brightness in ((1.0, 0.65), (0.8, 0.85), (0.5, 1.0)):
        fill, reach = _as_colour(colour * brightness), radius * scale
        draw.line((*start.tolist(), *end.tolist()), fill=fill, width=max(1, round(2 * reach)))
        for column, row in (start, end):
            draw.ellipse((column - reach, row - reach, column + reach, row + reach), fill=fill)


_DRAW: dict[DrawnKind, Callable[[np.random.Generator, int], UInt8]] = {
    "clutter": _clutter,
    "gradient": _gradient,
    "plain": _plain,
    "black": _black,
}
