"""A window of the last samples that were made, from which the batches of steps are drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from hdr_model.data.batch import Batch
from hdr_model.data.order import Order, Tell
from hdr_model.data.rng import OF_WINDOW, stream

PART = 8
"""Samples that a process makes at a time."""


class WindowOrder(Order):
    """Batches of some samples that are new and others drawn from the ``window`` last ones, without repetition.

    Each of ``world`` processes has a sequence of samples of its own. At step k (from 0) its window is the places
    ``k * new`` ... ``k * new + window - 1`` of that sequence, and the last ``new`` of these are new: which samples a
    step sees follows from seed, step and process alone. They are made in the order in which steps need them first, so
    neither the first step nor a resumed one waits for a whole window: it needs one batch, and as long as the window is
    not full, each step needs more samples than ``new``.
    """

    def __init__(
        self, window: int, new: int, batch_size: int, seed: int, start: int, steps: int, rank: int = 0, world: int = 1
    ) -> None:
        self.window, self.new, self.batch_size, self.seed = window, new, batch_size, seed
        self.steps = range(start, steps)
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[list[int]]:
        """The numbers of the samples that are made at a time."""
        return ([place * self.world + self.rank for place in part] for part in self._parts())

    def batches(self, read: Iterator[Batch], tell: Tell) -> Iterator[Batch]:
        """Each step's batch, whose samples are kept here until they leave the window."""
        made = zip(self._parts(), read, strict=True)
        held = _Held(self.window + PART)
        for step in self.steps:
            held.forget(range((step - 1) * self.new, step * self.new))
            places, filling = self._places(step), step * self.new < self.window
            while not held.places.keys() >= set(places):
                if filling:
                    tell(f"{len(held.places):,} of the window's {self.window:,} samples")
                held.add(*next(made))
            if not filling:
                tell("")
            yield held.batch(places)

    def _parts(self) -> Iterator[list[int]]:
        needed = self._first_needed()
        while part := list(itertools.islice(needed, PART)):
            yield part

    def _first_needed(self) -> Iterator[int]:
        """Every place that a step needs, once, in the order of the steps."""
        asked = set[int]()
        for step in self.steps:
            asked.difference_update(range((step - 1) * self.new, step * self.new))
            for place in self._places(step):
                if place not in asked:
                    asked.add(place)
                    yield place

    def _places(self, step: int) -> list[int]:
        """The places of a step's batch: drawn ones, then the new ones."""
        first = step * self.new
        older = self.window - self.new
        rng = stream(self.seed, step * self.world + self.rank, OF_WINDOW)
        drawn = first + rng.choice(older, self.batch_size - self.new, replace=False)
        return [*drawn.tolist(), *range(first + older, first + self.window)]


class _Held:
    """Samples by place, in arrays that are as long as there are rows for."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.fresh = iter(range(rows))
        self.free: list[int] = []
        self.places: dict[int, int] = {}
        self.arrays: Mapping[str, Tensor] = {}

    def add(self, places: Sequence[int], samples: Batch) -> None:
        """Copy a batch in."""
        if not self.arrays:  # memory that was never written to is not taken yet
            self.arrays = {name: value.new_empty(self.rows, *value.shape[1:]) for name, value in samples.items()}
        rows = torch.tensor([self.free.pop() if self.free else next(self.fresh) for _ in places])
        self.places.update(zip(places, rows.tolist(), strict=True))
        for name, array in self.arrays.items():
            array[rows] = samples[name]

    def forget(self, places: range) -> None:
        """Make room for others."""
        self.free += [self.places.pop(place) for place in places if place in self.places]

    def batch(self, places: Sequence[int]) -> Batch:
        """A copy of the samples of these places; pinned where there is a GPU, as copies to it then do not wait."""
        rows, pinned = torch.tensor([self.places[place] for place in places]), torch.cuda.is_available()
        batch = {}
        for name, array in self.arrays.items():
            batch[name] = torch.empty(len(rows), *array.shape[1:], dtype=array.dtype, pin_memory=pinned)
            torch.index_select(array, 0, rows, out=batch[name])
        return batch
