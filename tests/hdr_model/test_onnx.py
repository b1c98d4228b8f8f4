"""The networks as ONNX: onnxruntime computes what torch does, and HDR does not notice."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aih_gen.assets import asset_path
from aih_gen.errors import AIHError, AssetError
from hdr_model.cli import main
from hdr_model.inference import export as exporting
from hdr_model.inference.export import CACHE, TOLERANCE, export, to_onnx
from hdr_model.inference.photos import read_photo
from hdr_model.inference.pipeline import HDR
from hdr_model.nets.onnx_network import ONNXHASM, ONNXHDRM
from tests.data.networks import NETWORKS, make
from tests.data.samples import write_samples

DEMO = asset_path("demo") / "two_hands.png"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "shipped"
    assert main(["export", "--to", "onnx", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for network in map(make, NETWORKS):
        network.save_pretrained(folder / network.task / "weights")
        (folder / network.task / "run.json").write_text(json.dumps({"task": network.task, "size": 64}))
    return folder


@pytest.fixture(scope="module")
def exported(weights: Path) -> Path:
    folder = weights.parent / f"{weights.name}-onnx"
    export(weights, folder)
    return folder


def test_hdr_finds_in_a_photo_by_onnxruntime_what_it_finds_by_torch(shipped: Path) -> None:
    photo = read_photo(DEMO)
    ours, theirs = HDR.from_pretrained()(photo), HDR.from_pretrained(shipped, engine="onnxruntime")(photo)
    for name, mask in ours.masks.items():
        assert mask.sum() > 1000 and (mask != theirs.masks[name]).sum() <= 5, name
    for first, second in ((ours.right, theirs.right), (ours.left, theirs.left)):
        assert first.present and second.present
        assert np.abs(first.joints_2d - second.joints_2d).max() < 0.1
        assert np.abs(first.joints_3d - second.joints_3d).max() < 1e-4
        assert (np.abs(first.image.astype(int) - second.image).max(-1) > 1).sum() <= 5


def test_every_network_is_within_the_tolerance_of_torch(weights: Path, tmp_path: Path) -> None:
    told: dict[str, float] = {}
    export(weights, tmp_path / "out", lambda network: told.update({network.task: network.difference}))
    assert list(told) == ["hasm", "hdrm", "shpe"]
    assert all(0 <= difference <= TOLERANCE for difference in told.values())
    network = ONNXHASM.from_pretrained(tmp_path / "out" / "hasm")
    reference = make(NETWORKS[0]).eval()
    image = torch.randn(5, 3, 96, 160)
    with torch.inference_mode():
        found, expected = network(image), reference(image)
    assert list(found) == list(expected)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=TOLERANCE, rtol=0)


def test_what_differs_from_torch_is_not_written(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traced = exporting._traced(make(NETWORKS[1]).eval(), 64)
    other = make(NETWORKS[1]).eval()
    with torch.no_grad():
        next(other.parameters()).mul_(1.5)
    monkeypatch.setattr(exporting, "_traced", lambda *_: traced)
    with pytest.raises(AIHError, match=r"^hdrm: expected onnxruntime within 0.0001 of torch, found a difference of"):
        to_onnx(other, 64)


def test_infer_runs_by_onnxruntime(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "infer",
        str(DEMO),
        "--weights",
        str(exported),
        "--out",
        str(tmp_path),
        "--box",
        "100",
        "100",
        "400",
        "400",
    ]
    assert main([*arguments, "--only", "result"]) == 2  # torch
    assert "found hasm/model.onnx of hdr export, which the engine onnxruntime runs" in capsys.readouterr().err
    assert main([*arguments, "--only", "result", "--engine", "onnxruntime"]) == 0
    assert (tmp_path / "two_hands" / "result.json").is_file()


def test_eval_measures_and_the_demo_shows_an_export(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_samples(tmp_path / "aih-00000.h5", 2, size=64)
    arguments = ["--weights", str(exported), "--engine", "onnxruntime"]
    assert main(["eval", "--data", str(tmp_path), "--out", str(tmp_path / "eval"), *arguments]) == 0
    settings = json.loads((tmp_path / "eval" / "metrics.json").read_text())["settings"]
    assert (settings["engine"], settings["precision"]) == ("onnxruntime", "float32")
    served: list[HDR] = []

    def make(hdr: HDR, port: int) -> None:
        served.append(hdr)
        raise AIHError(f"not served at {port}")

    monkeypatch.setattr("hdr_model.inference.demo.server.make_server", make)
    assert main(["demo", *arguments]) == 2
    assert capsys.readouterr().err.endswith("not served at 7860\n")
    assert isinstance(served[0].hasm, ONNXHASM)


def test_a_pickled_hdr_still_runs(exported: Path) -> None:
    hdr = HDR.from_pretrained(exported, engine="onnxruntime", device="auto")
    assert (hdr.segmentation_size, hdr.hand_size, hdr.device.type) == (64, 64, "cpu")
    photo = np.random.default_rng(0).integers(0, 255, (96, 80, 3), np.uint8)
    copy = pickle.loads(pickle.dumps(hdr))  # noqa: S301
    np.testing.assert_array_equal(copy(photo).masks["right_amodal"], hdr(photo).masks["right_amodal"])


def test_it_computes_on_the_cpu_in_float32_at_the_sides_it_knows(exported: Path) -> None:
    with pytest.raises(AIHError, match="bfloat16: expected the engine torch"):
        HDR.from_pretrained(exported, engine="onnxruntime", bfloat16=True)
    hasm, hdrm = ONNXHASM.from_pretrained(exported / "hasm"), ONNXHDRM.from_pretrained(exported / "hdrm")
    with pytest.raises(AIHError, match="engine onnxruntime: expected the device cpu, found meta"):
        hasm.to("meta")
    with pytest.raises(AIHError, match="HASM: expected images with sides that 32 divides, found 64x65"):
        hasm(torch.zeros(1, 3, 64, 65))
    with pytest.raises(AIHError, match="expected x of batch x 8 x 64 x 64, found 1 x 8 x 64 x 96"):
        hdrm(torch.zeros(1, 8, 64, 96), torch.zeros(1, 8, 64, 96))


def test_a_damaged_export_is_named(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "copy")
    model = folder / "shpe" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    with pytest.raises(AssetError, match=r"shpe/model\.onnx: expected SHA-256 .* of config\.json, found"):
        HDR.from_pretrained(folder, engine="onnxruntime")
    model.unlink()
    with pytest.raises(AssetError, match=r"shpe: expected config\.json and model\.onnx of hdr export"):
        HDR.from_pretrained(folder, engine="onnxruntime")


def test_weights_are_exported_once_and_kept(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path))
    made: list[Path] = []
    monkeypatch.setattr(exporting, "export", lambda of, out: (made.append(out), export(of, out)))
    for _ in range(2):
        HDR.from_pretrained(weights, engine="onnxruntime")
    (kept,) = tmp_path.iterdir()
    assert made == [kept]
    (kept / "hdrm" / "model.onnx").write_bytes(b"half")
    HDR.from_pretrained(weights, engine="onnxruntime")
    assert made == [kept, kept]


def test_export_leaves_a_folder_that_is_there_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--to", "onnx", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.err == f"hdr: error: {tmp_path}: expected a folder that is not there yet, found one\n"
    assert not said.out, "the networks were traced before that was said"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
@pytest.mark.parametrize("command", [["export", "--to", "onnx"], ["infer", str(DEMO), "--engine", "onnxruntime"]])
def test_without_the_extra_one_sentence_says_what_to_install(
    command: list[str],
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    expected = f'hdr: error: ONNX: expected {package}, found it missing; pip install "aih-hdr[onnx]"\n'
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "out").exists()
