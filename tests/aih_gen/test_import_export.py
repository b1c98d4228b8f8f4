"""Imports and exports: what goes out comes back."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aih_gen.cli import main
from aih_gen.errors import AIHError
from aih_gen.exports.aih_folders import export_aih_folders
from aih_gen.exports.coco import export_coco, rle
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.verify import sample_problems
from aih_gen.sources import open_source
from aih_gen.sources.aih_folders import AIHRenderConfig, render_folder
from aih_gen.sources.aih_syn_folders import AIHSynConfig
from aih_gen.sources.object_npy import read_object_array
from tests.data.samples import make_sample, write_samples


@pytest.fixture
def shards(tmp_path: Path) -> AIHShards:
    write_samples(tmp_path / "in" / "aih_render-00000.h5", 4)
    return AIHShards(tmp_path / "in")


def test_the_authors_folders_come_back_but_for_jpeg(shards: AIHShards, tmp_path: Path) -> None:
    export_aih_folders(shards, render_folder(tmp_path / "out", "machine", "train"))
    back = open_source(AIHRenderConfig(source=str(tmp_path / "out"), size=64)).samples(range(4))
    for before, after in zip(shards[:], back, strict=True):
        for name in ("amodal_right", "amodal_left", "visible_right", "visible_left"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
        assert np.abs(before.image.astype(int) - after.image).mean() < 6
        np.testing.assert_allclose(before.occlusion, after.occlusion)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
def test_rle_is_pycocotools(shards: AIHShards, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    masks = [rng.random((37, 50)) < share for share in (0, 0.02, 0.5, 1)] + [shards[0].amodal_right]
    for mask in masks:
        np.testing.assert_array_equal(coco.decode(rle(mask)), mask)
        assert rle(mask)["counts"].encode() == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    (tmp_path / "coco").mkdir()
    export_coco(shards, tmp_path / "coco")
    document = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert len(document["images"]) == 4 and len(document["annotations"]) == 8


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_loads_and_judges_the_export(
    shards: AIHShards, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco, judge = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    (tmp_path / "coco").mkdir()
    export_coco(shards, tmp_path / "coco")
    document = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert document.keys() == {"info", "licenses", "images", "annotations", "categories"}
    truth = coco.COCO(str(tmp_path / "coco" / "annotations.json"))
    truth.info()
    results = [
        {name: found[name] for name in ("image_id", "category_id", "segmentation")} | {"score": 1.0}
        for found in document["annotations"]
    ]
    evaluation = judge.COCOeval(truth, truth.loadRes(results), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1)
    capsys.readouterr()


@pytest.mark.parametrize("form", ["aih-folders", "coco", "webdataset"])
def test_an_interrupted_export_leaves_nothing_and_can_be_run_again(
    shards: AIHShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    out, read = tmp_path / "out", AIHShards.__getitem__

    def interrupted(self: AIHShards, place: Any) -> Any:
        if place == 2:
            raise KeyboardInterrupt
        return read(self, place)

    command = ["export", str(tmp_path / "in"), f"--to={form}", f"--out={out}"]
    with monkeypatch.context() as patch:
        patch.setattr(AIHShards, "__getitem__", interrupted)
        assert main(command) == 130
    assert not [path for path in out.rglob("*") if path.is_file()]
    assert main(command) == 0
    assert [path.name for path in out.rglob("preview*")] == ["preview.jpg"] and not list(tmp_path.rglob(".*"))
    assert main(command) == 2


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(
    shards: AIHShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, page, poses = str(tmp_path / "in"), tmp_path / "page.html", tmp_path / "fits.npz"
    page.write_text("old")
    zeros = {"pose": (2, 2, 48), "betas": (2, 2, 10), "transl": (2, 2, 3)}
    np.savez(poses, **{name: np.zeros(shape) for name, shape in zeros.items()})  # type: ignore[arg-type]
    assert main(["syn", f"--source={source}", f"--out={tmp_path / 'made'}", "--count=1"]) == 0
    before = sorted(tmp_path.rglob("*"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for command in (
        ["preview", source, f"--out={page}"],
        ["info", source, "--write"],
        ["export", source, "--to=coco", f"--out={tmp_path / 'coco'}"],
        ["merge", str(tmp_path / "made"), f"--out={tmp_path / 'merged'}"],
        ["import", str(poses), "--from=npz", f"--out={tmp_path}"],
        ["syn", f"--source={source}", f"--out={tmp_path / 'made'}", "--count=2"],
    ):
        assert main(command) == 2, command
        assert capsys.readouterr().err.splitlines()[-1].endswith("that can be written to (No space left on device)")
    assert sorted(tmp_path.rglob("*")) == before
    assert page.read_text() == "old"


def _syn_tree(root: Path) -> None:
    folder, base = root / "AIH_syn", root / "AIH_syn" / "machine_annot" / "val"
    for side, name in enumerate(("right", "left")):
        letter = name[0]
        images, labels = base / "images" / f"{letter}_images", base / "labels" / f"in_{letter}_images/{letter}_amodal"
        for path in (images, labels, folder / "filtered_list", folder / "syn_cfgs"):
            path.mkdir(parents=True, exist_ok=True)
        for number in (10, 11):
            sample = make_sample(number, 256)
            target, hand = sample.target[side], sample.amodal[side]
            Image.fromarray(target).save(images / f"{number}.jpg", quality=95)
            Image.fromarray(hand.astype(np.uint8)).save(labels / f"{number}.png")
        (folder / "filtered_list" / f"machine_annot_val_sh_{name}_filtered.txt").write_text("1.0e1\n11\n")
    gain, cfgs = np.array([1.1, 0.9, 1.0]), np.empty(3, object)
    for k, side in enumerate(("right", "left", "foot")):
        cfgs[k] = {
            "loop_side": side, "loop_side_idx": 0, "another_side_idx": 1, "occlusion_rate": np.float64(0.2),
            "r_aug_list": [[0.05, -0.02], 1.1, 20.0, gain], "l_aug_list": [[0.01, 0.0], 0.9, -15.0, gain],
        }  # fmt: skip
    np.save(folder / "syn_cfgs" / "all_machine_annot_val_syn_cfgs.npy", cfgs)


def test_the_corrected_way_is_the_published_one_mirrored_back_and_without_black_corners(tmp_path: Path) -> None:
    _syn_tree(tmp_path)
    settings: dict[str, Any] = {"source": str(tmp_path), "split": "val", "branch": "machine"}
    corrected = open_source(AIHSynConfig(**settings))
    published = open_source(AIHSynConfig(**settings, as_published=True))
    assert corrected.report.broken == {"broken entry": ["entry 2"]}
    for k, (ours, theirs) in enumerate(zip(corrected.samples([0, 1]), published.samples([0, 1]), strict=True)):
        assert not list(sample_problems(ours)) and not list(sample_problems(theirs))
        step = -1 if k else 1  # the second entry loops over a left hand
        base, amodal = (ours.target_left, ours.amodal_left) if k else (ours.target_right, ours.amodal_right)
        assert ours.provenance["covered"] == ("left" if k else "right")
        assert (amodal[:, ::step] ^ theirs.amodal_right).mean() < 0.004
        shown = theirs.target_right.any(-1)
        assert np.abs(base[:, ::step].astype(int) - theirs.target_right)[shown].mean() < 2


def test_an_object_array_runs_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    array = np.empty(1, object)
    array[0] = Bomb()
    np.save(tmp_path / "bomb.npy", array)
    with pytest.raises(AIHError, match="found the name pathlib"):
        read_object_array(tmp_path / "bomb.npy")
    assert not (tmp_path / "ran").exists()
