"""Skin textures that users own: images laid over the hand model by the texture coordinates of a mesh.

Layout of the folder: images (PNG, JPEG, WebP, BMP), each the whole skin of a right hand, one person each; and
``uv.obj``, the mesh of the hand model with texture coordinates (lines ``vt u v``, faces ``f v/vt v/vt v/vt``), whose
vertices come in the model's order. Only ``vt`` and ``f`` are read. MANO's own files hold no texture coordinates, but
makers of MANO textures deliver such a mesh. Without ``uv.obj``, the free hand's own coordinates are used. The origin of
texture coordinates is the lower left corner, as in OBJ. Left hands wear the texture mirrored.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from aih_gen.errors import AssetError
from aih_gen.hands.model import HandModel
from aih_gen.scenes.backgrounds import BackgroundLibrary
from aih_gen.typing import Array, Int64, UInt8

NO_TEXTURES = "none"
MAX_OBJ_BYTES = 32 * 2**20


class TextureLibrary:
    """The textures of a folder, and where they lie on a hand model.

    Raises:
        AssetError: the folder, its images or its ``uv.obj`` are missing or do not fit the hand model.
    """

    def __init__(self, source: str, model: HandModel) -> None:
        self.name = source
        self.library = BackgroundLibrary(source) if source != NO_TEXTURES else None
        self.names = self.library.photos if self.library else ()
        self.uv_file = Path(source) / "uv.obj"
        self.faces: Int64
        self.corners: Array  # (F,3,2) texture coordinates
        if self.library:
            self.faces, self.corners = self._coordinates(model)

    def image(self, name: str) -> UInt8:
        """(H,W,3) one texture, sRGB."""
        assert self.library is not None
        return self.library.photo(name)

    def digest(self) -> str:
        """sha256 over all that can change an image."""
        if self.library is None:
            return NO_TEXTURES
        uv = self.uv_file.read_bytes() if self.uv_file.is_file() else b""
        return hashlib.sha256(self.library.digest().encode() + uv).hexdigest()

    def _coordinates(self, model: HandModel) -> tuple[Int64, Array]:
        if self.uv_file.is_file():
            return _read_obj(self.uv_file, model.num_vertices)
        if model.texture_coordinates is None or model.texture_faces is None:
            raise AssetError(
                f"{self.uv_file}: expected texture coordinates, which this hand model lacks, found no file"
            )
        corners = model.texture_coordinates.numpy().astype(np.float64)[model.texture_faces.numpy()[: len(model.faces)]]
        return model.faces.numpy(), corners


def _read_obj(path: Path, vertices: int) -> tuple[Int64, Array]:
    """Faces (F,3) over the model's vertices and texture coordinates (F,3,2) of their corners.

    Not read by trimesh, which splits vertices at seams, or keeps one of their coordinates, and so renumbers them.
    """
    if path.stat().st_size > MAX_OBJ_BYTES:
        raise AssetError(f"{path}: expected at most {MAX_OBJ_BYTES >> 20} MiB, found {path.stat().st_size} B")
    coordinates: list[list[float]] = []
    corners: list[list[list[int]]] = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        kind, *words = line.split() or [""]
        try:
            if kind == "vt":
                coordinates.append([float(word) for word in words[:2]])
            elif kind == "f":
                corners.append([[int(index) - 1 for index in word.split("/")[:2]] for word in words])
        except ValueError as error:
            raise AssetError(f"{path}: line {number}: expected vt u v or f v/vt v/vt v/vt, found {line!r}") from error
    if {len(c) for c in corners} != {3} or {len(pair) for c in corners for pair in c} != {2}:
        raise AssetError(f"{path}: expected triangles with coordinates (f v/vt v/vt v/vt), found others or none")
    faces = np.array(corners)
    if faces[..., 0].max() >= vertices or faces[..., 1].max() >= len(coordinates) or faces.min() < 0:
        raise AssetError(
            f"{path}: expected faces over {vertices} vertices and {len(coordinates)} coordinates, "
            f"found numbers up to {faces[..., 0].max() + 1} and {faces[..., 1].max() + 1}"
        )
    return faces[..., 0], np.array(coordinates, np.float64)[faces[..., 1]]
