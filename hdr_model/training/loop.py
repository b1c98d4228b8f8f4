"""The training loop of all three networks."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from aih_gen.errors import AIHError
from hdr_model.config import TrainConfig
from hdr_model.data.aih import AIHDataset, Batch, TrainingData, batches
from hdr_model.data.synthesis import SynthesisDataset
from hdr_model.losses import Terms
from hdr_model.nets.pretrained import PretrainedNetwork
from hdr_model.training.checkpoint import WEIGHTS, load_state, open_run, save_state
from hdr_model.training.log import History, Log
from hdr_model.training.optimiser import schedule

Precision = Literal["auto", "float32", "bfloat16"]
"""``auto`` follows the preset where the device computes bfloat16 natively, and is float32 elsewhere."""


class Task(Protocol):
    """What one network adds to the loop."""

    @property
    def networks(self) -> nn.ModuleDict:
        """Every network that is trained; the one named like the task is saved as weights."""

    @property
    def optimisers(self) -> Sequence[torch.optim.Optimizer]:
        """At least one."""

    @property
    def fields(self) -> tuple[str, ...]:
        """What to read from the shards."""

    def losses(self, batch: Batch) -> Iterator[tuple[Tensor, Terms]]:
        """The loss and its terms, once for each optimiser; the loop steps that one before it asks for the next."""

    def picture(self, network: nn.Module, batch: Batch) -> Tensor:
        """Predictions of ``network`` beside the truth, (3,H,W) uint8."""


def train(
    task: Task,
    config: TrainConfig,
    data: Sequence[Path],
    out: Path,
    *,
    device: torch.device,
    precision: Precision = "auto",
    workers: int = 0,
    resume: bool = False,
    synthesise: float = 0.0,
    hands: Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Train until ``config.steps``; returns the folder of the trained weights. ``settings`` are recorded with the run.

    Samples and random numbers of a step follow from (seed, step) alone, so a run stopped and resumed is the run that
    was never stopped. Under ``torchrun`` each process takes ``batch_size`` samples a step and gradients are averaged.

    ``synthesise`` is the share of each batch that is composed on the device, one hand pasted over another, from the
    single hands in ``hands`` (by default the first of ``data``); at 1 no sample needs to be stored.

    Raises:
        AIHError: ``out`` holds another run, the data cannot be read, or a loss is not finite.
    """
    dataset = _open_data(data, task.fields, synthesise, hands, config.seed)
    rank, world = process_rank()
    network = cast(PretrainedNetwork, task.networks[config.task])
    kept = copy.deepcopy(network).eval() if config.ema else network
    state: dict[str, Any] = {f"optimiser_{k}": optimiser for k, optimiser in enumerate(task.optimisers)}
    state |= {"networks": task.networks} | ({"average": kept} if config.ema else {})
    if config.size % network.stride:
        raise AIHError(f"--size {config.size}: {config.task} takes sides that are multiples of {network.stride}")
    settings = {**(settings or {}), **({"synthesise": synthesise} if synthesise else {})}
    record = {**asdict(config), "network": asdict(network.config), **settings}
    record |= {"data": [str(path) for path in data], "samples": len(dataset)}
    if rank == 0:
        open_run(out, record, resume)
    start = load_state(out, state, device) if resume else 0
    log = Log(out, config.task, start, config.steps, config.batch_size * world) if rank == 0 else None
    shown = dataset.compose(to_device(dataset[np.linspace(0, len(dataset) - 1, 4).astype(int).tolist()], device))
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16(config.bfloat16, precision, device))
    history = History()

    task.networks.train()
    for step, batch in enumerate(batches(dataset, config, start, rank, world, workers), start + 1):
        torch.manual_seed(_mix(config.seed, step, rank))
        turns = task.losses(dataset.compose(to_device(batch, device)))
        for turn, optimiser in enumerate(task.optimisers):
            with autocast:
                loss, terms = next(turns)
            history.add(step, terms if turn else terms | {"loss": loss})
            optimiser.zero_grad()
            loss.backward()
            parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
            _average_gradients(parameters, world)
            if config.gradient_clip:
                nn.utils.clip_grad_norm_(parameters, config.gradient_clip)
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * schedule(config, step)
            optimiser.step()
        if config.ema:
            _follow(kept, network, min(config.ema, step / (step + 10)))

        due = {name: step == config.steps or step % every == 0 for name, every in _intervals(config).items()}
        if any(due.values()):
            losses = history.means()
            if log:
                log.metrics(step, losses, config.learning_rate * schedule(config, step))
        if log and due["picture"]:
            torch.manual_seed(config.seed)
            log.picture(step, _picture(task, kept, shown, autocast))
        if log and due["checkpoint"]:
            save_state(out, step, state)
            kept.save_pretrained(out / WEIGHTS)
    if log:
        log.close()
    if world > 1:
        dist.destroy_process_group()
    return out / WEIGHTS


def _open_data(
    data: Sequence[Path], fields: Sequence[str], synthesise: float, hands: Path | None, seed: int
) -> TrainingData:
    if not synthesise:
        return AIHDataset(data, fields)
    stored = AIHDataset(data, fields) if synthesise < 1 else None
    return SynthesisDataset(stored, hands or data[0], fields, synthesise, seed)


def choose_device(name: str) -> torch.device:
    """``auto`` is the (first, or this process's) GPU where there is one, else the CPU.

    Raises:
        AIHError: torch does not know the device or cannot use it.
    """
    local = int(os.environ.get("LOCAL_RANK", 0))
    if name == "auto":
        name = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise AIHError(f"device {name!r} cannot be used here ({str(error).splitlines()[0]})") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def process_rank() -> tuple[int, int]:
    """This process's number and the number of processes, joining torchrun's group the first time it is asked for."""
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), dist.get_world_size()


def use_bfloat16(wanted: bool, precision: Precision, device: torch.device) -> bool:
    """Whether to autocast: ``wanted`` (the preset's wish) decides where precision is auto and the device is able."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return wanted and torch.cuda.is_bf16_supported(including_emulation=False)
    flags = Path("/proc/cpuinfo")
    return wanted and flags.exists() and any(name in flags.read_text() for name in ("avx512_bf16", "amx_bf16"))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on ``device``; copies from pinned memory do not wait."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def _intervals(config: TrainConfig) -> dict[str, int]:
    return {"log": config.log_every, "picture": config.picture_every, "checkpoint": config.checkpoint_every}


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


def _average_gradients(parameters: Iterable[nn.Parameter], world: int) -> None:
    if world == 1:
        return
    for parameter in parameters:
        assert parameter.grad is not None
        dist.all_reduce(parameter.grad)
        parameter.grad /= world


@torch.no_grad()
def _picture(task: Task, network: nn.Module, batch: Batch, autocast: torch.autocast) -> Tensor:
    training = network.training
    network.eval()
    with autocast:
        picture = task.picture(network, batch)
    network.train(training)
    return picture
