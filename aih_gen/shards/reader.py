"""Shards -> Samples: random access over one shard, a folder of them, or many folders."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import os
import resource
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import index as as_index
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np

from aih_gen.compose.sample import IMAGES, MASK_BITS, Sample, mask
from aih_gen.errors import ShardError
from aih_gen.io.json import parse_json
from aih_gen.shards.chunks import ChunkedDataset
from aih_gen.shards.inspect import DAMAGE, ShardInfo, check, inspect_shard, line, open_shard
from aih_gen.shards.listing import check_distinct, listed_entries, promised_shards
from aih_gen.shards.manifest import MANIFEST, describe_file, read_manifest
from aih_gen.shards.schema import COMPRESSED, MAX_PROVENANCE, OFFSETS, PROVENANCE, columns
from aih_gen.typing import AnyArray


def max_open_files(limit: int) -> int:
    """Number of shards to keep open where a process may open ``limit`` files: HDF5 keeps about a megabyte for each."""
    return 256 if limit == resource.RLIM_INFINITY else max(1, min(256, limit // 4))


MAX_OPEN_FILES = max_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class _OpenShard:
    file: h5py.File
    descriptor: int
    datasets: dict[str, ChunkedDataset] = field(default_factory=dict)


class AIHShards(Sequence[Sample]):
    """The samples of one shard, of a folder of shards, or of a list of those, in that order.

    Files are opened when first needed, anew in every process: an object may be pickled and may cross a fork. How many
    samples a shard of a folder holds is its manifest's word until the shard is opened for the first time; then all of
    it is checked, before any sample is believed. For a PyTorch ``DataLoader`` there is ``hdr_model.AIHDataset``, which
    gives tensors.

    Args:
        path: a shard, a folder of shards (sorted by name), or a list of both.

    Raises:
        ShardError: nothing there, one shard twice, not a shard of schema 1, or images of different sizes; also raised
            later, by what opens a shard for the first time.
    """

    def __init__(self, path: StrPath | Iterable[StrPath]) -> None:
        paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        if not paths:
            raise ShardError("expected the path of a shard or of a folder of shards, found an empty list")
        self._promised = [promised for place in paths for promised in promised_shards(Path(place))]
        check_distinct([promised.path for promised in self._promised])
        self._checked: dict[int, ShardInfo] = {}
        self._forget()
        self._stops = list(
            itertools.accumulate(
                self.shard(k).samples if promised.samples is None else promised.samples
                for k, promised in enumerate(self._promised)
            )
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image in pixels."""
        first = self.shard(0)
        return first.height, first.width

    @property
    def shards(self) -> tuple[ShardInfo, ...]:
        """All shards, which checks those that have not been: some milliseconds each."""
        return tuple(self.shard(k) for k in range(len(self._promised)))

    def shard(self, number: int) -> ShardInfo:
        """Header, extent and codec of shard ``number``.

        Raises:
            ShardError: it is not a shard of schema 1, or another one than its folder's manifest says.
        """
        if number not in self._checked:
            self._check(number, inspect_shard(self._promised[number].path))
        return self._checked[number]

    def configurations(self) -> dict[str, dict[str, Any]]:
        """Configurations of the shards by SHA-256; checked for the shards that no manifest describes."""
        made: dict[str, dict[str, Any]] = {}
        for k, promised in enumerate(self._promised):
            if promised.samples is None:
                header = self.shard(k).header
                made[header.config_sha256] = {"subset": header.subset, **json.loads(header.config)}
            else:
                made |= promised.configurations
        return made

    def _check(self, number: int, info: ShardInfo) -> None:
        """Check that a shard agrees with the others and with its manifest."""
        self._checked[number] = info
        promised = self._promised[number]
        try:
            if (info.height, info.width) != self.size:
                raise ShardError(
                    f"{info.path}: expected images of {self.size[1]}x{self.size[0]} as in {self.shard(0).path}, "
                    f"found {info.width}x{info.height}"
                )
            if promised.samples not in (None, info.samples):
                raise ShardError(
                    f"{info.path}: expected {promised.samples} samples as in {MANIFEST}, found {info.samples}"
                )
            if promised.samples is not None and info.header.config_sha256 not in promised.configurations:
                known = ", ".join(promised.configurations)
                raise ShardError(
                    f"{info.path}: expected the configuration {known} as in {MANIFEST}, "
                    f"found {info.header.config_sha256}"
                )
        except ShardError:
            del self._checked[number]
            raise

    def __len__(self) -> int:
        return self._stops[-1]

    @overload
    def __getitem__(self, key: int) -> Sample: ...
    @overload
    def __getitem__(self, key: slice) -> list[Sample]: ...
    def __getitem__(self, key: int | slice) -> Sample | list[Sample]:
        """The sample at a position; a list of samples for a slice.

        Raises:
            IndexError: there is no such position.
            ShardError: its bytes are damaged.
        """
        if isinstance(key, slice):
            return [self[k] for k in range(*key.indices(len(self)))]
        shard, row = self.locate(key)
        self._opened(shard)  # checks it, if nothing else has
        info = self.shard(shard)
        stored = {name: self._stack([(shard, row)], name)[0] for name in columns(*self.size, info.depth)}
        rgb, bits = stored.pop("rgb"), stored.pop("masks")
        values: dict[str, Any] = dict(zip(IMAGES, rgb, strict=True))
        values |= {name: mask(bits, name) for name in MASK_BITS}
        values |= {**stored, "index": int(stored["index"])}
        return Sample(**values, provenance=self._provenance(shard, row))

    def read(self, indices: Iterable[int], fields: Sequence[str] = ("image", "masks")) -> dict[str, AnyArray]:
        """Stacked arrays of some samples, in the order of the positions; one may come twice.

        Args:
            indices: positions; negative ones count from the end.
            fields: names of ``Sample`` arrays, or of datasets: ``rgb`` (B,3,H,W,3) uint8 holds image, target_right and
                target_left; ``masks`` (B,H,W) uint8 is the bit field of ``MASK_BITS``; ``provenance`` is an object
                array of dicts.

        Raises:
            IndexError: there is no such position.
            ShardError: no such field, or damaged bytes.
        """
        places = [self.locate(position) for position in indices]
        known = {*columns(*self.size, depth=True), *IMAGES, *MASK_BITS, PROVENANCE}
        for name in fields:
            if name not in known:
                raise ShardError(
                    f"{self.shard(0).path}: expected a field among {', '.join(sorted(known))}, found {name!r}"
                )
        stored = {_dataset_of(name) for name in fields} - {PROVENANCE}
        arrays = {name: self._stack(places, name) for name in stored}
        return {name: self._field(name, arrays, places) for name in fields}

    def column(self, name: str) -> AnyArray:
        """A dataset of all samples, in their order: for small ones, such as ``present`` (N,2).

        Raises:
            ShardError: no such dataset, or damaged bytes.
        """
        known_columns = columns(*self.size, depth=True)
        if name not in known_columns:
            known = ", ".join(sorted(known_columns))
            raise ShardError(f"{self.shard(0).path}: expected a dataset among {known}, found {name!r}")
        parts = []
        for shard in range(len(self._promised)):
            samples = self.shard(shard).samples
            if name in self.shard(shard).missing:
                unknown = known_columns[name].unknown
                assert unknown is not None
                parts.append(np.broadcast_to(unknown, (samples, *unknown.shape)))
                continue
            try:
                parts.append(self._dataset(shard, name).read_rows(0, samples))
            except DAMAGE as error:
                raise ShardError(
                    f"{self._promised[shard].path}, {name}: expected whole data, found it damaged ({line(error)})"
                ) from error
        return np.concatenate(parts)

    def locate(self, position: int) -> tuple[int, int]:
        """The shard of a position, as a number, and the row in it."""
        k = as_index(position)
        if not -len(self) <= k < len(self):
            raise IndexError(f"sample {k}: expected a position below {len(self)}")
        k %= len(self)
        shard = bisect.bisect_right(self._stops, k)
        return shard, k - (self._stops[shard - 1] if shard else 0)

    def digest(self) -> str:
        """SHA-256 over the shards' own SHA-256, in order: the same for the same bytes, wherever they are."""
        total = hashlib.sha256()
        paths = [promised.path for promised in self._promised]
        listed = {folder: listed_entries(folder, read_manifest(folder)) for folder in {path.parent for path in paths}}
        for path in paths:
            entry = listed[path.parent].get(path) or describe_file(path, path.name, 0)
            total.update(bytes.fromhex(entry.sha256))
        return total.hexdigest()

    def _field(self, name: str, arrays: dict[str, AnyArray], places: list[tuple[int, int]]) -> AnyArray:
        if name in arrays:
            return arrays[name]
        if name in IMAGES:
            return arrays["rgb"][:, IMAGES.index(name)]
        if name in MASK_BITS:
            return mask(arrays["masks"], name)
        provenance = np.empty(len(places), object)
        provenance[:] = [self._provenance(*place) for place in places]
        return provenance

    def _stack(self, places: list[tuple[int, int]], name: str) -> AnyArray:
        column = columns(*self.size, depth=True)[name]
        stacked = np.empty((len(places), *column.shape), column.dtype)
        for k in sorted(range(len(places)), key=places.__getitem__):  # as they lie on the disk
            shard, row = places[k]
            self._opened(shard)  # checks it, if nothing else has
            if name in self.shard(shard).missing:
                stacked[k] = column.unknown
                continue
            dataset = self._dataset(shard, name)
            try:
                dataset.read_row(row, stacked[k : k + 1])
            except DAMAGE as error:
                raise self._damaged(shard, name, row, error) from error
        return stacked

    def _provenance(self, shard: int, row: int) -> dict[str, Any]:
        offsets, texts = self._dataset(shard, OFFSETS), self._dataset(shard, PROVENANCE)
        place = f"{self._promised[shard].path}, {PROVENANCE}, sample {row}"
        try:
            start, stop = (int(offset) for offset in offsets.read_rows(row, row + 2))
            if not 0 <= start <= stop <= min(len(texts), start + MAX_PROVENANCE):
                raise ShardError(f"{place}: expected offsets within the dataset, found {start} to {stop}")
            parsed = parse_json(texts.read_rows(start, stop).tobytes())
        except DAMAGE as error:
            raise self._damaged(shard, PROVENANCE, row, error) from error
        if not isinstance(parsed, dict):
            raise ShardError(f"{place}: expected a JSON object, found {type(parsed).__name__}")
        return parsed

    def _damaged(self, shard: int, name: str, row: int, error: Exception) -> ShardError:
        place = f"{self._promised[shard].path}, {name}, sample {row}"
        return ShardError(f"{place}: expected whole data, found it damaged ({line(error)})")

    def _dataset(self, shard: int, name: str) -> ChunkedDataset:
        """A dataset of a shard, opened when first needed: opening all takes longer than reading one."""
        opened = self._opened(shard)
        if name not in opened.datasets:
            info = self.shard(shard)
            if name == "depth" and not info.depth:  # the others are there: the shard was checked
                raise ShardError(f"{info.path}, {name}: expected a dataset, found none")
            try:
                dataset = h5py.h5d.open(opened.file.id, name.encode())
                codec = info.codec if name in COMPRESSED else None
                opened.datasets[name] = ChunkedDataset(dataset, codec, opened.descriptor)
            except DAMAGE as error:
                raise ShardError(f"{info.path}: expected a shard, found a damaged file ({line(error)})") from error
        return opened.datasets[name]

    def _opened(self, shard: int) -> _OpenShard:
        """A shard, opened and, for the first time, checked."""
        if self._process != os.getpid():
            # HDF5 would share an inherited file's descriptor with the parent: close it, then open our own.
            self.close()
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        while len(self._open) >= MAX_OPEN_FILES:
            self._open.popitem(last=False)  # closes: nothing else holds it, and h5py's own closing takes far longer
        file = open_shard(self._promised[shard].path)
        if shard not in self._checked:
            self._check(shard, check(file, self._promised[shard].path))
        self._open[shard] = _OpenShard(file, file.id.get_vfd_handle())
        return self._open[shard]

    def close(self) -> None:
        """Close all files; they are opened again when needed."""
        for opened in self._open.values():
            opened.file.close()
        self._forget()

    def _forget(self) -> None:
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_promised", "_checked", "_stops")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def _dataset_of(field: str) -> str:
    return "rgb" if field in IMAGES else "masks" if field in MASK_BITS else field
