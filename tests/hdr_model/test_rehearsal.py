"""A training step on torch's ``meta`` device, which refuses everything that would have to wait for a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hdr_model.config import TASKS, HDRMLossWeights, Preset, Task, preset, training_preset
from hdr_model.data.aih import AIHDataset, Batch
from hdr_model.data.draws import Draws
from hdr_model.device import to_device
from hdr_model.training import loop
from hdr_model.training.hasm import HASMTask
from hdr_model.training.hdrm import HDRMTask
from hdr_model.training.shpe import SHPETask
from tests.data.samples import write_samples

META = torch.device("meta")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_samples(folder / "aih-00000.h5", 4)
    return folder


def make(task: Task, name: Preset) -> loop.Task:
    config = replace(training_preset(task, name), size=128, distant=1.0)
    if task == "hasm":
        return HASMTask(config, preset("hasm", name), META)
    if task == "shpe":
        return SHPETask(config, preset("shpe", name), META)
    losses = replace(config.losses, perceptual=0.0, style=0.0)
    assert isinstance(losses, HDRMLossWeights)
    return HDRMTask(replace(config, losses=losses), preset("hdrm", name), META)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["light", "base"])
def test_a_step_leaves_nothing_on_the_cpu_and_waits_for_nothing(task: Task, name: Preset, data: Path) -> None:
    trained = make(task, name)
    for loss, terms in trained.losses(on_meta(data, trained), Draws(0, 1, 0, 4)):
        assert loss.device == META and {term.device for term in terms.values()} == {META}
        loss.backward()
    learnt = [p for p in trained.networks.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.device == META for p in learnt)


@pytest.mark.parametrize("left_behind", ["rgb", "masks"])
def test_a_tensor_left_on_the_cpu_is_noticed(left_behind: str, data: Path) -> None:
    trained = make("hasm", "light")
    batch = on_meta(data, trained)
    batch[left_behind] = torch.zeros_like(batch[left_behind], device="cpu")
    with pytest.raises((RuntimeError, ValueError), match=r"(?i)meta|cpu|device"):
        next(trained.losses(batch, Draws(0, 1, 0, 4)))


def on_meta(data: Path, trained: loop.Task) -> Batch:
    return to_device(AIHDataset(data, trained.fields)[list(range(4))], META)
