"""The ablation's bookkeeping, with networks that are saved untrained; and what times are taken of."""

import hashlib
import inspect
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aih_gen.config import canonical_json
from aih_gen.errors import AIHError
from aih_gen.shards.schema import Header
from aih_gen.shards.writer import write_shard
from hdr_model import config
from hdr_model.cli import main
from hdr_model.config import HDRMLossWeights, preset, training_preset
from hdr_model.evaluation import ablation, bench
from hdr_model.evaluation.ablation import ROWS, Study, ablate
from hdr_model.evaluation.published import ABLATION
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.shpe import SHPE
from hdr_model.training import loop
from hdr_model.training.checkpoint import save_state
from tests.data.samples import make_sample, write_samples

SIGNATURE = inspect.signature(loop.train)


class Trainer:
    """Stands for ``train``: saves the network untrained, and keeps what it was given."""

    def __init__(self, fail_at: str = "nothing") -> None:
        self.calls: list[dict[str, Any]] = []
        self.fail_at = fail_at

    def __call__(self, *args: Any, **options: Any) -> Path:
        given = SIGNATURE.bind(*args, **options)
        given.apply_defaults()
        call = given.arguments
        self.calls.append(call)
        if call["out"].name == self.fail_at:
            raise AIHError("out of patience")
        call["task"].networks[call["config"].task].save_pretrained(call["out"] / "weights")
        (call["out"] / "run.json").write_text('{"size": 64}')
        save_state(call["out"], call["config"].steps, {})
        return call["out"] / "weights"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("ablation")
    for name in ("render", "held_out"):
        write_samples(folder / name / "aih-00000.h5", 2)
    (folder / "syn").mkdir()
    config = canonical_json({"subset": "AIH_Syn"})
    header = Header("AIH_Syn", config, hashlib.sha256(config.encode()).hexdigest(), 7, "ellipses", "1")
    write_shard(folder / "syn" / "aih-00000.h5", [[make_sample(3)]], 1, header)
    return Study((folder / "render", folder / "syn"), folder / "held_out", budget=7, preset="nano")


def test_a_stopped_ablation_goes_on_with_the_rows_that_are_missing(study: Study, tmp_path: Path) -> None:
    stopped, second, third = Trainer(fail_at="5-without-transformer-blocks"), Trainer(), Trainer()
    with pytest.raises(AIHError, match="patience"):
        ablate(study, tmp_path / "out", "cpu", stopped)
    grid = ablate(study, tmp_path / "out", "cpu", second)
    again = ablate(study, tmp_path / "out", "cpu", third)
    assert len(stopped.calls) + len(second.calls) == 1 + len(trained_rows()) + 1, "SHPE, rows, and the failed one"
    assert third.calls == []
    np.testing.assert_array_equal([line.values for line in again.lines], [line.values for line in grid.lines])
    assert [line.values[0] for line in grid.lines] == list(ABLATION)
    assert {file.name for file in (tmp_path / "out").glob("*.*")} == {
        "study.json", "ablation.json", "ablation.md", "ablation.csv", "index.html",
    }  # fmt: skip


def trained_rows() -> list[ablation.Row]:
    return [row for row in ROWS if row.number > 1 and not ablation._same_as_full(row, "nano")]


def test_every_row_has_the_same_budget_and_its_own_data(study: Study, tmp_path: Path) -> None:
    trainer = Trainer()
    ablate(study, tmp_path / "out", "cpu", trainer)
    assert {call["config"].steps for call in trainer.calls} == {7}
    data = {call["out"].name: list(call["data"]) for call in trainer.calls}
    render, syn = study.data
    assert data["6-AIH_Render-only"] == [render]
    assert data["7-AIH_Syn-only"] == [syn]
    assert data["8-full"] == data["2-without-removal"] == [render, syn]


