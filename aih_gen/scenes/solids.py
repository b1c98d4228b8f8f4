"""Simple solids of everyday size and colour, built upright around their own origin: y up, metres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from aih_gen.typing import Array, Int64

AROUND = 28
"""Corners of what is round."""


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of a solid, of one colour."""

    vertices: Array  # (V,3) m
    faces: Int64  # (F,3)
    albedo: Array  # (3,)
    roughness: float

    def moved(self, rotation: Array, shift: Array) -> Part:
        """The part rotated by ``rotation`` (3,3), then moved."""
        return replace(self, vertices=self.vertices @ rotation.T + shift)


Solid = list[Part]


def _lathe(profile: list[tuple[float, float]], albedo: Array, roughness: float = 0.5, smooth: bool = False) -> Part:
    """A profile of radii and heights turned about y; every straight piece is a surface of its own unless ``smooth``."""
    angles = 2 * np.pi * np.arange(AROUND) / AROUND
    circle = np.stack([np.cos(angles), np.zeros(AROUND), np.sin(angles)], 1)
    pieces = [profile] if smooth else [[a, b] for a, b in pairwise(profile)]
    vertices: list[Array] = []
    faces: list[Int64] = []
    for piece in pieces:
        for k, (radius, height) in enumerate(piece):
            if k:
                low = AROUND * (len(vertices) - 1) + np.arange(AROUND)
                after = np.roll(low, -1)
                faces += [np.stack([low, low + AROUND, after], 1), np.stack([after, low + AROUND, after + AROUND], 1)]
            vertices.append(radius * circle + [0, height, 0])
    return Part(np.concatenate(vertices), np.concatenate(faces), albedo, roughness)


def _box(size: tuple[float, float, float], albedo: Array, roughness: float = 0.5, height: float = 0.0) -> Solid:
    """A box whose lowest points are at ``height``."""
    solid = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            square = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])[:: int(sign if axis != 1 else -sign)]
            vertices = np.insert(square, axis, sign, 1) * np.array(size) / 2 + np.array([0, size[1] / 2 + height, 0])
            solid.append(Part(vertices, np.array([[0, 1, 2], [0, 2, 3]]), albedo, roughness))
    return solid


def _moved(solid: Solid, x: float) -> Solid:
    return [part.moved(np.eye(3), np.array([x, 0, 0])) for part in solid]


def _lying(solid: Solid, radius: float) -> Solid:
    """An upright solid laid on its side."""
    rotation = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    return [part.moved(rotation, np.array([0, radius, 0])) for part in solid]


def _colour(rng: np.random.Generator) -> Array:
    """Dark, pale and grey things mostly, coloured ones often enough."""
    grey = rng.choice([0.02, 0.08, 0.3, 0.65])
    hue = rng.uniform(-1, 1, 3) * rng.choice([0.1, 0.9]) * grey
    return np.clip(grey * rng.uniform(0.7, 1.3) + hue, 0.01, 0.85)


_STEEL, _PAPER, _BLACK = np.array([0.45, 0.45, 0.47]), np.array([0.75, 0.72, 0.64]), np.array([0.012, 0.012, 0.015])
WOODS = np.array([[0.35, 0.2, 0.09], [0.2, 0.1, 0.045], [0.5, 0.34, 0.18], [0.07, 0.035, 0.02]])


def _cup(rng: np.random.Generator) -> Solid:
    radius, height, colour = rng.uniform(0.035, 0.046), rng.uniform(0.075, 0.11), _colour(rng)
    inner, foot = radius - 0.003, radius * rng.uniform(0.7, 1.0)
    walls = [(0.0, 0.0), (foot, 0.0), (radius, 0.3 * height), (radius, height), (inner, height), (inner, 0.75 * height)]
    drink = rng.choice([0.02, 0.6]) * np.array([1.0, 0.6, 0.35])
    solid = [_lathe(walls, colour, 0.35), _lathe([(inner, 0.75 * height), (0.0, 0.75 * height)], drink, 0.3)]
    return [*solid, _handle(radius, height, colour)] if rng.random() < 0.7 else solid


