"""The training loop of all three networks."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from aih_gen.config import CONFIG_SUFFIX
from aih_gen.errors import AIHError
from aih_gen.interruption import Interruption
from aih_gen.sources.config_file import read_config
from hdr_model.config import Precision, TrainConfig
from hdr_model.data.aih import HANDS, AIHDataset, TrainingData, batches
from hdr_model.data.batch import Batch
from hdr_model.data.rng import SampleRng
from hdr_model.data.source import WINDOW, SourceDataset
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
from hdr_model.weights import BEST, SETTINGS, WEIGHTS, read_settings

VALIDATION_SAMPLES, PREVIEW_SAMPLES = 256, 4


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
    window: int | None = None,
    new_per_step: int | None = None,
    gl_device: int | Sequence[int] | None = None,
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
        data: shards; or the JSON file of a generator's configuration, whose samples are made meanwhile.
        source: batches in place of theirs.
        synthesise: share of each batch that is composed on the device, one hand pasted over another; at 1 no sample
            needs to be stored.
        hands: single hands for that, by default the first of ``data``.
        window: samples of a configuration that are held at a time, by default 1,024 (``data.source.SourceDataset``).
        new_per_step: of them new in each batch, by default a quarter of it.
        gl_device: number of the device that draws these samples, or of several.
        validation: held-out shards that decide which step was best.
        seconds: take as many steps as that time allows, by the rate of the first few, in place of ``config.steps``;
            they are recorded, and a run that is resumed keeps them.

    Raises:
        AIHError: ``out`` holds another run, the data cannot be read, or a loss is not finite.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after a checkpoint.
    """
    dataset = source
    if dataset is None:
        dataset = _open_data(data, task, synthesise, hands, config.seed, window, new_per_step, gl_device)
    rank, world = process_rank()
    network = cast(PretrainedNetwork, task.networks[config.task])
    if config.size % network.stride:
        raise AIHError(f"--size: expected a multiple of {network.stride} for {config.task}, found {config.size}")
    dataset.order(config.batch_size, config.seed, 0, config.steps, rank, world)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16(config.bfloat16, precision, device))
    if seconds is not None:
        steps = _recorded_steps(out, resume)
        if steps is None and world > 1:
            raise AIHError(f"--minutes: expected one process, or --steps, which are the same in all, found {world}")
        config = with_steps(config, steps or _steps_within(task, config, dataset, seconds, autocast))
    held_out = _open_held_out(validation, task, dataset) if validation else None
    if compiled:
        compile_networks(task.networks, device)
    average = copy.deepcopy(network).eval() if config.ema else network
    if world > 1:
        synchronise_batch_norm(task.networks, device)
    run = _Run(task, config, out, device, autocast, network, average, dataset, held_out, rank, world)
    where = {"data": [str(path) for path in data], "validation": str(validation) if validation else None}
    made: dict[str, Any] = {"synthesise": synthesise}
    if isinstance(dataset, SourceDataset):
        made |= {"window": dataset.window, "new_per_step": dataset.new_per_step}
    _optimise(run, workers, resume, {**made, "compiled": compiled, **(settings or {}), **where})
    if world > 1:
        dist.destroy_process_group()
    return out / WEIGHTS


@dataclass(frozen=True, eq=False)
class _Run:
    """All that the steps of a training share."""

    task: Task
    config: TrainConfig
    out: Path
    device: torch.device
    autocast: torch.autocast
    network: PretrainedNetwork
    average: PretrainedNetwork
    """The moving average of its weights, which is shown and saved; the network itself where none is kept."""
    data: TrainingData
    held_out: AIHDataset | None
    rank: int
    world: int
    history: LossBuffer = field(default_factory=LossBuffer)
    best: BestStep = field(default_factory=BestStep)

    @property
    def state(self) -> dict[str, Any]:
        """The parts of a checkpoint."""
        state: dict[str, Any] = {f"optimiser_{k}": optimiser for k, optimiser in enumerate(self.task.optimisers)}
        state |= {"networks": self.task.networks, "history": self.history, "best": self.best}
        return state | ({"average": self.average} if self.config.ema else {})

    def settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The content of ``run.json``."""
        made_with = {"data_sha256": self.data.digest(), "samples": len(self.data), "code": code_version()}
        network = asdict(self.network.config)
        return {"task": self.config.task, **asdict(self.config), "network": network, **given, **made_with}


def _optimise(run: _Run, workers: int, resume: bool, given: Mapping[str, Any]) -> None:
    """Take the steps that are left, with a log and checkpoints."""
    config = run.config
    with ExitStack() as stack:
        before = (run.out / SETTINGS).exists()
        if run.rank == 0:
            stack.enter_context(open_run(run.out, run.settings(given), resume))
        start = load_state(run.out, run.state, run.device) if resume else 0
        if before and resume and not start and run.rank == 0:
            print(f"{run.out}: no {STATE} to go on from, the run begins anew", file=sys.stderr)
        interruption = stack.enter_context(Interruption())
        log = stack.enter_context(_open_log(run, start))
        # Closed on every way out: processes that read ignore signals, and Python would wait for them at its end.
        shown, tell = _spread(len(run.data), PREVIEW_SAMPLES), log.tell if log else _say_nothing
        try:
            feed = batches(run.data, config, start, run.rank, run.world, workers, shown, tell)
        except (OSError, EOFError):
            interruption.check()  # Ctrl-C reaches the processes that are starting, too
            raise
        read = stack.enter_context(closing(feed))
        run.task.networks.train()
        with _waiting(run, log, interruption, start, start):
            preview = run.data.compose(to_device(next(read), run.device))
        for step in range(start + 1, config.steps + 1):
            with _waiting(run, log, interruption, start, step - 1):
                batch = next(read)
            _learn(run, step, batch)
            due = {name for name, every in _intervals(config).items() if step == config.steps or step % every == 0}
            if due:
                _report(run, step, due, log, preview)
            stop = any_process(interruption.requested)
            if log and ("checkpoint" in due or stop):
                _save(run, step)
            if stop and step < config.steps:
                raise KeyboardInterrupt


@contextmanager
def _waiting(run: _Run, log: Log | None, interruption: Interruption, start: int, done: int) -> Iterator[None]:
    """Context in which samples are waited for. Where none come, the steps that are done since ``start`` are kept."""
    since = time.perf_counter()
    try:
        with interruption.waiting() if run.world == 1 else nullcontext():  # else all stop after the same step
            yield
    except (AIHError, KeyboardInterrupt):
        if log and done > start:
            _save(run, done)
        raise
    if log:
        log.waited += time.perf_counter() - since


def _learn(run: _Run, step: int, batch: Batch) -> None:
    """Step every optimiser on this process's samples, and let the average follow."""
    config = run.config
    torch.manual_seed(_mix(config.seed, step, run.rank))
    first = ((step - 1) * run.world + run.rank) * config.batch_size
    rng = SampleRng(config.seed, step, first, config.batch_size)
    batch = run.data.compose(to_device(batch, run.device))
    run.history.add(step, _step(run.task, config, step, batch, rng, run.autocast, run.world))
    if config.ema:
        _follow(run.average, run.network, min(config.ema, step / (step + 10)))


