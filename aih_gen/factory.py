"""A configuration becomes shards on disk: in this process, in many, or on a Ray cluster.

The plan is fixed before anything is made: shard k holds samples k * shard_size onwards, whoever makes it. What is on
disk already is kept, so a run that is started again continues.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import inspect
import itertools
import json
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self, get_args

from tqdm import tqdm

from aih_gen.compose.sample import Sample
from aih_gen.config import (
    GENERATOR_VERSION,
    SIDES,
    DatasetConfig,
    RenderConfig,
    canonical_json,
    check_config,
    config_document,
)
from aih_gen.errors import AIHError
from aih_gen.interruption import die_with_parent
from aih_gen.io.write import check_apart, check_outside, check_writable, make_folder
from aih_gen.shards.folder import check_folder, sole_writer, update_manifest
from aih_gen.shards.manifest import Manifest, ManifestEntry
from aih_gen.shards.schema import MAX_SHARD, Header
from aih_gen.shards.writer import Rows, join_rows, pack_rows, write_rows, write_shard
from aih_gen.sources import Source, open_source
from aih_gen.typing import Codec, Engine

Finished = Callable[[ManifestEntry], None]

BATCH = 16
"""Samples written to a shard at once, and at most so many requested from a source at once."""

AHEAD = 2
"""Parts of a batch, for each worker, that may be under way or wait for the writer: what bounds the memory."""
PARTS = 4
"""Least parts, for each worker, that shards are divided into: the last ones leave no worker idle for long."""

MAX_DEVICES = 256
"""Devices that may be named; more than any machine has."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ONE_THREAD["LP_NUM_THREADS"] = "0"
"""For PyTorch, NumPy and llvmpipe, which counts the threads beside its caller's, where many processes are the
parallelism.
"""

KILLED = "a worker process was killed (out of memory?); the same command continues"
ENDED_AT_START = (
    "workers: expected a script that calls generate(...) under if __name__ == '__main__', found worker processes that "
    "ended while they ran the script again, as each does first"
)


@dataclass(frozen=True)
class Job:
    """One shard to make."""

    config: DatasetConfig
    header: Header
    path: Path
    first: int
    count: int
    codec: Codec
    depth: bool

    def run(self, source: Source, made: Callable[[int], object]) -> ManifestEntry:
        """Make the shard; ``made`` is called with the number of samples after each batch, and may raise to stop."""

        def samples() -> Iterator[list[Sample]]:
            for indices in self.batches():
                yield source.samples(indices)
                made(len(indices))

        return write_shard(self.path, samples(), self.count, self.header, self.codec, self.depth)

    def batches(self) -> Iterator[range]:
        """The indices of the samples that are written at once; whoever makes them, the file is the same."""
        return _parts(range(self.first, self.first + self.count), BATCH)


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
    if workers > 1 and _script_is_run_again():
        raise SystemExit(1)  # silently: the process that started this one says why
    check_config(config)
    _check_arguments(config, count, workers, shard_size, num_tasks, task_index, engine, codec, depth)
    devices = drawing_devices(config, gl_device, engine)
    out = Path(out)
    check_place(config, out)
    source = open_source(config, None if engine == "ray" else devices[0])  # Ray's machines have devices of their own
    header, plan = _plan(config, source.describe(), shard_size, codec, depth)
    check_folder(out, plan)  # before anything is touched
    lines = _first_lines(devices[:workers], engine) if isinstance(config, RenderConfig) else []
    make_folder(out)
    with sole_writer(out, num_tasks, task_index):
        there = {entry.name: entry.samples for entry in update_manifest(out, plan, []).shards}
        jobs = _jobs(config, header, plan, out, count)[task_index::num_tasks]
        missing = [job for job in jobs if there.get(job.path.name, 0) < job.count]
        if engine == "ray":
            run = functools.partial(_ray, devices)
        elif workers > 1:
            run = functools.partial(_in_processes, workers, devices)
        else:
            run = functools.partial(_in_this_process, source)
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


