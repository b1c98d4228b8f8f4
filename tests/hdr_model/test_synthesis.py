"""Samples composed while training are the samples that would have been stored."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from aih_gen.compose.sample import Sample, pack_masks
from aih_gen.config import SynConfig
from aih_gen.errors import AIHError
from aih_gen.factory import generate
from aih_gen.sources import open_source
from hdr_model import AIHDataset
from hdr_model.config import training_preset
from hdr_model.data.aih import batches
from hdr_model.data.batch import Batch
from hdr_model.data.synthesis import SynthesisDataset
from hdr_model.device import to_device
from hdr_model.training.hdrm import HDRMTask
from tests.aih_gen.test_folder import write_folder
from tests.data.samples import write_samples
from tests.hdr_model.test_training import run, short

SIZE = 64
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
FIELDS = ("rgb", "masks", "joints_2d", "joints_3d", "pose", "betas", "transl", "present", "occlusion", "target_valid")


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hands")
    write_samples(folder / "aih_render-00000.h5", 12, SIZE)
    return folder


def composed(hands: Path, indices: list[int], device: str = "cpu") -> Batch:
    dataset = SynthesisDataset(None, hands, FIELDS, share=1.0, seed=5)
    return dataset.compose(to_device(dataset[indices], device))


@pytest.mark.parametrize("device", DEVICES)
def test_stored_and_composed_samples_are_equal_to_the_bit(hands: Path, device: str, tmp_path: Path) -> None:
    config = SynConfig(source=str(hands), seed=5, size=SIZE)
    stored = AIHDataset(generate(config, tmp_path / "syn", 9), FIELDS)[list(range(9))]
    batch = composed(hands, list(range(9)), device)
    for name in FIELDS:
        np.testing.assert_array_equal(batch[name].cpu().numpy(), stored[name].numpy(), err_msg=name)
    assert {tuple(row) for row in stored["target_valid"].tolist()} == {(True, False), (False, True)}


def test_the_batch_changes_nothing(hands: Path) -> None:
    whole, part = composed(hands, [4, 1, 7]), composed(hands, [1])
    for name in FIELDS:
        assert torch.equal(whole[name][1:2], part[name]), name


def test_pixels_are_those_of_plain_bilinear_sampling(hands: Path) -> None:
    """Fixed point rounds, and no more: the covered hand's own image, inside its crop, against floating point."""
    source = open_source(dataclasses.replace(SynConfig(source=str(hands), size=SIZE), **PLAIN))
    for index in range(6):
        (crops, arrangement), sample = source.arrangement(index), source.samples([index])[0]
        crop, target = crops[1 - arrangement.front], (sample.target_right, sample.target_left)[1 - arrangement.front]
        expected, mask, inside = bilinear(crop.image, crop.hand, arrangement.under)
        assert np.abs(target[inside] - expected[inside]).max() <= 2
        amodal = (sample.amodal_right, sample.amodal_left)[1 - arrangement.front]
        assert ((mask >= 0.5) != amodal)[inside].mean() < 0.001


PLAIN = {"colour_gain": 0.0, "colour_shift": 0.0, "contrast": 0.0, "brightness": 0.0}


def bilinear(image: np.ndarray, hand: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    at = (np.stack([columns, rows], -1) - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
    inside = ((at >= 1) & (at <= SIZE - 2)).all(-1)
    maps = torch.from_numpy(np.dstack([image, hand]).astype(np.float64)).permute(2, 0, 1)[None]
    grid = torch.from_numpy((2 * at + 1) / SIZE - 1)[None]
    found = torch.nn.functional.grid_sample(maps, grid, align_corners=False)[0].permute(1, 2, 0).numpy()
    return found[..., :3], found[..., 3], inside


def test_every_batch_holds_the_share_and_no_composed_sample_comes_twice(hands: Path) -> None:
    dataset = SynthesisDataset(AIHDataset(hands, FIELDS), hands, FIELDS, share=0.25)
    ranks = [list(dataset.order(8, 0, 0, 5, rank, 2)) for rank in (0, 1)]
    new = [k for steps in ranks for batch in steps for k in batch if k >= 12]
    assert all(sum(k >= 12 for k in batch) == 2 for steps in ranks for batch in steps)
    assert len(set(new)) == len(new) == 20
    assert list(dataset.order(8, 0, 3, 5, 0, 2)) == ranks[0][3:]
    assert len(dataset.compose(dataset[ranks[0][0]])["rgb"]) == 8


def test_reading_processes_change_nothing(hands: Path) -> None:
    dataset = SynthesisDataset(AIHDataset(hands, FIELDS), hands, FIELDS, share=0.5)
    config = dataclasses.replace(training_preset("hasm", "nano"), batch_size=4, steps=3)
    for here, there in zip(*(batches(dataset, config, workers=workers) for workers in (0, 2)), strict=True):
        one, other = dataset.compose(here), dataset.compose(there)
        assert all(torch.equal(one[name], other[name]) for name in FIELDS)


@pytest.mark.parametrize("share", [0.0, 1.5, 0.01, 0.99])
def test_a_share_that_cannot_be_is_told(hands: Path, share: float) -> None:
    with pytest.raises(AIHError, match="--synthesise"):
        SynthesisDataset(AIHDataset(hands, FIELDS), hands, FIELDS, share).order(8, 0, 0, 5, 0, 1)


@pytest.mark.parametrize("task", ["hasm", "hdrm", "shpe"])
def test_every_network_trains_on_images_and_masks_alone(task: str, tmp_path: Path) -> None:
    """A folder of photos knows no joints: SHPE has nothing to learn there, but nothing breaks."""
    write_folder(tmp_path / "photos", 3, SynConfig.size)
    weights = run(short(task, steps=2), tmp_path / "photos", tmp_path / "run", synthesise=1.0)
    assert all(value.isfinite().all() for value in weights.values())


def test_a_composed_sample_is_what_a_sample_is(hands: Path) -> None:
    sample: Sample = open_source(SynConfig(source=str(hands), seed=5, size=SIZE)).samples([3])[0]
    batch = composed(hands, [3])
    np.testing.assert_array_equal(batch["masks"][0].numpy(), pack_masks(sample))
    assert set(HDRMTask.fields) <= batch.keys()
