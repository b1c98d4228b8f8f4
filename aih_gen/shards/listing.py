"""The shards of a folder by its manifest, before any of them is opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aih_gen.errors import ShardError
from aih_gen.shards.manifest import Manifest, ManifestEntry, read_manifest
from aih_gen.shards.schema import MAX_SHARD


@dataclass(frozen=True)
class PromisedShard:
    """A shard, and its entry in the folder's manifest."""

    path: Path
    samples: int | None = None
    """None where no manifest describes it."""
    configurations: dict[str, Any] = field(default_factory=dict)
    """By their SHA-256, those that may have made it."""


def promised_shards(path: Path) -> Iterator[PromisedShard]:
    """The shards at a path. A manifest is believed where the file it describes has the size that it says."""
    files = shard_files(path)
    manifest = read_manifest(path)
    listed = listed_entries(path, manifest)
    configurations = manifest.configurations() if manifest else {}
    for file in files:
        entry = listed.get(file)
        if entry and 1 <= entry.samples <= MAX_SHARD:
            yield PromisedShard(file, entry.samples, configurations)
        else:
            yield PromisedShard(file)


def check_distinct(files: Sequence[Path]) -> None:
    """Raise ShardError where a file is given twice, under whatever name or link: its samples would count double."""
    known: dict[tuple[int, int], Path] = {}
    for file in files:
        stat = file.stat()
        first = known.setdefault((stat.st_dev, stat.st_ino), file)
        if first is not file:
            raise ShardError(f"{file}: expected each shard once, found {first} before it, which is the same file")


def listed_entries(folder: Path, manifest: Manifest | None) -> dict[Path, ManifestEntry]:
    """The entries of shards that are there, in the size that is listed, by path."""
    entries = {folder / entry.name: entry for entry in (manifest.shards if manifest else ())}
    return {path: entry for path, entry in entries.items() if path.is_file() and path.stat().st_size == entry.bytes}


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