def _first_lines(devices: Sequence[int | None], engine: Engine) -> list[str]:
    """Lines with which a run that draws begins."""
    from aih_gen.kernels import hands
    from aih_gen.kernels.compiled import is_kept
    from aih_gen.render.context import driver_lines  # none of them loaded where nothing is drawn

    lines = driver_lines(devices) if engine == "local" else []
    if not is_kept(hands.resolve):
        lines.append("loops over vertices and pixels are compiled first, some 20 s, once for this installation")
    return lines


# Engines: each makes the jobs, hands every finished entry to ``finished`` and moves the bar


def _in_this_process(source: Source, jobs: Sequence[Job], finished: Finished, bar: tqdm[Any]) -> None:
    for job in jobs:
        finished(job.run(source, bar.update))


def _in_processes(
    workers: int, devices: Sequence[int | None], jobs: Sequence[Job], finished: Finished, bar: tqdm[Any]
) -> None:
    """Each worker makes as many whole shards; the samples of the others they share, and this process writes them."""
    alone, shared = _divided(jobs, workers)
    size = _part_size(shared, workers)
    parts = ((job, part) for job in shared for batch in job.batches() for part in _parts(batch, size))
    with one_thread_each(), _Workers(workers, len(alone), devices, bar) as crew:
        shards = [crew.submit(_make_shard, job, k) for k, job in enumerate(alone)]
        made = crew.in_order(_make_rows, parts, AHEAD * workers)  # begun by whoever has no more shards to make
        for shard in crew.done(shards):
            finished(shard.result())
        for job in shared:
            rows = (join_rows([crew.counted(next(made)) for _ in _parts(batch, size)]) for batch in job.batches())
            finished(write_rows(job.path, rows, job.count, job.header, job.codec))


def _divided(jobs: Sequence[Job], workers: int) -> tuple[list[Job], list[Job]]:
    """Full shards, as many for each worker, and the others; the one that is not full is the first of those."""
    full = [job for job in jobs if job.count == jobs[0].count]
    number = len(full) - len(full) % workers
    return full[:number], [*jobs[len(full) :], *full[number:]]


