"""Batches from a window of the last samples: new ones, and others that were made before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from hdr_model.data.batch import Batch
from hdr_model.data.window import PART, WindowOrder

WINDOW, NEW, BATCH, STEPS = 40, 3, 10, 60


def window_order(start: int = 0, seed: int = 5, rank: int = 0, world: int = 1) -> WindowOrder:
    return WindowOrder(WINDOW, NEW, BATCH, seed, start, STEPS, rank, world)


def made(order: WindowOrder, asked: list[list[int]] | None = None) -> Iterator[Batch]:
    """Samples that are their numbers."""
    for numbers in order:
        if asked is not None:
            asked.append(numbers)
        yield {"index": torch.tensor(numbers)}


def batches(order: WindowOrder) -> list[list[int]]:
    return [batch["index"].tolist() for batch in order.batches(made(order), lambda text: None)]


def test_a_batch_holds_the_newest_samples_and_others_of_its_window() -> None:
    seen: set[int] = set()
    for step, batch in enumerate(batches(window_order())):
        first = step * NEW
        assert len(set(batch)) == BATCH and set(batch) <= set(range(first, first + WINDOW))
        assert batch[-NEW:] == list(range(first + WINDOW - NEW, first + WINDOW))
        assert not seen & set(batch[-NEW:])
        seen |= set(batch)
    old = [place - step * NEW for step, batch in enumerate(batches(window_order())) for place in batch[:-NEW]]
    assert set(old) == set(range(WINDOW - NEW))  # any of them


def test_batches_follow_from_seed_step_and_process_alone() -> None:
    whole = batches(window_order())
    for start in (1, 7, 50):
        assert batches(window_order(start)) == whole[start:]
    assert batches(window_order(seed=6)) != whole
    ranks = [batches(window_order(rank=rank, world=2)) for rank in (0, 1)]
    numbers = [set(itertools.chain(*batch)) for batch in ranks]
    assert not numbers[0] & numbers[1]
    places = [[[number // 2 for number in batch] for batch in of_rank] for of_rank in ranks]
    assert places[0] != places[1]


@pytest.mark.parametrize("start", [0, 33])
def test_no_sample_is_made_twice_or_before_it_is_needed(start: int) -> None:
    asked: list[list[int]] = []
    order = window_order(start)
    for step, batch in enumerate(order.batches(made(order, asked), lambda text: None), start):
        numbers = list(itertools.chain(*asked))
        assert len(numbers) == len(set(numbers)) < BATCH * (step - start + 1) + PART
        assert set(batch["index"].tolist()) <= set(numbers)


def test_a_batch_is_not_changed_by_what_comes_after_it() -> None:
    order = window_order()
    kept: list[tuple[Tensor, Tensor]] = []
    for batch in order.batches(made(order), lambda text: None):
        kept.append((batch["index"], batch["index"].clone()))
    assert all(torch.equal(now, then) for now, then in kept)


def test_it_is_said_how_full_the_window_is_until_it_is_full() -> None:
    said: list[str] = []
    order = window_order()
    list(order.batches(made(order), said.append))
    assert said[0] == f"0 of the window's {WINDOW} samples" and said[-1] == ""
    full = -(-WINDOW // NEW)
    assert said[-1:] * (STEPS - full) == [text for text in said if not text]
