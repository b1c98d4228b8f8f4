"""The door for shards: opens an untrusted file and accepts only what schema 1 describes."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aih_gen.errors import ShardError
from aih_gen.io.json import parse_json
from aih_gen.shards.chunks import ChunkedDataset
from aih_gen.shards.schema import (
    COMPRESSED,
    FORMAT,
    MAX_SHARD,
    MAX_SIDE,
    OFFSETS,
    PROVENANCE,
    PROVENANCE_CHUNK,
    SCHEMA_VERSION,
    Header,
    columns,
)
from aih_gen.typing import Codec

with contextlib.suppress(ImportError):  # shards of the gzip codec are read without it
    import hdf5plugin  # noqa: F401  (makes Zstd known to h5py)

FLETCHER32 = h5py.h5z.FILTER_FLETCHER32
CODECS: dict[int, Codec] = {32015: "zstd", h5py.h5z.FILTER_DEFLATE: "gzip"}
"""HDF5 filter numbers that may stand before the checksum."""
MAX_ATTRIBUTE = 1 << 16
"""Bytes of a number or text that is stored where the attribute is."""

DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""Errors of h5py on damaged files."""


@dataclass(frozen=True)
class ShardInfo:
    """Header, extent and codec of a shard."""

    path: Path
    header: Header
    samples: int
    first_index: int
    height: int
    width: int
    depth: bool
    codec: Codec
    missing: frozenset[str] = frozenset()
    """Datasets of fields that were added after it was written."""


def open_shard(path: Path) -> h5py.File:
    """Open a shard for reading, unchecked.

    Raises:
        ShardError: no such file, or not an HDF5 file.
    """
    if not path.is_file():
        raise ShardError(f"{path}: expected a shard, found no file")
    try:
        return h5py.File(path, "r", locking=False, rdcc_nbytes=0)  # shards never change; every chunk is read once
    except OSError as error:
        raise ShardError(
            f"{path}: expected an HDF5 file, found something else or a damaged one ({line(error)})"
        ) from error


def inspect_shard(path: Path) -> ShardInfo:
    """Check everything about a shard but its values.

    Raises:
        ShardError: it is not a shard of schema 1; names the file, the dataset or attribute, the expected and the found.
    """
    with open_shard(path) as file:
        return check(file, path)


def check(file: h5py.File, path: Path) -> ShardInfo:
    """As ``inspect_shard``, for an open file."""
    try:
        header = _header(file, path)
        datasets = _datasets(file, path)
        samples, height, width = _extent(datasets, path)
        depth = "depth" in datasets
        expected = columns(height, width, depth)
        missing = frozenset(
            name for name, column in expected.items() if name not in datasets and column.unknown is not None
        )
        expected = {name: column for name, column in expected.items() if name not in missing}
        for name in [*expected, OFFSETS, PROVENANCE]:
            if name not in datasets:
                raise ShardError(f"{path}, {name}: expected a dataset, found none")
        for name in datasets.keys() - {*expected, OFFSETS, PROVENANCE}:
            raise ShardError(f"{path}, {name}: expected only datasets of schema {SCHEMA_VERSION}, found another")
        codec = _codec(datasets["rgb"], path)
        for name, column in expected.items():
            chunks = (1, *column.shape)
            _check_dataset(datasets[name], path, name, column.dtype, (samples, *column.shape), chunks, codec)
        for name, dtype, length in ((OFFSETS, "<i8", samples + 1), (PROVENANCE, "u1", datasets[PROVENANCE].size)):
            chunks = (min(length, PROVENANCE_CHUNK),)
            _check_dataset(datasets[name], path, name, np.dtype(dtype), (length,), chunks, codec)
        index = ChunkedDataset(datasets["index"].id, None, file.id.get_vfd_handle())
        (first,) = index.read_rows(0, 1).tolist()
        return ShardInfo(path, header, samples, first, height, width, depth, codec, missing)
    except DAMAGE as error:
        raise ShardError(f"{path}: expected a shard, found a damaged file ({line(error)})") from error


def line(error: Exception) -> str:
    """An error's text without line breaks."""
    return " ".join(str(error).split())


def _attribute(file: h5py.File, path: Path, name: str, kind: type) -> Any:
    place = f"{path}, attribute {name}"
    if name not in file.attrs:
        raise ShardError(f"{place}: expected {kind.__name__}, found None")
    stored = file.attrs.get_id(name)
    if stored.shape != () or stored.get_storage_size() > MAX_ATTRIBUTE:
        found = f"{stored.get_storage_size()} bytes of shape {stored.shape}"
        raise ShardError(f"{place}: expected one {kind.__name__}, found {found}")
    if stored.dtype.hasobject:
        raise ShardError(f"{place}: expected {kind.__name__} of a fixed length, found one of variable length")
    value = file.attrs[name]
    if isinstance(value, bytes):
        value = value.decode()
    if kind is int and isinstance(value, np.integer):
        value = int(value)
    if not isinstance(value, kind):
        raise ShardError(f"{place}: expected {kind.__name__}, found {type(value).__name__}")
    return value


