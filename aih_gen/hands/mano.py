"""MANO files, read without chumpy and without running them, and checked whole before anything uses them."""

from __future__ import annotations

import functools
import hashlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aih_gen.errors import AssetError
from aih_gen.hands.joints import MANO_PARENTS, MANO_TIPS
from aih_gen.hands.mano_files import FILE_NAMES, check_side, find_mano
from aih_gen.hands.model import HandData, HandModel
from aih_gen.io.archives import is_of_numpy, unpack_npz
from aih_gen.io.pickled_arrays import NAMES, pickled_array
from aih_gen.io.plain_pickle import read_plain_pickle
from aih_gen.typing import AnyArray, Int64, Side, TipConvention

NUM_VERTICES, NUM_FACES = 778, 1538
MAX_BYTES = 16 * 2**20  # the licensed files have 4 MB, the exported free hand 7 MB


@dataclass(frozen=True, eq=False)
class ManoFile:
    """The arrays of one MANO file, checked. V = 778 vertices and F = 1538 faces, but in a file with its own tips."""

    v_template: AnyArray  # (V,3) m
    shapedirs: AnyArray  # (V,3,10)
    posedirs: AnyArray  # (V,3,135)
    J_regressor: AnyArray  # (16,V)
    weights: AnyArray  # (V,16)
    kintree_table: AnyArray  # (2,16), parents in row 0
    f: AnyArray  # (F,3)
    hands_components: AnyArray  # (45,45)
    hands_mean: AnyArray  # (45,)
    tip_vertices: AnyArray | None  # (5,) thumb to little, in the files that `export_free_hand` writes
    sha256: str


def load_mano(path: Path, side: Side, tips: TipConvention, dtype: torch.dtype) -> HandModel:
    """The hand model of a MANO file; see `read_mano`."""
    file = read_mano(path, side)
    shapes = np.einsum("jv,vak->jak", file.J_regressor, file.shapedirs)

    def tensor(array: AnyArray) -> torch.Tensor:
        return torch.from_numpy(np.array(array, np.float64)).to(dtype)

    data = HandData(
        v_template=tensor(file.v_template),
        shapedirs=tensor(file.shapedirs),
        posedirs=tensor(file.posedirs),
        joint_template=tensor(file.J_regressor @ file.v_template),
        joint_shapedirs=tensor(shapes),
        weights=tensor(file.weights),
        arm_weight=torch.zeros(0, dtype=dtype),
        faces=torch.from_numpy(file.f.astype(np.int64)),
        arm_faces=torch.zeros(0, 3, dtype=torch.long),
        tip_vertices=torch.from_numpy(tip_vertices(file, side, tips)),
        hands_mean=tensor(file.hands_mean),
        hands_components=tensor(file.hands_components),
        texture_coordinates=None,
        texture_faces=None,
        name="mano",
        sha256=file.sha256,
    )
    return HandModel(data, side)


def tip_vertices(file: ManoFile, side: Side, tips: TipConvention) -> Int64:
    """(5,) finger-tip vertices, thumb to little: the file's own where it names them, else the convention's."""
    return np.array(MANO_TIPS[tips][side]) if file.tip_vertices is None else file.tip_vertices.astype(np.int64)


def read_mano(path: Path, side: Side) -> ManoFile:
    """The arrays of a licensed pickle (``MANO_RIGHT.pkl``), of an npz with the same (dense) arrays, or of one of either
    in the folder ``path``. A file of the other side stands for its brother, see `find_mano`.

    The published left file repeats the right hand's sign in the x component of ``shapedirs``; where the right file
    lies beside it and shows that, the sign is repaired, with one warning per file and process. Without a right file
    there is nothing to compare with: the arrays are left as they are, with a warning too.

    Raises:
        AssetError: no such file, content other than a MANO model's, an array of another shape, or the
            other side's hand.
    """
    path = find_mano(path, side)
    file = _read(path)
    check_side(path, side, file.J_regressor @ file.v_template)
    return _repaired(file, path) if side == "left" and file.tip_vertices is None else file


