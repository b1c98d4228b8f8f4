"""Heads of hair as tapered ribbons that grow from a mean head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from aih_gen.typing import Array, Int64, Mask
from scripts.people.head import Face, masks
from scripts.people.surface import surface_points

KNOT = np.array([0, -0.02, 0.12])
"""Place at which tied hair meets, from the centre of the head (m)."""


@dataclass(frozen=True)
class Style:
    """A head of hair as it grows."""

    name: str
    top: float  # m, length of hair on top
    sides: float  # m
    count: int
    comb: str
    lift: float = 0.25  # share of the way straight off the skin
    gravity: float = 0.3
    curl: float = 0.0
    loose: float = 0.1  # of what strays
    width: float = 0.008  # m of a ribbon
    tip: float = 0.1  # of the width, at its end
    points: int = 5
    least: float = 0.003  # m, nothing comes nearer to the skin
    higher: float = 0.0  # m by which the line of hair is higher at the front


STYLES = (
    Style("crop", 0.020, 0.010, 1000, "forward", lift=0.30, gravity=0.1, points=3, width=0.007),
    Style("short", 0.040, 0.016, 900, "side", lift=0.22, gravity=0.2, points=4),
    Style("side part", 0.075, 0.024, 850, "side", lift=0.22, gravity=0.25, loose=0.07),
    Style("swept back", 0.085, 0.032, 850, "back", lift=0.22, gravity=0.15, loose=0.07),
    Style("receding", 0.030, 0.018, 800, "back", lift=0.2, gravity=0.2, points=4, higher=0.035),
    Style("curly", 0.050, 0.035, 900, "radial", lift=0.5, gravity=0.1, curl=1.2, width=0.009, tip=0.7),
    Style("afro", 0.060, 0.050, 950, "radial", lift=1.0, gravity=0.0, curl=0.9, width=0.011, tip=0.8),
    Style("bob", 0.23, 0.17, 600, "down", lift=0.05, gravity=1.0, points=6, width=0.013, least=0.006, loose=0.05),
    Style("long", 0.44, 0.37, 560, "down", lift=0.04, gravity=1.0, points=7, width=0.014, least=0.006, loose=0.045),
    Style("wavy", 0.38, 0.32, 560, "down", lift=0.08, gravity=1.0, curl=0.2, points=7, width=0.014, least=0.008),
    Style("fringe", 0.25, 0.22, 620, "fringe", lift=0.04, gravity=1.0, points=6, width=0.013, least=0.006, loose=0.05),
    Style("tied", 0.16, 0.13, 750, "knot", lift=0.03, gravity=0.0, points=6, width=0.010, loose=0.03),
    Style("full beard", 0.018, 0.018, 600, "beard", lift=0.35, gravity=0.5, points=3, width=0.006, least=0.002),
)


def combed(style: Style, face: Face, root: Array, place: Array, normal: Array) -> Array:
    """(N,3) the way hair with its ``root`` there is combed at ``place``; not yet along the skin."""
    side = np.where(root[:, :1] + 0.012 > 0, 1.0, -1.0)
    ahead, down, across = np.array([0, 0, -1.0]), np.array([0, 1.0, 0]), np.array([1.0, 0, 0])
    high = np.clip((face.eye[1] - 0.055 - root[:, 1:2]) / 0.03, 0, 1)
    if style.comb == "forward":
        return high * (ahead + 0.5 * down) + (1 - high) * (down + 0.3 * ahead)
    if style.comb == "side":
        over = np.where(root[:, :1] > 0.035, 1.0, -1.0)
        return high * (over * across - 0.25 * ahead + 0.1 * down) + (1 - high) * (down - 0.3 * ahead)
    if style.comb == "back":
        return -ahead + (1 - high) * 0.8 * down + 0.15 * side * across
    if style.comb == "knot":
        knot = face.centre + KNOT
        return knot - place
    if style.comb == "beard":
        return down + 0.25 * ahead + 0.1 * side * across
    if style.comb == "radial":
        return normal
    # Hair parts in the middle and is led past the face before it hangs down.
    ahead_of_ears = np.clip((62 - face.azimuth(place)[:, None]) / 15, 0, 1)
    aside = 1.6 * side * across - 0.8 * ahead + 0.5 * down
    parted = ahead_of_ears * aside + (1 - ahead_of_ears) * (side * across * (0.12 + 0.7 * high) + down)
    if style.comb == "fringe":
        front = ((face.azimuth(root) < 42)[:, None] & (high > 0.5)) * 1.0
        return front * (ahead + down + 0.15 * side * across) + (1 - front) * parted
    return parted


def ribbons(rng: np.random.Generator, style: Style, face: Face, skin: tuple[Array, Array], roots: Array) -> Array:
    """(N,P,6) points along ribbons that grow from ``roots`` (N,3) outside the ``skin`` (points, normals); normals."""
    tree, normals = cKDTree(skin[0]), skin[1]
    place = roots.copy()
    high = np.clip((face.eye[1] - 0.045 - roots[:, 1:2]) / 0.035, 0, 1)
    length = (style.sides + (style.top - style.sides) * high) * rng.uniform(0.75, 1.1, (len(roots), 1))
    if style.comb == "fringe":
        to_brows = (face.azimuth(roots) < 42) & (high[:, 0] > 0.5)
        length[to_brows] = np.clip(face.eye[1] - 0.022 - roots[to_brows, 1:2], 0.02, 0.09)
    normal = normals[tree.query(place)[1]]
    way, line = normal.copy(), [np.concatenate([place, normal], 1)]
    twist = rng.normal(size=(len(roots), 3))
    for k in range(style.points - 1):
        comb = combed(style, face, roots, place, normal)
        comb -= (comb * normal).sum(1, keepdims=True) * normal * (style.comb != "radial")
        comb /= np.maximum(np.linalg.norm(comb, axis=1, keepdims=True), 1e-9)
        lift = style.lift * (1 if k < 2 else 0.3)
        twist = 0.6 * twist + 0.8 * rng.normal(size=twist.shape)
        # Hair beyond the head hangs down.
        off = np.clip((place[:, 1:2] - face.eye[1] - 0.02) / 0.06, 0, 1) * (style.gravity >= 1)
        fresh = (1 - off) * (comb + lift * normal) + style.gravity * (0.3 + k / 4 + 2 * off) * np.array([0, 1.0, 0])
        fresh += (style.loose + style.curl) * twist * (1 + off)
        way = 0.35 * way + fresh / np.linalg.norm(fresh, axis=1, keepdims=True)
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        place = place + way * length / (style.points - 1)
        for _ in range(2):
            near = tree.query(place)[1]
            height = ((place - skin[0][near]) * normals[near]).sum(1, keepdims=True)
            least = style.least + 0.004 * rng.random((len(roots), 1))
            place = place + np.where((height < least) & (height > -0.06), least - height, 0) * normals[near]
        normal = normals[near]
        line.append(np.concatenate([place, normal], 1))
    return np.stack(line, 1)


def hair(
    rng: np.random.Generator, style: Style, face: Face, skin: tuple[Array, Array], roots: tuple[Array, Array]
) -> dict[str, Array]:
    """Vertices (N*P*2,3) of ribbons, with normals, brightness; two a point, the last point is a tip."""
    chosen = rng.permutation(len(roots[0]))[: style.count]
    lines = ribbons(rng, style, face, skin, roots[0][chosen])
    if style.comb == "knot":
        lines = np.concatenate([lines, bun(rng, face, style.points)])
    places, outward = lines[..., :3], lines[..., 3:]
    along = np.gradient(places, axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    # Ribbons are turned a little about themselves, which catches the light as tufts do.
    tilt = rng.normal(0, 0.25 + 0.4 * min(style.curl, 1), (len(lines), 1, 1))
    across = np.cross(along, outward)
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    facing = np.cross(across, along)
    across, facing = across * np.cos(tilt) + facing * np.sin(tilt), facing * np.cos(tilt) - across * np.sin(tilt)
    shape = np.interp(np.linspace(0, 1, lines.shape[1]), [0, 0.25, 0.6, 0.85, 1], [0.8, 1, 0.95, 0.65, style.tip])
    half = style.width / 2 * shape[None, :, None] * rng.uniform(0.6, 1.2, (len(lines), 1, 1))
    pairs = np.stack([places - half * across, places + half * across], 2)
    deep = np.clip(np.linspace(0.6, 1.1, lines.shape[1]), 0, 1)
    bright = rng.lognormal(0, 0.2, (len(lines), 1, 1)) * deep[None, :, None] * np.ones((1, 1, 2))
    normals = np.repeat(facing[:, :, None], 2, 2)
    return {"points": pairs, "normals": normals, "bright": bright}


def bun(rng: np.random.Generator, face: Face, points: int) -> Array:
    """(N,P,6) ribbons around a knot at the back of the head."""
    middle, count = face.centre + KNOT, 90
    axis = rng.normal(size=(count, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    first = np.cross(axis, rng.normal(size=(count, 3)))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    turn = np.linspace(0, 2.6, points)[None, :, None]
    ways = np.cos(turn) * first[:, None] + np.sin(turn) * np.cross(axis, first)[:, None]
    return np.concatenate([middle + 0.036 * ways, ways], -1)


def all_hair(
    rng: np.random.Generator, face: Face, skin: tuple[Array, Array], mean: Array, faces: Int64, start: int,
    upper: Mask, ears: Array, lips: Array,
) -> dict[str, dict[str, Array]]:  # fmt: skip
    """Every style on the ``mean`` head; its skin's vertices begin at ``start`` and are of head or neck if ``upper``."""
    grown = faces[upper[faces - start].all(1)]
    roots, normals, which = surface_points(rng, mean, grown, 60000)
    where = masks(face, roots, np.zeros(len(roots)), ears[grown[which, 0] - start])
    outer = np.linalg.norm(roots - face.centre, axis=1) > 0.05
    free = cKDTree(lips).query(roots)[0] > 0.004
    hairs = {}
    for style in STYLES:
        if style.comb == "beard":
            grows = (where["beard"] > 0.5) & outer & free
        else:
            higher = style.higher / 0.02 * np.clip(1 - face.azimuth(roots) / 90, 0, 1)
            grows = (where["scalp"] - higher > 0.5) & outer
        hairs[style.name] = hair(rng, style, face, skin, (roots[grows], normals[grows]))
    return hairs
