"""Shards as batches of tensors, in an order that a seed and a step decide."""

from __future__ import annotations

import multiprocessing
from collections.abc import Generator, Iterator, Sequence
from os import PathLike
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from aih_gen.config import RenderConfig, SynConfig
from aih_gen.errors import AIHError
from aih_gen.interruption import leave_signals_to_the_loop
from aih_gen.shards.reader import AIHShards
from hdr_model.config import TrainConfig

Batch = dict[str, Tensor]
Source = str | PathLike[str]

HANDS = "", " with a hand", " with two hands"


class TrainingData(Protocol):
    """What the training loop asks for batches."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Sequence[int], /) -> Batch: ...

    def compose(self, batch: Batch) -> Batch:
        """The batch, on its device, completed there."""
        ...

    def digest(self) -> str:
        """SHA-256 of what the samples follow from: the same for the same data, wherever they lie."""
        ...

    def order(self, batch_size: int, seed: int, start: int, steps: int, rank: int, world: int) -> Sampler[list[int]]:
        """The indices of one process's batches, from step ``start`` on: a function of seed and step alone."""
        ...


class AIHDataset(Dataset[Batch]):
    """Samples of AIH shards as tensors: decoded, otherwise untouched; cropping happens where the networks are.

    Args:
        data: a shard, a folder of shards, or a list of those.
        fields: what to read, as ``AIHShards.read`` names it: ``rgb`` (3,H,W,3) uint8 = image, target_right,
            target_left; ``masks`` (H,W) uint8 bit field; ``joints_2d`` (2,21,2) px; ``joints_3d`` (2,21,3) m;
            ``present`` (2,); ``occlusion`` (2,); ...; and ``alone`` (2,) bool: the hand's target shows it alone.
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
        wanted = dict.fromkeys(self.fields)
        if "alone" in wanted:
            del wanted["alone"]
            wanted |= dict.fromkeys(("present", "occlusion"))
        arrays = self.shards.read(indices, tuple(wanted))
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if "alone" in self.fields:
            batch["alone"] = self._alone(indices, batch["present"], batch["occlusion"])
        return {name: value[0] for name, value in batch.items()} if isinstance(index, int) else batch

    def compose(self, batch: Batch) -> Batch:
        """The batch itself: nothing is left to do on the device."""
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

    def _alone(self, indices: Sequence[int], present: Tensor, occlusion: Tensor) -> Tensor:
        """(B,2) bool. AIH_Render can take either hand away (unless that is unknown: a NaN occlusion),
        AIH_Syn the pasted one, other sources none.
        """  # fmt: skip
        subsets = [self.shards.shard(self.shards.locate(k)[0]).header.subset for k in indices]
        rendered = torch.tensor([subset == RenderConfig.subset for subset in subsets])[:, None]
        pasted = torch.tensor([subset == SynConfig.subset for subset in subsets])[:, None]
        return present & ((rendered & ~occlusion.isnan()) | (pasted & (occlusion > 0)) | ~present.flip(1))


class SampleOrder(Sampler[list[int]]):
    """The samples of steps ``start`` ... ``steps`` of one of ``world`` processes.

    Every sample once an epoch, each epoch in an order of its own, batches running on across the ends of epochs.
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, start: int, steps: int, rank: int = 0, world: int = 1
    ) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.steps = range(start, steps)
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, order = -1, np.empty(0, np.int64)
        for step in self.steps:
            first = (step * self.world + self.rank) * self.batch_size
            batch = []
            for place in range(first, first + self.batch_size):
                if place // self.length != epoch:
                    epoch = place // self.length
                    order = np.random.Generator(np.random.Philox(key=[self.seed, epoch])).permutation(self.length)
                batch.append(int(order[place % self.length]))
            yield batch


def batches(
    dataset: TrainingData, config: TrainConfig, start: int = 0, rank: int = 0, world: int = 1, workers: int = 0
) -> Generator[Batch]:
    """The batches of steps ``start`` + 1 ... ``config.steps``, read by ``workers`` processes (0: this one).

    They come from a fork server: a fork of this process would inherit locks that its threads hold, and its GPU.
    """
    context = multiprocessing.get_context("forkserver") if workers else None
    if context:
        context.set_forkserver_preload([__name__])
    yield from DataLoader(
        cast(Dataset[Batch], dataset),
        sampler=dataset.order(config.batch_size, config.seed, start, config.steps, rank, world),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=context,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=leave_signals_to_the_loop,
    )
