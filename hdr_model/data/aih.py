"""Shards as batches of tensors, in an order that follows from seed and step."""

from __future__ import annotations

import itertools
import multiprocessing
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from multiprocessing.process import BaseProcess
from os import PathLike
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from aih_gen.engines import one_thread_each
from aih_gen.errors import AIHError
from aih_gen.interruption import leave_signals_to_the_loop
from aih_gen.shards.reader import AIHShards
from hdr_model.config import TrainConfig
from hdr_model.data.batch import Batch, stored, with_target_valid
from hdr_model.data.order import Order, SampleOrder, Tell

Source = str | PathLike[str]

HANDS = "", " with a hand", " with two hands"
KILLED = (
    "--workers: expected processes that read until the end, found one that was killed (out of memory?); "
    "the same command with --resume goes on"
)
_PRELOADED = "aih_gen.", "hdr_model.data."
_ABANDONED: list[object] = []
"""Torch's iterators one of whose processes was killed. They are kept until this process ends: one that is let go waits
for locks, which the killed process may have taken with it."""


class TrainingData(Protocol):
    """A source of batches for the training loop."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Sequence[int], /) -> Batch: ...

    def compose(self, batch: Batch) -> Batch:
        """The batch, on its device, completed there."""
        ...

    def digest(self) -> str:
        """SHA-256 of the samples' origin: the same for the same data in any place."""
        ...

    def order(self, batch_size: int, seed: int, start: int, steps: int, rank: int, world: int) -> Order:
        """One process's batches from step ``start`` on, and what is read for them: functions of seed and step."""
        ...


class AIHDataset(Dataset[Batch]):
    """Samples of AIH shards as tensors: decoded, otherwise untouched; cropping happens where the networks are.

    Args:
        data: a shard, a folder of shards, or a list of those.
        fields: what to read, as ``AIHShards.read`` names it: ``rgb`` (3,H,W,3) uint8 = image, target_right,
            target_left; ``masks`` (H,W) uint8 bit field; ``joints_2d`` (2,21,2) px; ``joints_3d`` (2,21,3) m;
            ``present`` (2,); ``occlusion`` (2,); ...; and ``target_valid`` (2,) bool: the hand's target shows it alone.
        min_hands: samples of fewer hands are left out.

    Raises:
        ShardError: no shard there, or one that cannot be trusted.
    """

    def __init__(
        self, data: Source | Sequence[Source], fields: Sequence[str] = ("rgb", "masks"), min_hands: int = 0
    ) -> None:
        self.shards = AIHShards(data)
        self.fields = tuple(fields)
        self.rows = np.arange(len(self.shards))
        self.min_hands = min_hands
        if min_hands:
            self.rows = np.flatnonzero(self.shards.column("present").sum(1) >= min_hands)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | Sequence[int]) -> Batch:
        """One sample, or a batch of the samples in a list, with a first axis more."""
        indices = self.rows[[index] if isinstance(index, int) else list(index)].tolist()
        arrays = self.shards.read(indices, stored(self.fields))
        batch = with_target_valid({name: torch.from_numpy(array) for name, array in arrays.items()}, self.fields)
        return {name: value[0] for name, value in batch.items()} if isinstance(index, int) else batch

    def compose(self, batch: Batch) -> Batch:
        """The batch unchanged: nothing is composed on the device."""
        return batch

    def digest(self) -> str:
        """SHA-256 over the shards' own."""
        return self.shards.digest()

    def order(self, batch_size: int, seed: int, start: int, steps: int, rank: int, world: int) -> SampleOrder:
        """The samples of each step.

        Raises:
            AIHError: the batch of all processes is larger than the set.
        """
        if batch_size * world > len(self):
            raise AIHError(
                f"{self.shards.shard(0).path.parent}: expected at least the {batch_size * world} samples of a batch"
                f"{HANDS[self.min_hands]}, found {len(self)}"
            )
        return SampleOrder(len(self), batch_size, seed, start, steps, rank, world)


def batches(
    dataset: TrainingData,
    config: TrainConfig,
    start: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    shown: Sequence[int] = (),
    tell: Tell = lambda text: None,
) -> Generator[Batch]:
    """The batches of steps ``start`` + 1 ... ``config.steps``, read by ``workers`` processes (0: this one).

    They come from a fork server: a fork of this process would inherit locks that its threads hold, and its GPU. They
    are started by this call: a start that is interrupted leaves some.

    Args:
        shown: samples of a batch that comes before these, read by the same processes.
        tell: hears what is waited for, where that takes long, and an empty text when that is over.

    Raises:
        AIHError: a sample cannot be read or made, or a process that reads was killed.
    """
    order = dataset.order(config.batch_size, config.seed, start, config.steps, rank, world)
    read = _read(dataset, itertools.chain([list(shown)] if shown else [], order), workers)
    next(read)
    return _in_steps(read, order, tell, len(shown) > 0)


def _in_steps(read: Generator[Batch], order: Order, tell: Tell, first: bool) -> Generator[Batch]:
    """The ``first`` batch as it was read, then those of the steps."""
    with closing(read):
        if first:
            yield next(read)
        yield from order.batches(read, tell)


def _read(dataset: TrainingData, lists: Iterator[list[int]], workers: int) -> Generator[Batch]:
    """Nothing, when the processes are started, then a batch of each list of samples, in their order."""
    context = multiprocessing.get_context("forkserver") if workers else None
    if context:
        context.set_forkserver_preload([name for name in sys.modules if name.startswith(_PRELOADED)])
    loader = DataLoader(
        _Told(dataset),
        sampler=cast(Iterable[Any], lists),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=context,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=leave_signals_to_the_loop,
    )
    others = set(multiprocessing.active_children())
    read: Any = None
    try:
        with one_thread_each():
            read = iter(loader)
        yield {}
        for batch in read:
            if isinstance(batch, AIHError):
                raise batch
            yield batch
    except (RuntimeError, OSError, EOFError) as error:  # torch's own; those of a connection to a killed process
        if read is None or len(readers := _alive(workers, others)) == workers:
            raise
        _kill(readers)
        _ABANDONED.append(read)
        raise AIHError(KILLED) from error
    finally:
        del read  # it asks the processes to end, and waits for a while
        _kill(set(multiprocessing.active_children()) - others)


def _alive(number: int, others: set[BaseProcess]) -> set[BaseProcess]:
    """The readers that are left of a ``number``; an end may be known a moment after its connection broke."""
    for _ in range(20):
        if len(readers := set(multiprocessing.active_children()) - others) < number:
            break
        time.sleep(0.05)
    return readers


def _kill(processes: Iterable[BaseProcess]) -> None:
    """End processes that ignore all other signals."""
    for process in processes:
        process.kill()


class _Told(Dataset[Batch | AIHError]):
    """A source of batches in which a user's mistake is a value, not an exception: torch would spoil its sentence."""

    def __init__(self, dataset: TrainingData) -> None:
        self.dataset = dataset

    def __getitem__(self, indices: Sequence[int]) -> Batch | AIHError:
        try:
            return self.dataset[indices]
        except AIHError as error:
            return error
