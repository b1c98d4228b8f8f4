"""Vertex normals of meshes that share their faces."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from aih_gen.typing import Integer

Real = TypeVar("Real", np.float32, np.float64)


class VertexNormals:
    """Area-weighted vertex normals for one set of faces; remembers which faces meet at each vertex."""

    def __init__(self, faces: Integer, count: int) -> None:
        """``faces`` (F,3) into ``count`` vertices, counter-clockwise seen from outside."""
        self.faces = faces
        columns = np.repeat(np.arange(len(faces)), 3)
        ones = np.ones(faces.size, np.float32)
        self._faces_of_vertex = sparse.csr_matrix((ones, (faces.ravel(), columns)), shape=(count, len(faces)))

    def __call__(self, vertices: NDArray[Real]) -> NDArray[Real]:
        """(N,V,3) vertices -> (N,V,3) unit normals that point outwards; 0 where no face is."""
        # Coordinates first, hands last: rows of N numbers in everything, and no batch changes a bit.
        points = np.ascontiguousarray(vertices.transpose(2, 1, 0))
        a, b, c = (points[:, self.faces[:, k]] for k in range(3))
        u, v = b - a, c - a
        x, y, z = (
            self._faces_of_vertex @ (u[k - 2] * v[k - 1] - u[k - 1] * v[k - 2])  # of the cross product
            for k in range(3)
        )
        length = np.maximum(np.sqrt(x * x + y * y + z * z), 1e-12)
        return np.ascontiguousarray((np.stack([x, y, z]) / length).transpose(2, 1, 0))
