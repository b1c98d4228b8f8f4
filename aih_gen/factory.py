"""A configuration becomes shards on disk: in this process, in many, or on a Ray cluster.

The plan is fixed before anything is made: shard k holds samples k * shard_size onwards, whoever makes it. What is on
disk already is kept, so a run that is started again continues.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from aih_gen.config import (
    GENERATOR_VERSION,
    SIDES,
    DatasetConfig,
    RenderConfig,
    canonical_json,
    check_config,
    config_document,
)
from aih_gen.engines import Finished, Job, in_processes, in_this_process, on_ray, script_is_run_again
from aih_gen.errors import AIHError
from aih_gen.io.write import check_apart, check_outside, check_writable, make_folder
from aih_gen.shards.folder import check_folder, sole_writer, update_manifest
from aih_gen.shards.manifest import Manifest, ManifestEntry
from aih_gen.shards.schema import MAX_SHARD, Header
from aih_gen.sources import Source, open_source
from aih_gen.typing import Codec, Engine

MAX_DEVICES = 256
"""Devices that may be named; more than any machine has."""


def generate(
    config: DatasetConfig,
    out: str | os.PathLike[str],
    count: int,
    *,
    workers: int = 1,
    shard_size: int = 1000,
    num_tasks: int = 1,
    task_index: int = 0,
    engine: Engine = "local",
    codec: Codec = "zstd",
    depth: bool = False,
    gl_device: int | Sequence[int] | None = None,
    finished: Finished | None = None,
) -> Path:
    """Make samples 0 ... ``count`` - 1 of a configuration as shards in the folder ``out``.

    Shards that are there already are kept; a larger ``count`` than before adds to the folder. Sample i depends on
    ``config`` and i alone, so none of the other arguments changes a byte of it. A run that is interrupted leaves only
    whole shards.

    Args:
        config: what to make.
        out: the folder; made when missing.
        count: number of samples in all, over all tasks.
        workers: processes of this machine that share the samples; 1 makes them in this process. More run the calling
            script again, all but what stands under ``if __name__ == "__main__":``, where it must call this.
        shard_size: samples in a shard (the last one may hold fewer).
        num_tasks: machines or jobs that share the work, each called with its own ``task_index``, at once or in turn.
        task_index: this one's number, from 0.
        engine: ``local``, or ``ray`` to spread the shards over a Ray cluster that shares the folder.
        codec: ``zstd``, or ``gzip`` for readers without the hdf5plugin package.
        depth: whether to store each hand's depth map.
        gl_device: number of EGL's device that draws, from 0; of several each worker takes one, in turn. By default
            the first.
        finished: called with the entry of each shard that is made now.

    Returns:
        The folder.

    Raises:
        AIHError: a value out of range, or another run is writing to the folder.
        ShardError: the folder holds something else than shards of this configuration.
    """
    if workers > 1 and script_is_run_again():
        raise SystemExit(1)  # silently: the process that started this one says why
    check_config(config)
    _check_arguments(config, count, workers, shard_size, num_tasks, task_index, engine, codec, depth)
    devices = drawing_devices(config, gl_device, engine)
    out = Path(out)
    check_place(config, out)
    source = open_source(config, devices[0])
    header, plan = _plan(config, source.describe(), shard_size, codec, depth)
    jobs = _jobs(config, header, plan, out, count)[task_index::num_tasks]
    missing = _missing(jobs, check_folder(out, plan))  # before anything is touched
    lines = _first_lines(source, devices, workers, engine) if missing and isinstance(config, RenderConfig) else []
    make_folder(out)
    with sole_writer(out, num_tasks, task_index):
        missing = _missing(jobs, update_manifest(out, plan, []))
        if engine == "ray":
            run = functools.partial(on_ray, devices)
        elif workers > 1:
            run = functools.partial(in_processes, workers, devices)
        else:
            run = functools.partial(in_this_process, source)
        del source  # other processes open their own
        entries: list[ManifestEntry] = []

        def note(entry: ManifestEntry) -> None:
            entries.append(entry)
            if finished:
                finished(entry)

        try:
            if missing:
                for line in lines:
                    print(f"{out.name}: {line}", file=sys.stderr)
                with _progress(out.name, missing) as bar:
                    run(missing, note, bar)
        finally:
            update_manifest(out, plan, entries)
    return out


def check_place(config: DatasetConfig, out: Path) -> None:
    """Refuse a folder for samples that is what they are made from, lies where images are read, or cannot be made.

    Raises:
        AIHError: it is, does or cannot.
    """
    named = ("source", "poses", "backgrounds", "textures", "hand_model")
    given = {
        field.name: path
        for field in fields(config)
        if field.name in named and (path := getattr(config, field.name)) != field.default and Path(path).exists()
    }
    check_apart(out, given.values())
    of_images = [given[name] for name in ("backgrounds", "textures") if name in given]
    of_images += [Path(given["source"], side) for side in SIDES if "source" in given]
    check_outside(out, of_images)
    check_writable(out)


def _progress(name: str, jobs: Sequence[Job]) -> tqdm[Any]:
    interval = 0.2 if sys.stderr.isatty() else 10  # seconds between lines of a log
    return tqdm(total=sum(job.count for job in jobs), unit="sample", desc=name, mininterval=interval)


def _plan(
    config: DatasetConfig, inputs: dict[str, Any], shard_size: int, codec: Codec, depth: bool
) -> tuple[Header, Manifest]:
    text = canonical_json(config_document(config, inputs))
    header = Header(
        subset=config.subset,
        config=text,
        config_sha256=hashlib.sha256(text.encode()).hexdigest(),
        seed=config.seed,
        hand_model=str(inputs.get("hand_model", {}).get("name", "unknown")),
        generator_version=GENERATOR_VERSION,
    )
    return header, Manifest(json.loads(text), header.config_sha256, shard_size, codec, depth)


def _jobs(config: DatasetConfig, header: Header, plan: Manifest, out: Path, count: int) -> list[Job]:
    size = plan.shard_size
    return [
        Job(config, header, out / _shard_name(config, k), first, min(size, count - first), plan.codec, plan.depth)
        for k, first in enumerate(range(0, count, size))
    ]


def _missing(jobs: Sequence[Job], found: Manifest | None) -> list[Job]:
    """The jobs whose shards a folder, in which these were found, lacks or holds with fewer samples."""
    there = {entry.name: entry.samples for entry in found.shards} if found else {}
    return [job for job in jobs if there.get(job.path.name, 0) < job.count or not job.path.exists()]


def _shard_name(config: DatasetConfig, number: int) -> str:
    return f"{config.subset.lower()}-{number:05d}.h5"


def _check_arguments(
    config: DatasetConfig,
    count: int,
    workers: int,
    shard_size: int,
    num_tasks: int,
    task_index: int,
    engine: str,
    codec: str,
    depth: bool,
) -> None:
    for name, value, least, most in (
        ("count", count, 1, 2**40),
        ("workers", workers, 1, 1024),
        ("shard_size", shard_size, 1, MAX_SHARD),
        ("num_tasks", num_tasks, 1, 2**20),
        ("task_index", task_index, 0, num_tasks - 1),
    ):
        if not least <= value <= most:
            raise AIHError(f"{name}: expected {least} to {most}, found {value}")
    for name, text, known in (("engine", engine, get_args(Engine)), ("codec", codec, get_args(Codec))):
        if text not in known:
            raise AIHError(f"{name}: expected {' or '.join(known)}, found {text!r}")
    if engine == "ray" and find_spec("ray") is None:
        raise AIHError(
            "engine: expected the package ray, found it missing; pip install 'aih-hdr[ray]', or use the local engine"
        )
    if depth and not isinstance(config, RenderConfig):
        raise AIHError(f"depth: expected a RenderConfig, whose hands alone have depths, found {type(config).__name__}")


def drawing_devices(
    config: DatasetConfig, given: int | Sequence[int] | None, engine: Engine = "local"
) -> tuple[int | None, ...]:
    """The numbers of the devices that draw, at least one, of ``generate``'s ``gl_device``; None is the default.

    Raises:
        AIHError: one is not there, or the configuration draws nothing.
    """
    if given is None:
        return (None,)
    if not isinstance(config, RenderConfig):
        raise AIHError(f"gl_device: expected a RenderConfig, which OpenGL draws, found {type(config).__name__}")
    numbers = (given,) if isinstance(given, int) else tuple(given)
    if not 1 <= len(numbers) <= MAX_DEVICES:
        raise AIHError(f"gl_device: expected 1 to {MAX_DEVICES} numbers, found {len(numbers)}")
    if engine == "local":
        from aih_gen.render.context import check_device

        for number in numbers:
            check_device(number)
    return numbers


def _first_lines(source: Source, devices: Sequence[int | None], workers: int, engine: Engine) -> list[str]:
    """Lines with which a run that draws begins.

    A run in this process opens its renderer. For workers each device is tried: what they find comes too late, when the
    folder is made.

    Raises:
        AIHError: on a device no OpenGL starts.
    """
    from aih_gen.compose.rendered import RenderedSource
    from aih_gen.kernels import hands
    from aih_gen.kernels.compiled import is_kept
    from aih_gen.render.context import describe_driver, driver_lines  # none of them loaded where nothing is drawn

    lines = []
    if engine == "local":
        assert isinstance(source, RenderedSource), "only these draw"
        tried = dict.fromkeys(devices[:workers])
        lines = driver_lines([source.renderer.driver] if workers == 1 else list(map(describe_driver, tried)))
    if not is_kept(hands.resolve):
        lines.append("loops over vertices and pixels are compiled first, some 20 s, once for this installation")
    return lines