@pytest.mark.parametrize("shared_start", [False, True])
def test_the_commands_beside_the_table_train_the_same_rows(
    shared_start: bool, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, typed = Trainer(), Trainer()
    adversarial = replace(training_preset("hdrm", "nano"), losses=HDRMLossWeights(perceptual=0.0, style=0.0))
    monkeypatch.setitem(config._TRAINING["hdrm"], "nano", adversarial)
    monkeypatch.setattr(ablation, "_measure", lambda *_: dict.fromkeys(("all", "hidden", "unscaled", "hands"), 1.0))
    start = tmp_path / "start" if shared_start else None
    HDRM(preset("hdrm", "nano")).save_pretrained(tmp_path / "start/hdrm")
    SHPE(preset("shpe", "nano")).save_pretrained(tmp_path / "start/shpe")
    ablate(replace(study, seed=5, start_from=start), tmp_path / "out", "cpu", rows)
    monkeypatch.setattr(loop, "train", typed)
    notes = json.loads((tmp_path / "out" / "ablation.json").read_text())["notes"]
    for command in (note for note in notes if note.startswith("hdr train")):
        assert main(command.split()[1:]) == 0
    assert len(rows.calls) == len(typed.calls) == (7 if shared_start else 1 + 7), "SHPE is trained, or is the start's"
    for row, command in zip(rows.calls, typed.calls, strict=True):
        networks = [call.pop("task").networks.state_dict() for call in (row, command)]
        assert networks[0].keys() == networks[1].keys()
        assert all(torch.equal(tensor, networks[1][name]) for name, tensor in networks[0].items())
        assert row | {"data": list(row["data"])} == command | {"data": list(command["data"])}


def test_a_run_whose_last_checkpoint_is_too_early_goes_on(study: Study, tmp_path: Path) -> None:
    stopped, second = Trainer(fail_at="8-full"), Trainer()
    with pytest.raises(AIHError, match="patience"):
        ablate(study, tmp_path / "out", "cpu", stopped)
    run = tmp_path / "out" / "8-full"
    HDRM(preset("hdrm", "nano")).save_pretrained(run / "weights")
    save_state(run, 5, {})
    (run / "metrics.jsonl").write_text('{"step": 7}\n{"ste')  # killed before the last checkpoint
    ablate(study, tmp_path / "out", "cpu", second)
    assert [call["out"].name for call in second.calls] == ["8-full"]


def test_rows_begin_with_the_weights_of_a_shared_start(study: Study, tmp_path: Path) -> None:
    start, trainer = HDRM(preset("hdrm", "nano")), Trainer()
    start.save_pretrained(tmp_path / "start/hdrm")
    SHPE(preset("shpe", "nano")).save_pretrained(tmp_path / "start/shpe")
    ablate(replace(study, start_from=tmp_path / "start"), tmp_path / "out", "cpu", trainer)
    known = start.state_dict()
    for call in trainer.calls:
        own = call["task"].hdrm.state_dict()
        assert own and all(torch.equal(tensor, known[name]) for name, tensor in own.items()), call["out"].name


def test_another_study_in_the_same_folder_is_refused(study: Study, tmp_path: Path) -> None:
    ablate(study, tmp_path / "out", "cpu", Trainer())
    with pytest.raises(AIHError, match="budget: expected 7 as before, found 8"):
        ablate(replace(study, budget=8), tmp_path / "out", "cpu", Trainer())


def test_rows_that_need_missing_data_are_refused_before_anything_is_written(study: Study, tmp_path: Path) -> None:
    with pytest.raises(AIHError, match="expected AIH_Syn for row 7, found AIH_Render"):
        ablate(replace(study, data=study.data[:1]), tmp_path / "out", "cpu", Trainer())
    assert not (tmp_path / "out").exists()


def test_times_are_of_single_runs_after_one_that_is_not_counted() -> None:
    runs: list[int] = []
    times = bench.measure(lambda: runs.append(1), torch.device("cpu"), 1e-9)
    assert len(runs) == len(times) + 1 == 4


def test_what_takes_too_long_is_run_once_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "MAX_FIRST_SECONDS", 0.0)
    runs: list[int] = []
    times = bench.measure(lambda: runs.append(1), torch.device("cpu"), 1e-9)
    assert len(runs) == len(times) == 1
