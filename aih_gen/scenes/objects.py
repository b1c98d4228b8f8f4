"""Objects on a table behind the hands: simple solids of everyday size and colour that cover no hand.

Solids are built upright around their own origin, y up, in metres, then set down on the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from aih_gen.scenes.props import prop
from aih_gen.scenes.scene import Camera, Lights, Prop
from aih_gen.scenes.vectors import unit

Array = NDArray[np.float64]

OBJECTS_SHARE = 0.10
"""How often there is a table with objects."""
MOST_OBJECTS, PLACE_TRIES = 5, 10
PITCH = (10.0, 65.0)
"""Degrees by which the camera looks down on the table."""
GAP = (0.02, 0.12)
"""Metres from the lowest point of a hand down to the table."""
LEAST_HEIGHT = 0.08
"""Metres from the table up to the camera."""
FARTHEST = 1.5
"""Metres from the hands to where objects stand."""
AROUND = 28
"""Corners of what is round."""
CELLS = 256
"""Side of the table's picture."""


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of a solid, of one colour."""

    vertices: Array  # (V,3) m
    faces: NDArray[np.int64]  # (F,3)
    albedo: Array  # (3,)
    roughness: float

    def moved(self, turn: Array, shift: Array) -> Part:
        """The part turned by ``turn`` (3,3), then moved."""
        return replace(self, vertices=self.vertices @ turn.T + shift)


Solid = list[Part]


def _lathe(profile: list[tuple[float, float]], albedo: Array, roughness: float = 0.5, smooth: bool = False) -> Part:
    """A profile of radii and heights turned about y; every straight piece is a surface of its own unless ``smooth``."""
    angles = 2 * np.pi * np.arange(AROUND) / AROUND
    circle = np.stack([np.cos(angles), np.zeros(AROUND), np.sin(angles)], 1)
    pieces = [profile] if smooth else [[a, b] for a, b in zip(profile[:-1], profile[1:], strict=True)]
    vertices, faces = [], []
    for piece in pieces:
        for k, (radius, height) in enumerate(piece):
            if k:
                low = AROUND * (len(vertices) - 1) + np.arange(AROUND)
                after = np.roll(low, -1)
                faces += [np.stack([low, low + AROUND, after], 1), np.stack([after, low + AROUND, after + AROUND], 1)]
            vertices.append(radius * circle + [0, height, 0])
    return Part(np.concatenate(vertices), np.concatenate(faces), albedo, roughness)


def _box(size: tuple[float, float, float], albedo: Array, roughness: float = 0.5, top: Array | None = None) -> Solid:
    """A box that stands on y = 0, its upper face in a colour of its own if there is one."""
    solid = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            square = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])[:: int(sign)]
            corners = np.insert(square, axis, sign, 1)
            if axis == 1:
                corners = corners[::-1]
            colour = top if axis == 1 and sign > 0 and top is not None else albedo
            vertices = (corners + [0, 1, 0]) * np.array(size) / 2
            solid.append(Part(vertices, np.array([[0, 1, 2], [0, 2, 3]]), colour, roughness))
    return solid


def _lying(solid: Solid, radius: float) -> Solid:
    """What was upright, on its side."""
    turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    return [part.moved(turn, np.array([0, radius, 0])) for part in solid]


def _colour(rng: np.random.Generator) -> Array:
    """Dark, pale and grey things mostly, coloured ones often enough."""
    grey = rng.choice([0.02, 0.08, 0.3, 0.65])
    hue = rng.uniform(-1, 1, 3) * rng.choice([0.1, 0.9]) * grey
    return np.clip(grey * rng.uniform(0.7, 1.3) + hue, 0.01, 0.85)


_STEEL, _PAPER, _BLACK = np.array([0.45, 0.45, 0.47]), np.array([0.75, 0.72, 0.64]), np.array([0.012, 0.012, 0.015])
_WOODS = np.array([[0.35, 0.2, 0.09], [0.2, 0.1, 0.045], [0.5, 0.34, 0.18], [0.07, 0.035, 0.02]])


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
    shape = [(0.0, 0.0), (r, 0.0), (r, 0.55 * h), (0.95 * r, 0.62 * h), (0.6 * r, 0.74 * h), (neck, 0.82 * h), (neck, h)]
    band = [(1.01 * r, 0.15 * h), (1.01 * r, 0.45 * h)]
    lid = [(neck * 1.2, 0.92 * h), (neck * 1.2, h * 1.01), (0.0, h * 1.01)]
    return [_lathe(shape, body, 0.25, smooth=True), _lathe(band, label, 0.6), _lathe(lid, cap, 0.4)]


def _can(rng: np.random.Generator) -> Solid:
    r, h = 0.033, rng.uniform(0.1, 0.16)
    wall = [(0.0, 0.0), (0.8 * r, 0.0), (r, 0.07 * h), (r, 0.93 * h)]
    return [_lathe(wall, _colour(rng), 0.35), _lathe([(r, 0.93 * h), (0.82 * r, h), (0.0, 0.98 * h)], _STEEL, 0.3)]


def _ball(rng: np.random.Generator) -> Solid:
    colours = np.array([[0.55, 0.7, 0.08], [0.7, 0.25, 0.03], [0.6, 0.05, 0.04], [0.75, 0.75, 0.72], [0.05, 0.15, 0.5]])
    r, colour = rng.choice([0.02, 0.034, 0.04, 0.06, 0.1]), colours[int(rng.integers(len(colours)))]
    turn = np.linspace(-np.pi / 2, np.pi / 2, 15)
    profile = [(float(r * np.cos(a)), float(r + r * np.sin(a))) for a in turn]
    return [_lathe(profile, colour * rng.uniform(0.8, 1.1), rng.uniform(0.3, 0.9), smooth=True)]


def _apple(rng: np.random.Generator) -> Solid:
    r, turn = rng.uniform(0.034, 0.042), np.linspace(-np.pi / 2, np.pi / 2, 15)
    profile = [(float(r * np.cos(a)), float(r * (0.9 + 0.9 * np.sin(a)) - 0.012 * max(np.sin(a), 0) ** 8)) for a in turn]
    colour = np.array([[0.45, 0.03, 0.02], [0.3, 0.42, 0.05], [0.6, 0.4, 0.05]])[int(rng.integers(3))]
    stalk = _lathe([(0.0015, 1.5 * r), (0.002, 2.0 * r), (0.0, 2.0 * r)], _WOODS[3])
    return [_lathe(profile, colour, 0.4, smooth=True), stalk]


def _phone(rng: np.random.Generator) -> Solid:
    screen = _BLACK if rng.random() < 0.6 else rng.uniform(0.1, 0.7, 3)
    frame = _BLACK if rng.random() < 0.5 else _STEEL
    wide, long = rng.uniform(0.066, 0.078), rng.uniform(0.14, 0.165)
    glass = [part.moved(np.eye(3), np.array([0, 0.008, 0])) for part in _box((0.92 * wide, 0.0004, 0.94 * long), screen, 0.22)]
    return [*_box((wide, 0.008, long), frame, 0.35), *glass]


def _book(rng: np.random.Generator) -> Solid:
    wide, thick, long, cover = rng.uniform(0.11, 0.19), rng.uniform(0.012, 0.045), rng.uniform(0.17, 0.26), _colour(rng)
    pages = [part.moved(np.eye(3), np.array([0, 0.002, 0])) for part in _box((wide - 0.006, thick, long - 0.008), _PAPER, 0.9)]
    lower, upper = _box((wide, 0.002, long), cover, 0.6), _box((wide, 0.002, long), cover, 0.6)
    spine = [part.moved(np.eye(3), np.array([-wide / 2, 0, 0])) for part in _box((0.003, thick + 0.004, long), cover, 0.6)]
    return [*pages, *lower, *spine, *(part.moved(np.eye(3), np.array([0, thick + 0.002, 0])) for part in upper)]


def _carton(rng: np.random.Generator) -> Solid:
    size = (float(rng.uniform(0.05, 0.2)), float(rng.uniform(0.04, 0.2)), float(rng.uniform(0.05, 0.2)))
    return _box(size, np.array([0.42, 0.28, 0.15]) if rng.random() < 0.5 else _colour(rng), 0.8)


def _plate(rng: np.random.Generator) -> Solid:
    r = rng.uniform(0.08, 0.13)
    return [_lathe([(0.0, 0.003), (0.6 * r, 0.0), (r, 0.018), (0.98 * r, 0.021), (0.62 * r, 0.006), (0.0, 0.006)], _colour(rng), 0.35)]


def _pen(rng: np.random.Generator) -> Solid:
    r, long = rng.uniform(0.0035, 0.006), rng.uniform(0.13, 0.17)
    tip = _lathe([(r, 0.9 * long), (0.15 * r, long), (0.0, long)], _WOODS[2] if rng.random() < 0.5 else _STEEL)
    return _lying([_lathe([(0.0, 0.0), (r, 0.0), (r, 0.9 * long)], _colour(rng), 0.35), tip], r)


def _screwdriver(rng: np.random.Generator) -> Solid:
    r = rng.uniform(0.012, 0.017)
    colour = np.array([[0.6, 0.05, 0.03], [0.7, 0.45, 0.02], [0.03, 0.1, 0.4], [0.02, 0.02, 0.02]])[int(rng.integers(4))]
    grip = [(0.0, 0.0), (0.8 * r, 0.0), (r, 0.015), (0.8 * r, 0.045), (r, 0.085), (0.4 * r, 0.105)]
    return _lying([_lathe(grip, colour, 0.4, smooth=True), _lathe([(0.003, 0.1), (0.003, 0.22), (0.0, 0.22)], _STEEL, 0.3)], r)


def _hammer(rng: np.random.Generator) -> Solid:
    wood = _WOODS[int(rng.integers(len(_WOODS)))]
    long = rng.uniform(0.22, 0.32)
    head = [part.moved(np.eye(3), np.array([long - 0.03, 0, 0])) for part in _box((0.028, 0.026, 0.11), 0.3 * _STEEL, 0.35)]
    return [*_lying([_lathe([(0.0, 0.0), (0.013, 0.0), (0.011, long), (0.0, long)], wood, 0.6)], 0.013), *head]


def _remote(rng: np.random.Generator) -> Solid:
    body = _box((0.045, 0.018, float(rng.uniform(0.13, 0.19))), _BLACK * rng.uniform(1, 6), 0.5)
    return body


SOLIDS: dict[str, Callable[[np.random.Generator], Solid]] = {
    "cup": _cup, "bottle": _bottle, "can": _can, "ball": _ball, "apple": _apple, "phone": _phone, "book": _book,
    "carton": _carton, "plate": _plate, "pen": _pen, "screwdriver": _screwdriver, "hammer": _hammer, "remote": _remote,
}  # fmt: skip
"""What may stand or lie on a table, each as often as the others."""


def sample_objects(
    rng: np.random.Generator, hands: Array, arms: Array, camera: Camera, lights: Lights
) -> tuple[Prop, ...]:
    """A table and objects on it. ``hands`` and ``arms`` (P,3) are points of their surfaces in camera space; nothing
    where the camera would see the table from below, or where no object finds a place.
    """  # fmt: skip
    axes = _table_axes(rng)
    height = float((hands @ axes[1]).min() - rng.uniform(*GAP))
    if height > -LEAST_HEIGHT:
        return ()
    everything = np.concatenate([hands, arms])
    placed: list[tuple[Solid, Array, float]] = []
    for _ in range(int(rng.integers(1, MOST_OBJECTS + 1))):
        found = _placed(rng, axes, height, everything, camera, placed)
        placed += [found] if found else []
    if not placed:
        return ()
    things = [
        prop(part.vertices, part.faces, part.albedo, part.roughness) for solid, _, _ in placed for part in solid
    ]
    return (_table(rng, axes, height, [(where, radius) for _, where, radius in placed], hands, lights), *things)


def _table_axes(rng: np.random.Generator) -> Array:
    """(3,3) rows in camera space: along one side of the table, up, along the other side."""
    pitch, roll, yaw = np.radians([rng.uniform(*PITCH), rng.normal(0, 4), rng.normal(0, 30)])
    up = np.array([np.sin(roll) * np.cos(pitch), -np.cos(roll) * np.cos(pitch), -np.sin(pitch)])
    right = unit(np.cross(up, [0.0, 0, 1]))
    forward = np.cross(right, up)
    along = np.cos(yaw) * right + np.sin(yaw) * forward
    return np.stack([along, up, np.cross(along, up)])


def _placed(
    rng: np.random.Generator,
    axes: Array,
    height: float,
    hands: Array,
    camera: Camera,
    placed: list[tuple[Solid, Array, float]],
) -> tuple[Solid, Array, float] | None:
    """A solid somewhere on the table in the picture, before no hand and in no other solid; its place and radius."""
    names = list(SOLIDS)
    solid = SOLIDS[names[int(rng.integers(len(names)))]](rng)
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    spun = [part.moved(np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]), np.zeros(3)) for part in solid]
    radius = max(float(np.hypot(part.vertices[:, 0], part.vertices[:, 2]).max()) for part in spun)
    matrix = camera.matrix.astype(np.float64)
    for _ in range(PLACE_TRIES):
        ray = np.linalg.solve(matrix, [*rng.uniform(-0.1, 1.1, 2) * camera.size, 1.0])
        slope = float(ray @ axes[1])
        if slope == 0 or not 0.1 < height / slope < hands[:, 2].max() + FARTHEST:
            continue
        where = height / slope * ray
        there = [part.moved(axes.T, where) for part in spun]
        points = np.concatenate([part.vertices for part in there])
        if _behind(points, hands, matrix) and all(
            np.linalg.norm(where - other) > radius + its for _, other, its in placed
        ):
            return there, where, radius
    return None


def _behind(points: Array, hands: Array, matrix: Array) -> bool:
    """Whether ``points`` (P,3) are before the camera, and no hand lies behind them in the picture."""
    if points[:, 2].min() < 0.1:
        return False
    own, theirs = (found[:, :2] / found[:, 2:] for found in (points @ matrix.T, hands @ matrix.T))
    room = 0.1 * np.ptp(own, axis=0).max()
    within = ((theirs > own.min(0) - room) & (theirs < own.max(0) + room)).all(1)
    return not within.any() or bool(hands[within, 2].max() < points[:, 2].min())


def _table(
    rng: np.random.Generator, axes: Array, height: float, placed: list[tuple[Array, float]], hands: Array, lights: Lights
) -> Prop:
    """A rectangle under the objects, with the shadows they throw on it painted on."""
    flat = axes[[0, 2]]
    places = np.array([where for where, _ in placed]) @ flat.T
    middle = (hands.mean(0) @ flat.T + places.mean(0)) / 2
    sides = np.array([rng.uniform(0.45, 0.9), rng.uniform(0.35, 0.6)])
    sides = np.maximum(sides, np.abs(places - middle).max(0) + 0.12)
    corners = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    vertices = (middle + sides * corners) @ flat + height * axes[1]
    plain = rng.choice([0.03, 0.15, 0.4, 0.7]) * rng.uniform(0.85, 1.15, 3)
    albedo = _WOODS[int(rng.integers(len(_WOODS)))] * rng.uniform(0.7, 1.3) if rng.random() < 0.6 else plain
    made = prop(vertices, np.array([[0, 3, 1], [1, 3, 2]]), np.clip(albedo, 0.01, 0.8), rng.uniform(0.35, 0.8))
    lamp = lights.directions[0].astype(np.float64)
    away = -(flat @ lamp) / max(float(axes[1] @ lamp), 0.4)
    picture = _grain(rng) * _shadows((places - middle) / sides, [radius for _, radius in placed], sides, away)
    shown = np.rint(255 * np.sqrt(np.clip(picture, 0, 1))).astype(np.uint8)
    half = 0.5 / CELLS  # the picture tiles: the table's border stays inside it
    return replace(
        made,
        picture=np.repeat(shown[..., None], 3, 2),
        places=((corners + 1) / 2 * (1 - 2 * half) + half).astype(np.float32),
    )


def _grain(rng: np.random.Generator) -> Array:
    """(C,C) wood, stone or a plain top."""
    stretch = (rng.uniform(0.6, 1.2), rng.uniform(6, 30)) if rng.random() < 0.6 else (1.5, 1.5)
    noise = gaussian_filter(rng.standard_normal((CELLS, CELLS)), stretch)
    return np.asarray(0.85 + rng.uniform(0, 0.12) * noise / noise.std())


def _shadows(places: Array, radii: list[float], sides: Array, away: Array) -> Array:
    """(C,C) what a soft shadow under and beside each object leaves of the light; ``places`` from -1 to 1."""
    row, column = (np.indices((CELLS, CELLS)) + 0.5) / CELLS * 2 - 1
    left = np.ones((CELLS, CELLS))
    for place, radius in zip(places, radii, strict=True):
        for step, strength, spread in ((0.0, 0.55, 1.15), (0.7, 0.35, 1.3)):
            x, y = ((axis - at) * side for axis, at, side in zip((column, row), place, sides, strict=True))
            shift = step * radius * away
            distance = np.hypot(x - shift[0], y - shift[1]) / (spread * radius)
            left *= 1 - strength * np.exp(-(distance**4))
    return left
