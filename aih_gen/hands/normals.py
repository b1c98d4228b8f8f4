"""Vertex normals of meshes."""

from __future__ import annotations

import numpy as np

from aih_gen.kernels import meshes
from aih_gen.typing import Float32, Floating, Integer


def vertex_normals(vertices: Floating, faces: Integer) -> Float32:
    """(V,3) area-weighted unit normals of ``vertices`` (V,3) that point outwards, where ``faces`` (F,3) are
    counter-clockwise seen from outside; 0 where no face is.
    """  # fmt: skip
    points, corners = np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32)
    return meshes.vertex_normals(points, corners)
