"""Arithmetic of many small vectors, without the overhead that NumPy's general functions have for them."""

from __future__ import annotations

import numpy as np

from aih_gen.typing import Array


def cross(a: Array, b: Array) -> Array:
    """Cross products (...,3) of ``a`` and ``b`` (...,3), which broadcast."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    x = ay * bz - az * by
    out = np.empty((*x.shape, 3))
    out[..., 0] = x
    out[..., 1] = az * bx - ax * bz
    out[..., 2] = ax * by - ay * bx
    return out


def length(vectors: Array) -> Array:
    """Lengths (...) of vectors (...,3)."""
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


def unit(vectors: Array) -> Array:
    """Vectors (...,3) of length one; what is shorter than a nanometre stays short."""
    return vectors / np.maximum(length(vectors), 1e-9)[..., None]


def rotate(vectors: Array, rotations: Array) -> Array:
    """Vectors (...,3) rotated by matrices (...,3,3), which broadcast."""
    return (rotations @ vectors[..., None])[..., 0]


def rotvec_to_matrix(rotvecs: Array) -> Array:
    """(...,3,3) rotations about ``rotvecs`` (...,3) by their lengths in radians (Rodrigues)."""
    angle = length(rotvecs)
    x, y, z = np.moveaxis(rotvecs, -1, 0) / np.maximum(angle, 1e-12)
    s, c = np.sin(angle), np.cos(angle)
    t = 1 - c
    xs, ys, zs, tx, ty = x * s, y * s, z * s, t * x, t * y
    return by_rows(
        [
            [c + tx * x, tx * y - zs, tx * z + ys],
            [tx * y + zs, c + ty * y, ty * z - xs],
            [tx * z - ys, ty * z + xs, c + t * z * z],
        ]
    )


def by_rows(rows: list[list[Array]]) -> Array:
    """(...,3,3) matrices of elements (...)."""
    matrices = np.array(rows)
    return matrices.transpose(*range(2, matrices.ndim), 0, 1)
