"""The training loop of all three networks."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from aih_gen.errors import AIHError
from aih_gen.interruption import Interruption
from hdr_model.config import Precision, TrainConfig
from hdr_model.data.aih import AIHDataset, TrainingData, batches
from hdr_model.data.batch import Batch
from hdr_model.data.rng import SampleRng
from hdr_model.data.synthesis import SynthesisDataset
from hdr_model.device import to_device, use_bfloat16
from hdr_model.losses import Terms
from hdr_model.nets.pretrained import PretrainedNetwork, not_finite
from hdr_model.training.checkpoint import (
    STATE,
    BestStep,
    code_version,
    load_state,
    open_run,
    save_state,
)
from hdr_model.training.clock import steps_within, with_steps
from hdr_model.training.compilation import compile_networks
from hdr_model.training.log import Log, LossBuffer, check_loss
from hdr_model.training.optimiser import optimise, schedule
from hdr_model.training.parallel import any_process, process_rank, synchronise_batch_norm
from hdr_model.training.task import Task
from hdr_model.weights import BEST, WEIGHTS, read_settings

VALIDATION_SAMPLES = 256


def train(
    task: Task,
    config: TrainConfig,
    data: Sequence[Path],
    out: Path,
    *,
    device: torch.device,
    source: TrainingData | None = None,
    precision: Precision = "auto",
    workers: int = 0,
    resume: bool = False,
    synthesise: float = 0.0,
    hands: Path | None = None,
    validation: Path | None = None,
    compiled: bool = False,
    seconds: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Train until ``config.steps``; returns the folder of the trained weights. ``settings`` are recorded with the run.

    Samples and random numbers of a step follow from (seed, step) alone, so a run stopped and resumed is the run that
    was never stopped. Under ``torchrun`` each process takes ``batch_size`` samples a step, and all train as one
    (``training.parallel``).

    Args:
        data: shards.
        source: batches in place of theirs, such as ``data.source.SourceDataset``, which needs no disk.
        synthesise: share of each batch that is composed on the device, one hand pasted over another; at 1 no sample
            needs to be stored.
        hands: single hands for that, by default the first of ``data``.
        validation: held-out shards that decide which step was best.
        seconds: take as many steps as that time allows, by the rate of the first few, in place of ``config.steps``;
            they are recorded, and a run that is resumed keeps them.

    Raises:
        AIHError: ``out`` holds another run, the data cannot be read, or a loss is not finite.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
    """
    dataset = _open_data(data, task, synthesise, hands, config.seed) if source is None else source
    rank, world = process_rank()
    network = cast(PretrainedNetwork, task.networks[config.task])
    if config.size % network.stride:
        raise AIHError(f"--size {config.size}: {config.task} takes sides that are multiples of {network.stride}")
    dataset.order(config.batch_size, config.seed, 0, config.steps, rank, world)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16(config.bfloat16, precision, device))
    if seconds is not None:
        steps = _recorded_steps(out, resume) or _steps_within(task, config, dataset, seconds, autocast)
        config = with_steps(config, steps)
    shown = dataset.compose(to_device(dataset[_spread(len(dataset), 4)], device))
    held_out = AIHDataset(validation, task.fields, task.min_hands) if validation else None
    if compiled:
        compile_networks(task.networks, device)
    kept = copy.deepcopy(network).eval() if config.ema else network
    if world > 1:
        synchronise_batch_norm(task.networks, device)
    history, best = LossBuffer(), BestStep()
    state: dict[str, Any] = {f"optimiser_{k}": optimiser for k, optimiser in enumerate(task.optimisers)}
    state |= {"networks": task.networks, "history": history, "best": best} | ({"average": kept} if config.ema else {})
    run: AbstractContextManager[None] = nullcontext()
    if rank == 0:
        where = {"data": [str(path) for path in data], "validation": str(validation) if validation else None}
        made_with = {"data_sha256": dataset.digest(), "samples": len(dataset), "code": code_version()}
        record = {"network": asdict(network.config), "synthesise": synthesise, "compiled": compiled, **(settings or {})}
        run = open_run(out, {"task": config.task, **asdict(config), **record, **where, **made_with}, resume)
    with ExitStack() as stack:
        stack.enter_context(run)
        start = load_state(out, state, device) if resume else 0
        if resume and not start and rank == 0:
            print(f"{out}: no {STATE} to go on from, the run begins anew", file=sys.stderr)
        interruption = stack.enter_context(Interruption())
        log = stack.enter_context(_open_log(out, config, start, rank, world))
        # Closed on every way out: processes that read ignore signals, and Python would wait for them at its end.
        read = stack.enter_context(closing(batches(dataset, config, start, rank, world, workers)))
        task.networks.train()
        for step, batch in enumerate(read, start + 1):
            torch.manual_seed(_mix(config.seed, step, rank))
            rng = SampleRng(config.seed, step, ((step - 1) * world + rank) * config.batch_size, config.batch_size)
            terms = _step(task, config, step, dataset.compose(to_device(batch, device)), rng, autocast, world)
            history.add(step, terms)
            if config.ema:
                _follow(kept, network, min(config.ema, step / (step + 10)))

            due = {name for name, every in _intervals(config).items() if step == config.steps or step % every == 0}
            if due:
                row = history.means()
                if log and held_out and "validate" in due:
                    row["validation"] = _validate(task, kept, held_out, config, autocast, device)
                    check_loss("validation", row["validation"], step)
                    if row["validation"] < best.loss:
                        best.step, best.loss = step, row["validation"]
                        kept.save_pretrained(out / BEST)
                if log:
                    log.metrics(step, row, config.learning_rate * schedule(config, step))
            if log and "picture" in due:
                with _evaluating(kept), autocast:
                    log.image(step, task.preview(kept, shown, SampleRng(config.seed, 0, 0, len(shown["masks"]))))
            stop = any_process(interruption.requested)
            if log and ("checkpoint" in due or stop):
                history.check()
                _check_weights(task.networks, step)
                kept.save_pretrained(out / WEIGHTS)
                save_state(out, step, state)
            if stop and step < config.steps:
                raise KeyboardInterrupt
    if world > 1:
        dist.destroy_process_group()
    return out / WEIGHTS


