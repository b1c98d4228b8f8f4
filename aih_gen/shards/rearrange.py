"""Folders of shards -> other folders of the same shards, byte for byte: ``merge`` and ``split``.

What comes out is a collection: its manifest's configuration holds those of its shards under ``parts``, so nothing is
ever generated into it, and every shard still says itself what made it. Files are hard links where the file system has
them, else copies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aih_gen.config import document_sha256
from aih_gen.errors import AIHError, ShardError
from aih_gen.io.write import atomic_folder, check_writable
from aih_gen.shards.manifest import PARTS, Manifest, ManifestEntry, describe_file, read_manifest, write_manifest
from aih_gen.shards.reader import AIHShards
from aih_gen.typing import Codec, Int64


@dataclass(frozen=True)
class _Family:
    """Properties that the shards of one collection share, besides the schema."""

    subset: str
    generator_version: str
    size: str
    codec: Codec
    depth: bool


@dataclass(frozen=True)
class _Shard:
    """A shard that agrees with its manifest."""

    path: Path
    entry: ManifestEntry
    config: Mapping[str, Any]
    config_sha256: str
    family: _Family


def merge(folders: Sequence[Path], out: Path) -> Manifest:
    """Put the shards of several folders into the new folder ``out``, numbered in that order.

    Raises:
        ShardError: a folder does not hold what its manifest says, is of another family, or a sample comes twice.
        AIHError: ``out`` is there already, or cannot be written.
    """
    if not folders:
        raise AIHError("merge: expected folders of shards, found none")
    check_writable(out)
    shards = [shard for folder in folders for shard in _listed(folder)]
    _check_family(shards)
    _check_samples_differ(shards)
    return _assemble({"": shards}, out)[0]


def split(folder: Path, out: Path, shares: Mapping[str, float], seed: int = 0) -> dict[str, Manifest]:
    """Divide the shards of a folder at random among new folders in ``out``.

    Args:
        folder: the shards.
        out: the folder for the new folders.
        shares: of the shards by the new folder's name; at least one shard each, and the rest is called ``train``.
        seed: another one, another division.

    Raises:
        ShardError: the folder does not hold what its manifest says, or has too few shards.
        AIHError: shares or a seed out of range, or ``out`` is there already or cannot be written.
    """
    if not all(0 < share < 1 for share in shares.values()) or not 0 < sum(shares.values()) < 1:
        raise AIHError(f"shares: expected numbers above 0 that leave some for train, found {dict(shares)}")
    if seed < 0:
        raise AIHError(f"seed: expected 0 or more, found {seed}")
    check_writable(out)
    shards = _listed(folder)
    counts = {name: max(1, round(share * len(shards))) for name, share in shares.items()}
    train = len(shards) - sum(counts.values())
    if train < 1:
        raise ShardError(f"{folder}: expected at least {sum(counts.values()) + 1} shards, found {len(shards)}")
    order = iter(np.random.default_rng(seed).permutation(len(shards)).tolist())
    divided = {
        name: [shards[k] for k in sorted(next(order) for _ in range(count))]
        for name, count in {"train": train, **counts}.items()
    }
    return dict(zip(divided, _assemble(divided, out), strict=True))


def _listed(folder: Path) -> list[_Shard]:
    manifest = read_manifest(folder)
    if manifest is None or not manifest.shards:
        raise ShardError(f"{folder}: expected a folder of shards with a manifest, found none")
    configs = manifest.configurations()
    shards = []
    for entry in manifest.shards:
        (info,) = AIHShards(folder / entry.name).shards
        found = describe_file(info.path, entry.name, info.samples)
        if found != entry:
            raise ShardError(f"{info.path}: expected {entry} as in the manifest, found {found}")
        header = info.header
        if header.config_sha256 not in configs:
            raise ShardError(f"{info.path}: expected a configuration of the manifest, found {header.config_sha256}")
        size = f"{info.width}x{info.height}"
        family = _Family(header.subset, header.generator_version, size, info.codec, info.depth)
        shards.append(_Shard(info.path, entry, configs[header.config_sha256], header.config_sha256, family))
    return shards


def _check_family(shards: Sequence[_Shard]) -> None:
    for shard in shards:
        for name, expected in asdict(shards[0].family).items():
            found = getattr(shard.family, name)
            if found != expected:
                raise ShardError(f"{shard.path}: expected {name} {expected} as in {shards[0].path}, found {found}")


def _check_samples_differ(shards: Sequence[_Shard]) -> None:
    for digest in dict.fromkeys(shard.config_sha256 for shard in shards):
        same = [shard for shard in shards if shard.config_sha256 == digest]
        indices = np.concatenate([_indices(shard.path) for shard in same])
        owners = np.repeat(np.arange(len(same)), [shard.entry.samples for shard in same])
        order = np.argsort(indices, kind="stable")
        twice = np.flatnonzero(np.diff(indices[order]) == 0)
        if len(twice):
            first, second = (same[owner].path for owner in owners[order[twice[0] : twice[0] + 2]].tolist())
            index = indices[order[twice[0]]]
            raise ShardError(f"{second}: expected samples of its own, found sample {index}, which is in {first} too")


def _indices(path: Path) -> Int64:
    shards = AIHShards(path)
    indices = shards.column("index")
    shards.close()
    return indices


def _assemble(folders: Mapping[str, Sequence[_Shard]], out: Path) -> list[Manifest]:
    """Make ``out`` with these folders in it (the name "" means itself), or nothing."""
    with atomic_folder(out) as temporary:
        return [_fill(temporary / name, shards) for name, shards in folders.items()]


def _fill(folder: Path, shards: Sequence[_Shard]) -> Manifest:
    folder.mkdir(exist_ok=True)
    family = shards[0].family
    entries = []
    for number, shard in enumerate(shards):
        name = f"{family.subset.lower()}-{number:05d}.h5"
        _link(shard.path, folder / name)
        entries.append(replace(shard.entry, name=name))
    parts = {shard.config_sha256: shard.config for shard in shards}
    common = {"subset": family.subset, "generator_version": family.generator_version, "size": family.size}
    config = {**common, PARTS: parts}
    manifest = Manifest(
        config=config,
        config_sha256=document_sha256(config),
        shard_size=max(entry.samples for entry in entries),
        codec=family.codec,
        depth=family.depth,
        shards=tuple(entries),
    )
    write_manifest(folder, manifest)
    return manifest


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