def _report(run: _Run, step: int, due: Collection[str], log: Log | None, preview: Batch) -> None:
    """Log what is due: losses since the last report, the validation loss, an image of predictions for ``preview``."""
    config, row = run.config, run.history.means()
    if not log:
        return
    if run.held_out and "validate" in due:
        row["validation"] = _validate(run, run.held_out)
        check_loss("validation", row["validation"], step)
        if row["validation"] < run.best.loss:
            run.best.step, run.best.loss = step, row["validation"]
            run.average.save_pretrained(run.out / BEST)
    log.metrics(step, row, config.learning_rate * schedule(config, step))
    if "picture" in due:
        with _evaluating(run.average), run.autocast:
            rng = SampleRng(config.seed, 0, 0, len(preview["masks"]))
            log.image(step, run.task.preview(run.average, preview, rng))


def _save(run: _Run, step: int) -> None:
    """Write weights and checkpoint; raise AIHError where losses or weights are not finite."""
    run.history.check()
    if name := not_finite(run.task.networks.state_dict()):
        raise AIHError(f"step {step}: expected finite weights, found others in {name}; try a lower learning rate")
    run.average.save_pretrained(run.out / WEIGHTS)
    save_state(run.out, step, run.state)


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


def _open_data(
    data: Sequence[Path],
    task: Task,
    synthesise: float,
    hands: Path | None,
    seed: int,
    window: int | None,
    new_per_step: int | None,
    gl_device: int | Sequence[int] | None,
) -> TrainingData:
    if any(path.suffix == CONFIG_SUFFIX for path in data):
        if len(data) > 1 or synthesise:
            found = f"{len(data)} places" if len(data) > 1 else "--synthesise"
            raise AIHError(f"--data: expected shards, or one configuration and nothing besides, found {found}")
        size = WINDOW if window is None else window
        return SourceDataset(read_config(data[0]), task.fields, task.min_hands, size, new_per_step, gl_device)
    for name, given in (("--window", window), ("--new-per-step", new_per_step), ("--gl-device", gl_device)):
        if given is not None:
            raise AIHError(f"{name}: expected a configuration ({CONFIG_SUFFIX}) in --data, found shards")
    stored = AIHDataset(data, task.fields, task.min_hands) if synthesise < 1 else None
    if stored is not None and not synthesise:
        return stored
    return SynthesisDataset(stored, hands or data[0], task.fields, synthesise, seed)


def _open_held_out(folder: Path, task: Task, data: TrainingData) -> AIHDataset:
    """The shards for validation, which hold none of the samples of a configuration that is trained on."""
    held_out = AIHDataset(folder, task.fields, task.min_hands)
    if not len(held_out):
        raise AIHError(f"{folder}: expected held-out samples{HANDS[task.min_hands]}, found none")
    if any(shard.header.config_sha256 == data.digest() for shard in held_out.shards.shards):
        raise AIHError(f"{folder}: expected held-out samples, such as those of another seed, found those of --data")
    return held_out


def _say_nothing(_: str) -> None:
    """For processes without a log."""


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
def _open_log(run: _Run, start: int) -> Iterator[Log | None]:
    """The log of the first process; the others have none."""
    if run.rank > 0:
        yield None
        return
    log = Log(run.out, run.config.task, start, run.config.steps, run.config.batch_size * run.world)
    with closing(log):
        yield log


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    training = network.training
    network.eval()
    with torch.no_grad():
        yield
    network.train(training)


def _validate(run: _Run, held_out: AIHDataset) -> float:
    """Mean loss over at most ``VALIDATION_SAMPLES`` samples, spread evenly and always the same."""
    chosen = _spread(len(held_out), min(len(held_out), VALIDATION_SAMPLES))
    size, total = run.config.batch_size, 0.0
    with _evaluating(run.average), run.autocast:
        for first in range(0, len(chosen), size):
            part = chosen[first : first + size]
            rng = SampleRng(run.config.seed, 0, first, len(part))
            total += float(run.task.validation(run.average, to_device(held_out[part], run.device), rng)) * len(part)
    return total / len(chosen)


def _spread(length: int, count: int) -> list[int]:
    return np.linspace(0, length - 1, count).astype(int).tolist()
