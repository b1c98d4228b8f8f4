"""Samples of one hand and of none, from the batch to the report."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from aih_gen.errors import AIHError
from aih_gen.shards.writer import write_shard
from hdr_model.cli import main
from hdr_model.config import HASMConfig, HDRMConfig, SHPEConfig, training_preset
from hdr_model.data.aih import AIHDataset
from hdr_model.data.rng import SampleRng
from hdr_model.data.synthesis import SynthesisDataset
from hdr_model.evaluation.counts import (
    FALSE_DETECTIONS,
    ONE_HAND,
    SINGLE_HANDEDNESS,
    TWO_HANDS,
    Counted,
    count_rows,
)
from hdr_model.evaluation.evaluate import evaluate
from hdr_model.evaluation.predict import FIELDS, predict
from hdr_model.inference.pipeline import HDR
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.shpe import SHPE
from hdr_model.training.hands import choose_hands
from hdr_model.training.hasm import HASMTask
from hdr_model.training.hdrm import HDRMTask
from hdr_model.training.shpe import SHPETask
from hdr_model.training.task import Task
from tests.data.samples import NUMBERS, make_header, make_sample, write_numbers

CPU, COUNT, EMPTY = torch.device("cpu"), 8, 3
"""Every fourth sample, from ``EMPTY`` on, shows no hand."""
EMPTY_BATCH = [EMPTY, EMPTY + 4]
SMALL_HASM = HASMConfig("mit_nano", decoder_width=16, arms=True)
SMALL_HDRM = HDRMConfig((8, 8, 16), (3, 3, 3), discriminator_width=4)
SMALL_SHPE = SHPEConfig("dilated_resnet_nano", decoder_width=16)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    write_numbers(folder / "aih-00000.h5", COUNT)
    return folder


@pytest.fixture(scope="module")
def hdr() -> HDR:
    torch.manual_seed(0)
    networks = HASM(SMALL_HASM), HDRM(SMALL_HDRM), SHPE(SMALL_SHPE)
    return HDR(*networks, segmentation_size=64, hand_size=64)


def make_task(name: str) -> Task:
    torch.manual_seed(0)
    if name == "hasm":
        return HASMTask(training_preset("hasm", "nano"), SMALL_HASM, CPU)
    if name == "hdrm":
        return HDRMTask(training_preset("hdrm", "nano"), SMALL_HDRM, CPU)
    return SHPETask(training_preset("shpe", "nano"), SMALL_SHPE, CPU)


def test_a_hand_to_learn_from_is_one_that_is_there(data: Path) -> None:
    batch = AIHDataset(data, ("present", "occlusion", "target_valid"))[list(range(COUNT))]
    for index in range(COUNT):
        assert batch["target_valid"][index].tolist() == [side in NUMBERS[index % 4] for side in (0, 1)]
    for step in range(10):
        for index, hand in enumerate(choose_hands(batch, SampleRng(0, step, 0, COUNT)).tolist()):
            assert hand in NUMBERS[index % 4] or index % 4 == EMPTY


@pytest.mark.parametrize("name", ["hasm", "hdrm", "shpe"])
@pytest.mark.parametrize("indices", [list(range(4)), EMPTY_BATCH])
def test_every_network_learns_from_pictures_of_one_hand_and_of_none(name: str, indices: list[int], data: Path) -> None:
    task = make_task(name)
    batch = AIHDataset(data, task.fields)[indices]
    loss = task.loss(batch, SampleRng(0, 0, 0, len(indices)))
    for part in (loss, loss.discriminator()) if loss.discriminator else (loss,):
        assert all(bool(torch.isfinite(term)) for term in part.terms.values())
        part.total.backward()  # type: ignore[no-untyped-call]
    for parameter in cast(nn.Module, task.networks).parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all())
    network = task.networks[name].eval()
    assert bool(torch.isfinite(task.validation(network, batch, SampleRng(0, 0, 0, len(indices)))))
    assert task.preview(network, batch, SampleRng(0, 0, 0, len(indices))).dtype == torch.uint8


@pytest.mark.parametrize(("min_hands", "kept"), [(0, {0, 1, 2, 3}), (1, {0, 1, 2}), (2, {0})])
def test_samples_that_teach_a_network_nothing_are_left_out(min_hands: int, kept: set[int], data: Path) -> None:
    assert [len(NUMBERS[k]) for k in range(4)] == [2, 1, 1, 0]
    dataset = AIHDataset(data, ("index", "present"), min_hands)
    batch = dataset[list(range(len(dataset)))]
    assert batch["index"].tolist() == [index for index in range(COUNT) if index % 4 in kept]
    assert int(batch["present"].sum(1).min()) == min_hands
    assert sorted(k for step in dataset.order(2, 0, 0, len(dataset) // 2, 0, 1) for k in step) == [*range(len(dataset))]


def test_a_set_without_pairs_is_too_small_for_hdrm(data: Path) -> None:
    dataset = AIHDataset(data, ("index",), 2)
    with pytest.raises(AIHError, match="3 samples of a batch with two hands, found 2"):
        dataset.order(3, 0, 0, 1, 0, 1)


def test_hdrm_says_so_where_all_samples_show_one_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = tmp_path / "one" / "aih-00000.h5"
    shard.parent.mkdir()
    write_shard(shard, [[make_sample(index, 64, (index,)) for index in (0, 1)]], 2, make_header())
    arguments = ["train", "hdrm", "--preset", "nano", "--data", str(shard.parent), "--out", str(tmp_path / "run")]
    for more, said in (([], "16 samples"), (["--synthesise", "0.5"], "8 samples")):
        assert main([*arguments, *more]) == 2
        found = f"{shard.parent}: expected at least the {said} of a batch with two hands, found 0\n"
        assert capsys.readouterr().err == f"hdr: error: {found}"


def test_pictures_of_no_hand_teach_shpe_nothing_and_hasm_that_there_is_nothing(data: Path) -> None:
    shpe = make_task("shpe")
    terms = shpe.loss(AIHDataset(data, shpe.fields)[EMPTY_BATCH], SampleRng(0, 0, 0, 2)).terms
    assert [term.item() for term in terms.values()] == [0.0] * len(terms)
    hasm = make_task("hasm")
    batch = AIHDataset(data, hasm.fields)[EMPTY_BATCH]
    optimiser = torch.optim.Adam(hasm.networks.parameters(), 3e-3)
    shares = []
    for step in range(30):
        output = cast(HASM, hasm.networks["hasm"])(batch["rgb"][:, 0].permute(0, 3, 1, 2).float() / 255)
        shares.append(output["right_amodal"].softmax(1)[:, 1].mean().item())
        loss = hasm.loss(batch, SampleRng(0, step, 0, 2)).total
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert shares[-1] < 0.5 * shares[0]


def test_composed_samples_are_of_hands_that_are_there(data: Path) -> None:
    source = SynthesisDataset(None, data, SHPETask.fields, 1.0)
    batch = source.compose(source[list(range(6))])
    assert bool(batch["present"].all()) and bool(batch["joints_3d"].isfinite().all())


@pytest.mark.parametrize("indices", [list(range(8)), EMPTY_BATCH])
def test_what_is_measured_are_the_hands_that_are_there(indices: list[int], data: Path, hdr: HDR) -> None:
    seen = predict(hdr, AIHDataset(data, FIELDS)[indices])
    hands = list(zip(seen.sample.tolist(), seen.hand.tolist(), strict=True))
    assert hands == [(row, side) for row, index in enumerate(indices) for side in NUMBERS[index % 4]]
    assert bool(seen.target_valid.all()) and all(len(joints) == len(hands) for joints in seen.joints_3d.values())


def test_the_report_counts_false_detections_and_wrong_numbers_of_hands() -> None:
    none, right, left, both = (False, False), (True, False), (False, True), (True, True)
    counted = [Counted(none, left), *[Counted(none, none)] * 3, Counted(right, right), Counted(right, left)]
    counted += [Counted(left, both), Counted(left, none), Counted(both, both), Counted(both, left)]
    rows = {row.metric: (row.ours, row.cases) for row in count_rows(counted)}
    assert rows == {
        FALSE_DETECTIONS: (0.25, 4),
        ONE_HAND: (0.5, 4),
        SINGLE_HANDEDNESS: (0.5, 2),
        TWO_HANDS: (0.5, 2),
    }
    assert [row.metric for row in count_rows(counted[-1:])] == [TWO_HANDS]


def test_an_evaluation_has_columns_for_one_hand_and_for_two(
    data: Path, hdr: HDR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HDR, "from_pretrained", lambda *_, **__: hdr)
    evaluation = evaluate(data, None, tmp_path, [data], "cpu", None)
    (grid,) = [grid for grid in evaluation.grids if grid.title == "MPJPE in mm, by protocol"]
    ours = [line for line in grid.lines if not line.published]
    assert grid.columns[:2] == ("SH", "IH") and np.isfinite([line.values[:2] for line in ours]).all()
    assert "Hands: SH 4, IH 4, ALL 8" in grid.note
    rows = {row.metric: row for row in evaluation.rows}
    assert rows[FALSE_DETECTIONS].cases == 2
    assert rows[ONE_HAND].cases == 4
    assert (tmp_path / "pictures" / "masks.png").exists()


def test_samples_of_one_hand_are_among_the_pictures(hdr: HDR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HDR, "from_pretrained", lambda *_, **__: hdr)
    alone = [make_sample(index, 64, (index % 2,)) for index in range(2)]
    write_shard(tmp_path / "aih-00000.h5", [alone], len(alone), make_header())
    evaluate(tmp_path / "aih-00000.h5", None, tmp_path / "eval", [], "cpu", None)
    assert {path.name for path in (tmp_path / "eval" / "pictures").iterdir()} >= {"masks.png", "pose.png"}
