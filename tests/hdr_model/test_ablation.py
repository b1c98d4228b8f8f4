"""The ablation's bookkeeping, with networks that are saved untrained; and what times are taken of."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aih_gen.config import canonical_json
from aih_gen.errors import AIHError
from aih_gen.shards.schema import Header
from aih_gen.shards.writer import write_shard
from hdr_model.config import preset
from hdr_model.evaluation import ablation, bench
from hdr_model.evaluation.ablation import ROWS, Study, ablate
from hdr_model.evaluation.published import ABLATION
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.shpe import SHPE
from tests.data.samples import make_sample, write_samples


class Trainer:
    """Carries out ``hdr train`` by saving an untrained network."""

    def __init__(self, fail_at: str = "nothing") -> None:
        self.commands: list[Sequence[str]] = []
        self.fail_at = fail_at

    def __call__(self, arguments: Sequence[str]) -> None:
        self.commands.append(arguments)
        out = Path(arguments[arguments.index("--out") + 1])
        if self.fail_at in arguments:
            raise AIHError("out of patience")
        torch.manual_seed(0)
        hdrm = replace(preset("hdrm", "nano"), removal="--no-removal" not in arguments)
        network = SHPE(preset("shpe", "nano")) if arguments[1] == "shpe" else HDRM(hdrm)
        network.save_pretrained(out / "weights")
        (out / "run.json").write_text('{"size": 64}')
        (out / "metrics.jsonl").write_text(json.dumps({"step": int(arguments[arguments.index("--steps") + 1])}) + "\n")


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
    stopped, second, third = Trainer(fail_at="--no-transformer"), Trainer(), Trainer()
    with pytest.raises(AIHError, match="patience"):
        ablate(study, tmp_path / "out", "cpu", stopped)
    grid = ablate(study, tmp_path / "out", "cpu", second)
    again = ablate(study, tmp_path / "out", "cpu", third)
    assert len(stopped.commands) + len(second.commands) == 1 + len(trained_rows()) + 1, "SHPE, rows, and the failed one"
    assert third.commands == []
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
    assert {command[command.index("--steps") + 1] for command in trainer.commands} == {"7"}
    data = {}
    for command in trainer.commands:
        out = command.index("--out")
        data[Path(command[out + 1]).name] = list(command[command.index("--data") + 1 : out])
    render, syn = map(str, study.data)
    assert data["6-AIH_Render-only"] == [render]
    assert data["7-AIH_Syn-only"] == [syn]
    assert data["8-full"] == data["2-without-removal"] == [render, syn]


def test_another_study_in_the_same_folder_is_refused(study: Study, tmp_path: Path) -> None:
    ablate(study, tmp_path / "out", "cpu", Trainer())
    with pytest.raises(AIHError, match="budget: expected 7 as before, found 8"):
        ablate(replace(study, budget=8), tmp_path / "out", "cpu", Trainer())


def test_rows_that_need_missing_data_are_refused_before_anything_is_written(study: Study, tmp_path: Path) -> None:
    with pytest.raises(AIHError, match="row 7 needs AIH_Syn, found AIH_Render"):
        ablate(replace(study, data=study.data[:1]), tmp_path / "out", "cpu", Trainer())
    assert not (tmp_path / "out").exists()


def test_times_are_of_single_runs_after_one_that_is_not_counted() -> None:
    runs: list[int] = []
    times = bench.measure(lambda: runs.append(1), torch.device("cpu"), 1e-9)
    assert len(runs) == len(times) + 1 == 4


def test_what_takes_too_long_is_run_once_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "PATIENCE", 0.0)
    runs: list[int] = []
    times = bench.measure(lambda: runs.append(1), torch.device("cpu"), 1e-9)
    assert len(runs) == len(times) == 1
