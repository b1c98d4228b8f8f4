"""Arithmetic of many small vectors, without the overhead that NumPy's general functions have for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cross(a: Array, b: Array) -> Array:
    """Cross products (...,3) of ``a`` and ``b`` (...,3), which broadcast."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    out = np.empty(np.broadcast_shapes(a.shape, b.shape))
    out[..., 0] = ay * bz - az * by
    out[..., 1] = az * bx - ax * bz
    out[..., 2] = ax * by - ay * bx
    return out


def length(vectors: Array) -> Array:
    """Lengths (...) of vectors (...,3)."""
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


def unit(vectors: Array) -> Array:
    """Vectors (...,3) of length one; what is shorter than a nanometre stays short."""
    return vectors / np.maximum(length(vectors), 1e-9)[..., None]


def turned(vectors: Array, turns: Array) -> Array:
    """Vectors (...,3) turned by matrices (...,3,3), which broadcast."""
    return (turns @ vectors[..., None])[..., 0]


def turn_about(rotvec: Array) -> Array:
    """(3,3) the rotation about ``rotvec`` (3,) by its length in radians (Rodrigues)."""
    angle = np.sqrt(rotvec @ rotvec)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = rotvec / angle
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * (skew @ skew)
