"""Samples per second that reading and augmentation deliver, beside what the network consumes.

python scripts/bench_feed.py data/aih_render --task hdrm --preset light
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from hdr_model.config import Preset, Task, preset, training_preset
from hdr_model.data.aih import AIHDataset, batches
from hdr_model.data.crops import crop_hands
from hdr_model.data.draws import Draws
from hdr_model.data.photometric import change_colours, degrade
from hdr_model.training import hasm, hdrm, shpe
from hdr_model.training.hands import choose_hands
from hdr_model.training.loop import choose_device, to_device, use_bfloat16
from hdr_model.training.optimiser import optimise


@dataclass(frozen=True)
class Bench:
    """Time reading, augmentation and the step of one network."""

    data: tyro.conf.Positional[Path]
    """Shards."""
    task: Task = "hdrm"
    preset: Preset = "light"
    device: str = "auto"
    batches: int = 8

    def run(self) -> None:
        """Print samples per second."""
        device = choose_device(self.device)
        config = training_preset(self.task, self.preset)
        if self.task == "hasm":
            task: hasm.HASMTask | hdrm.HDRMTask | shpe.SHPETask = hasm.HASMTask(
                config, preset("hasm", self.preset), device
            )
        elif self.task == "shpe":
            task = shpe.SHPETask(config, preset("shpe", self.preset), device)
        else:
            config = replace(config, losses=replace(config.losses, perceptual=0.0, style=0.0))  # type: ignore[arg-type]
            task = hdrm.HDRMTask(config, preset("hdrm", self.preset), device)
        feed = batches(AIHDataset(self.data, task.fields, task.min_hands), replace(config, steps=2 * self.batches + 2))
        read = [next(feed) for _ in range(2)]
        reading = self._rate(lambda k: read.append(next(feed)), config.batch_size, device)
        ready = [to_device(batch, device) for batch in read]
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16(config.bfloat16, "auto", device))

        def augment(k: int) -> None:
            draws = Draws(0, k, k * config.batch_size, config.batch_size)
            if self.task == "hasm":
                hasm.scenes(ready[k], config.size, draws, config.mask_stride)
                return
            crops = crop_hands(ready[k], choose_hands(ready[k], draws), config.size, hdrm.JITTER.draw(draws))
            if self.task == "shpe":
                degrade(change_colours(crops.target, shpe.COLOURS, draws), shpe.COLOURS, draws)
            else:
                change_colours(torch.cat([crops.image, crops.target], 1), hdrm.COLOURS, draws)

        def step(k: int) -> None:
            draws = Draws(0, config.steps, k * config.batch_size, config.batch_size)  # the last, at full size
            turns = task.losses(ready[k], draws)
            for optimiser in task.optimisers:
                with autocast:
                    loss, _ = next(turns)
                optimise(optimiser, loss, config, 1, 1)

        augmenting = self._rate(augment, config.batch_size, device)
        training = self._rate(step, config.batch_size, device)
        print(f"{self.task} {self.preset}, {config.size}x{config.size}, batch {config.batch_size}, {device}")
        print(f"  reading              {reading:8.1f} samples/s and core")
        print(f"  augmentation         {augmenting:8.1f} samples/s")
        print(f"  step, augmented      {training:8.1f} samples/s, of which augmentation {training / augmenting:.0%}")
        print(f"  one core reads for   {reading / training:8.1f} such devices")

    def _rate(self, call: Callable[[int], object], size: int, device: torch.device) -> float:
        """Samples per second: of CPU time on a CPU, which others share, of synchronised wall time on a GPU."""
        clock = time.perf_counter if device.type == "cuda" else time.process_time
        for k in range(2):
            call(k)
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = clock()
        for k in range(2, self.batches):
            call(k)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return size * (self.batches - 2) / (clock() - started)


if __name__ == "__main__":
    tyro.cli(Bench).run()
