"""Points on the surfaces of people, for ``scripts/build_people.py``."""

from __future__ import annotations

import numpy as np

from aih_gen.typing import Array, Int64


def vertex_normals(points: Array, faces: Int64) -> Array:
    """(V,3) unit normals outwards of points (V,3)."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    normals = np.zeros_like(points)
    for k in range(3):
        np.add.at(normals, faces[:, k], np.cross(b - a, c - a))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def surface_points(rng: np.random.Generator, points: Array, faces: Int64, count: int) -> tuple[Array, Array, Int64]:
    """Points (N,3) spread evenly over a mesh, their normals (N,3) and faces (N,)."""
    a, b, c = (points[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    area = np.linalg.norm(normals, axis=1)
    which = rng.choice(len(faces), count, p=area / area.sum())
    within = rng.random((2, count, 1))
    u, v = np.where(within.sum(0) > 1, 1 - within, within)
    return a[which] + u * (b - a)[which] + v * (c - a)[which], (normals / area[:, None])[which], which


def open_sky(points: Array, normals: Array, scene: Array) -> Array:
    """(V,) share of the light from all around that reaches points, past what ``scene`` (N,3) points cover."""
    count, cell = 90, 0.006
    k = np.arange(count) + 0.5
    polar, turn = np.arccos(1 - 2 * k / count), np.pi * (1 + 5**0.5) * k
    directions = np.stack([np.cos(turn) * np.sin(polar), np.cos(polar), np.sin(turn) * np.sin(polar)], 1)
    seen, possible = np.zeros(len(points)), np.zeros(len(points))
    start = points + 0.004 * normals
    for direction in directions:
        facing = np.maximum(normals @ direction, 0)
        across = np.cross(direction, [0, 1, 0] if abs(direction[1]) < 0.9 else [1, 0, 0])
        across /= np.linalg.norm(across)
        axes = np.stack([across, np.cross(direction, across)], 1)
        covered, own = np.floor(scene @ axes / cell).astype(int), np.floor(start @ axes / cell).astype(int)
        low = np.minimum(covered.min(0), own.min(0)) - 2
        shape = np.maximum(covered.max(0), own.max(0)) - low + 3
        highest = np.full(shape, -np.inf)
        np.maximum.at(highest, tuple((covered - low).T), scene @ direction)
        clear = highest[tuple((own - low).T)] < start @ direction + 0.012
        seen += facing * clear
        possible += facing
    return seen / np.maximum(possible, 1e-9)
