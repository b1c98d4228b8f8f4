"""Training straight from the configuration of a data set: no shard is written."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch

from aih_gen.config import RenderConfig, SynConfig
from aih_gen.errors import AIHError
from aih_gen.factory import generate
from hdr_model import AIHDataset
from hdr_model.data.source import SourceDataset
from hdr_model.training.loop import train
from hdr_model.weights import read_settings
from tests.data.samples import write_samples
from tests.hdr_model.test_training import CPU, make_task, short

RENDER = RenderConfig(size=64, seed=3)
FIELDS = ("rgb", "masks", "joints_3d", "present", "index")


def test_its_batches_are_those_of_the_shards_that_would_be_written(tmp_path: Path) -> None:
    source = SourceDataset(RENDER, FIELDS)
    stored = AIHDataset(generate(RENDER, tmp_path / "data", 3), FIELDS)[[2, 0]]
    for opened in (source, copy.deepcopy(source)):  # pickled alike for processes
        batch = opened[[2, 0]]
        assert all(torch.equal(batch[name], stored[name]) for name in FIELDS)


def test_no_sample_comes_twice_and_none_has_too_few_hands() -> None:
    source = SourceDataset(RENDER, FIELDS, min_hands=2, new_per_step=4)
    ranks = [list(source.order(4, 0, 1, 4, rank, 2)) for rank in (0, 1)]
    numbers = [k for steps in ranks for batch in steps for k in batch]
    assert sorted(numbers) == list(range(8, 32))
    assert source[list(range(6))]["present"].all()


def test_a_network_trains_on_it(tmp_path: Path) -> None:
    write_samples(tmp_path / "hands/aih-00000.h5", 4)
    configs = RENDER, SynConfig(source=str(tmp_path / "hands"), size=64)
    for name, config in zip(("hasm", "hdrm"), configs, strict=True):
        settings = short(name, steps=1, batch_size=2)
        task = make_task(settings)
        source = SourceDataset(config, task.fields, task.min_hands, window=4)
        weights = train(task, settings, (), tmp_path / name, device=CPU, source=source)
        assert (weights / "model.safetensors").is_file()
        recorded = read_settings(tmp_path / name)
        assert recorded and recorded["data_sha256"] == source.digest() and recorded["data"] == []
        assert recorded["window"] == 4
    assert SourceDataset(RENDER).digest() != SourceDataset(dataclasses.replace(RENDER, seed=4)).digest()


def test_a_configuration_without_the_hands_that_are_wanted_is_told() -> None:
    for hands, least, words in (((0, 0.5, 0.5), 2, "two hands"), ((0, 0, 1), 1, "a hand")):
        with pytest.raises(AIHError, match=f"hands: expected a share of scenes with {words}, found none"):
            SourceDataset(RenderConfig(size=64, hands=hands), min_hands=least)
        SourceDataset(RenderConfig(size=64, hands=hands), min_hands=least - 1)


def test_a_configuration_that_cannot_be_is_told() -> None:
    with pytest.raises(AIHError, match="size"):
        SourceDataset(RenderConfig(size=65))
