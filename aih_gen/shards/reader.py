"""Shards -> Samples: random access over one shard, a folder of them, or many folders."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from operator import index as as_index
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np
from numpy.typing import NDArray

from aih_gen.compose.sample import Sample
from aih_gen.errors import ShardError
from aih_gen.shards.chunks import ChunkedDataset
from aih_gen.shards.inspect import DAMAGE, ShardInfo, inspect_shard, line, open_shard
from aih_gen.shards.manifest import describe_file, read_manifest
from aih_gen.shards.schema import COMPRESSED, IMAGES, LARGEST_PROVENANCE, MASK_BITS, OFFSETS, PROVENANCE, columns, mask

MOST_OPEN_FILES = 64

StrPath = str | os.PathLike[str]


class AIHShards(Sequence[Sample]):
    """The samples of one shard, of a folder of shards, or of a list of those, in that order.

    Files are opened when first needed, anew in every process: an object may be pickled and may cross a fork.

    Args:
        path: a shard, a folder of shards (sorted by name), or a list of both.

    Raises:
        ShardError: nothing there, not a shard of schema 1, or images of different sizes.
    """

    def __init__(self, path: StrPath | Iterable[StrPath]) -> None:
        paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        if not paths:
            raise ShardError("expected the path of a shard or of a folder of shards, found an empty list")
        files = [file for one in paths for file in shard_files(Path(one))]
        self.shards: tuple[ShardInfo, ...] = tuple(inspect_shard(file) for file in files)
        for shard in self.shards:
            if (shard.height, shard.width) != self.size:
                raise ShardError(
                    f"{shard.path}: expected images of {self.size[1]}x{self.size[0]} as in {self.shards[0].path}, "
                    f"found {shard.width}x{shard.height}"
                )
        self._stops = list(itertools.accumulate(shard.samples for shard in self.shards))
        self._forget()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image in pixels."""
        return self.shards[0].height, self.shards[0].width

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
        info = self.shards[shard]
        stored = {name: self._stack([(shard, row)], name)[0] for name in columns(*self.size, info.depth)}
        rgb, bits = stored.pop("rgb"), stored.pop("masks")
        values: dict[str, Any] = dict(zip(IMAGES, rgb, strict=True))
        values |= {name: mask(bits, name) for name in MASK_BITS}
        values |= {**stored, "index": int(stored["index"])}
        return Sample(**values, provenance=self._provenance(shard, row))

    def read(self, indices: Iterable[int], fields: Sequence[str] = ("image", "masks")) -> dict[str, NDArray[Any]]:
        """Stacked arrays of some samples, in the order asked for; a position may come twice.

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
                    f"{self.shards[0].path}: expected a field among {', '.join(sorted(known))}, found {name!r}"
                )
        stored = {_dataset_of(name) for name in fields} - {PROVENANCE}
        arrays = {name: self._stack(places, name) for name in stored}
        return {name: self._field(name, arrays, places) for name in fields}

    def locate(self, position: int) -> tuple[int, int]:
        """The shard of a position, as a number into ``shards``, and the row in it."""
        k = as_index(position)
        if not -len(self) <= k < len(self):
            raise IndexError(f"sample {k}: expected a position below {len(self)}")
        k %= len(self)
        shard = bisect.bisect_right(self._stops, k)
        return shard, k - (self._stops[shard - 1] if shard else 0)

    def digest(self) -> str:
        """SHA-256 over the shards' own SHA-256, in order: the same for the same bytes, wherever they are."""
        total = hashlib.sha256()
        manifests = {folder: read_manifest(folder) for folder in {shard.path.parent for shard in self.shards}}
        for shard in self.shards:
            manifest, size = manifests[shard.path.parent], shard.path.stat().st_size
            known = [e for e in manifest.shards if (e.name, e.bytes) == (shard.path.name, size)] if manifest else []
            entry = known[0] if known else describe_file(shard.path, shard.path.name, shard.samples)
            total.update(bytes.fromhex(entry.sha256))
        return total.hexdigest()

    def _field(self, name: str, arrays: dict[str, NDArray[Any]], places: list[tuple[int, int]]) -> NDArray[Any]:
        if name in arrays:
            return arrays[name]
        if name in IMAGES:
            return arrays["rgb"][:, IMAGES.index(name)]
        if name in MASK_BITS:
            return mask(arrays["masks"], name)
        provenance = np.empty(len(places), object)
        provenance[:] = [self._provenance(*place) for place in places]
        return provenance

    def _stack(self, places: list[tuple[int, int]], name: str) -> NDArray[Any]:
        column = columns(*self.size, depth=True)[name]
        stacked = np.empty((len(places), *column.shape), column.dtype)
        for k in sorted(range(len(places)), key=places.__getitem__):  # as they lie on the disk
            shard, row = places[k]
            dataset = self._dataset(shard, name)
            try:
                dataset.read_row(row, stacked[k : k + 1])
            except DAMAGE as error:
                raise self._damaged(shard, name, row, error) from error
        return stacked

    def _provenance(self, shard: int, row: int) -> dict[str, Any]:
        offsets, texts = self._dataset(shard, OFFSETS), self._dataset(shard, PROVENANCE)
        place = f"{self.shards[shard].path}, {PROVENANCE}, sample {row}"
        try:
            start, stop = (int(offset) for offset in offsets.read_rows(row, row + 2))
            if not 0 <= start <= stop <= min(len(texts), start + LARGEST_PROVENANCE):
                raise ShardError(f"{place}: expected offsets within the dataset, found {start} to {stop}")
            parsed = json.loads(texts.read_rows(start, stop).tobytes())
        except DAMAGE as error:
            raise self._damaged(shard, PROVENANCE, row, error) from error
        if not isinstance(parsed, dict):
            raise ShardError(f"{place}: expected a JSON object, found {type(parsed).__name__}")
        return parsed

    def _damaged(self, shard: int, name: str, row: int, error: Exception) -> ShardError:
        return ShardError(f"{self.shards[shard].path}, {name}, sample {row}: damaged ({line(error)})")

    def _dataset(self, shard: int, name: str) -> ChunkedDataset:
        """A dataset of a shard, opened when first asked for: opening all takes longer than reading one."""
        info = self.shards[shard]
        file, datasets = self._opened(shard)
        if name not in datasets:
            try:
                if name not in file:
                    raise ShardError(f"{info.path}, {name}: expected a dataset, found none")
                datasets[name] = ChunkedDataset(file[name], info.codec if name in COMPRESSED else None)
            except DAMAGE as error:
                raise ShardError(f"{info.path}: expected a shard, found a damaged file ({line(error)})") from error
        return datasets[name]

    def _opened(self, shard: int) -> tuple[h5py.File, dict[str, ChunkedDataset]]:
        """The open file of a shard, and those of its datasets that are open."""
        if self._process != os.getpid():
            # HDF5 would share an inherited file's descriptor with the parent: close it, then open our own.
            self.close()
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        while len(self._open) >= MOST_OPEN_FILES:
            self._open.popitem(last=False)[1][0].close()
        self._open[shard] = open_shard(self.shards[shard].path), {}
        return self._open[shard]

    def close(self) -> None:
        """Close all files; they are opened again when needed."""
        for file, _ in self._open.values():
            file.close()
        self._forget()

    def _forget(self) -> None:
        self._open: OrderedDict[int, tuple[h5py.File, dict[str, ChunkedDataset]]] = OrderedDict()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"shards": self.shards, "_stops": self._stops}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def _dataset_of(field: str) -> str:
    return "rgb" if field in IMAGES else "masks" if field in MASK_BITS else field


def shard_files(path: Path) -> list[Path]:
    """The shard at a path, or the shards in the folder there, sorted by name.

    Raises:
        ShardError: there is none.
    """
    if not path.is_dir():
        if not path.exists():
            raise ShardError(f"{path}: expected a shard or a folder of shards, found nothing")
        return [path]
    files = sorted(file for file in path.glob("*.h5") if not file.name.startswith("."))
    if not files:
        raise ShardError(f"{path}: expected a folder with shards (*.h5), found none")
    return files
