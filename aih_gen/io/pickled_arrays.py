"""NumPy's, SciPy's and chumpy's arrays as pickles describe them: the names, and how their records become arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from aih_gen.errors import AssetError
from aih_gen.io.plain_pickle import Name, Record
from aih_gen.typing import AnyArray

ARRAY = {Name(f"{module}.multiarray", "_reconstruct") for module in ("numpy.core", "numpy._core")}
BUFFER = {Name(f"{module}.numeric", "_frombuffer") for module in ("numpy.core", "numpy._core")}
SCALAR = {Name(f"{module}.multiarray", "scalar") for module in ("numpy.core", "numpy._core")}
SPARSE = {
    Name(f"scipy.sparse.{module}{kind}", f"{kind}_{what}"): kind
    for kind in ("csc", "csr", "coo")
    for module in ("", "_")
    for what in ("matrix", "array")
}
SELECT, CHUMPY = Name("chumpy.reordering", "Select"), Name("chumpy.ch", "Ch")
DTYPE, ENCODE = Name("numpy", "dtype"), Name("_codecs", "encode")
OF_NUMPY = {*ARRAY, *BUFFER, *SCALAR, DTYPE, ENCODE, Name("numpy", "ndarray"), Name("numpy", "matrix")} | {
    Name(f"numpy.{module}", "matrix") for module in ("matrixlib.defmatrix", "core.defmatrix")
}
NAMES = {*OF_NUMPY, *SPARSE, SELECT, CHUMPY} | {
    Name(module, name) for module in ("__builtin__", "builtins") for name in ("set", "frozenset")
}
NUMBER_TYPES = ("f8", "f4", "i8", "i4", "u4", "u8", "i2", "u2", "u1", "i1")


def pickled_array(value: Any, shape: tuple[int, ...]) -> AnyArray | None:
    """The array that a value stands for, dense for a sparse matrix, resolved for a chumpy selection; None for none.

    ``shape`` is the one that is expected; what is found may have another.

    Raises:
        AssetError: parts that do not fit each other, or are no numbers.
    """
    if isinstance(value, Record) and value.name in SPARSE:
        return _dense(_state(value), SPARSE[value.name], shape)
    if isinstance(value, Record) and value.name == SELECT:
        state = _state(value)
        return _selected(_of_chumpy(state.get("a")), plain_array(state.get("idxs")), shape)
    array = _of_chumpy(value)
    return array[0] if array is not None and array.shape == (1, *shape) else array  # a matrix has two axes at least


def _of_chumpy(value: Any) -> AnyArray | None:
    """The array inside a chumpy variable, or a bare one."""
    return plain_array(_state(value).get("x") if isinstance(value, Record) and value.name == CHUMPY else value)


def _state(record: Record) -> dict[str, Any]:
    if not isinstance(record.state, dict):
        raise AssetError(f"expected the attributes of {record.name}, found {type(record.state).__name__}")
    return record.state


def plain_array(value: Any) -> AnyArray | None:
    """The array of numbers that a pickle describes; None for anything else."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, Record):
        return None
    if value.name in ARRAY and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, dtype, fortran, raw = value.state
        return _from_bytes(raw, dtype, shape, fortran is True)
    if value.name in BUFFER and len(value.arguments) in (4, 5):
        raw, dtype, shape, order, *axes = value.arguments
        array = _from_bytes(raw, dtype, shape, order == "F")
        return _transposed(array, axes[0]) if order == "K" and axes and axes[0] is not None else array
    return None


def plain_number(value: Record) -> Any:
    """The number that a record of NumPy's ``scalar`` describes; None for anything else."""
    if value.name not in SCALAR or len(value.arguments) != 2:
        return None
    return _from_bytes(value.arguments[1], value.arguments[0], (1,), False)[0]


def _transposed(array: AnyArray, axes: Any) -> AnyArray:
    if not isinstance(axes, tuple | list) or sorted(axes) != list(range(array.ndim)):
        raise AssetError("expected the order of an array's axes, found something else")
    return array.transpose(axes)


def _from_bytes(raw: Any, dtype: Any, shape: Any, fortran: bool) -> AnyArray:
    number = _dtype(dtype)
    if isinstance(raw, Record) and raw.name == ENCODE and len(raw.arguments) == 2:
        raw = raw.arguments[0]  # Python 3 writes bytes as Latin-1 text for readers of protocol 2
    if isinstance(raw, str):
        raw = raw.encode("latin-1")
    if not (isinstance(raw, bytes | bytearray) and isinstance(shape, tuple) and 1 <= len(shape) <= 3):
        raise AssetError("expected an array's shape and bytes, found something else")
    if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) * number.itemsize != len(raw):
        raise AssetError(f"expected as many bytes as the array's shape has, found {len(raw)}")
    return np.frombuffer(raw, number).reshape(shape, order="F" if fortran else "C")


def _dtype(value: Any) -> np.dtype[Any]:
    if isinstance(value, Record) and value.name == DTYPE and isinstance(value.state, tuple):
        code, order = value.arguments[:1], value.state[1:2]
        if code and code[0] in NUMBER_TYPES and order in (("<",), (">",), ("|",)):
            return np.dtype(order[0] + code[0])
    raise AssetError("expected an array of plain numbers, found another kind")


def _selected(source: AnyArray | None, indices: AnyArray | None, shape: tuple[int, ...]) -> AnyArray | None:
    """A selection of chumpy's: elements of the flattened source, in a new shape."""
    if source is None or indices is None or indices.size != math.prod(shape):
        return None
    return source.reshape(-1)[indices.reshape(shape)]


def _dense(fields: dict[str, Any], kind: str, shape: tuple[int, ...]) -> AnyArray | None:
    """A sparse matrix in full; row and column numbers and what counts them are checked first."""
    data = plain_array(fields.get("data"))
    places = _places(fields, kind, shape)
    if data is None or places is None or fields.get("_shape") != shape:
        return None
    rows, columns = places
    if not (data.ndim == 1 and data.shape == rows.shape == columns.shape):
        raise AssetError("expected a sparse matrix, found one whose parts do not fit each other")
    if len(data) and (min(rows.min(), columns.min()) < 0 or rows.max() >= shape[0] or columns.max() >= shape[1]):
        raise AssetError("expected a sparse matrix, found entries outside it")
    dense = np.zeros(shape)
    np.add.at(dense, (rows, columns), data)
    return dense


def _places(fields: dict[str, Any], kind: str, shape: tuple[int, ...]) -> tuple[AnyArray, AnyArray] | None:
    """Row and column of each entry."""
    if kind == "coo":
        coords = fields.get("coords", (fields.get("row"), fields.get("col")))
        rows, columns = (plain_array(place) for place in coords) if len(coords) == 2 else (None, None)
        return None if rows is None or columns is None else (rows, columns)
    inner, starts = (plain_array(fields.get(name)) for name in ("indices", "indptr"))
    if inner is None or starts is None:
        return None
    starts, length = starts.astype(np.int64), shape[1] if kind == "csc" else shape[0]
    counts = starts[1:] - starts[:-1]
    if starts.shape != (length + 1,) or starts[0] != 0 or counts.min() < 0 or counts.sum() != inner.size:
        raise AssetError("expected a sparse matrix, found one whose parts do not fit each other")
    outer = np.repeat(np.arange(length), counts)
    return (inner, outer) if kind == "csc" else (outer, inner)
