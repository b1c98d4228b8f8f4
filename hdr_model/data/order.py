"""The numbers of the samples of each step: a function of seed and step alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from hdr_model.data.batch import Batch

Tell = Callable[[str], None]
"""Hears about what takes long."""


class Order(Sampler[list[int]]):
    """Lists of samples that processes read, one batch a list, and the batches of steps ``start`` ... ``steps``."""

    steps: range

    def __len__(self) -> int:
        return len(self.steps)

    def batches(self, read: Iterator[Batch], tell: Tell) -> Iterator[Batch]:
        """Each step's batch of what was read in this order; here each list is one."""
        return read


class SampleOrder(Order):
    """The samples of steps ``start`` ... ``steps`` of one of ``world`` processes.

    Every sample once an epoch, each epoch in an order of its own, batches running on across the ends of epochs.
    """

    def __init__(
        self, length: int, batch_size: int, seed: int, start: int, steps: int, rank: int = 0, world: int = 1
    ) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.steps = range(start, steps)
        self.rank, self.world = rank, world

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


class MixedOrder(Order):
    """Some stored samples in every step, then new ones."""

    def __init__(self, stored: SampleOrder, first: int, composed: int) -> None:
        self.stored, self.first, self.composed = stored, first, composed
        self.steps = stored.steps

    def __iter__(self) -> Iterator[list[int]]:
        order = self.stored
        for step, stored in zip(order.steps, order, strict=True):
            new = self.first + (step * order.world + order.rank) * self.composed
            yield [*stored, *range(new, new + self.composed)]
