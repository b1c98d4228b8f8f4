"""MANO files, read safely: pickles without chumpy, by an unpickler that knows only the names such a file needs."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from aih_gen.config import Side
from aih_gen.errors import AssetError
from aih_gen.hands.joints import MANO_TIPS
from aih_gen.hands.model import HandData, HandModel

FILE_NAMES = {"right": "MANO_RIGHT", "left": "MANO_LEFT"}
MAX_BYTES = 64 * 2**20
SHAPES = {
    "v_template": (778, 3),
    "shapedirs": (778, 3, 10),
    "posedirs": (778, 3, 135),
    "J_regressor": (16, 778),
    "weights": (778, 16),
    "kintree_table": (2, 16),
    "f": (1538, 3),
    "hands_components": (45, 45),
    "hands_mean": (45,),
}


def load_mano(path: Path, side: Side) -> HandModel:
    """A MANO hand from its licensed pickle (``MANO_RIGHT.pkl``), an npz of the same arrays, or the folder of both.

    The published left file repeats the right hand's sign in the x component of ``shapedirs``; where the right file
    lies beside it and shows that, the sign is repaired and said once.

    Raises:
        AssetError: no such file, content other than a MANO model's, or an array of another shape.
    """
    file = _find(path, side)
    arrays = _read_arrays(file)
    if side == "left":
        _repair_left(arrays, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return HandModel(_hand_data(arrays, side, digest), side)


def _find(path: Path, side: Side) -> Path:
    candidates = [path] if path.is_file() else [path / (FILE_NAMES[side] + suffix) for suffix in (".pkl", ".npz")]
    for file in candidates:
        if file.is_file():
            return _sibling(file, side)
    raise AssetError(f"{path}: expected 'free', a MANO file or a folder with {FILE_NAMES[side]}.pkl, found neither")


def _sibling(file: Path, side: Side) -> Path:
    """The file of the wanted side when the other one's was named."""
    other = FILE_NAMES["left" if side == "right" else "right"]
    return file.with_name(FILE_NAMES[side] + file.suffix) if file.stem == other else file


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        raise AssetError(f"{file}: expected a MANO file, found nothing")
    if file.stat().st_size > MAX_BYTES:
        raise AssetError(
            f"{file}: expected a MANO file of at most {MAX_BYTES >> 20} MiB, found {file.stat().st_size} B"
        )
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                content: Any = {name: archive[name] for name in SHAPES if name in archive.files}
        else:
            content = _ManoUnpickler(io.BytesIO(file.read_bytes()), encoding="latin1").load()
    except AssetError as error:
        raise AssetError(f"{file}: {error}") from error
    except Exception as error:  # a hostile or damaged pickle can fail in any way
        raise AssetError(f"{file}: expected a MANO file, found one that cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise AssetError(f"{file}: expected a dictionary, found {type(content).__name__}")
    arrays = {}
    for name, shape in SHAPES.items():
        array = _plain(content.get(name))
        if array is None or array.shape != shape or array.dtype.kind not in "fiu":
            found = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise AssetError(f"{file}: {name}: expected numbers of shape {shape}, found {found}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise AssetError(f"{file}: {name}: expected finite numbers, found NaN or infinity")
        arrays[name] = array
    if arrays["f"].max() >= 778:
        raise AssetError(f"{file}: f: expected vertex numbers below 778, found {arrays['f'].max()}")
    return arrays


def _repair_left(arrays: dict[str, np.ndarray], file: Path) -> None:
    right_file = file.with_name(FILE_NAMES["right"] + file.suffix)
    if not right_file.is_file():
        return
    right = _read_arrays(right_file)["shapedirs"]
    if np.abs(arrays["shapedirs"][:, 0] - right[:, 0]).sum() < 1:
        arrays["shapedirs"] = arrays["shapedirs"] * np.array([-1.0, 1.0, 1.0])[:, None]
        warnings.warn(f"{file.name}: x of shapedirs had the right hand's sign; repaired", stacklevel=4)


def _hand_data(arrays: dict[str, np.ndarray], side: Side, sha256: str) -> HandData:
    regressor, template, shapedirs = arrays["J_regressor"], arrays["v_template"], arrays["shapedirs"]
    parents = arrays["kintree_table"][0].astype(np.int64)

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    return HandData(
        v_template=tensor(template),
        shapedirs=tensor(shapedirs),
        posedirs=tensor(arrays["posedirs"]),
        joint_template=tensor(regressor @ template),
        joint_shapedirs=tensor(np.einsum("jv,vak->jak", regressor, shapedirs)),
        weights=tensor(arrays["weights"]),
        arm_weight=torch.zeros(0),
        faces=torch.from_numpy(arrays["f"].astype(np.int64)),
        arm_faces=torch.zeros(0, 3, dtype=torch.long),
        parents=(-1, *parents[1:].tolist()),
        tip_vertices=torch.tensor(MANO_TIPS["manopth"][side]),
        hands_mean=tensor(arrays["hands_mean"]),
        hands_components=tensor(arrays["hands_components"]),
        texture_coordinates=None,
        texture_faces=None,
        name="mano",
        sha256=sha256,
    )


class _Array:
    """Takes the state of a pickled ndarray, checked, in place of the ndarray."""

    array: np.ndarray

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        if not (isinstance(dtype, np.dtype) and dtype.kind in "fiu" and isinstance(raw, bytes)):
            raise AssetError("expected arrays of plain numbers, found another kind")
        self.array = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


class _Record:
    """Keeps the attributes of a sparse matrix or chumpy object without being one."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


def _dtype(name: Any, align: Any = False, copy: Any = False) -> np.dtype:
    if name not in ("f8", "f4", "i8", "i4", "u4", "u8", "i2", "u2", "u1", "i1"):
        raise AssetError(f"expected arrays of plain numbers, found type {name!r}")
    return np.dtype(name)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise AssetError("expected latin-1 text for array bytes, found something else")
    return text.encode("latin1")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _as_list(items: Any = ()) -> list[Any]:
    return list(items) if isinstance(items, list | tuple) else []


class _ManoUnpickler(pickle.Unpickler):
    """Every name a MANO file needs, each bound to a harmless stand-in; any other name is refused."""

    ALLOWED: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _dtype,
        ("_codecs", "encode"): _encode,
        ("__builtin__", "set"): _as_list,
        ("builtins", "set"): _as_list,
        ("chumpy.ch", "Ch"): _Record,
        ("chumpy.reordering", "Select"): _Record,
        ("scipy.sparse.csc", "csc_matrix"): _Record,
        ("scipy.sparse._csc", "csc_matrix"): _Record,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise AssetError(f"expected only what a MANO file holds, found the name {module}.{name}")
        return self.ALLOWED[module, name]


def _plain(value: Any) -> np.ndarray | None:
    """The array that a stand-in holds: dense for sparse matrices, resolved for chumpy selections."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, _Array):
        return value.array
    if not isinstance(value, _Record):
        return None
    fields = value.__dict__
    if "indptr" in fields:
        return _dense(fields)
    if "idxs" in fields:
        source, chosen = _plain(fields.get("a")), _plain(fields["idxs"])
        shape = fields.get("preferred_shape")
        return None if source is None or chosen is None else source.reshape(-1)[chosen].reshape(shape)
    return _plain(fields.get("x"))


def _dense(fields: dict[str, Any]) -> np.ndarray | None:
    data, rows, starts = (_plain(fields.get(name)) for name in ("data", "indices", "indptr"))
    if data is None or rows is None or starts is None or fields.get("_shape") != SHAPES["J_regressor"]:
        return None
    dense = np.zeros(SHAPES["J_regressor"])
    np.add.at(dense, (rows, np.repeat(np.arange(len(starts) - 1), np.diff(starts))), data)
    return dense
