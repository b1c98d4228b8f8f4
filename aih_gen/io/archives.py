"""The door for NumPy's npz archives: every size is known and checked before anything is unpacked."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from aih_gen.errors import AssetError
from aih_gen.typing import AnyArray

MAX_UNPACKED = 1 << 31
"""Bytes of all arrays of an archive together."""
MAX_RATIO = 100
"""Arrays larger than 64 MiB may not be more than so many times the archive: only bombs are."""
_FREE_OF_RATIO = 1 << 26
KINDS = "biufU"
"""Truth values, numbers and text, as NumPy codes kinds of types."""

ARCHIVE, SINGLE_ARRAY = b"PK\x03\x04", b"\x93NUMPY"
"""First bytes of an npz and of a .npy."""


def is_of_numpy(path: Path, start: bytes | None = None) -> bool:
    """True for a file that is an npz by its name or by its first bytes, or by those a .npy, which `read_npz` refuses.

    Raises:
        OSError: it cannot be read.
    """
    if start is None:
        with path.open("rb") as file:
            start = file.read(len(SINGLE_ARRAY))
    return path.suffix == ".npz" or start.startswith((ARCHIVE, SINGLE_ARRAY))


def read_npz(path: Path, names: Collection[str] | None = None, max_bytes: int = MAX_UNPACKED) -> dict[str, AnyArray]:
    """Arrays of an npz file by name: those of ``names`` that it has, or all.

    Raises:
        AssetError: no such file, no npz, too large, or an array of another kind than `KINDS`.
    """
    try:
        return unpack_npz(path.read_bytes(), names, max_bytes)
    except AssetError as error:
        raise AssetError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file can fail in any way
        reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
        raise AssetError(f"{path}: expected an npz, found none that can be read ({reason[:200]})") from error


def unpack_npz(
    raw: bytes, names: Collection[str] | None = None, max_bytes: int = MAX_UNPACKED, kinds: str = KINDS
) -> dict[str, AnyArray]:
    """``read_npz`` of a file's content.

    Raises:
        AssetError: it is too large, or an array is of another kind than ``kinds``.
        Exception: of any kind where it is no archive, or a damaged one.
    """
    if raw.startswith(SINGLE_ARRAY):
        raise AssetError("expected an npz, found none that can be read (a single array, as np.save writes it)")
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if names is not None:
            members = {name: info for name, info in members.items() if name in names}
        total = sum(info.file_size for info in members.values())
        if total > max_bytes:
            raise AssetError(f"expected arrays of at most {max_bytes >> 20} MiB, found {total >> 20} MiB")
        if total > max(_FREE_OF_RATIO, MAX_RATIO * len(raw)):
            raise AssetError(f"expected arrays, found {len(raw):,} bytes that would become {total:,}")
        return {name: _array(archive.read(info), name, kinds) for name, info in members.items()}


def read_npy_header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and type of an array in NumPy's own format; the stream then stands at its content."""
    form: Any = np.lib.format  # NumPy annotates it from 2.3 on
    header = form.read_array_header_1_0 if form.read_magic(stream) == (1, 0) else form.read_array_header_2_0
    return header(stream)


def _array(raw: bytes, name: str, kinds: str) -> AnyArray:
    stream = io.BytesIO(raw)
    shape, fortran, dtype = read_npy_header(stream)
    body = memoryview(raw)[stream.tell() :]
    if dtype.kind not in kinds or min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize != len(body):
        raise AssetError(f"{name}: expected plain numbers, found {str(dtype)[:60]} {str(shape)[:60]} in {len(body)} B")
    return np.frombuffer(bytearray(body), dtype).reshape(shape, order="F" if fortran else "C")  # to be written to
