"""A folder of shards while it grows: its allowed files, its lock and its manifest."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from aih_gen.errors import AIHError, ShardError
from aih_gen.shards.inspect import inspect_shard
from aih_gen.shards.manifest import (
    MANIFEST,
    SHARD_NAME,
    Manifest,
    ManifestEntry,
    describe_file,
    read_manifest,
    write_manifest,
)


def check_folder(out: Path, plan: Manifest) -> Manifest | None:
    """Refuse a folder that holds anything but shards of this plan; returns its manifest."""
    if out.exists() and not out.is_dir():
        raise AIHError(f"{out}: expected a folder, found a file")
    manifest = read_manifest(out)
    if manifest is not None:
        _check_same(out / MANIFEST, manifest, plan)
    listed = {entry.name for entry in manifest.shards} if manifest else set()
    for path in sorted(out.glob("[!.]*.h5")):
        if path.name not in listed:
            _check_unlisted(path, plan)
    return manifest


def _check_unlisted(path: Path, plan: Manifest) -> None:
    found = inspect_shard(path)
    config = json.loads(found.header.config)
    _check_same(path, Manifest(config, found.header.config_sha256, plan.shard_size, found.codec, found.depth), plan)
    number = int(path.stem.rpartition("-")[2]) if SHARD_NAME.fullmatch(path.name) else -1
    if found.first_index != number * plan.shard_size or found.samples > plan.shard_size:
        raise ShardError(
            f"{path}: expected at most {plan.shard_size} samples from sample {max(number, 0) * plan.shard_size} on, "
            f"found {found.samples} from {found.first_index} on"
        )


def _check_same(place: Path, found: Manifest, plan: Manifest) -> None:
    differing = [
        (name, plan.config.get(name), found.config.get(name))
        for name in sorted({*plan.config, *found.config})
        if plan.config.get(name) != found.config.get(name)
    ]
    for name in ("shard_size", "codec", "depth", "config_sha256"):
        if getattr(plan, name) != getattr(found, name):
            differing.append((name, getattr(plan, name), getattr(found, name)))
    if differing:
        name, expected, other = differing[0]
        raise ShardError(f"{place}: another configuration; expected {name} {expected!r}, found {other!r}")


@contextlib.contextmanager
def sole_writer(out: Path, num_tasks: int, task_index: int) -> Iterator[None]:
    """Lock the folder against a second run of the same task, and against runs with another number of tasks.

    Raises:
        AIHError: such a run is writing, or the folder cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        shared = fcntl.LOCK_SH if num_tasks > 1 else fcntl.LOCK_EX
        stack.enter_context(_lock(out / ".lock", shared | fcntl.LOCK_NB))
        if num_tasks > 1:
            stack.enter_context(_lock(out / f".lock-{task_index}-of-{num_tasks}", fcntl.LOCK_EX | fcntl.LOCK_NB))
            for other in out.glob(".lock-*-of-*"):
                if not other.name.endswith(
                    f"-of-{num_tasks}"
                ):  # locked first, so of two that begin at once one sees it
                    with _lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB):
                        pass
        yield


@contextlib.contextmanager
def _lock(path: Path, operation: int) -> Iterator[None]:
    """An advisory lock that ends with this process, however it ends."""
    with contextlib.ExitStack() as stack:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            stack.callback(os.close, handle)
            fcntl.flock(handle, operation)
        except BlockingIOError as error:
            raise AIHError(f"{path.parent}: expected no other run in this folder, found one that is writing") from error
        except OSError as error:
            raise AIHError(f"{path.parent}: expected a folder that can be written to ({error.strerror})") from error
        yield


def update_manifest(out: Path, plan: Manifest, entries: Sequence[ManifestEntry]) -> Manifest:
    """Bring the manifest up to date with the folder; tasks take turns. ``entries`` are those just made."""
    with _lock(out / ".lock-manifest", fcntl.LOCK_EX):
        manifest = check_folder(out, plan)
        listed = {entry.name: entry for entry in (*(manifest.shards if manifest else ()), *entries)}
        shards = []
        for path in sorted(out.glob("[!.]*.h5")):
            entry = listed.get(path.name)
            if entry is None or entry.bytes != path.stat().st_size:  # made by a run that did not live to list it
                entry = describe_file(path, path.name, inspect_shard(path).samples)
            shards.append(entry)
        complete = replace(plan, shards=tuple(shards))
        if complete != manifest:
            write_manifest(out, complete)
        return complete
