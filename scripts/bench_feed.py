"""Times of the parts of a training step: reading, cutting and augmentation, forward and backward pass, optimiser; and
the share of the time in which a step waits for its samples, from shards or made meanwhile.

python scripts/bench_feed.py data/aih_render --task hdrm --preset light [--chain assets/weights]
aih-gen config > render.json; python scripts/bench_feed.py data/aih_render render.json --task hasm --workers 2
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import tyro

from aih_gen.config import CONFIG_SUFFIX
from aih_gen.errors import AIHError
from aih_gen.sources.config_file import read_config
from hdr_model.config import Preset, TrainConfig, preset, training_preset
from hdr_model.data.aih import AIHDataset, TrainingData, batches
from hdr_model.data.batch import Batch
from hdr_model.data.rng import SampleRng
from hdr_model.data.source import SourceDataset
from hdr_model.data.window import WindowOrder
from hdr_model.device import choose_device, to_device, use_bfloat16
from hdr_model.training.hasm import HASMTask
from hdr_model.training.hdrm import HDRMTask
from hdr_model.training.optimiser import optimise
from hdr_model.training.shpe import SHPETask
from hdr_model.training.task import Task

Result = TypeVar("Result")

WARM_UP, WINDOW_BATCHES = 2, 2
READ_AHEAD = 2
"""Batches or parts of them that each process reads ahead, as torch has it."""
CUT, FORWARD = "cutting and augmentation", "forward pass and loss"
BACKWARD = "backward pass and optimiser"


@dataclass(frozen=True)
class Bench:
    """Time the parts of one network's training step, in milliseconds a sample, or its waiting for processes."""

    data: tyro.conf.Positional[tuple[Path, ...]]
    """Shards, or configurations whose samples are made meanwhile (.json): each is timed."""
    task: Literal["hasm", "hdrm", "shpe"] = "hdrm"
    preset: Preset = "light"
    chain: Path | None = None
    """As ``hdr train --chain``."""
    device: str = "auto"
    steps: int = 10
    workers: int = 0
    """As ``hdr train --workers``. With processes, only what they do for the steps is timed, not the parts."""
    new_per_step: int | None = None
    """As ``hdr train --new-per-step``."""

    def run(self) -> None:
        """Print a table of medians, and for processes the share of waiting."""
        device = choose_device(self.device)
        config = training_preset(self.task, self.preset)
        print(f"{self.task} {self.preset}, {config.size}x{config.size}, batch {config.batch_size}, {device}")
        for path in self.data:
            task = self._task(device)
            autocast = torch.autocast(
                device.type, torch.bfloat16, enabled=use_bfloat16(config.bfloat16, "auto", device)
            )
            dataset = self._open(path, task, config.batch_size)
            print(path)
            (self._feed if self.workers else self._parts)(task, config, dataset, device, autocast)

    def _open(self, path: Path, task: Task, batch_size: int) -> TrainingData:
        if path.suffix != CONFIG_SUFFIX:
            return AIHDataset(path, task.fields, task.min_hands)
        # The longer the window, the more steps until it is full; the rate is then the same.
        return SourceDataset(
            read_config(path), task.fields, task.min_hands, WINDOW_BATCHES * batch_size, self.new_per_step
        )

    def _parts(
        self, task: Task, config: TrainConfig, dataset: TrainingData, device: torch.device, autocast: torch.autocast
    ) -> None:
        """Median times of the parts of a step, one after the other."""
        feed = batches(dataset, replace(config, steps=WARM_UP + self.steps))
        seconds: dict[str, list[float]] = {}

        def timed(part: str, work: Callable[..., Result], *arguments: Any) -> Result:
            started = time.perf_counter()
            result = work(*arguments)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.setdefault(part, []).append(time.perf_counter() - started)
            return result

        for step in range(1, WARM_UP + self.steps + 1):
            read = timed("reading", next, feed)
            batch = to_device(read, device)
            rng = [SampleRng(0, step, step * config.batch_size, config.batch_size) for _ in range(2)]
            timed(CUT, cut, task, batch, rng[0])
            with autocast:
                loss = timed(FORWARD, task.loss, batch, rng[1])
            timed(BACKWARD, optimise, task.optimisers[0], loss.total, config, 1, 1)
            if loss.discriminator:
                with autocast:
                    against = timed(f"discriminator, {FORWARD}", loss.discriminator)
                timed(f"discriminator, {BACKWARD}", optimise, task.optimisers[1], against.total, config, 1, 1)
        medians = {part: 1000 * statistics.median(each[WARM_UP:]) / config.batch_size for part, each in seconds.items()}
        medians[FORWARD] -= medians[CUT]  # which it does again
        total = sum(medians.values())
        for part, each in [*medians.items(), ("in all", total)]:
            print(f"  {part:44} {each:8.2f} ms a sample {each / total:5.0%}")
        print(f"  {1000 / total:.0f} samples a second")

    def _feed(
        self, task: Task, config: TrainConfig, dataset: TrainingData, device: torch.device, autocast: torch.autocast
    ) -> None:
        """Rates of whole steps that processes feed, from when a window is full and what was read ahead is used up."""
        order = dataset.order(config.batch_size, 0, 0, 1, 0, 1)
        new = order.new if isinstance(order, WindowOrder) else config.batch_size
        full = -(-WINDOW_BATCHES * config.batch_size // new) if isinstance(order, WindowOrder) else 0
        warm_up = full + WARM_UP + READ_AHEAD * self.workers
        waited, steps = [0.0], warm_up + self.steps
        feed = batches(dataset, replace(config, steps=steps), workers=self.workers)
        for step in range(1, steps + 1):
            if step == warm_up + 1:
                began, waited = time.perf_counter(), []
            asked = time.perf_counter()
            batch = next(feed)
            waited.append(time.perf_counter() - asked)
            rng = SampleRng(0, step, step * config.batch_size, config.batch_size)
            with autocast:
                loss = task.loss(to_device(batch, device), rng)
            optimise(task.optimisers[0], loss.total, config, 1, 1)
            if device.type == "cuda":
                torch.cuda.synchronize()
        feed.close()
        seconds = time.perf_counter() - began
        rate = self.steps / seconds
        print(
            f"  {rate * config.batch_size:.1f} samples a second to the step, {rate * new:.1f} of them read or made now"
        )
        print(f"  a step waits for samples {sum(waited) / seconds:.0%} of the time")

    def _task(self, device: torch.device) -> Task:
        if self.task == "hasm":
            return HASMTask(training_preset("hasm", self.preset), preset("hasm", self.preset), device)
        if self.task == "shpe":
            shpe = training_preset("shpe", self.preset), preset("shpe", self.preset)
            return SHPETask(*shpe, device, chain=self.chain)
        config = training_preset("hdrm", self.preset)
        config = replace(config, losses=replace(config.losses, perceptual=0.0, style=0.0))
        return HDRMTask(config, preset("hdrm", self.preset), device, chain=self.chain)


def cut(task: Task, batch: Batch, rng: SampleRng) -> object:
    """The input of a task's network."""
    if isinstance(task, HASMTask):
        return task.scenes(batch, rng)
    assert isinstance(task, HDRMTask | SHPETask)
    return task.crops(batch, rng, augment=True)


if __name__ == "__main__":
    try:
        tyro.cli(Bench).run()
    except AIHError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
