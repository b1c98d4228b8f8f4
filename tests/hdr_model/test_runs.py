"""The files of a run, of which any may be damaged, and any half written by a process that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aih_gen.errors import AIHError, AssetError
from hdr_model.config import SHPEConfig
from hdr_model.evaluation.report import read_curves
from hdr_model.nets.shpe import SHPE
from hdr_model.training.checkpoint import open_run
from hdr_model.training.log import Log
from hdr_model.weights import find_weights, read_settings
from tests.data.samples import write_samples


class Killed(BaseException):
    """The end of a process."""


@pytest.fixture
def killed_while_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, text: str, *_: Any, **__: Any) -> None:
        path.write_bytes(text.encode()[: len(text) // 2])
        raise Killed

    monkeypatch.setattr(Path, "write_text", half)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two steps that was killed while it reported a third."""
    open_run(tmp_path / "run", {"task": "shpe", "size": 64, "steps": 2}, resume=False)
    SHPE(SHPEConfig("dilated_resnet_nano", decoder_width=16)).save_pretrained(tmp_path / "run" / "weights")
    (tmp_path / "run" / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n{"step": 3, "lo'
    )
    return tmp_path / "run"


def test_a_run_killed_while_it_is_resumed_keeps_its_settings(run: Path, killed_while_writing: None) -> None:
    with pytest.raises(Killed):
        open_run(run, {"task": "shpe", "size": 64, "steps": 5}, resume=True)
    assert read_settings(run) == {"task": "shpe", "size": 64, "steps": 2}


def test_a_run_killed_while_it_is_resumed_keeps_its_metrics(run: Path, killed_while_writing: None) -> None:
    before = read_curves(run / "metrics.jsonl")
    with pytest.raises(Killed):
        Log(run, "shpe", 2, 5, 4)
    assert read_curves(run / "metrics.jsonl") == before


def test_a_line_that_was_not_finished_is_no_row(run: Path) -> None:
    assert read_curves(run / "metrics.jsonl") == {"loss": [(1.0, 3.0), (2.0, 2.5)]}
    Log(run, "shpe", 1, 5, 4).close()
    assert (run / "metrics.jsonl").read_text() == '{"step": 1, "loss": 3.0}\n'


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"task": "shpe"}', '{"size": null}'])
def test_damaged_settings_are_named(run: Path, text: str) -> None:
    (run / "run.json").write_text(text)
    for use in (find_weights, lambda path, _: open_run(path, {"size": 64}, resume=True)):
        with pytest.raises(AIHError, match=r"run\.json: expected a run's settings with a size"):
            use(run, "shpe")


def test_damaged_metrics_are_named_when_a_run_is_resumed(run: Path) -> None:
    (run / "metrics.jsonl").write_text("[]\n")
    with pytest.raises(AIHError, match=r"metrics\.jsonl, line 1: expected"):
        Log(run, "shpe", 1, 5, 4)


def test_settings_of_another_network_hide_no_weights(run: Path) -> None:
    with pytest.raises(AssetError, match="no weights of hasm"):
        find_weights(run, "hasm")
    assert find_weights(run, "shpe") == run / "weights"


FAILING = """
from dataclasses import replace
from pathlib import Path

def fail(*_):
    raise RuntimeError("out of memory")

if __name__ == "__main__":
    import torch
    from hdr_model.config import SHPEConfig, training_preset
    from hdr_model.training import loop
    from hdr_model.training.shpe import SHPETask

    loop._step = fail
    config = replace(training_preset("shpe", "nano"), size=64, batch_size=2, steps=9)
    task = SHPETask(config, SHPEConfig("dilated_resnet_nano", decoder_width=16), torch.device("cpu"))
    loop.train(task, config, [Path("data")], Path("out"), device=torch.device("cpu"), workers=2)
"""


def test_a_training_that_fails_ends_and_so_do_its_readers(tmp_path: Path) -> None:
    write_samples(tmp_path / "data" / "aih-00000.h5", 4)
    (tmp_path / "failing.py").write_text(FAILING)
    process = subprocess.Popen([sys.executable, "failing.py"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1 and said.endswith("RuntimeError: out of memory\n")