def _read(path: Path) -> ManoFile:
    if not path.is_file():
        raise AssetError(f"{path}: expected a MANO file, found nothing")
    with path.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    try:
        if len(raw) > MAX_BYTES:
            raise AssetError(f"expected a MANO file of at most {MAX_BYTES >> 20} MiB, found {path.stat().st_size} B")
        content = (
            unpack_npz(raw, (*_shapes(0, 0), "tip_vertices"), MAX_BYTES, "fiu")
            if is_of_numpy(path, raw)
            else read_plain_pickle(raw, NAMES)
        )
        return _checked(content, hashlib.sha256(raw).hexdigest())
    except AssetError as error:
        raise AssetError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file can fail in any way
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise AssetError(f"{path}: expected a MANO file, found one that cannot be read ({reason})") from error


def _checked(content: Any, sha256: str) -> ManoFile:
    if not isinstance(content, dict):
        raise AssetError(f"expected a dictionary, found {type(content).__name__}")
    num_vertices, num_faces = NUM_VERTICES, NUM_FACES
    tips = None
    if "tip_vertices" in content:
        tips = _numbers(content, "tip_vertices", (5,))
        num_vertices, num_faces = (len(_numbers(content, name, (-1, 3))) for name in ("v_template", "f"))
    shapes = _shapes(num_vertices, num_faces)
    arrays = {name: _numbers(content, name, shape) for name, shape in shapes.items()}
    _check_range("f", arrays["f"], num_vertices)
    if tips is not None:
        _check_range("tip_vertices", tips, num_vertices)
    if not np.array_equal(arrays["kintree_table"][0, 1:], MANO_PARENTS[1:]):
        raise AssetError(f"kintree_table: expected the parents {MANO_PARENTS[1:]}, found others")
    return ManoFile(**arrays, tip_vertices=tips, sha256=sha256)


def _shapes(num_vertices: int, num_faces: int) -> dict[str, tuple[int, ...]]:
    return {
        "v_template": (num_vertices, 3),
        "shapedirs": (num_vertices, 3, 10),
        "posedirs": (num_vertices, 3, 135),
        "J_regressor": (16, num_vertices),
        "weights": (num_vertices, 16),
        "kintree_table": (2, 16),
        "f": (num_faces, 3),
        "hands_components": (45, 45),
        "hands_mean": (45,),
    }


def _numbers(content: dict[str, Any], name: str, shape: tuple[int, ...]) -> AnyArray:
    """The array of that name, of that shape; a first length of -1 stands for any."""
    try:
        array = pickled_array(content.get(name), shape)
    except AssetError as error:
        raise AssetError(f"{name}: {error}") from error
    if array is None or array.ndim != len(shape) or array.shape[shape[0] < 0 :] != shape[shape[0] < 0 :]:
        found = "nothing" if array is None else f"{array.dtype} {array.shape}"
        raise AssetError(f"{name}: expected numbers of shape {shape}, found {found}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise AssetError(f"{name}: expected finite numbers, found NaN or infinity")
    return array


def _check_range(name: str, indices: AnyArray, stop: int) -> None:
    if indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= stop:
        raise AssetError(f"{name}: expected vertex numbers below {stop}, found others")


def _repaired(left: ManoFile, path: Path) -> ManoFile:
    try:
        right_path = find_mano(path, "right")
    except AssetError:
        right_path = path
    if right_path == path:
        _tell_once(
            f"{path}: no {FILE_NAMES['right']}{path.suffix} beside it, so the sign of shapedirs is taken as it is"
        )
        return left
    right = _read(right_path)
    if right.shapedirs.shape != left.shapedirs.shape:
        raise AssetError(f"{right_path}: expected the right hand of {path.name}, found another mesh")
    if np.array_equal(right.v_template, left.v_template):
        raise AssetError(f"{path}: expected a left hand, found the same shape as in {right_path.name}")
    if np.abs(left.shapedirs[:, 0] - right.shapedirs[:, 0]).sum() >= 1:
        return left
    _tell_once(f"{path}: x of shapedirs had the right hand's sign; repaired")
    return replace(left, shapedirs=left.shapedirs * np.array([-1.0, 1.0, 1.0])[:, None])


@functools.cache
def _tell_once(message: str) -> None:
    warnings.warn(message, stacklevel=6)  # the caller of load_hand_model