def _part_size(jobs: Sequence[Job], workers: int) -> int:
    """Samples that a worker makes at a time of shards that all share."""
    count = sum(job.count for job in jobs)
    return min(BATCH, max(1, -(-count // (PARTS * workers))))


def _parts(indices: range, size: int) -> Iterator[range]:
    return (indices[k : k + size] for k in range(0, len(indices), size))


class _Workers:
    """Context in which processes work; at its end each finishes no more than the batch it is at.

    They are forked from a server that has imported what this process has, which takes seconds, and has done nothing
    else: an OpenGL context does not survive a fork. What they share with this process has no lock: one that is killed
    would keep it, and all others would wait for ever.
    """

    def __init__(self, number: int, shards: int, devices: Sequence[int | None], bar: tqdm[Any]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([name for name in sys.modules if name.partition(".")[0] == "aih_gen"])
        self.bar = bar
        self.counts = 0  # samples that were taken by ``counted``
        self.started, self.stop = context.RawValue("b", 0), context.RawValue("b", 0)
        self.made = context.RawArray("q", shards)  # samples of each shard so far; the worker that makes it writes it
        self.turns, turns = context.Pipe(duplex=False)  # each worker reads one byte: the position of its device
        os.write(turns.fileno(), bytes(k % len(devices) for k in range(number)))
        turns.close()
        shared = (self.started, self.made, self.stop, self.turns, devices)
        self.pool = ProcessPoolExecutor(number, context, initializer=_start_worker, initargs=shared)
        self.submit = self.pool.submit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop.value = 1
        self.pool.shutdown(cancel_futures=True)
        if kind is BrokenProcessPool:
            raise AIHError(KILLED if self.started.value else ENDED_AT_START) from None

    def counted(self, rows: Rows) -> Rows:
        """The same rows, whose samples are made."""
        self.counts += len(rows.provenance)
        self._show()
        return rows

    def done(self, futures: Iterable[Future[Any]]) -> Iterator[Future[Any]]:
        """Each of the futures when it is done; moves the bar."""
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            self._show()
            yield from done

    def _show(self) -> None:
        self.bar.update(self.counts + sum(self.made) - self.bar.n)

    def in_order(self, function: Callable[..., Any], calls: Iterator[tuple[Any, ...]], ahead: int) -> Iterator[Any]:
        """Results of calls; always ``ahead`` of them, which begin at once, are under way or wait to be taken."""
        futures = deque(self.submit(function, *call) for call in itertools.islice(calls, ahead))

        def results() -> Iterator[Any]:
            while futures:
                (future,) = self.done([futures.popleft()])
                yield future.result()
                futures.extend(self.submit(function, *call) for call in itertools.islice(calls, 1))

        return results()


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started meanwhile compute in one thread each: the libraries read this when they are loaded, or never.

    It overrules what is set already: a batch system sets a task's processors, which the workers share.
    """
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ |= ONE_THREAD
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


class _Stopped(Exception):
    """The parent has stopped the run."""


_made: Any = None
_stop: Any = None
_device: int | None = None


@functools.cache
def open_in_worker(config: DatasetConfig, device: int | None = None) -> Source:
    """The source, opened when the first job arrives."""
    source = open_source(config, device)
    gc.freeze()  # a worker needs all that it has loaded until its end; looking for garbage in there takes time
    return source


def _script_is_run_again() -> bool:
    """True in a worker that has not begun: multiprocessing runs the main script again under another name."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "__mp_main__" and frame.f_code.co_name == "<module>":
            return True
        frame = frame.f_back
    return False


def _start_worker(
    started: Any, made: Any, stop: Any, turns: Connection[Any, Any], devices: Sequence[int | None]
) -> None:
    global _made, _stop, _device
    _made, _stop = made, stop
    _device = devices[os.read(turns.fileno(), 1)[0]]
    started.value = 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    die_with_parent()  # one that was killed has let go of the folder, so nothing may be written to it any more


def _make_shard(job: Job, number: int) -> ManifestEntry:
    def report(samples: int) -> None:
        _check_wanted()
        _made[number] += samples

    _check_wanted()
    return job.run(open_in_worker(job.config, _device), report)


def _make_rows(job: Job, indices: range) -> Rows:
    _check_wanted()
    return pack_rows(open_in_worker(job.config, _device).samples(indices), job.depth)


def _check_wanted() -> None:
    """Nothing, or the end of a worker's call.

    Raises:
        _Stopped: no more samples are wanted.
    """
    if _stop.value:
        raise _Stopped


_taken: dict[tuple[int | None, ...], int | None] = {}
"""The device that this process of Ray's drew on first, of those it was given: it stays there, as sources are large."""


def _run_in_ray(job: Job, devices: tuple[int | None, ...], number: int) -> ManifestEntry:
    device = _taken.setdefault(devices, devices[number % len(devices)])
    os.environ |= ONE_THREAD  # Ray does so for OpenMP alone; llvmpipe looks when the source is opened
    return job.run(open_in_worker(job.config, device), lambda samples: None)


def _ray(devices: tuple[int | None, ...], jobs: Sequence[Job], finished: Finished, bar: tqdm[Any]) -> None:
    """One Ray task a shard; the cluster sees ``out`` under the same path."""
    import ray

    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False)
    try:
        remote = ray.remote(_run_in_ray)
        running = {remote.remote(job, devices, number): job for number, job in enumerate(jobs)}
        while running:
            (done,), _ = ray.wait(list(running))
            bar.update(running.pop(done).count)
            finished(ray.get(done))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AIHError):
            raise error.cause from None  # without Ray's account of where it came from
        raise
    finally:
        if started:
            ray.shutdown()
