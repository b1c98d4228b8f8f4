from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aih_gen.errors import AIHError
from hdr_model.cli import main
from hdr_model.nets.shpe import SHPE
from tests.data.samples import write_samples


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "train, eval, ablate, infer, bench, demo, export, import-reference"),
        (["train"], "{hasm, hdrm, shpe}"),
        (["train", "shpe"], "--data"),
        (["train", "shpe", "--data", "d", "--out", "o", "--stepps", "3"], "--stepps"),
        (["train", "shpe", "--data", "d", "--out", "o", "--steps", "many"], "'many'"),
        (["train", "shpe", "--data", "d", "--out", "o", "--steps", "0"], "--steps should be above 0, found 0"),
        (["train", "shpe", "--data", "d", "--out", "o", "--batch-size", "1"], "--batch-size should be at least 2"),
        (["train", "shpe", "--data", "nowhere", "--out", "o"], "nowhere"),
        (["train", "shpe", "--data", "d", "--out", "o", "--device", "abacus"], "abacus"),
        (["train", "hdrm", "--data", "d", "--out", "o", "--no-removal", "--no-deocclusion"], "nothing to paint"),
        (["eval", "--data", "d", "--out", "o"], "d: expected a shard"),
        (["eval", "--data", "d", "--vgg", "v.pth", "--out", "o"], "--vgg and --lpips, found only one"),
        (["eval", "--data", "d", "--vgg", "v.pth", "--lpips", "l.pth", "--out", "o"], "v.pth"),
        (["eval", "--data", "d", "--inception", "i.pth", "--out", "o"], "i.pth"),
        (["eval", "--out", "o"], "expected --data with shards, or --dataset and --root, found neither"),
        (["eval", "--data", "d", "--dataset", "tzionas", "--root", "r", "--out", "o"], "found both"),
        (["eval", "--dataset", "tzionas", "--out", "o"], "--root: expected the folder of tzionas, found nothing"),
        (["eval", "--dataset", "tzionas", "--root", "r", "--limit", "0", "--out", "o"], "--limit: expected at least 1"),
        (["eval", "--dataset", "tzionas", "--root", "r", "--weights", "w", "--out", "o"], "w/hasm"),
        (["infer", "--out", "o"], "photo"),
        (["infer", "p.png", "--video", "v.mp4", "--out", "o"], "found both"),
        (["infer", "p.png", "--batch", "0", "--out", "o"], "--batch should be at least 1, found 0"),
        (["infer", "--video", "v.mp4", "--out", "o"], "v.mp4"),
        (["ablate", "--data", "d", "--held-out", "h", "--out", "o", "--budget", "0"], "--budget: expected at least 1"),
        (["ablate", "--data", "d", "--held-out", "h", "--out", "o"], "d: expected a shard"),
        (["bench", "--batch-sizes", "0"], "--batch-sizes: expected numbers above 0, found 0"),
        (["demo", "--port", "0"], "--port: expected 1 to 65535, found 0"),
        (["infer", "nowhere.png", "--out", "o"], "nowhere.png"),
        (
            ["train", "shpe", "--data", "d", "--out", "o", "--start-from", "w"],
            "w: expected weights of shpe, found no config.json",
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


def test_a_size_the_network_cannot_take_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_samples(tmp_path / "data/aih-00000.h5", 2)
    arguments = ["train", "hasm", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--size", "50"]
    assert main([*arguments, "--preset", "nano"]) == 2
    assert capsys.readouterr().err == "hdr: error: --size: expected a multiple of 32 for hasm, found 50\n"
    assert not (tmp_path / "run").exists()


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
