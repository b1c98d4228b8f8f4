"""A training step on torch's ``meta`` device, which refuses everything that would have to wait for a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hdr_model.config import TASKS, Preset, preset, training_preset
from hdr_model.data.aih import AIHDataset
from hdr_model.data.batch import Batch
from hdr_model.data.rng import SampleRng
from hdr_model.device import to_device
from hdr_model.training.hasm import HASMTask
from hdr_model.training.hdrm import HDRMTask
from hdr_model.training.shpe import SHPETask
from hdr_model.training.task import Task
from tests.data.samples import write_samples

META = torch.device("meta")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_samples(folder / "aih-00000.h5", 4)
    return folder


def make(task: str, name: Preset) -> Task:
    if task == "hasm":
        return HASMTask(replace(training_preset("hasm", name), size=128, distant=1.0), preset("hasm", name), META)
    if task == "shpe":
        return SHPETask(replace(training_preset("shpe", name), size=128), preset("shpe", name), META)
    config = training_preset("hdrm", name)
    losses = replace(config.losses, perceptual=0.0, style=0.0)
    return HDRMTask(replace(config, size=128, losses=losses), preset("hdrm", name), META)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["light", "base"])
def test_a_step_leaves_nothing_on_the_cpu_and_waits_for_nothing(task: str, name: Preset, data: Path) -> None:
    trained = make(task, name)
    loss = trained.loss(on_meta(data, trained), SampleRng(0, 1, 0, 4))
    for part in (loss, loss.discriminator()) if loss.discriminator else (loss,):
        assert part.total.device == META and {term.device for term in part.terms.values()} == {META}
        part.total.backward()
    learnt = [p for p in trained.networks.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.device == META for p in learnt)


@pytest.mark.parametrize("left_behind", ["rgb", "masks"])
def test_a_tensor_left_on_the_cpu_is_noticed(left_behind: str, data: Path) -> None:
    trained = make("hasm", "light")
    batch = on_meta(data, trained)
    batch[left_behind] = torch.zeros_like(batch[left_behind], device="cpu")
    with pytest.raises((RuntimeError, ValueError), match=r"(?i)meta|cpu|device"):
        trained.loss(batch, SampleRng(0, 1, 0, 4))


def on_meta(data: Path, trained: Task) -> Batch:
    return to_device(AIHDataset(data, trained.fields)[list(range(4))], META)
