"""HDR's answer: masks of a photo and each hand alone, in 2D and 3D; as arrays, drawings, plain data and files."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from aih_gen.config import SIDES
from aih_gen.hands.joints import JOINT_NAMES
from aih_gen.io.images import encoded
from hdr_model.inference.draw import joints_on_photo, overview, skeletons
from hdr_model.inference.folders import result_folder
from hdr_model.inference.joint_states import STATE_NAMES
from hdr_model.inference.mesh import HandMesh, draw_meshes, write_meshes
from hdr_model.visual import RGB, draw_masks

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""
Part = Literal["masks", "alone", "joints", "skeletons", "overview", "result", "mesh"]
"""Choices of files of a result: ``mask_*.png``; ``*_alone.png``; ``joints.png`` and ``.npz``; and so on. Those of
``mesh`` are there only with meshes."""
PARTS: tuple[Part, ...] = get_args(Part)

_NUMBERS = ("joints_2d", "joints_3d", "crop", "confidence", "joint_confidence", "joint_state")
_ARRAYS = (*_NUMBERS[:3], "present", *_NUMBERS[3:])
_OF_MESH = ("pose", "betas", "transl")
_UNITS = "joints_2d px of the photo (x, y); joints_3d m relative to the wrist (x right, y down, z away); crop px"
_MESH_UNITS = (
    "; pose rad, axis-angle; transl m in the camera's space; camera px, of the photo; "
    "joint_distance m, mean of the mesh's joints from joints_3d"
)


@dataclass(frozen=True, eq=False, repr=False)
class HandResult:
    """One hand. Where ``present`` is false the joints and the box are NaN and the image is the photo."""

    image: RGB  # (H,W,3) the photo with this hand alone
    joints_2d: NDArray[np.float32]  # (21,2) px of the photo, x and y, pixel centres at integers
    joints_3d: NDArray[np.float32]  # (21,3) m relative to the wrist, in the camera's axes
    crop: NDArray[np.float32]  # (4,) px of the photo: left, top, right, bottom; may reach outside
    present: bool
    confidence: float = math.nan
    """That there is this hand, where its mask says, 0 to 1; NaN where the masks were given."""
    joint_confidence: NDArray[np.float32] = field(default_factory=lambda: np.full(21, np.nan, np.float32))
    """(21,) highest value of each joint's heat map, 0 to 1."""
    joint_state: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(21, np.uint8))
    """(21,) AIH's codes, as in ``joint_states.STATE_NAMES``; 0, unknown, where absent."""
    mesh: HandMesh | None = None
    """With ``hdr(image, mesh=True)``; its parts are also the hand's: ``pose``, ``vertices``, ..."""

    @property
    def pose(self) -> NDArray[np.float32]:
        """(48,) axis-angle in radians of the hand model, zero = flat hand."""
        return self._fitted.pose

    @property
    def betas(self) -> NDArray[np.float32]:
        """(10,) shape of the hand model."""
        return self._fitted.betas

    @property
    def transl(self) -> NDArray[np.float32]:
        """(3,) m in the camera's space."""
        return self._fitted.transl

    @property
    def vertices(self) -> NDArray[np.float32]:
        """(V,3) m in the camera's space: x right, y down, z away."""
        return self._fitted.vertices

    @property
    def faces(self) -> NDArray[np.int64]:
        """(F,3) of the vertices, counter-clockwise seen from outside."""
        return self._fitted.faces

    @property
    def _fitted(self) -> HandMesh:
        if self.mesh is None:
            raise AttributeError("mesh: expected a result of hdr(image, mesh=True), found one without meshes")
        return self.mesh

    def __repr__(self) -> str:
        if not self.present:
            return "HandResult(absent)"
        left, top, right, bottom = self.crop.round().astype(int).tolist()
        return f"HandResult(crop=({left}, {top}, {right}, {bottom}))"


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """Both hands of a photo, and the masks: ``right_amodal``, ``right_visible``, ``left_...``, each (H,W) bool."""

    masks: dict[str, NDArray[np.bool_]]
    right: HandResult
    left: HandResult
    image: RGB  # (H,W,3) the photo

    def __getitem__(self, side: str) -> HandResult:
        """The hand of ``"right"`` or ``"left"``.

        Raises:
            KeyError: another side.
        """
        if side not in SIDES:
            raise KeyError(f'side: expected "right" or "left", found {side!r}')
        return self.right if side == "right" else self.left

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Result({self.found} in {width}x{height} px)"

    @property
    def found(self) -> str:
        """The hands in words."""
        sides = [side for side in SIDES if self[side].present]
        return f"{' and '.join(sides)} hand{'s' * (len(sides) - 1)}" if sides else "no hand"

    def draw(self) -> RGB:
        """The photo (H,W,3) with masks and joints on it."""
        return joints_on_photo(draw_masks(self.image, self.masks), self._by_side("joints_2d"))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Both hands, right first: ``joints_2d`` (2,21,2) px, ``joints_3d`` (2,21,3) m relative to the wrist, ``crop``
        (2,4) px, ``present`` (2,) bool, ``confidence`` (2,), ``joint_confidence`` (2,21), ``joint_state`` (2,21) uint8;
        NaN, and state 0, where a hand is absent. With meshes also ``pose`` (2,48) rad, ``betas`` (2,10), ``transl``
        (2,3) m and ``camera`` (3,3) px.
        """
        named = (*_ARRAYS, *_OF_MESH) if self.meshed else _ARRAYS
        arrays = {name: np.stack([getattr(self[side], name) for side in SIDES]) for name in named}
        return arrays | ({"camera": self.right.mesh.camera} if self.right.mesh else {})

    @property
    def meshed(self) -> bool:
        """True if meshes were fitted."""
        return self.right.mesh is not None

    @property
    def meshes(self) -> dict[str, HandMesh]:
        """The meshes of the hands that are there, by side; none without meshes."""
        return {side: mesh for side in SIDES if self[side].present and (mesh := self[side].mesh) is not None}

    def to_dict(self) -> dict[str, object]:
        """The content of ``result.json``: the numbers of each hand in plain types, None where absent or unknown."""
        hands: dict[str, object] = {}
        for side in SIDES:
            hand, mesh = self[side], self[side].mesh
            numbers = {name: getattr(hand, name) for name in _NUMBERS}
            if mesh is not None:
                numbers |= {name: getattr(mesh, name) for name in (*_OF_MESH, "joint_distance")}
            plain = {name: _plain(value) if hand.present else None for name, value in numbers.items()}
            hands[side] = {"present": hand.present, **plain}
        if self.right.mesh is not None:
            hands |= {"camera": _plain(self.right.mesh.camera), "hand_model": self.right.mesh.hand_model}
        units = _UNITS + _MESH_UNITS * self.meshed
        return {"units": units, "joint_names": list(JOINT_NAMES), "joint_states": list(STATE_NAMES.values()), **hands}

    def save(self, folder: str | Path, only: Collection[Part] = PARTS) -> None:
        """Write images (PNG), ``result.json`` and ``joints.npz``; ``only`` chooses among them.

        A folder that is not there appears with all its files; in one that is, files of the same names are replaced.

        Raises:
            AIHError: the folder cannot be written.
        """
        with result_folder(Path(folder)) as temporary:
            for name, image in self._images(only):
                (temporary / f"{name}.png").write_bytes(encoded(image))
            if "result" in only:
                text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
                (temporary / "result.json").write_text(text, encoding="utf-8")
            if "mesh" in only and self.meshes:
                write_meshes(temporary, self.meshes)
            if "joints" in only:
                arrays = {name: array[None] for name, array in self.arrays().items()}
                np.savez_compressed(temporary / "joints.npz", allow_pickle=False, **arrays)

    def _images(self, only: Collection[Part]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        alone, joints_2d, joints_3d, crops = map(self._by_side, ("image", "joints_2d", "joints_3d", "crop"))
        if "masks" in only:
            yield from ((f"mask_{name}", 255 * mask.astype(np.uint8)) for name, mask in self.masks.items())
        if "alone" in only:
            yield from ((f"{side}_alone", image) for side, image in alone.items())
        if "joints" in only:
            yield "joints", joints_on_photo(self.image, joints_2d)
        if "mesh" in only and self.meshes:
            yield "mesh", draw_meshes(self.image, self.meshes)
        if "skeletons" in only:
            yield "skeletons", skeletons(joints_3d)
        if "overview" in only:
            yield "overview", overview(self.image, self.masks, alone, joints_2d, joints_3d, crops)

    def _by_side(self, name: str) -> dict[str, NDArray[Any]]:
        return {side: getattr(self[side], name) for side in SIDES}

    def _repr_png_(self) -> bytes:
        """``draw()`` as a PNG file, which notebooks show."""
        return encoded(self.draw())


def _plain(numbers: float | NDArray[np.generic]) -> object:
    """Numbers as JSON has them, to 5 digits; None in place of NaN."""
    if isinstance(numbers, np.ndarray) and numbers.dtype.kind == "u":
        return numbers.tolist()
    rounded = np.round(np.asarray(numbers, np.float64), 5)
    return None if np.isnan(rounded).any() else rounded.tolist()
