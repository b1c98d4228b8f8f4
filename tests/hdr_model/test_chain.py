"""Training behind the networks that come before: HASM's masks and HDRM's paintings in place of the true ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hdr_model import HDRM, SHPE
from hdr_model.cli import main
from hdr_model.config import HDRMConfig, preset, training_preset
from hdr_model.data.aih import AIHDataset
from hdr_model.data.batch import Batch
from hdr_model.data.crops import crop_hands
from hdr_model.data.rng import SampleRng
from hdr_model.nets.hasm import HASM
from hdr_model.training.chain import FoundMasks, Painter
from hdr_model.training.shpe import SHPETask
from tests.data.samples import write_samples

CPU = torch.device("cpu")
FIELDS = SHPETask.fields


class Fixed(nn.Module):
    """A HASM that always says the same masks, two pixels farther right than the true ones."""

    def __init__(self, masks: dict[str, Tensor]) -> None:
        super().__init__()
        self.masks = {name: mask.roll(2, -1).float() for name, mask in masks.items()}

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {name: torch.stack([0.5 - mask, mask - 0.5], 1) for name, mask in self.masks.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and networks that were never trained."""
    folder = tmp_path_factory.mktemp("chain")
    write_samples(folder / "data/aih-00000.h5", 4)
    torch.manual_seed(0)
    for network in (HASM(preset("hasm", "nano")), HDRM(HDRMConfig((8, 8, 16), (3, 3, 3)))):
        network.save_pretrained(folder / "weights" / network.task)
        (folder / "weights" / network.task / "run.json").write_text('{"size": 64, "steps": 1}')
    return folder


@pytest.fixture
def batch(folder: Path) -> Batch:
    return AIHDataset(folder / "data", FIELDS)[list(range(4))]


def true_masks(batch: Batch) -> dict[str, Tensor]:
    bits = {"amodal_right": 1, "amodal_left": 2, "visible_right": 4, "visible_left": 8}
    return {"_".join(name.split("_")[::-1]): (batch["masks"] & bit) != 0 for name, bit in bits.items()}


def test_found_masks_stand_in_where_they_are_wanted_and_fit(folder: Path, batch: Batch) -> None:
    found = FoundMasks(folder / "weights", CPU)
    masks = true_masks(batch)
    masks["right_amodal"][2] = False
    masks["right_visible"][2] = False
    found.hasm = Fixed(masks)  # type: ignore[assignment]
    hand = torch.zeros(4, dtype=torch.int64)
    replaced = found.replace(batch, hand, torch.tensor([True, False, True, True]))
    assert torch.equal(replaced["masks"][1:3], batch["masks"][1:3])  # not wanted; nothing found where the hand is
    for k in (0, 3):
        assert torch.equal(replaced["masks"][k] & 3, (batch["masks"][k] & 3).roll(2, -1))
        visible = [(replaced["masks"][k] & bit) != 0 for bit in (4, 8)]
        assert not (visible[0] & visible[1]).any()
    assert replaced["rgb"] is batch["rgb"]


def test_a_painting_changes_the_hole_alone(folder: Path, batch: Batch) -> None:
    painter = Painter(folder / "weights", CPU)
    crops = crop_hands(batch, torch.tensor([0, 1, 0, 1]), 64)
    rows = torch.tensor([3, 1])
    painted = painter.paint(crops, rows)
    hole = crops.masks.hole
    known = crops.image[rows]
    assert not torch.equal(painted[hole[rows].expand(-1, 3, -1, -1)], known[hole[rows].expand(-1, 3, -1, -1)])
    far = ~nn.functional.max_pool2d(hole[rows].float(), 9, 1, 4).bool().expand(-1, 3, -1, -1)
    assert far.any() and torch.equal(painted[far], known[far])


def test_shpe_learns_from_paintings_in_the_share_that_is_set(folder: Path, batch: Batch) -> None:
    differs = {}
    for share in (0.0, 1.0):
        config = replace(training_preset("shpe", "nano"), size=64, painted=share)
        task = SHPETask(config, preset("shpe", "nano"), CPU, chain=folder / "weights")
        plain = SHPETask(config, preset("shpe", "nano"), CPU)
        images = [t.crops(batch, SampleRng(0, 1, 0, 4), augment=True)[0] for t in (task, plain)]
        differs[share] = (images[0] - images[1]).abs().flatten(1).amax(1) > 0.1
    assert not differs[0.0].any() and differs[1.0].all()


def test_the_commands_train_behind_a_chain(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task in ("hdrm", "shpe"):
        arguments = ["train", task, "--data", str(folder / "data"), "--out", str(tmp_path / task), "--preset", "nano"]
        arguments += ["--size", "64", "--batch-size", "2", "--steps", "2", "--device", "cpu"]
        assert main([*arguments, "--chain", str(folder / "weights")]) == 0
        assert json.loads((tmp_path / task / "run.json").read_text())["chain"] == str(folder / "weights")
    SHPE.from_pretrained(tmp_path / "shpe/weights")
    capsys.readouterr()
    assert main([*arguments, "--chain", str(tmp_path / "nowhere"), "--out", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
