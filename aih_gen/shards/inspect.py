"""The door for shards: opens a file that may come from anywhere, and lets in only what schema 1 describes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (makes Zstd known to h5py)
import numpy as np

from aih_gen.errors import ShardError
from aih_gen.shards.schema import (
    FORMAT,
    LARGEST_SHARD,
    LARGEST_SIDE,
    OFFSETS,
    PROVENANCE,
    SCHEMA_VERSION,
    Codec,
    Header,
    columns,
)

FLETCHER32 = h5py.h5z.FILTER_FLETCHER32
CODECS: dict[int, Codec] = {32015: "zstd", h5py.h5z.FILTER_DEFLATE: "gzip"}
"""HDF5 filter numbers that may stand in a shard besides the checksum."""

DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises on files whose bytes make no sense."""


@dataclass(frozen=True)
class ShardInfo:
    """What a shard says of itself."""

    path: Path
    header: Header
    samples: int
    first_index: int
    height: int
    width: int
    depth: bool
    codec: Codec


def open_shard(path: Path) -> h5py.File:
    """Open a shard for reading, unchecked.

    Raises:
        ShardError: no such file, or not an HDF5 file.
    """
    if not path.is_file():
        raise ShardError(f"{path}: no such shard")
    try:
        return h5py.File(path, "r", locking=False, rdcc_nbytes=0)  # shards never change; every chunk is read once
    except OSError as error:
        raise ShardError(
            f"{path}: expected an HDF5 file, found something else or a damaged one ({_line(error)})"
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
        _check_links(file, path)
        samples, height, width = _extent(file, path)
        depth = "depth" in file
        expected = columns(height, width, depth)
        for name in [*expected, OFFSETS, PROVENANCE]:
            if name not in file:
                raise ShardError(f"{path}, {name}: expected a dataset, found none")
        for name, column in expected.items():
            _check_dataset(file[name], path, name, column.dtype, (samples, *column.shape), (1, *column.shape))
        _check_dataset(file[OFFSETS], path, OFFSETS, np.dtype("<i8"), (samples + 1,))
        _check_dataset(file[PROVENANCE], path, PROVENANCE, np.dtype("u1"), (file[PROVENANCE].size,))
        for name in set(file) - {*expected, OFFSETS, PROVENANCE}:
            raise ShardError(f"{path}, {name}: expected no such dataset in schema {SCHEMA_VERSION}")
        return ShardInfo(
            path, header, samples, int(file["index"][0]), height, width, depth, _filters(file["rgb"], path, "rgb")
        )
    except DAMAGE as error:
        raise ShardError(f"{path}: expected a shard, found a damaged file ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _attribute(file: h5py.File, path: Path, name: str, kind: type) -> Any:
    value = file.attrs.get(name)
    if kind is int and isinstance(value, np.integer):
        value = int(value)
    if not isinstance(value, kind):
        raise ShardError(f"{path}, attribute {name}: expected {kind.__name__}, found {value!r}")
    return value


def _header(file: h5py.File, path: Path) -> Header:
    for name, expected in (("format", FORMAT), ("schema_version", SCHEMA_VERSION)):
        found = _attribute(file, path, name, type(expected))
        if found != expected:
            raise ShardError(f"{path}, attribute {name}: expected {expected!r}, found {found!r}")
    values = {f.name: _attribute(file, path, f.name, int if f.name == "seed" else str) for f in fields(Header)}
    header = Header(**values)
    digest = hashlib.sha256(header.config.encode()).hexdigest()
    if digest != header.config_sha256:
        raise ShardError(
            f"{path}, attribute config_sha256: expected {digest} (of config), found {header.config_sha256}"
        )
    document = json.loads(header.config)
    if not isinstance(document, dict):
        raise ShardError(f"{path}, attribute config: expected a JSON object, found {header.config[:80]}")
    for name in ("subset", "seed", "generator_version"):
        if document.get(name, values[name]) != values[name]:
            raise ShardError(
                f"{path}, attribute {name}: expected {document[name]!r} as in config, found {values[name]!r}"
            )
    return header


def _check_links(file: h5py.File, path: Path) -> None:
    """Nothing may lead out of the file, and nothing but plain datasets may be in it."""
    for name in file:
        link = file.get(name, getlink=True)
        if type(link) is not h5py.HardLink:
            raise ShardError(f"{path}, {name}: expected a dataset, found a {type(link).__name__}")
        if not isinstance(file[name], h5py.Dataset):
            raise ShardError(f"{path}, {name}: expected a dataset, found a {type(file[name]).__name__}")


def _extent(file: h5py.File, path: Path) -> tuple[int, int, int]:
    """Number of samples, height and width, read off the masks."""
    shape = file["masks"].shape if "masks" in file else None
    if shape is None or len(shape) != 3:
        raise ShardError(f"{path}, masks: expected shape (N, H, W), found {shape}")
    samples, height, width = shape
    if not (1 <= samples <= LARGEST_SHARD and 1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise ShardError(
            f"{path}, masks: expected 1 to {LARGEST_SHARD} samples of sides up to {LARGEST_SIDE}, found {shape}"
        )
    return samples, height, width


def _check_dataset(
    dataset: h5py.Dataset,
    path: Path,
    name: str,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...] | None,
    chunks: tuple[int, ...] | None = None,
) -> None:
    if dataset.dtype != dtype:
        raise ShardError(f"{path}, {name}: expected type {dtype}, found {dataset.dtype}")
    if shape is None or dataset.shape != shape:
        raise ShardError(f"{path}, {name}: expected shape {shape}, found {dataset.shape}")
    properties = dataset.id.get_create_plist()
    # A virtual dataset and one in external files have another layout: their bytes are not in this file.
    if properties.get_layout() != h5py.h5d.CHUNKED or properties.get_external_count():
        raise ShardError(f"{path}, {name}: expected chunks in this file, found another storage layout")
    if chunks is not None and dataset.chunks != chunks:
        raise ShardError(f"{path}, {name}: expected one chunk a sample, {chunks}, found {dataset.chunks}")
    _filters(dataset, path, name)


def _filters(dataset: h5py.Dataset, path: Path, name: str) -> Codec:
    properties = dataset.id.get_create_plist()
    found = [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
    if FLETCHER32 not in found or not set(found) <= {FLETCHER32, *CODECS}:
        raise ShardError(
            f"{path}, {name}: expected the filters {FLETCHER32} (fletcher32) and one of {tuple(CODECS)}, found {found}"
        )
    return next((CODECS[number] for number in found if number in CODECS), "gzip")
