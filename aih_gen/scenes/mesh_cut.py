"""Meshes cut where a scalar field is zero: necklines, sleeves and hems."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aih_gen.typing import Float32, Int32


@dataclass(frozen=True, eq=False)
class Cut:
    """A part of a mesh. Its vertices lie between pairs of the mesh's own."""

    faces: Int32  # (F,3) into the K vertices
    first: Int32  # (K,) of all vertices
    second: Int32  # (K,)
    share: Float32  # (K,1) of the second

    @cached_property
    def between(self) -> Int32:
        """Vertices that are none of the mesh's own."""
        return np.flatnonzero(self.share[:, 0]).astype(np.int32)

    def only(self, faces: Int32) -> Cut:
        """The same with some of its faces (F,3)."""
        used, inverse = np.unique(faces, return_inverse=True)
        return Cut(inverse.reshape(-1, 3).astype(np.int32), self.first[used], self.second[used], self.share[used])

    def of(self, values: Float32) -> Float32:
        """(K,...) of values (V,...)."""
        share = self.share if values.ndim > 1 else self.share[:, 0]
        first = values[self.first]
        between = self.between
        first[between] += share[between] * (values[self.second[between]] - first[between])
        return first


def cut_mesh(faces: Int32, field: Float32) -> Cut:
    """The part of a mesh where a ``field`` (V,) is above 0, cut where it is 0."""
    inside = field[faces] > 0
    count = inside.sum(1)
    whole = faces[count == 3]
    pieces = [np.stack([whole, whole], -1)]
    for wanted in (1, 2):
        crossed, corners = faces[count == wanted], inside[count == wanted]
        lone = (corners if wanted == 1 else ~corners).argmax(1)  # the corner that differs from the two others
        a, b, c = (np.take_along_axis(crossed, ((lone + k) % 3)[:, None], 1)[:, 0] for k in range(3))
        if wanted == 1:
            pieces.append(np.stack([[a, a], [a, b], [a, c]]).transpose(2, 0, 1))
        else:
            pieces.append(np.stack([[a, b], [b, b], [c, c]]).transpose(2, 0, 1))
            pieces.append(np.stack([[a, b], [c, c], [a, c]]).transpose(2, 0, 1))
    pairs = np.sort(np.concatenate(pieces).reshape(-1, 2), 1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    first, second = unique.T
    gap = field[second] - field[first]
    share = np.where(first == second, 0, -field[first] / np.where(gap == 0, 1, gap))
    return Cut(inverse.reshape(-1, 3).astype(np.int32), first, second, np.clip(share, 0, 1).astype(np.float32)[:, None])
