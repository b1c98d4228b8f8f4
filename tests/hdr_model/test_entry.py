"""Another program's results, in the layout of docs/benchmark.md, are scored as HDR's own are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aih_gen.exports.coco import export_coco
from aih_gen.shards.reader import AIHShards
from hdr_model.cli import main
from hdr_model.data.aih import AIHDataset
from hdr_model.evaluation.entry import ENTRY, EntryFolder, with_entry
from hdr_model.evaluation.inpainting import TELEA, with_telea
from hdr_model.evaluation.metrics import PSNR_LIMIT
from hdr_model.evaluation.pose import pose_grids
from hdr_model.evaluation.predict import FIELDS, FOUND, Predictions, predict
from hdr_model.evaluation.protocols import HDR_OWN, P1, P3
from hdr_model.evaluation.rows import result_rows
from hdr_model.evaluation.scores import COPY, HASM, SampleMeta, Scores, add_scores
from hdr_model.inference.pipeline import HDR, MEAN_BONE_LENGTH
from tests.hdr_model.test_evaluate import (  # noqa: F401
    SAMPLES,
    SIZE,
    CarelessHASM,
    GreyHDRM,
    SamePoseSHPE,
    shards,
    stubbed,
)
from tests.hdr_model.test_pipeline import hdr, weights  # noqa: F401

SIDES = ("right", "left")
EVERYTHING = list(range(len(SAMPLES)))


def write_truth(folder: Path, joints: str = "npz") -> Path:
    """The layout as docs/benchmark.md has it, of results without a fault."""
    for position, sample in enumerate(SAMPLES):
        own = folder / f"{position:08d}"
        own.mkdir(parents=True)
        for side in SIDES:
            for kind in ("amodal", "visible"):
                mask = getattr(sample, f"{kind}_{side}")
                Image.fromarray(255 * mask.astype(np.uint8)).save(own / f"mask_{side}_{kind}.png")
            Image.fromarray(getattr(sample, f"target_{side}")).save(own / f"{side}_alone.png")
        relative = sample.joints_3d - sample.joints_3d[:, :1]
        if joints == "npz":
            np.savez(own / "joints.npz", joints_2d=sample.joints_2d, joints_3d=relative)
        else:
            hands: dict[str, Any] = {
                side: {"joints_2d": flat.tolist(), "joints_3d": deep.tolist()}
                for side, flat, deep in zip(SIDES, sample.joints_2d, relative, strict=True)
            }
            hands["left"] = hands["left"] if sample.present[1] else None
            (own / "result.json").write_text(json.dumps(hands))
    return folder


def network() -> HDR:
    return stubbed(CarelessHASM(1), GreyHDRM(), SamePoseSHPE())


def scores_of(shards: Path, beside: Callable[[Predictions], Predictions]) -> Scores:  # noqa: F811
    gathered, batch = Scores(), AIHDataset(shards, FIELDS)[EVERYTHING]
    metas = [SampleMeta(both) for both in batch["present"].all(1).tolist()]
    add_scores(gathered, EVERYTHING, batch, beside(predict(network(), batch)), None, metas)
    return gathered


def entered(shards: Path, folder: Path) -> Scores:  # noqa: F811
    entry = EntryFolder(folder, EVERYTHING).read(EVERYTHING, SIZE, SIZE)
    return scores_of(shards, lambda predicted: with_entry(predicted, entry))


@pytest.mark.parametrize("joints", ["npz", "json"])
def test_the_truth_has_no_fault(shards: Path, tmp_path: Path, joints: str) -> None:  # noqa: F811
    scores = entered(shards, write_truth(tmp_path / "truth", joints))
    for part in ("amodal", "occluded", "visible"):
        assert scores.overlap[part, ENTRY].pooled == 1
    assert scores.overlap["amodal", HASM].pooled < 0.9
    for region in ("hole", "hidden", "removal", "whole"):
        assert scores.region[region, ENTRY].psnr == PSNR_LIMIT
        assert scores.region[region, ENTRY].ssim == pytest.approx(1)
    for protocol in (P1, P3, HDR_OWN):
        assert np.nanmax(scores.pose.errors(ENTRY, protocol)) < 1e-3
    rows = {(row.metric, row.baseline_name): row for row in result_rows(scores)}
    assert rows["handedness accuracy of pairs", ENTRY].baseline == 1
    assert rows["handedness accuracy of pairs", ENTRY].ours == pytest.approx(2 / 3)
    assert rows["IoU, visible part, over the set", ENTRY].baseline == 1
    assert rows["PSNR in the hole, true masks", ENTRY].baseline == PSNR_LIMIT
    assert rows[f"MPJPE, {FOUND}, all hands", ENTRY].baseline == pytest.approx(0, abs=1e-3)
    for grid in pose_grids(scores.pose):
        if "EPE" in grid.title:
            assert next(line for line in grid.lines if line.name == ENTRY).values == (0, 0, 0)


def test_our_own_results_score_there_as_they_do_here(shards: Path, tmp_path: Path) -> None:  # noqa: F811
    seen = predict(network(), AIHDataset(shards, FIELDS)[EVERYTHING])
    joints = {name: np.full((len(SAMPLES), 2, 21, width), np.nan, np.float32) for name, width in (("2d", 2), ("3d", 3))}
    for row, (sample, hand) in enumerate(zip(seen.sample.tolist(), seen.hand.tolist(), strict=True)):
        joints["2d"][sample, hand] = seen.joints_2d[FOUND][row]
        joints["3d"][sample, hand] = seen.joints_3d[FOUND][row] * MEAN_BONE_LENGTH
    for position in EVERYTHING:
        own = tmp_path / f"{position:08d}"
        own.mkdir()
        np.savez(own / "joints.npz", joints_2d=joints["2d"][position], joints_3d=joints["3d"][position][None])
    for position in EVERYTHING:
        for name, masks in seen.found_masks.items():
            mask = Image.fromarray(masks[position].numpy().astype(np.uint8))  # 0 and 1
            mask.save(tmp_path / f"{position:08d}" / f"mask_{name}.png")
    scores = entered(shards, tmp_path)
    for part in ("amodal", "occluded", "visible"):
        assert scores.overlap[part, ENTRY] == scores.overlap[part, HASM]
    for protocol in (P1, P3):
        ours, theirs = (scores.pose.errors(method, protocol) for method in (FOUND, ENTRY))
        np.testing.assert_allclose(theirs, ours, atol=1e-3)
    assert ("hole", ENTRY) not in scores.region, "no images were given"


def test_a_hand_that_was_not_found_counts_as_a_point(shards: Path, tmp_path: Path) -> None:  # noqa: F811
    folder = write_truth(tmp_path / "truth", "json")
    document = folder / "00000002" / "result.json"
    document.write_text(json.dumps(json.loads(document.read_text()) | {"right": None}))
    scores = entered(shards, folder)
    lost = scores.pose.sample.index(2)
    relative = SAMPLES[2].joints_3d[0] - SAMPLES[2].joints_3d[0, 0]
    expected = 1000 * np.linalg.norm(relative, axis=1)
    np.testing.assert_allclose(scores.pose.errors(ENTRY, P1)[lost], expected, rtol=1e-4)
    assert EntryFolder(folder, EVERYTHING).read(EVERYTHING, SIZE, SIZE).not_found.tolist()[2] == [True, False]


def test_inpainting_fills_the_hole_from_around_it_and_nothing_else(shards: Path) -> None:  # noqa: F811
    scores = scores_of(shards, with_telea)
    for region in ("removal", "hidden"):
        assert scores.region[region, TELEA].psnr > scores.region[region, COPY].psnr + 3
    rows = [row.baseline_name for row in result_rows(scores) if row.metric == "PSNR in the hole, true masks"]
    assert rows == [COPY, TELEA]
    seen = with_telea(predict(network(), AIHDataset(shards, FIELDS)[EVERYTHING]))
    outside = ~seen.crops.masks.hole.expand_as(seen.crops.image)
    assert (seen.composites[TELEA][outside] == seen.crops.image[outside]).all()


def evaluated(shards: Path, weights: Path, out: Path, folder: Path) -> int:  # noqa: F811
    arguments = ["eval", "--data", str(shards), "--weights", str(weights), "--out", str(out), "--device", "cpu"]
    return main([*arguments, "--predictions", str(folder), "--baseline", "telea"])


def test_the_command_shows_an_entry_beside_hdr(
    shards: Path,  # noqa: F811
    weights: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HDR, "from_pretrained", lambda *_, **__: network())
    assert evaluated(shards, weights, tmp_path / "out", write_truth(tmp_path / "truth")) == 0
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    shown = {(row["metric"], row["baseline_name"]): row["baseline"] for row in stored["rows"]}
    assert shown["IoU, whole hand (amodal), over the set", ENTRY] == 1
    assert shown["PSNR in the hole, true masks", TELEA] < shown["PSNR in the hole, true masks", ENTRY]
    page = (tmp_path / "out" / "index.html").read_text()
    assert f"<td>{ENTRY}</td>" in page and "masks, images, joints" in page


def test_what_hdr_writes_of_exported_images_is_an_entry(
    shards: Path,  # noqa: F811
    hdr: HDR,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "export").mkdir()
    export_coco(AIHShards(shards), tmp_path / "export")
    for path in (tmp_path / "export" / "images").iterdir():
        hdr(path).save(tmp_path / "results" / path.stem)
    entry = EntryFolder(tmp_path / "results", EVERYTHING)
    assert entry.kinds == ["masks", "images", "joints"]
    results = entry.read(EVERYTHING, SIZE, SIZE)
    expected = hdr(tmp_path / "export" / "images" / "00000001.png")
    assert results.masks is not None and results.images is not None
    for name, masks in results.masks.items():
        np.testing.assert_array_equal(masks[1], expected.masks[name])
    np.testing.assert_array_equal(results.images[1, 0], expected.right.image)
    np.testing.assert_array_equal(results.joints["joints_3d"][1, 0], expected.right.joints_3d)
    assert results.not_found.any(1).tolist() == [False, False, False, True], "the last has one hand"


def lack_a_sample(folder: Path) -> None:
    for path in (folder / "00000003").iterdir():
        path.unlink()


def lack_a_mask(folder: Path) -> None:
    (folder / "00000001" / "mask_left_visible.png").unlink()


def be_empty(folder: Path) -> None:
    for position in EVERYTHING:
        for path in (folder / f"{position:08d}").iterdir():
            path.unlink()


def be_larger(folder: Path) -> None:
    Image.fromarray(np.zeros((2 * SIZE, SIZE), np.uint8)).save(folder / "00000002" / "mask_left_visible.png")


def be_no_image(folder: Path) -> None:
    (folder / "00000002" / "left_alone.png").write_text("not an image")


def be_no_archive(folder: Path) -> None:
    (folder / "00000002" / "joints.npz").write_text("not an archive")


def lack_3d(folder: Path) -> None:
    np.savez(folder / "00000002" / "joints.npz", joints_2d=np.zeros((2, 21, 2)))


def have_16_joints(folder: Path) -> None:
    np.savez(folder / "00000000" / "joints.npz", joints_2d=np.zeros((2, 16, 2)))


def know_half_a_hand(folder: Path) -> None:
    joints = np.zeros((2, 21, 3))
    joints[1, 5:] = np.nan
    np.savez(folder / "00000002" / "joints.npz", joints_2d=joints[..., :2], joints_3d=joints)


def have_text(folder: Path) -> None:
    for position in EVERYTHING:
        (folder / f"{position:08d}" / "joints.npz").unlink()
        (folder / f"{position:08d}" / "result.json").write_text('{"right": {"joints_3d": "?"}, "left": null}')


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lack_a_sample, "expected the masks of 4 samples, found 4 files missing, the first 00000003/mask_left_amodal"),
        (lack_a_mask, "expected the masks of 4 samples, found 1 files missing, the first 00000001/mask_left_visible"),
        (
            be_empty,
            "expected 00000000/ and so on with mask_left_amodal.png, right_alone.png, joints.npz or result.json",
        ),
        (be_larger, "mask_left_visible.png: expected the 64x64 pixels of its sample, found 64x128"),
        (be_no_image, "left_alone.png: expected an image"),
        (be_no_archive, "joints.npz: expected an npz"),
        (lack_3d, "joints.npz: expected joints_2d and joints_3d, as in the first sample, found joints_2d"),
        (have_16_joints, "joints.npz: expected joints_2d (2,21,2) of numbers, right hand first, found (2, 16, 2)"),
        (know_half_a_hand, "expected joints_2d of all joints of a hand or of none, found 5 of the left hand"),
        (have_text, "result.json: expected right and left, each null or with joints_2d and joints_3d of 21 points"),
    ],
)
def test_a_fault_of_an_entry_is_one_sentence(
    spoil: Callable[[Path], None],
    said: str,
    shards: Path,  # noqa: F811
    weights: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write_truth(tmp_path / "truth")
    spoil(folder)
    assert evaluated(shards, weights, tmp_path / "out", folder) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_an_entry_is_a_folder(
    name: str,
    shards: Path,  # noqa: F811
    weights: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    assert evaluated(shards, weights, tmp_path / "out", tmp_path / name) == 2
    assert "expected a folder, found" in capsys.readouterr().err
