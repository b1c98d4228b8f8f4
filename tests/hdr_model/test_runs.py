"""The files of a run, of which any may be damaged, and any half written by a process that was killed."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from aih_gen.errors import AIHError, AssetError
from hdr_model.config import SHPEConfig
from hdr_model.evaluation.report import read_curves
from hdr_model.files import read_metrics
from hdr_model.nets.shpe import SHPE
from hdr_model.training.checkpoint import load_state, open_run, save_state
from hdr_model.training.log import Log
from hdr_model.weights import find_weights, read_settings
from tests.data.samples import write_samples


class Killed(BaseException):
    """The end of a process."""


@pytest.fixture
def killed_while_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.write_bytes

    def half(path: Path, data: bytes, *_: Any) -> None:
        whole(path, data[: len(data) // 2])
        raise Killed

    monkeypatch.setattr(Path, "write_bytes", half)


def begin(out: Path, steps: int = 2, resume: bool = False) -> None:
    """Open the folder of a run and close it again."""
    with open_run(out, {"task": "shpe", "size": 64, "steps": steps}, resume):
        pass


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two steps that was killed while it reported a third."""
    begin(tmp_path / "run")
    SHPE(SHPEConfig("dilated_resnet_nano", decoder_width=16)).save_pretrained(tmp_path / "run" / "weights")
    (tmp_path / "run" / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.5}\n{"step": 3, "lo'
    )
    return tmp_path / "run"


def test_a_run_killed_while_it_is_resumed_keeps_its_settings(run: Path, killed_while_writing: None) -> None:
    with pytest.raises(Killed):
        begin(run, steps=5, resume=True)
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


@pytest.mark.parametrize(
    "text", ["", '{"task": "shpe", "si', "[]", "[" * 100_000, '{"task": "shpe"}', '{"size": null}', '{"size": 1e999}']
)
def test_damaged_settings_are_named(run: Path, text: str) -> None:
    (run / "run.json").write_text(text)
    for use in (find_weights, lambda path, _: begin(path, resume=True)):
        with pytest.raises(AIHError, match=r"run\.json: expected a run's settings with a size"):
            use(run, "shpe")


def test_what_a_power_cut_leaves_of_a_line_is_no_row(run: Path) -> None:
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b"\0" * 30)
    assert len(read_metrics(run / "metrics.jsonl")) == 2
    (run / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": 3.0}\n' + b"\0" * 30)
    Log(run, "shpe", 1, 5, 4).close()
    assert (run / "metrics.jsonl").read_text() == '{"step": 1, "loss": 3.0}\n'


@pytest.mark.parametrize(
    "line",
    [b"[]", b"\xff", b"[" * 100_000, b'{"step": "1"}', b'{"step": 1' + b"0" * 400 + b"}", b"\0{}", b'{"loss": 1}'],
)
def test_damaged_metrics_are_named_when_a_run_is_resumed(run: Path, line: bytes) -> None:
    (run / "metrics.jsonl").write_bytes(line + b"\n")
    with pytest.raises(AIHError, match=r"metrics\.jsonl, line 1: expected"):
        Log(run, "shpe", 1, 5, 4)


def test_settings_that_did_not_change_are_not_written_again(run: Path) -> None:
    before = (run / "run.json").stat()
    begin(run, resume=True)
    after = (run / "run.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_two_trainings_do_not_share_a_folder(run: Path) -> None:
    with open_run(run, {"task": "shpe", "size": 64, "steps": 2}, resume=True):
        for resume in (False, True):
            with pytest.raises(AIHError, match="run"):
                begin(run, resume=resume)
        with pytest.raises(AIHError, match=r"run: expected no other training in this folder, found one"):
            begin(run, steps=5, resume=True)
    begin(run, steps=5, resume=True)


HOLDING = """
import sys, time
from pathlib import Path
from hdr_model.training.checkpoint import load_state, open_run, save_state

with open_run(Path(sys.argv[1]), {"task": "shpe", "size": 64, "steps": 2}, resume=True):
    print("begun", flush=True)
    time.sleep(100)
"""


def test_the_lock_of_a_killed_training_does_not_stand_in_the_way(run: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDING, run], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout and process.stdout.readline() == "begun\n"
        with pytest.raises(AIHError, match="found one that is running"):
            begin(run, resume=True)
    finally:
        process.kill()
        process.communicate()
    begin(run, resume=True)
    (run / "run.json").unlink()  # nor does it stand for a run where there is none
    assert {path.name for path in run.iterdir()} >= {".lock"}
    for path in ("metrics.jsonl", "weights/config.json", "weights/model.safetensors"):
        (run / path).unlink()
    (run / "weights").rmdir()
    begin(run)


def flipped(path: Path, count: int) -> Iterator[None]:
    """``count`` times the file with another bit turned."""
    data, numbers = path.read_bytes(), random.Random(3)
    for _ in range(count):
        place = numbers.randrange(len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << numbers.randrange(8)]) + data[place + 1 :])
        yield
    path.write_bytes(data)


def test_a_checkpoint_with_a_bit_turned_is_refused_or_whole(run: Path) -> None:
    network = SHPE(SHPEConfig("dilated_resnet_nano", decoder_width=16))
    save_state(run, 3, {"networks": network})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert zipfile.ZipFile(run / "last.pt").comment.startswith(b"sha256:")
    refused = 0
    for _ in flipped(run / "last.pt", 40):
        try:
            assert load_state(run, {"networks": network}, torch.device("cpu")) == 3
        except AIHError:
            refused += 1
        else:
            assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert refused >= 38
    assert load_state(run, {"networks": network}, torch.device("cpu")) == 3


def test_weights_with_a_bit_turned_are_refused(run: Path) -> None:
    for _ in flipped(run / "weights/model.safetensors", 40):
        with pytest.raises(AssetError, match=r"model\.safetensors"):
            SHPE.from_pretrained(run / "weights")
    SHPE.from_pretrained(run / "weights")


def test_weights_and_checkpoints_of_earlier_versions_need_no_checksum(run: Path) -> None:
    network = SHPE.from_pretrained(run / "weights")
    save_file(network.state_dict(), run / "weights/model.safetensors")
    torch.save({"schema": 1, "step": 7, "networks": network.state_dict()}, run / "last.pt")
    SHPE.from_pretrained(run / "weights")
    assert load_state(run, {"networks": network}, torch.device("cpu")) == 7


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused_by_name(run: Path, value: float) -> None:
    network = SHPE.from_pretrained(run / "weights")
    with torch.no_grad():
        network.encoder.conv1.weight[0, 0, 0, 0] = value  # type: ignore[operator,index]
    network.save_pretrained(run / "weights")
    with pytest.raises(AssetError, match=r"expected finite numbers, found others in tensor encoder\.conv1\.weight"):
        SHPE.from_pretrained(run / "weights")


@pytest.mark.parametrize("data", [b"", b"PK", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_named(run: Path, data: bytes) -> None:
    (run / "last.pt").write_bytes(data)
    with pytest.raises(
        AIHError, match=r"last\.pt: expected a checkpoint to resume from, found none that can be used \(\w"
    ):
        load_state(run, {}, torch.device("cpu"))


def test_weights_are_as_readable_as_the_umask_says(run: Path) -> None:
    modes = {path.stat().st_mode & 0o777 for path in (run / "weights").iterdir()}
    assert modes == {(run / "metrics.jsonl").stat().st_mode & 0o777}


def test_settings_of_another_network_hide_no_weights(run: Path) -> None:
    with pytest.raises(AssetError, match="expected weights of hasm"):
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
