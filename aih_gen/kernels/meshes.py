"""Meshes: normals of vertices, and bodies in their shape and pose. All in single precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@compiled
def vertex_normals(points: Float32, faces: Int32) -> Float32:
    """(V,3) area-weighted unit normals of ``points`` (V,3); they point outwards where ``faces`` (F,3) are
    counter-clockwise seen from outside, and are 0 where no face is.
    """  # fmt: skip
    normals = np.zeros((len(points), 3), np.float32)
    for face in range(len(faces)):
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, az = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
        bx, by, bz = points[k, 0] - points[i, 0], points[k, 1] - points[i, 1], points[k, 2] - points[i, 2]
        x, y, z = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for corner in range(3):
            vertex = faces[face, corner]
            normals[vertex, 0] += x
            normals[vertex, 1] += y
            normals[vertex, 2] += z
    for vertex in range(len(points)):
        x, y, z = normals[vertex, 0], normals[vertex, 1], normals[vertex, 2]
        length = max(np.sqrt(x * x + y * y + z * z), np.float32(1e-12))
        for axis in range(3):
            normals[vertex, axis] /= length
    return normals


@compiled
def projected_bounds(points: Float32, matrix: Float32, min_depth: float) -> tuple[Float32, Float32]:
    """Least and greatest pixels (2,) of those of ``points`` (V,3) in camera space that are farther than ``min_depth``
    (m) from the camera, with its ``matrix`` (3,3); infinite where none are.
    """  # fmt: skip
    low, high = np.full(2, np.inf, np.float32), np.full(2, -np.inf, np.float32)
    for vertex in range(len(points)):
        if points[vertex, 2] > min_depth:
            for axis in (0, 1):
                pixel = points[vertex, axis] / points[vertex, 2] * matrix[axis, axis] + matrix[axis, 2]
                low[axis], high[axis] = min(low[axis], pixel), max(high[axis], pixel)
    return low, high


@compiled
def blend_shapes(
    mean: Float32, first: Float32, second: Float32, share: float, moving: Int64, expressions: Float32,
    strengths: Float32,
) -> Float32:  # fmt: skip
    """(V,3) the ``mean`` (V,3) person with a ``share`` of the ``second`` one's and the rest of the ``first`` one's
    differences from it, (V,3) each; its ``moving`` (M,) vertices moved by ``expressions`` (E,M,3) in their
    ``strengths`` (E,).
    """  # fmt: skip
    rest, other = np.float32(1 - share), np.float32(share)
    points = np.empty_like(mean)
    for vertex in range(len(mean)):
        for axis in range(3):
            points[vertex, axis] = mean[vertex, axis] + rest * first[vertex, axis] + other * second[vertex, axis]
    for expression in range(len(strengths)):
        for row in range(len(moving)):
            for axis in range(3):
                points[moving[row], axis] += strengths[expression] * expressions[expression, row, axis]
    return points


@compiled
def skinned(points: Float32, bones: Int64, weights: Float32, transforms: Float32) -> Float32:
    """(V,3) ``points`` (V,3) after linear blend skinning by ``bones`` (V,K), their ``weights`` (V,K) and ``transforms``
    (B,3,4).
    """  # fmt: skip
    moved = np.zeros_like(points)
    for vertex in range(len(points)):
        x, y, z = points[vertex, 0], points[vertex, 1], points[vertex, 2]
        for k in range(bones.shape[1]):
            bone, weight = bones[vertex, k], weights[vertex, k]
            for axis in range(3):
                moved[vertex, axis] += weight * (
                    transforms[bone, axis, 0] * x
                    + transforms[bone, axis, 1] * y
                    + transforms[bone, axis, 2] * z
                    + transforms[bone, axis, 3]
                )
    return moved
