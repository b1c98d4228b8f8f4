from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aih_gen.errors import AIHError
from hdr_model.cli import main
from hdr_model.nets.shpe import SHPE
from tests.data.samples import write_samples


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "shpe", "--data", "d", "--out", "o", "--steps", "0"], "--steps: expected a number above 0, found 0"),
        (
            ["train", "shpe", "--data", "d", "--out", "o", "--minutes", "1e300"],
            "--minutes: expected a time above 0",
        ),
        (["train", "shpe", "--data", "d", "--out", "o", "--size", "1000000"], "--size: expected at most 2048, found"),
        (["train", "shpe", "--data", "d", "--out", "o", "--steps", "9" * 20], "--steps: expected at most 1000000000"),
        (["train", "shpe", "--data", "d", "--out", "o", "--seed", "9" * 20], "--seed below 2^63"),
        (["train", "shpe", "--data", "d", "--out", "o", "--workers", "100000"], "--workers: expected at most 1024"),
        (["train", "shpe", "--data", "d", "--out", "o", "--batch-size", "1"], "--batch-size: expected at least 2"),
        (["train", "shpe", "--data", "nowhere", "--out", "o"], "nowhere"),
        (["train", "shpe", "--data", "d", "--out", "o", "--device", "abacus"], "abacus"),
        (
            ["train", "hdrm", "--data", "d", "--out", "o", "--no-removal", "--no-deocclusion"],
            "expected at most one of them",
        ),
        (["eval", "--data", "d", "--out", "o"], "d: expected a shard"),
        (["eval", "--data", "d", "--vgg", "v.pth", "--out", "o"], "--vgg and --lpips, found only one"),
        (["eval", "--data", "d", "--vgg", "v.pth", "--lpips", "l.pth", "--out", "o"], "v.pth"),
        (["eval", "--data", "d", "--inception", "i.pth", "--out", "o"], "i.pth"),
        (["eval", "--out", "o"], "expected --data with shards, or --dataset and --root, found neither"),
        (["eval", "--data", "d", "--dataset", "tzionas", "--root", "r", "--out", "o"], "found both"),
        (["eval", "--dataset", "tzionas", "--out", "o"], "--root: expected the folder of tzionas, found nothing"),
        (["eval", "--dataset", "tzionas", "--root", "r", "--limit", "0", "--out", "o"], "--limit: expected at least 1"),
        (["eval", "--dataset", "tzionas", "--root", "r", "--weights", "w", "--out", "o"], "found no such folder"),
        (["infer", "--out", "o"], "photo"),
        (["infer", "p.png", "--video", "v.mp4", "--out", "o"], "found both"),
        (["infer", "p.png", "--batch-size", "0", "--out", "o"], "--batch-size: expected at least 1, found 0"),
        (["infer", "p.png", "--batch", "0", "--out", "o"], "--batch-size: expected at least 1, found 0"),
        (["infer", "--video", "v.mp4", "--out", "o"], "v.mp4"),
        (["ablate", "--data", "d", "--held-out", "h", "--out", "o", "--budget", "0"], "--budget: expected at least 1"),
        (["ablate", "--data", "d", "--held-out", "h", "--out", "o"], "d: expected a shard"),
        (["bench", "--batch-sizes", "0"], "--batch-sizes: expected 1 to 1024, found 0"),
        (["bench", "--batch-sizes", "1", "100000000"], "--batch-sizes: expected 1 to 1024, found 100000000"),
        (["bench", "--seconds", "nan"], "--seconds: expected a time above 0 and up to an hour, found nan"),
        (["bench", "--seconds", "inf"], "--seconds: expected a time above 0 and up to an hour, found inf"),
        (["demo", "--port", "0"], "--port: expected 1 to 65535, found 0"),
        (["infer", "nowhere.png", "--out", "o"], "nowhere.png"),
        (
            ["train", "shpe", "--data", "d", "--out", "o", "--start-from", "w"],
            "w: expected weights of shpe, found no such folder",
        ),
        (["train", "hasm", "--data", "d", "--out", "o", "--start-from", "w", "--init", "i"], "expected one of them"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.err.startswith("hdr: error: ") and said in output.err
    assert output.err.count("\n") == 1 and not output.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "import-reference"),
        (["train"], "hdrm"),
        (["train", "shpe"], "--data"),
        (["train", "shpe", "--data", "d", "--out", "o", "--stepps", "3"], "--steps INT"),
        (["train", "shpe", "--data", "d", "--out", "o", "--steps", "many"], "'many'"),
    ],
)
def test_a_typing_mistake_keeps_tyros_hint(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert said in output.err and output.err.splitlines()[-1].startswith("hdr: error: ") and not output.out
    assert not list(tmp_path.iterdir())


def test_a_video_among_photos_is_told_where_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clip := tmp_path / "clip.MP4").write_bytes(b"\0")
    assert main(["infer", str(clip), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said == f"hdr: error: {clip}: expected a photo, found a video, which --video takes\n"


@pytest.mark.parametrize(("data", "held_out"), [("a", "a"), ("a", "a/aih-00000.h5"), ("a/aih-00000.h5", "a")])
def test_shards_that_are_trained_on_are_not_held_out(
    data: str, held_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_samples(tmp_path / "a/aih-00000.h5", 2)
    arguments = ["train", "hasm", "--data", data, "--validate", held_out, "--out", "run", "--preset", "nano"]
    assert main(arguments) == 2
    said = f"--validate: expected shards that are not trained on, found {held_out}, which is in --data"
    assert capsys.readouterr().err == f"hdr: error: {said}\n"
    assert not (tmp_path / "run").exists()


def test_a_size_the_network_cannot_take_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_samples(tmp_path / "data/aih-00000.h5", 2)
    arguments = ["train", "hasm", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--size", "50"]
    assert main([*arguments, "--preset", "nano"]) == 2
    assert capsys.readouterr().err == "hdr: error: --size: expected a multiple of 32 for hasm, found 50\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "--data", "data", "--out", "link"],
        ["eval", "--data", "data/aih-00000.h5", "--train-data", "data", "--out", "data"],
        ["eval", "--data", "data", "--weights", "files", "--out", "files"],
        ["eval", "--data", "data", "--predictions", "files", "--out", "files"],
        ["eval", "--dataset", "tzionas", "--root", "files", "--out", "files"],
        ["train", "shpe", "--data", "data", "--out", "data"],
        ["train", "shpe", "--data", "data", "--out", "link", "--resume"],
        ["ablate", "--data", "data", "--held-out", "data", "--out", "data"],
        ["import-reference", "--hasm", "files/hasm/model.safetensors", "--hdrm", "b", "--shpe", "c", "--out", "files"],
        ["import-reference", "--hasm", "a", "--hdrm", "b", "--shpe", "c", "--out", "data/aih-00000.h5"],
    ],
)
def test_no_command_writes_over_what_it_reads(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_samples(tmp_path / "data/aih-00000.h5", 2)
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "files/hasm").mkdir(parents=True)
    (tmp_path / "files/hasm/model.safetensors").write_text("a checkpoint")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main([*arguments, *(["--preset", "nano"] if arguments[0] == "train" else [])]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("hdr: error: ")
    if arguments[0] in ("eval", "import-reference") and arguments[-1] != "data/aih-00000.h5":
        assert "expected another place than" in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys; from hdr_model.cli import main; assert 'torch' not in sys.modules; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout and "infer" in done.stdout


@pytest.mark.parametrize("arguments", [["train", "hasm", "--help"], ["--help"]])
def test_a_reader_that_has_gone_is_no_error(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "hdr_model.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(28, "No space left on device", "out/x"), 2, "hdr: error: out/x: No space left on device\n"),
        (OSError("encoder error"), 2, "hdr: error: files: encoder error\n"),
        (AIHError("a\nb: expected a photo"), 2, "hdr: error: a b: expected a photo\n"),
        (KeyboardInterrupt(), 130, "hdr: interrupted; what is complete stays\n"),
    ],
)
def test_what_stops_a_command_is_one_line(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr("hdr_model.inference.infer.infer_photos", stop)
    assert main(["infer", "a.png", "--out", "out"]) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("ask", [lambda: torch.empty(1 << 60), lambda: np.empty(1 << 55)], ids=["torch", "numpy"])
def test_too_little_memory_is_one_line(
    ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hdr_model.inference.infer.infer_photos", lambda *_: ask())
    assert main(["infer", "a.png", "--out", "out"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("hdr: error: memory: expected enough") and said.count("\n") == 1


def test_training_is_one_command_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_samples(tmp_path / "data/aih-00000.h5", 4)
    arguments = ["train", "shpe", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--resume"]
    sizes = ["--preset", "nano", "--size", "64", "--batch-size", "2", "--device", "cpu"]
    assert main([*arguments, *sizes, "--steps", "1"]) == 0
    assert main([*arguments, *sizes, "--steps", "2"]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "run/weights")] * 2
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 2


def test_training_starts_from_trained_weights_of_the_same_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_samples(tmp_path / "data/aih-00000.h5", 4)
    arguments = ["train", "shpe", "--data", str(tmp_path / "data"), "--size", "64", "--batch-size", "2", "--steps", "1"]
    nano = [*arguments, "--preset", "nano", "--out"]
    assert main([*nano, str(tmp_path / "first"), "--seed", "1"]) == 0
    still = ["--learning-rate", "1e-9", "--start-from", str(tmp_path / "first")]
    assert main([*nano, str(tmp_path / "second"), "--seed", "2", *still]) == 0
    first, second = (
        dict(SHPE.from_pretrained(tmp_path / run / "weights").named_parameters()) for run in ("first", "second")
    )
    for name, parameter in first.items():
        assert torch.allclose(parameter, second[name], atol=1e-6), name
    assert json.loads((tmp_path / "second/run.json").read_text())["start_from"] == str(tmp_path / "first")

    capsys.readouterr()
    assert main([*arguments, "--preset", "light", "--out", str(tmp_path / "third"), *still]) == 2
    said = capsys.readouterr().err
    assert "first/weights: expected a network of the sizes that are to be trained, with decoder " in said
    assert "pyramid, found cascade" in said
    assert said.count("\n") == 1 and not (tmp_path / "third").exists()
