"""Samples -> a shard that is either absent or whole, and the manifest of a folder of shards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True, eq=False)
class Rows:
    """Samples as a shard stores them. It is what one process hands to another that writes: half a sample's bytes."""

    arrays: dict[str, AnyArray]
    """By the dataset; the first axis is the sample."""
    provenance: list[bytes]
    """JSON of each sample."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """The datasets of a shard of such samples."""
        return columns(*self.arrays["masks"].shape[1:], "depth" in self.arrays)


def pack_rows(samples: Sequence[Sample], depth: bool) -> Rows:
    """One or more samples as rows.

    Raises:
        ValueError: a sample's arrays are not those of the schema.
    """
    layout = columns(*samples[0].shaded.shape, depth)
    arrays = {name: _stack(samples, name, column) for name, column in layout.items()}
    return Rows(arrays, [_provenance_bytes(sample) for sample in samples])


def join_rows(parts: Sequence[Rows]) -> Rows:
    """The rows of some parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    arrays = {name: np.concatenate([rows.arrays[name] for rows in parts]) for name in parts[0].arrays}
    return Rows(arrays, [text for rows in parts for text in rows.provenance])


def write_shard(
    path: Path,
    batches: Iterable[Sequence[Sample]],
    count: int,
    header: Header,
    codec: Codec = "zstd",
    depth: bool = False,
) -> ManifestEntry:
    """``write_rows`` of samples; with ``depth``, ``Sample.depth`` is kept, which every sample must then have."""
    return write_rows(path, (pack_rows(samples, depth) for samples in batches), count, header, codec)


def write_rows(path: Path, batches: Iterable[Rows], count: int, header: Header, codec: Codec = "zstd") -> ManifestEntry:
    """Write ``count`` samples to ``path``: all of them, or (on any error) nothing.

    Args:
        path: the shard; what stood there is replaced.
        batches: the samples in order, in batches of any length. Where the file has its chunks depends on the lengths.
        count: how many samples the batches hold together, at least 1.
        header: the file attributes.
        codec: ``zstd``, or ``gzip`` for readers without the plugin. Both are lossless.

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
                    _fill(file, _while_it_fits(batches, disk, interruption), count, codec)
                    _describe(file, {"format": FORMAT, "schema_version": SCHEMA_VERSION, **asdict(header)})
                disk.check()
            interruption.check()
        return describe_file(temporary, path.name, count)


def _while_it_fits(batches: Iterable[Rows], disk: DeferredErrorFile, interruption: Interruption) -> Iterator[Rows]:
    try:
        for rows in batches:
            yield rows
            disk.check()
            interruption.check()
    except Exception:
        interruption.check()  # SIGTERM to all of a job's processes ends those that make the samples, too
        raise


def _fill(file: h5py.File, batches: Iterable[Rows], count: int, codec: Codec) -> None:
    provenance: list[bytes] = []
    for rows in batches:
        if not provenance:
            for name, column in rows.columns.items():
                _create(file, name, column, count, _compression(codec, name))
        first, stop = len(provenance), len(provenance) + len(rows.provenance)
        if stop > count:
            raise ValueError(f"batches: expected {count} samples, found more")
        for name in rows.columns:
            file[name][first:stop] = rows.arrays[name]
        provenance += rows.provenance
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


def zstd_works() -> bool:
    """True where what shards are compressed with by default can be written and read back; tried in memory.

    Raises:
        AIHError: the package hdf5plugin is not installed.
    """
    options = _compression("zstd", "rgb")
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        written = file.create_dataset("values", data=[1] * 100, chunks=(100,), **options)
        file.flush()
        return int(written[:].sum()) == 100 and bool(h5py.h5z.filter_avail(options["compression"]))


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
