"""``hdr eval`` on other people's photos with one command: trees in their layout, networks that were never trained."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from hdr_model.cli import main
from hdr_model.config import preset
from hdr_model.evaluation.predict import ALONE, TRUE
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.shpe import SHPE
from tests.data.interhand import Tree, export_hands, read_json, write_json, write_tree
from tests.data.tzionas import write_frames

OWN = "HDR: wrist, true bone length"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    for network in (HASM(preset("hasm", "nano")), HDRM(preset("hdrm", "nano")), SHPE(preset("shpe", "nano"))):
        network.save_pretrained(folder / network.task)
        (folder / network.task / "run.json").write_text('{"size": 64}')
    return folder


@pytest.fixture(scope="module")
def interhand(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Six photos: of a pair, of a right hand, and of a left hand, which has no fit."""
    folder = tmp_path_factory.mktemp("interhand")
    tree = write_tree(folder / "data", export_hands(folder / "mano"), frames=1)
    fits = read_json(tree.prefix, "MANO_NeuralAnnot")
    last = max(fits["0"], key=int)
    fits["0"][last] = dict.fromkeys(fits["0"][last])
    write_json(tree.prefix, MANO_NeuralAnnot=fits)
    return tree


def figures(out: Path) -> dict[tuple[str, str], float]:
    """By line and column."""
    with open(out / "grids.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["line"], row["column"]): float(row["value"] or "nan") for row in rows}


def test_interhands_columns_are_one_command_and_its_shards_are_kept(
    interhand: Tree, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "eval"
    command = ["eval", "--dataset", "interhand26m", "--root", str(interhand.root), "--out", str(out), "--device", "cpu"]
    command += ["--weights", str(weights), "--hand-model", str(interhand.hand_model)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "6 annotations: 6 used" in said and "MPJPE, SHPE alone, all" in said
    assert "Hands: SH 4, IH 4, ALL 8" in (out / "metrics.json").read_text()
    found = figures(out)
    for split in ("SH", "IH", "ALL"):
        assert math.isfinite(found[f"{OWN} · {ALONE}", split]) and math.isfinite(found[f"{OWN} · {TRUE}", split])
        assert math.isfinite(found["HDR, ALL branch [InterHand2.6M]", split])
    assert "2 of them have no mask" in (out / "metrics.json").read_text()
    (shard,) = (out / "annotated").glob("*.h5")
    before = shard.stat()
    assert main(command) == 0
    assert (shard.stat().st_ino, shard.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert figures(out).keys() == found.keys()


def test_tzionas_error_in_pixels_is_one_command(weights: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "frames")
    for name in ("0002", "0003", "0004", "0005"):
        (tmp_path / "frames" / "01" / "joints_2D_GT" / f"{name}.txt").unlink()
    command = ["eval", "--dataset", "tzionas", "--root", str(tmp_path / "frames"), "--out", str(tmp_path / "eval")]
    assert main([*command, "--weights", str(weights), "--device", "cpu"]) == 0
    found = figures(tmp_path / "eval")
    right, left, both = (found[ALONE, column] for column in ("right", "left", "all"))
    assert both == pytest.approx((right + left) / 2), "13 joints each"
    assert found["SHPE + HDR [Tzionas]", "all"] == 8.7
    assert all(math.isnan(found[TRUE, column]) for column in ("right", "left", "all"))


def test_what_the_photos_lack_is_one_sentence(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for dataset, said in (("tzionas", "expected joints_2D_GT/NAME.txt"), ("interhand26m", "hand_model: expected")):
        command = ["eval", "--dataset", dataset, "--root", str(tmp_path), "--out", str(tmp_path / "eval")]
        assert main([*command, "--weights", str(weights)]) == 2
        error = capsys.readouterr().err
        assert said in error and error.rstrip().count("\n") == 0
    assert not (tmp_path / "eval").exists()