def _handle(radius: float, height: float, albedo: Array) -> Part:
    """Half a ring beside a cup."""
    along, around = np.linspace(-np.pi / 2, np.pi / 2, 9), 2 * np.pi * np.arange(8) / 8
    a, b = np.meshgrid(along, around, indexing="ij")
    bow, thick = 0.28 * height, 0.005
    x = radius - 0.003 + (bow + thick * np.cos(b)) * np.cos(a)
    y = 0.52 * height + (bow + thick * np.cos(b)) * np.sin(a)
    vertices = np.stack([x, y, thick * np.sin(b)], -1).reshape(-1, 3)
    first = (8 * np.arange(8)[:, None] + np.arange(8)).ravel()
    after = (8 * np.arange(8)[:, None] + (np.arange(8) + 1) % 8).ravel()
    faces = np.concatenate([np.stack([first, first + 8, after], 1), np.stack([after, first + 8, after + 8], 1)])
    return Part(vertices, faces, albedo, 0.35)


def _bottle(rng: np.random.Generator) -> Solid:
    r, h = rng.uniform(0.03, 0.042), rng.uniform(0.19, 0.28)
    body, cap = _colour(rng), _colour(rng)
    neck, label = rng.uniform(0.011, 0.015), _colour(rng)
    shoulder = [(r, 0.55 * h), (0.95 * r, 0.62 * h), (0.6 * r, 0.74 * h), (neck, 0.82 * h), (neck, h)]
    band = [(1.01 * r, 0.15 * h), (1.01 * r, 0.45 * h)]
    lid = [(neck * 1.2, 0.92 * h), (neck * 1.2, h * 1.01), (0.0, h * 1.01)]
    return [
        _lathe([(0.0, 0.0), (r, 0.0)], body),
        _lathe([(r, 0.0), *shoulder], body, 0.25, smooth=True),
        _lathe(band, label, 0.6),
        _lathe(lid, cap, 0.4),
    ]


def _can(rng: np.random.Generator) -> Solid:
    r, h = 0.033, rng.uniform(0.1, 0.16)
    wall = [(0.0, 0.0), (0.8 * r, 0.0), (r, 0.07 * h), (r, 0.93 * h)]
    return [_lathe(wall, _colour(rng), 0.35), _lathe([(r, 0.93 * h), (0.82 * r, h), (0.0, 0.98 * h)], _STEEL, 0.3)]


def _ball(rng: np.random.Generator) -> Solid:
    colours = np.array([[0.55, 0.7, 0.08], [0.7, 0.25, 0.03], [0.6, 0.05, 0.04], [0.75, 0.75, 0.72], [0.05, 0.15, 0.5]])
    r, colour = rng.choice([0.02, 0.034, 0.04, 0.06, 0.1]), colours[int(rng.integers(len(colours)))]
    angle = np.linspace(-np.pi / 2, np.pi / 2, 15)
    profile = [(float(r * np.cos(a)), float(r + r * np.sin(a))) for a in angle]
    return [_lathe(profile, colour * rng.uniform(0.8, 1.1), rng.uniform(0.3, 0.9), smooth=True)]


def _apple(rng: np.random.Generator) -> Solid:
    r, angle = rng.uniform(0.034, 0.042), np.linspace(-np.pi / 2, np.pi / 2, 15)
    heights = r * (0.9 + 0.9 * np.sin(angle)) - 0.012 * np.maximum(np.sin(angle), 0) ** 8
    profile = list(zip((r * np.cos(angle)).tolist(), heights.tolist(), strict=True))
    colour = np.array([[0.45, 0.03, 0.02], [0.3, 0.42, 0.05], [0.6, 0.4, 0.05]])[int(rng.integers(3))]
    stalk = _lathe([(0.0015, 1.5 * r), (0.002, 2.0 * r), (0.0, 2.0 * r)], WOODS[3])
    return [_lathe(profile, colour, 0.4, smooth=True), stalk]


