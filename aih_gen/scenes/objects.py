"""A table behind the hands, with objects on it that cover no hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from aih_gen.scenes.props import prop
from aih_gen.scenes.scene import Camera, Lights, Prop
from aih_gen.scenes.solids import SOLIDS, WOODS, Solid
from aih_gen.scenes.vectors import unit
from aih_gen.typing import Array

OBJECTS_SHARE = 0.10
"""Share of scenes with a table and objects."""
MAX_OBJECTS, PLACE_TRIES = 5, 10
PITCH = (10.0, 65.0)
"""Degrees by which the camera looks down on the table."""
GAP = (0.02, 0.12)
"""Metres from the lowest point of a hand down to the table."""
MIN_HEIGHT = 0.08
"""Metres from the table up to the camera."""
MAX_DISTANCE = 1.5
"""Metres from the hands to where objects stand."""
CELLS = 128
"""Side of the table's texture."""


def sample_objects(
    rng: np.random.Generator, hands: Array, arms: Array, camera: Camera, lights: Lights
) -> tuple[Prop, ...]:
    """A table and objects on it. ``hands`` and ``arms`` (P,3) are points of their surfaces in camera space; nothing
    where the camera would see the table from below, or where no object finds a place.
    """  # fmt: skip
    axes = _table_axes(rng)
    height = float((hands @ axes[1]).min() - rng.uniform(*GAP))
    if height > -MIN_HEIGHT:
        return ()
    everything = np.concatenate([hands, arms])
    placed: list[tuple[Solid, Array, float]] = []
    for _ in range(int(rng.integers(1, MAX_OBJECTS + 1))):
        found = _placed(rng, axes, height, everything, camera, placed)
        placed += [found] if found else []
    if not placed:
        return ()
    things = [prop(part.vertices, part.faces, part.albedo, part.roughness) for solid, _, _ in placed for part in solid]
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
    """A solid on the table, in the image, before no hand and in no other solid; its place and radius."""
    names = list(SOLIDS)
    solid = SOLIDS[names[int(rng.integers(len(names)))]](rng)
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    spun = [part.moved(np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]), np.zeros(3)) for part in solid]
    radius = max(float(np.hypot(part.vertices[:, 0], part.vertices[:, 2]).max()) for part in spun)
    matrix = camera.matrix.astype(np.float64)
    for _ in range(PLACE_TRIES):
        ray = np.linalg.solve(matrix, [*rng.uniform(-0.1, 1.1, 2) * camera.size, 1.0])
        slope = float(ray @ axes[1])
        if slope == 0 or not 0.1 < height / slope < hands[:, 2].max() + MAX_DISTANCE:
            continue
        where = height / slope * ray
        there = [part.moved(axes.T, where) for part in spun]
        points = np.concatenate([part.vertices for part in there])
        if _behind(points, hands, matrix) and all(
            np.linalg.norm(where - other) > radius + other_radius for _, other, other_radius in placed
        ):
            return there, where, radius
    return None


def _behind(points: Array, hands: Array, matrix: Array) -> bool:
    """True if ``points`` (P,3) are before the camera and no hand lies behind them in the image."""
    if points[:, 2].min() < 0.1:
        return False
    solid, hand = (pixels[:, :2] / pixels[:, 2:] for pixels in (points @ matrix.T, hands @ matrix.T))
    margin = 0.1 * np.ptp(solid, axis=0).max()
    within = ((hand > solid.min(0) - margin) & (hand < solid.max(0) + margin)).all(1)
    return not within.any() or bool(hands[within, 2].max() < points[:, 2].min())


def _table(
    rng: np.random.Generator,
    axes: Array,
    height: float,
    placed: list[tuple[Array, float]],
    hands: Array,
    lights: Lights,
) -> Prop:
    """A rectangle under the objects, with their shadows painted on."""
    flat = axes[[0, 2]]
    places = np.array([where for where, _ in placed]) @ flat.T
    middle = (hands.mean(0) @ flat.T + places.mean(0)) / 2
    sides = np.array([rng.uniform(0.45, 0.9), rng.uniform(0.35, 0.6)])
    sides = np.maximum(sides, np.abs(places - middle).max(0) + 0.12)
    corners = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    vertices = (middle + sides * corners) @ flat + height * axes[1]
    plain = rng.choice([0.03, 0.15, 0.4, 0.7]) * rng.uniform(0.85, 1.15, 3)
    albedo = WOODS[int(rng.integers(len(WOODS)))] * rng.uniform(0.7, 1.3) if rng.random() < 0.6 else plain
    made = prop(vertices, np.array([[0, 3, 1], [1, 3, 2]]), np.clip(albedo, 0.01, 0.8), rng.uniform(0.35, 0.8))
    lamp = lights.directions[0].astype(np.float64)
    away = -(flat @ lamp) / max(float(axes[1] @ lamp), 0.4)
    brightness = _grain(rng) * _shadows((places - middle) / sides, [radius for _, radius in placed], sides, away)
    shown = np.rint(255 * np.sqrt(np.clip(brightness, 0, 1))).astype(np.uint8)
    half = 0.5 / CELLS  # the texture tiles: the table's border stays inside it
    return replace(
        made,
        texture=np.repeat(shown[..., None], 3, 2),
        texture_coordinates=((corners + 1) / 2 * (1 - 2 * half) + half).astype(np.float32),
    )


def _grain(rng: np.random.Generator) -> Array:
    """(C,C) wood, stone or a plain top."""
    stretch = (rng.uniform(0.4, 0.7), rng.uniform(3, 15)) if rng.random() < 0.6 else (0.8, 0.8)
    noise = gaussian_filter(rng.standard_normal((CELLS, CELLS)), stretch)
    return np.asarray(0.85 + rng.uniform(0, 0.12) * noise / noise.std())


def _shadows(places: Array, radii: list[float], sides: Array, away: Array) -> Array:
    """(C,C) share of the light that a soft shadow under and beside each object leaves; ``places`` from -1 to 1."""
    row, column = (np.indices((CELLS, CELLS)) + 0.5) / CELLS * 2 - 1
    left = np.ones((CELLS, CELLS))
    for place, radius in zip(places, radii, strict=True):
        for step, strength, spread in ((0.0, 0.55, 1.15), (0.7, 0.35, 1.3)):
            x, y = ((axis - at) * side for axis, at, side in zip((column, row), place, sides, strict=True))
            shift = step * radius * away
            distance = np.hypot(x - shift[0], y - shift[1]) / (spread * radius)
            left *= 1 - strength * np.exp(-(distance**4))
    return left
