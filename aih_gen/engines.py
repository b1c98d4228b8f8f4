"""Jobs become shards: in this process, in many, or on a Ray cluster.

An engine makes all its jobs, hands each finished entry to ``finished`` and moves the bar.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import itertools
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from aih_gen.compose.sample import Sample
from aih_gen.config import DatasetConfig
from aih_gen.errors import AIHError
from aih_gen.interruption import die_with_parent
from aih_gen.shards.manifest import ManifestEntry
from aih_gen.shards.schema import Header
from aih_gen.shards.writer import Rows, join_rows, pack_rows, write_rows, write_shard
from aih_gen.sources import Source, open_source
from aih_gen.typing import Codec

Finished = Callable[[ManifestEntry], None]

BATCH = 16
"""Samples written to a shard at once, and at most so many requested from a source at once."""

AHEAD = 2
"""Parts of a batch, for each worker, that may be under way or wait for the writer: what bounds the memory."""
PARTS = 4
"""Least parts, for each worker, that shards are divided into: the last ones leave no worker idle for long."""

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


def in_this_process(source: Source, jobs: Sequence[Job], finished: Finished, bar: tqdm[Any]) -> None:
    """One shard after the other, by a source that is open."""
    for job in jobs:
        finished(job.run(source, bar.update))


def in_processes(
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
        self.turns.close()
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


def script_is_run_again() -> bool:
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


def on_ray(devices: tuple[int | None, ...], jobs: Sequence[Job], finished: Finished, bar: tqdm[Any]) -> None:
    """One Ray task a shard; the cluster sees ``out`` under the same path."""
    import ray

    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False)
    running: dict[Any, Job] = {}
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
        for task in running:  # none but after a failure: whoever goes on would write to a folder that is let go
            ray.cancel(task)
        if running:
            ray.wait(list(running), num_returns=len(running))
        if started:
            ray.shutdown()