def _header(file: h5py.File, path: Path) -> Header:
    for name, expected in (("format", FORMAT), ("schema_version", SCHEMA_VERSION)):
        found = _attribute(file, path, name, type(expected))
        if found != expected:
            raise ShardError(f"{path}, attribute {name}: expected {expected!r}, found {_short(found)}")
    values = {f.name: _attribute(file, path, f.name, int if f.name == "seed" else str) for f in fields(Header)}
    header = Header(**values)
    digest = hashlib.sha256(header.config.encode()).hexdigest()
    if digest != header.config_sha256:
        raise ShardError(
            f"{path}, attribute config_sha256: expected {digest} (of config), found {_short(header.config_sha256)}"
        )
    try:
        document = parse_json(header.config.encode())
    except ValueError as error:
        raise ShardError(f"{path}, attribute config: expected JSON, found something else ({error})") from error
    if not isinstance(document, dict):
        raise ShardError(f"{path}, attribute config: expected a JSON object, found {_short(header.config)}")
    for name in ("subset", "seed", "generator_version"):
        if document.get(name, values[name]) != values[name]:
            expected, other = _short(document[name]), _short(values[name])
            raise ShardError(f"{path}, attribute {name}: expected {expected} as in config, found {other}")
    return header


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _datasets(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """The file's datasets by name: nothing may lead out of it, and nothing but plain datasets may be in it.

    Each is opened once: opening takes most of the time, and a large data set has thousands of shards.
    """
    datasets = {}
    for name in file:
        if not name.isidentifier():
            raise ShardError(f"{path}: expected names of datasets, found {_short(name)}")
        link = file.get(name, getlink=True)
        if type(link) is not h5py.HardLink:
            raise ShardError(f"{path}, {name}: expected a dataset, found a {type(link).__name__}")
        found = file[name]
        if not isinstance(found, h5py.Dataset):
            raise ShardError(f"{path}, {name}: expected a dataset, found a {type(found).__name__}")
        datasets[name] = found
    return datasets


def _extent(datasets: Mapping[str, h5py.Dataset], path: Path) -> tuple[int, int, int]:
    """Number of samples, height and width, read off the masks."""
    shape = datasets["masks"].shape if "masks" in datasets else None
    if shape is None or len(shape) != 3:
        raise ShardError(f"{path}, masks: expected shape (N, H, W), found {shape}")
    samples, height, width = shape
    if not (1 <= samples <= MAX_SHARD and 1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ShardError(f"{path}, masks: expected 1 to {MAX_SHARD} samples of sides up to {MAX_SIDE}, found {shape}")
    return samples, height, width


def _codec(rgb: h5py.Dataset, path: Path) -> Codec:
    """The codec of the images, and so of everything else that is compressed."""
    found = _filters(rgb.id.get_create_plist())
    for number, codec in CODECS.items():
        if found == [number, FLETCHER32]:
            if not h5py.h5z.filter_avail(number):
                raise ShardError(f"{path}, rgb: expected the {codec} plugin, found it missing; pip install hdf5plugin")
            return codec
    raise ShardError(
        f"{path}, rgb: expected one of the filters {tuple(CODECS)}, then {FLETCHER32} (fletcher32), found {found}"
    )


def _filters(properties: h5py.h5p.PropDCID) -> list[int]:
    return [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]


def _check_dataset(
    dataset: h5py.Dataset,
    path: Path,
    name: str,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    codec: Codec,
) -> None:
    place = f"{path}, {name}"
    if dataset.dtype != dtype:
        raise ShardError(f"{place}: expected type {dtype}, found {dataset.dtype}")
    if dataset.shape != shape:
        raise ShardError(f"{place}: expected shape {shape}, found {dataset.shape}")
    properties = dataset.id.get_create_plist()
    # A virtual dataset and one in external files have another layout: their bytes are not in this file.
    if properties.get_layout() != h5py.h5d.CHUNKED or properties.get_external_count():
        raise ShardError(f"{place}: expected chunks in this file, found another storage layout")
    if properties.get_chunk() != chunks:
        raise ShardError(f"{place}: expected chunks of {chunks}, found {properties.get_chunk()}")
    filters = [number for number, known in CODECS.items() if known == codec and name in COMPRESSED] + [FLETCHER32]
    found = _filters(properties)
    if found != filters:
        raise ShardError(f"{place}: expected the filters {filters}, found {found}")
    pieces, stored = -(-shape[0] // chunks[0]), dataset.id.get_num_chunks()
    if stored != pieces:
        raise ShardError(f"{place}: expected {pieces} chunks, found {stored}")
