"""Optimisers and learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hdr_model.config import TrainConfig
from hdr_model.training.parallel import average_gradients

LAST_RATE = 0.02
"""Share of the learning rate that the cosine ends at."""


def adamw(
    modules: Iterable[tuple[nn.Module, float]], config: TrainConfig, betas: tuple[float, float] | None = None
) -> torch.optim.AdamW:
    """AdamW over (module, factor on the learning rate); with weight decay 0 it is Adam.

    Biases and normalisation do not decay. Each group remembers its full rate as ``initial_lr``.
    """
    groups = []
    for module, factor in modules:
        parameters = [p for p in module.parameters() if p.requires_grad]
        rate = config.learning_rate * factor
        for decays in (True, False):
            groups.append(
                {
                    "params": [p for p in parameters if (p.ndim > 1) == decays],
                    "lr": rate,
                    "initial_lr": rate,
                    "weight_decay": config.weight_decay if decays else 0.0,
                }
            )
    return torch.optim.AdamW(groups, betas=betas or config.betas, fused=True)


def schedule(config: TrainConfig, step: int) -> float:
    """Factor on the learning rate at ``step`` of 1 ... ``config.steps``."""
    factor = min(1.0, step / config.warmup) if config.warmup else 1.0
    if config.schedule == "polynomial":
        factor *= 1 - (step - 1) / config.steps
    elif config.schedule == "cosine":
        factor *= LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * (step - 1) / config.steps)) / 2
    elif config.schedule == "step":
        factor *= 0.1 ** sum(step > milestone * config.steps for milestone in config.milestones)
    return factor


def optimise(optimiser: torch.optim.Optimizer, loss: Tensor, config: TrainConfig, step: int, world: int) -> None:
    """One step down the gradient of ``loss``, averaged over ``world`` processes and clipped."""
    optimiser.zero_grad()
    loss.backward()
    parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    average_gradients(parameters, world)
    if config.gradient_clip:
        nn.utils.clip_grad_norm_(parameters, config.gradient_clip)
    for group in optimiser.param_groups:
        group["lr"] = group["initial_lr"] * schedule(config, step)
    optimiser.step()
