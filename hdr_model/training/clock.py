"""Training by the clock: how many steps fit into a time, from the rate of a few that are undone again."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from aih_gen.errors import AIHError
from hdr_model.config import TrainConfig

WARMUP_STEPS, TIMED_STEPS = 2, 6
RESERVE = 0.06
"""Share of the time that logs, images and checkpoints take, or that is left."""
MAX_TRIAL = 0.2
"""Share of a short time in which no further step is tried."""
MAX_WARMUP = 0.2
"""Share of a short run in which the learning rate may rise."""


def steps_within(
    seconds: float, step: Callable[[int], None], networks: nn.Module, optimisers: list[torch.optim.Optimizer]
) -> int:
    """Number of steps, at least 1, that take ``seconds`` including this trial; what the trial learnt is forgotten.

    Args:
        step: takes step number k of training.

    Raises:
        AIHError: not even one step fits.
    """
    began = time.perf_counter()
    before = copy.deepcopy(networks.state_dict())
    marks = []
    for k in range(1, WARMUP_STEPS + TIMED_STEPS + 1):
        step(k)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        marks.append(time.perf_counter())
        if marks[-1] - began > (MAX_TRIAL if k > WARMUP_STEPS else 1) * seconds:
            break
    networks.load_state_dict(before)
    for optimiser in optimisers:
        optimiser.state.clear()
    timed = [b - a for a, b in itertools.pairwise(marks[WARMUP_STEPS - 1 :])]
    each = sorted(timed)[len(timed) // 2] if timed else marks[0] - began
    left = seconds * (1 - RESERVE) - (marks[-1] - began)
    if left < each:
        raise AIHError(
            f"--minutes {seconds / 60:g}: expected time for at least one step of {each:.1f} s after a trial, found "
            f"{max(left, 0):.1f} s"
        )
    return int(left / each)


def with_steps(config: TrainConfig, steps: int) -> TrainConfig:
    """The configuration for a run of ``steps``, with a warm-up that fits."""
    return replace(config, steps=steps, warmup=min(config.warmup, round(MAX_WARMUP * steps)))
