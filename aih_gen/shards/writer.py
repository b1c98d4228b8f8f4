"""Samples -> a shard that is either absent or whole, and the manifest of a folder of shards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from aih_gen.compose.sample import IMAGES, Sample, pack_masks
from aih_gen.errors import AIHError
from aih_gen.interruption import Interruption
from aih_gen.io.write import atomic_path
from aih_gen.shards.disk import DeferredErrorFile
from aih_gen.shards.manifest import ManifestEntry, describe_file
from aih_gen.shards.schema import (
    COMPRESSED,
    FORMAT,
    MAX_PROVENANCE,
    OFFSETS,
    PROVENANCE,
    PROVENANCE_CHUNK,
    SCHEMA_VERSION,
    Column,
    Header,
    columns,
)
from aih_gen.typing import AnyArray, Codec

FILE_FORMAT = ("v110", "v110")
"""Checksummed metadata, like ``latest``, but HDF5 1.10 and 1.12 can read it: HDF5 2's ``latest`` they cannot."""

ZSTD_LEVELS = {"rgb": -7, "depth": 1}
"""Photographs hardly shrink; without entropy coding they take a third more room and are unpacked three times faster.
Depth maps take 3 % more room than at level 3, the others', and two thirds of the time.
"""


def write_shard(
    path: Path,
    batches: Iterable[Sequence[Sample]],
    count: int,
    header: Header,
    codec: Codec = "zstd",
    depth: bool = False,
) -> ManifestEntry:
    """Write ``count`` samples to ``path``: all of them, or (on any error) nothing.

    Args:
        path: the shard; what stood there is replaced.
        batches: the samples in order, in lists of any length.
        count: how many samples the batches hold together, at least 1.
        header: the file attributes.
        codec: ``zstd``, or ``gzip`` for readers without the plugin. Both are lossless.
        depth: whether to keep ``Sample.depth``, which every sample must then have.

    Returns:
        The shard's line in the manifest.

    Raises:
        WriteError: the file cannot be written.
        ValueError: a sample's arrays are not those of the schema, or the batches do not hold ``count`` samples.
        KeyboardInterrupt: Ctrl-C or SIGTERM, between two batches; the file is not made.
    """
    with atomic_path(path) as temporary:
        with Interruption() as interruption:
            with DeferredErrorFile(str(temporary)) as disk:
                with h5py.File(disk, "w", libver=FILE_FORMAT) as file:
                    _fill(file, _while_it_fits(batches, disk, interruption), count, codec, depth)
                    _describe(file, {"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(header)})
                disk.check()
            interruption.check()
        return describe_file(temporary, path.name, count)


def _while_it_fits(
    batches: Iterable[Sequence[Sample]], disk: DeferredErrorFile, interruption: Interruption
) -> Iterator[Sequence[Sample]]:
    for samples in batches:
        yield samples
        disk.check()
        interruption.check()


def _fill(file: h5py.File, batches: Iterable[Sequence[Sample]], count: int, codec: Codec, depth: bool) -> None:
    layout: Mapping[str, Column] = {}
    provenance: list[bytes] = []
    for samples in batches:
        if not layout:
            height, width = samples[0].shaded.shape
            layout = columns(height, width, depth)
            for name, column in layout.items():
                _create(file, name, column, count, _compression(codec, name))
        first, stop = len(provenance), len(provenance) + len(samples)
        if stop > count:
            raise ValueError(f"batches: expected {count} samples, found more")
        for name, column in layout.items():
            file[name][first:stop] = _stack(samples, name, column)
        provenance += [_provenance_bytes(sample) for sample in samples]
    if len(provenance) != count:
        raise ValueError(f"batches: expected {count} samples, found {len(provenance)}")
    _write_provenance(file, provenance, codec)


def _describe(file: h5py.File, attributes: Mapping[str, str | int]) -> None:
    """Text gets a fixed length, so that it lies in the checksummed header.

    Text of variable length would lie in HDF5's global heap, which has no checksum: one flipped bit in there, and HDF5
    (2.0) walks through it for ever.
    """
    for name, value in attributes.items():
        if isinstance(value, str):
            text = value.encode()
            file.attrs.create(name, text, dtype=h5py.string_dtype("utf-8", max(len(text), 1)))
        else:
            file.attrs[name] = value


def _compression(codec: Codec, name: str) -> dict[str, Any]:
    if name not in COMPRESSED:
        return {}
    if codec == "gzip":
        return {"compression": "gzip", "compression_opts": 4}
    try:
        import hdf5plugin
    except ImportError as error:
        raise AIHError(
            "codec: expected the package hdf5plugin for zstd, found it missing; pip install hdf5plugin, or use gzip"
        ) from error
    return dict(hdf5plugin.Zstd(clevel=ZSTD_LEVELS.get(name, 3)))


def _create(file: h5py.File, name: str, column: Column, count: int, compression: dict[str, Any]) -> None:
    file.create_dataset(
        name,
        (count, *column.shape),
        column.dtype,
        chunks=(1, *column.shape),
        fletcher32=True,
        track_times=False,
        **compression,
    )


def _stack(samples: Sequence[Sample], name: str, column: Column) -> AnyArray:
    if name == "rgb":
        parts = [np.stack([getattr(sample, image) for image in IMAGES]) for sample in samples]
    elif name == "masks":
        parts = [pack_masks(sample) for sample in samples]
    else:
        parts = [np.asarray(getattr(sample, name)) for sample in samples]
    for sample, part in zip(samples, parts, strict=True):
        if part.shape != column.shape or not np.can_cast(part.dtype, column.dtype):
            raise ValueError(
                f"sample {sample.index}, {name}: expected {column.dtype} of shape {column.shape}, "
                f"found {part.dtype} of shape {part.shape}"
            )
    return np.stack(parts)


def _provenance_bytes(sample: Sample) -> bytes:
    text = json.dumps(sample.provenance, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > MAX_PROVENANCE:
        raise ValueError(
            f"sample {sample.index}, provenance: expected at most {MAX_PROVENANCE} bytes, found {len(text)}"
        )
    return text


def _write_provenance(file: h5py.File, provenance: list[bytes], codec: Codec) -> None:
    offsets = np.cumsum([0, *map(len, provenance)], dtype=np.int64)
    data = np.frombuffer(b"".join(provenance), np.uint8)
    for name, array in ((OFFSETS, offsets), (PROVENANCE, data)):
        options = _compression(codec, name)
        chunks = (min(len(array), PROVENANCE_CHUNK),)
        file.create_dataset(name, data=array, chunks=chunks, fletcher32=True, track_times=False, **options)