def _step(
    task: Task, config: TrainConfig, step: int, batch: Batch, rng: SampleRng, autocast: torch.autocast, world: int
) -> Terms:
    """Step every optimiser once; the terms of each loss, and the network's as ``loss``."""
    with autocast:
        loss = task.loss(batch, rng)
    optimise(task.optimisers[0], loss.total, config, step, world)
    terms = loss.terms | {"loss": loss.total}
    if loss.discriminator:
        with autocast:
            against = loss.discriminator()
        optimise(task.optimisers[1], against.total, config, step, world)
        terms |= against.terms
    return terms


def _steps_within(
    task: Task, config: TrainConfig, dataset: TrainingData, seconds: float, autocast: torch.autocast
) -> int:
    device = next(task.networks.parameters()).device
    task.networks.train()

    def step(k: int) -> None:
        first = (k - 1) * config.batch_size
        indices = [(first + row) % len(dataset) for row in range(config.batch_size)]
        batch = dataset.compose(to_device(dataset[indices], device))
        _step(task, config, k, batch, SampleRng(config.seed, k, first, config.batch_size), autocast, 1)

    return steps_within(seconds, step, task.networks, list(task.optimisers))


def _recorded_steps(out: Path, resume: bool) -> int | None:
    """The steps of the run that is to be resumed, if there is one."""
    settings = (read_settings(out) if resume else None) or {}
    return settings.get("steps")


def _open_data(data: Sequence[Path], task: Task, synthesise: float, hands: Path | None, seed: int) -> TrainingData:
    stored = AIHDataset(data, task.fields, task.min_hands) if synthesise < 1 else None
    if stored and not synthesise:
        return stored
    return SynthesisDataset(stored, hands or data[0], task.fields, synthesise, seed)


def _check_weights(networks: nn.Module, step: int) -> None:
    if name := not_finite(networks.state_dict()):
        raise AIHError(f"the weights {name} are not finite after step {step}: try a lower learning rate")


def _intervals(config: TrainConfig) -> dict[str, int]:
    names = ("log", "picture", "checkpoint", "validate")
    return {name: getattr(config, f"{name}_every") for name in names}


def _mix(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and batch-norm statistics."""
    pairs = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
    floats = [(a, n) for a, n in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [n for _, n in floats], 1 - decay)
    for a, n in pairs:
        if not a.is_floating_point():
            a.copy_(n)


@contextmanager
def _open_log(out: Path, config: TrainConfig, start: int, rank: int, world: int) -> Iterator[Log | None]:
    """The log of the first process; the others have none."""
    log = Log(out, config.task, start, config.steps, config.batch_size * world) if rank == 0 else None
    try:
        yield log
    finally:
        if log:
            log.close()


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    training = network.training
    network.eval()
    with torch.no_grad():
        yield
    network.train(training)


def _validate(
    task: Task,
    network: nn.Module,
    dataset: AIHDataset,
    config: TrainConfig,
    autocast: torch.autocast,
    device: torch.device,
) -> float:
    """Mean loss over at most ``VALIDATION_SAMPLES`` samples, spread evenly and always the same."""
    chosen = _spread(len(dataset), min(len(dataset), VALIDATION_SAMPLES))
    total = 0.0
    with _evaluating(network), autocast:
        for first in range(0, len(chosen), config.batch_size):
            part = chosen[first : first + config.batch_size]
            rng = SampleRng(config.seed, 0, first, len(part))
            total += float(task.validation(network, to_device(dataset[part], device), rng)) * len(part)
    return total / len(chosen)


def _spread(length: int, count: int) -> list[int]:
    return np.linspace(0, length - 1, count).astype(int).tolist()
