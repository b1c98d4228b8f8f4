"""Times of the parts of a training step: reading, cutting and augmentation, forward and backward pass, optimiser.

python scripts/bench_feed.py data/aih_render --task hdrm --preset light [--chain assets/weights]
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

from aih_gen.errors import AIHError
from hdr_model.config import Preset, preset, training_preset
from hdr_model.data.aih import AIHDataset, batches
from hdr_model.data.batch import Batch
from hdr_model.data.rng import SampleRng
from hdr_model.device import choose_device, to_device, use_bfloat16
from hdr_model.training.hasm import HASMTask
from hdr_model.training.hdrm import HDRMTask
from hdr_model.training.optimiser import optimise
from hdr_model.training.shpe import SHPETask
from hdr_model.training.task import Task

Result = TypeVar("Result")

WARM_UP = 2
CUT, FORWARD = "cutting and augmentation", "forward pass and loss"
BACKWARD = "backward pass and optimiser"


@dataclass(frozen=True)
class Bench:
    """Time the parts of one network's training step, in milliseconds a sample."""

    data: tyro.conf.Positional[Path]
    """Shards."""
    task: Literal["hasm", "hdrm", "shpe"] = "hdrm"
    preset: Preset = "light"
    chain: Path | None = None
    """As ``hdr train --chain``."""
    device: str = "auto"
    steps: int = 10

    def run(self) -> None:
        """Print a table of medians."""
        device = choose_device(self.device)
        config = training_preset(self.task, self.preset)
        task = self._task(device)
        dataset = AIHDataset(self.data, task.fields, task.min_hands)
        feed = batches(dataset, replace(config, steps=WARM_UP + self.steps))
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16(config.bfloat16, "auto", device))
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
        print(f"{self.task} {self.preset}, {config.size}x{config.size}, batch {config.batch_size}, {device}")
        for part, each in [*medians.items(), ("in all", total)]:
            print(f"  {part:44} {each:8.2f} ms a sample {each / total:5.0%}")
        print(f"  {1000 / total:.0f} samples a second")

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
