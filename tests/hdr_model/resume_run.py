"""One process of a run that is killed, or that trains together with another: python -m tests.hdr_model.resume_run."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hdr_model.config import (
    HASMConfig,
    HASMLossWeights,
    HDRMConfig,
    HDRMLossWeights,
    SHPEConfig,
    TrainConfig,
    training_preset,
)
from hdr_model.training import loop
from hdr_model.training.hasm import HASMTask
from hdr_model.training.hdrm import HDRMTask
from hdr_model.training.shpe import SHPETask
from hdr_model.training.task import Task

CPU = torch.device("cpu")
NETWORKS: dict[str, Any] = {
    "hasm": (HASMTask, HASMConfig("mit_nano", decoder_width=8, dropout=0, drop_path=0)),
    "hdrm": (HDRMTask, HDRMConfig((8, 8, 16), (3, 3, 3), discriminator_width=4)),
    "shpe": (SHPETask, SHPEConfig("dilated_resnet_nano", decoder_width=16)),
}
LOSSES: dict[str, Any] = {
    "hasm": HASMLossWeights(overlap=1.0),
    "hdrm": HDRMLossWeights(perceptual=0.0, style=0.0),
    "shpe": training_preset("shpe", "nano").losses,
}


def run(task: str, data: Path, out: Path, changes: dict[str, Any], options: dict[str, Any]) -> None:
    """Train a small network on the CPU, in one thread."""
    torch.set_num_threads(1)
    config = configuration(task, changes)
    loop.train(untrained(config), config, [data], out, device=CPU, **{"validation": data, **options})


def configuration(task: str, changes: dict[str, Any]) -> TrainConfig:
    """That of the preset nano, made small, with ``changes``."""
    names = {"size": 32, "batch_size": 4, "log_every": 3, "picture_every": 50, "checkpoint_every": 7, "ema": 0.9}
    return replace(
        training_preset(task, "nano"),  # type: ignore[arg-type]
        **{**names, "bfloat16": False, "losses": LOSSES[task], "validate_every": 10, **changes},
    )


def untrained(config: TrainConfig) -> Task:
    """A small network as it is before the first step."""
    torch.manual_seed(config.seed)
    build, network = NETWORKS[config.task]
    task: Task = build(config, network, CPU)
    return task


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    run(given["task"], Path(given["data"]), Path(given["out"]), given["changes"], given["options"])
