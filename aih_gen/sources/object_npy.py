"""NumPy files of objects (``.npy`` with a pickle inside) as plain values: nothing in them is imported or run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from aih_gen.errors import AIHError, AssetError
from aih_gen.io.archives import read_npy_header
from aih_gen.io.pickled_arrays import OF_NUMPY, SCALAR, plain_array, plain_number
from aih_gen.io.plain_pickle import Record, read_plain_pickle

MAX_BYTES = 1 << 31


def read_object_array(path: Path) -> list[Any]:
    """The members of a one-dimensional array of objects, made of plain values, lists, dictionaries and arrays.

    Raises:
        AIHError: no such file, or content of another kind.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AIHError(f"{path}: expected an object array, found no readable file ({error.strerror})") from error
    try:
        stream = io.BytesIO(raw)
        shape, _, dtype = read_npy_header(stream)
        if len(raw) > MAX_BYTES or not dtype.hasobject or len(shape) != 1:
            raise AssetError(f"expected a list of objects, found {dtype} {shape} in {len(raw)} bytes")
        body = raw[stream.tell() :]
        content = read_plain_pickle(body, OF_NUMPY, most=len(body))
        members = content.state[4] if isinstance(content, Record) and isinstance(content.state, tuple) else content
        if not isinstance(members, list) or len(members) != shape[0]:
            raise AssetError(f"expected {shape[0]} objects, found {type(members).__name__}")
        return [_plain(member) for member in members]
    except AssetError as error:
        raise AIHError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file can fail in any way
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise AIHError(f"{path}: expected an object array, found one that cannot be read ({reason})") from error


def _plain(value: Any) -> Any:
    """Records become arrays, NumPy's scalars arrays of no axis; anything else is gone through."""
    if isinstance(value, Record):
        return plain_number(value) if value.name in SCALAR else plain_array(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
