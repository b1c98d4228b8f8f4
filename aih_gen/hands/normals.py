"""Vertex normals of meshes that share their faces."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Real = TypeVar("Real", np.float32, np.float64)


class VertexNormals:
    """Area-weighted vertex normals for one set of faces; remembers which faces meet at each vertex."""

    def __init__(self, faces: NDArray[np.integer], count: int) -> None:
        """``faces`` (F,3) into ``count`` vertices, counter-clockwise seen from outside."""
        self.faces = faces
        columns = np.repeat(np.arange(len(faces)), 3)
        ones = np.ones(faces.size, np.float32)
        self._faces_of_vertex = sparse.csr_matrix((ones, (faces.ravel(), columns)), shape=(count, len(faces)))

    def __call__(self, vertices: NDArray[Real]) -> NDArray[Real]:
        """(N,V,3) vertices -> (N,V,3) unit normals that point outwards; 0 where no face is."""
        a, b, c = (vertices[:, self.faces[:, k]] for k in range(3))
        face_normals = np.cross(b - a, c - a)
        flat = face_normals.transpose(1, 0, 2).reshape(face_normals.shape[1], -1)
        summed = (self._faces_of_vertex @ flat).reshape(vertices.shape[1], -1, 3).transpose(1, 0, 2)
        return np.ascontiguousarray(summed / np.maximum(np.linalg.norm(summed, axis=-1, keepdims=True), 1e-12))
