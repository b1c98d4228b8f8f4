"""Shards made to do harm, and shards that chance has damaged: one sentence, little memory, no wrong pixel, no crash."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from aih_gen.compose.sample import Sample
from aih_gen.shards.schema import OFFSETS, PROVENANCE, columns
from tests.data.samples import write_samples

FLIPS = int(os.environ.get("AIH_BIT_FLIPS", "60"))
"""2000 is the whole proof."""
PER_PROCESS = 500
MIB = 1 << 20
MAX_MEMORY = 64 * MIB

READER = """
import hashlib, json, pathlib, sys
from aih_gen import AIHShards, ShardError

def peak():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM")) * 1024

def digest(path):
    total = hashlib.sha256()
    shards = AIHShards(path)
    for sample in shards:
        for name, value in sorted(vars(sample).items()):
            total.update(value.tobytes() if hasattr(value, "tobytes") else repr(value).encode())
    shards.close()
    return total.hexdigest()

digest(sys.argv[1])  # loads everything once
for path in sys.argv[2:]:
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    try:
        said = {"digest": digest(path)}
    except ShardError as error:
        said = {"refused": str(error)}
    print(json.dumps({**said, "memory": peak() - before}), flush=True)
"""


def read_apart(good: Path, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Read shards in a process of their own, which must live; yields what became of each."""
    done = subprocess.run(
        [sys.executable, "-c", READER, good, *paths], capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, f"{len(done.stdout.splitlines())} of {len(paths)} read, then {done.stderr[-500:]}"
    yield from map(json.loads, done.stdout.splitlines())


def digest(samples: Sequence[Sample]) -> str:
    total = hashlib.sha256()
    for sample in samples:
        for name, value in sorted(vars(sample).items()):
            kept = None if name == "depth" else value
            total.update(kept.tobytes() if isinstance(kept, np.ndarray) else repr(kept).encode())
    return total.hexdigest()


def test_no_flipped_bit_is_read_in_silence(tmp_path: Path) -> None:
    good = tmp_path / "good.h5"
    expected = digest(write_samples(good, 2))
    whole = good.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for first in range(0, FLIPS, PER_PROCESS):
        paths = [tmp_path / f"{first + k}.h5" for k in range(min(PER_PROCESS, FLIPS - first))]
        for path in paths:
            damaged = bytearray(whole)
            damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
        for said in read_apart(good, paths):
            assert said.get("digest", expected) == expected
            assert said["memory"] <= MAX_MEMORY
            refused += "refused" in said
        for path in paths:
            path.unlink()
    print(f"{FLIPS} flips: {refused} refused, {FLIPS - refused} where nothing is stored")
    assert refused > FLIPS // 2


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.h5"
    write_samples(good, 2)
    whole = good.read_bytes()
    paths = [tmp_path / f"{k}.h5" for k in range(20)]
    for k, path in enumerate(paths):
        path.write_bytes(whole[: k * len(whole) // 20])
    for path, said in zip(paths, read_apart(good, paths), strict=True):
        assert said["refused"].startswith(f"{path}: expected an HDF5 file, found something else or a damaged one")


def _chunk(name: str, stored: Callable[[h5py.Dataset], bytes], filter_mask: int = 0) -> Callable[[h5py.File], None]:
    """Put other bytes where the chunk of sample 1 was."""

    def change(file: h5py.File) -> None:
        dataset = file[name]
        place = (1,) + (0,) * (dataset.ndim - 1)
        dataset.id.write_direct_chunk(place, stored(dataset), filter_mask)

    return change


def _zstd(size: int) -> bytes:
    """As many equal bytes, as HDF5 stores them."""
    with h5py.File.in_memory() as file:
        file.create_dataset("a", data=np.ones(size, "u1"), chunks=(size,), **hdf5plugin.Zstd())
        return file["a"].id.read_direct_chunk((0,))[1] + bytes(4)


def _gzip_instead(size: int) -> Callable[[h5py.File], None]:
    """All that is compressed is gzip, and one chunk is a bomb."""

    def change(file: h5py.File) -> None:
        for name in ("rgb", "masks", PROVENANCE):
            data, chunks = file[name][:], file[name].chunks
            del file[name]
            file.create_dataset(name, data=data, chunks=chunks, compression="gzip", fletcher32=True)
        _chunk("masks", lambda dataset: zlib.compress(bytes(size)) + bytes(4))(file)

    return change


def _shape_of_a_tebibyte(file: h5py.File) -> None:
    """A shard of a thousand large images, none of which is there."""
    for name in list(file):
        del file[name]
    for name, column in columns(4096, 4096, depth=False).items():
        options = hdf5plugin.Zstd() if name in ("rgb", "masks") else {}
        shape, chunks = (10**5, *column.shape), (1, *column.shape)
        file.create_dataset(name, shape, column.dtype, chunks=chunks, fletcher32=True, **options)
    file.create_dataset(OFFSETS, (10**5 + 1,), "<i8", chunks=(1 << 16,), fletcher32=True)
    file.create_dataset(PROVENANCE, (1,), "u1", chunks=(1,), fletcher32=True, **hdf5plugin.Zstd())


def _large_provenance(file: h5py.File) -> None:
    del file[PROVENANCE]
    shape = (1 << 40,)
    file.create_dataset(PROVENANCE, shape, "u1", chunks=(1 << 31,), fletcher32=True, **hdf5plugin.Zstd())


def _large_attribute(file: h5py.File) -> None:
    del file.attrs["config"]
    file.attrs.create("config", np.zeros(1 << 24, "u1"))


def _line_break(file: h5py.File) -> None:
    file["two\nlines"] = np.zeros(3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_chunk("rgb", lambda dataset: _zstd(128 * MIB)), "expected a chunk of 36864 bytes, found 134217728"),
        (_chunk("masks", lambda dataset: _zstd(100)), "expected a chunk of 4096 bytes, found 100"),
        (_chunk("rgb", lambda dataset: bytes(1000)), "expected a chunk of 36864 bytes, found None"),
        (_chunk("pose", lambda dataset: bytes(8)), "expected a chunk of 384 bytes, found 4"),
        (_chunk("rgb", lambda dataset: bytes(36864), 3), "with all filters"),
        (_chunk("rgb", lambda dataset: bytes(100_000)), "expected at most 38180 bytes with all filters, found 100000"),
        (_gzip_instead(4 * MIB), "expected a chunk of 4096 bytes, found 4097"),
        (_shape_of_a_tebibyte, "expected 100000 chunks, found 0"),
        (_large_provenance, "provenance: expected chunks of (65536,), found (2147483648,)"),
        (_large_attribute, "attribute config: expected one str, found 16777216 bytes of shape (16777216,)"),
        (_line_break, r"expected names of datasets, found 'two\nlines'"),
    ],
)
def test_a_hostile_shard_costs_a_sentence(tmp_path: Path, change: Callable[[h5py.File], None], sentence: str) -> None:
    good, path = tmp_path / "good.h5", tmp_path / "hostile.h5"
    for place in (good, path):
        write_samples(place, 2)
    with h5py.File(path, "r+", libver="v110") as file:
        change(file)
    (said,) = read_apart(good, [path])
    assert said["refused"].startswith(str(path)) and "\n" not in said["refused"]
    assert sentence in said["refused"]
    assert said["memory"] <= MAX_MEMORY


def test_a_missing_plugin_is_one_sentence(tmp_path: Path) -> None:
    write_samples(tmp_path / "zstd.h5", 1)
    write_samples(tmp_path / "gzip.h5", 1, codec="gzip")
    program = """
import sys
sys.modules["hdf5plugin"] = None  # as if it were not installed
from aih_gen import AIHShards, ShardError
print(len(list(AIHShards(sys.argv[1]))))
try:
    AIHShards(sys.argv[2])
except ShardError as error:
    print(error)
"""
    environment = {**os.environ, "HDF5_PLUGIN_PATH": str(tmp_path)}
    command = [sys.executable, "-c", program, tmp_path / "gzip.h5", tmp_path / "zstd.h5"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    count, sentence = done.stdout.splitlines()
    assert count == "1"
    assert (
        sentence == f"{tmp_path / 'zstd.h5'}, rgb: expected the zstd plugin, found it missing; pip install hdf5plugin"
    )