def _phone(rng: np.random.Generator) -> Solid:
    screen = _BLACK if rng.random() < 0.6 else rng.uniform(0.1, 0.7, 3)
    frame = _BLACK if rng.random() < 0.5 else _STEEL
    wide, long = rng.uniform(0.066, 0.078), rng.uniform(0.14, 0.165)
    return [*_box((wide, 0.008, long), frame, 0.35), *_box((0.92 * wide, 0.0004, 0.94 * long), screen, 0.22, 0.008)]


def _book(rng: np.random.Generator) -> Solid:
    wide, thick, long = rng.uniform(0.11, 0.19), rng.uniform(0.012, 0.045), rng.uniform(0.17, 0.26)
    cover = _colour(rng)
    spine = _moved(_box((0.003, thick + 0.004, long), cover, 0.6), -wide / 2)
    covers = _box((wide, 0.002, long), cover, 0.6) + _box((wide, 0.002, long), cover, 0.6, thick + 0.002)
    return [*_box((wide - 0.006, thick, long - 0.008), _PAPER, 0.9, 0.002), *covers, *spine]


def _carton(rng: np.random.Generator) -> Solid:
    size = (float(rng.uniform(0.05, 0.2)), float(rng.uniform(0.04, 0.2)), float(rng.uniform(0.05, 0.2)))
    return _box(size, np.array([0.42, 0.28, 0.15]) if rng.random() < 0.5 else _colour(rng), 0.8)


def _plate(rng: np.random.Generator) -> Solid:
    r = rng.uniform(0.08, 0.13)
    below = [(0.0, 0.0), (0.6 * r, 0.0), (r, 0.018)]
    return [_lathe([*below, (0.98 * r, 0.021), (0.62 * r, 0.006), (0.0, 0.006)], _colour(rng), 0.35)]


def _pen(rng: np.random.Generator) -> Solid:
    r, long = rng.uniform(0.0035, 0.006), rng.uniform(0.13, 0.17)
    tip = _lathe([(r, 0.9 * long), (0.15 * r, long), (0.0, long)], WOODS[2] if rng.random() < 0.5 else _STEEL)
    return _lying([_lathe([(0.0, 0.0), (r, 0.0), (r, 0.9 * long)], _colour(rng), 0.35), tip], r)


def _screwdriver(rng: np.random.Generator) -> Solid:
    r = rng.uniform(0.012, 0.017)
    colours = np.array([[0.6, 0.05, 0.03], [0.7, 0.45, 0.02], [0.03, 0.1, 0.4], [0.02, 0.02, 0.02]])
    colour = colours[int(rng.integers(len(colours)))]
    grip = [(0.0, 0.0), (0.8 * r, 0.0), (r, 0.015), (0.8 * r, 0.045), (r, 0.085), (0.4 * r, 0.105)]
    shaft = _lathe([(0.003, 0.1), (0.003, 0.22), (0.0, 0.22)], _STEEL, 0.3)
    return _lying([_lathe(grip, colour, 0.4, smooth=True), shaft], r)


def _hammer(rng: np.random.Generator) -> Solid:
    wood = WOODS[int(rng.integers(len(WOODS)))]
    long = rng.uniform(0.22, 0.32)
    head = _moved(_box((0.028, 0.026, 0.11), 0.3 * _STEEL, 0.35), long - 0.03)
    return [*_lying([_lathe([(0.0, 0.0), (0.013, 0.0), (0.011, long), (0.0, long)], wood, 0.6)], 0.013), *head]


def _remote(rng: np.random.Generator) -> Solid:
    return _box((0.045, 0.018, float(rng.uniform(0.13, 0.19))), _BLACK * rng.uniform(1, 6), 0.5)


SOLIDS: dict[str, Callable[[np.random.Generator], Solid]] = {
    "cup": _cup, "bottle": _bottle, "can": _can, "ball": _ball, "apple": _apple, "phone": _phone, "book": _book,
    "carton": _carton, "plate": _plate, "pen": _pen, "screwdriver": _screwdriver, "hammer": _hammer, "remote": _remote,
}  # fmt: skip
"""Objects on a table, each as often as the others."""
