"""Metrics on drawn samples: a red right hand and a green left hand, some of it behind the other."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aih_gen.compose.masks import occlusion
from aih_gen.compose.sample import Sample
from aih_gen.errors import AIHError
from aih_gen.shards.schema import Header
from aih_gen.shards.writer import write_shard
from aih_gen.sources import open_source
from aih_gen.sources.tzionas import TzionasConfig
from hdr_model.config import HDRMConfig, preset
from hdr_model.data.aih import AIHDataset
from hdr_model.evaluation.evaluate import evaluate
from hdr_model.evaluation.metrics import frechet_distance
from hdr_model.evaluation.perceptual import PerceptualMetrics
from hdr_model.evaluation.pose import MEAN_POSE, pose_grids
from hdr_model.evaluation.predict import ALONE, BOUND, FIELDS, FOUND, TRUE, predict
from hdr_model.evaluation.prior import training_prior
from hdr_model.evaluation.protocols import HDR_OWN
from hdr_model.evaluation.rows import result_rows
from hdr_model.evaluation.scores import (
    AS_VISIBLE,
    COPY,
    HASM,
    MEAN_MASK,
    SampleMeta,
    Scores,
    add_scores,
    read_sample_meta,
)
from hdr_model.inference.pipeline import HDR
from hdr_model.nets import hasm, hdrm, shpe
from hdr_model.nets.normalisation import denormalise, normalise
from tests.data.tzionas import REAL, write_frames

SIZE = 64
HAND_COLOURS = (220, 40, 40), (40, 220, 40)


def skeleton(bone: float, bend: float) -> NDArray[np.float32]:
    """21 joints of a right hand with a palm of ``bone`` metres, wrist not at the origin."""
    fan = np.linspace(-0.6, 0.6, 5)
    joints = [np.zeros(3)]
    for angle in fan:
        for k in range(1, 5):
            joints.append(np.array([np.sin(angle), -np.cos(angle), bend * k * k / 16]) * (0.7 + 0.3 * k))
    points = np.array(joints)
    return np.asarray(points * bone / np.linalg.norm(points[9]) + (0.1, 0.2, 0.7), np.float32)


def drawn(index: int, gap: int, right_in_front: bool = False, left: bool = True) -> Sample:
    """Two square hands of 20 px, the left one ``gap`` px right of the right one."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    band = (rows >= 22) & (rows < 42)
    amodal = [band & (columns >= 12) & (columns < 32), band & (columns >= 12 + gap) & (columns < 32 + gap)]
    if not left:
        amodal[1][:] = False
    front = 0 if right_in_front else 1
    visible = [m.copy() for m in amodal]
    visible[1 - front] &= ~amodal[front]
    background = np.full((SIZE, SIZE, 3), 100, np.uint8)
    targets = [np.where(m[..., None], np.uint8(c), background) for m, c in zip(amodal, HAND_COLOURS, strict=True)]
    image = np.where(amodal[front][..., None], np.uint8(HAND_COLOURS[front]), targets[1 - front])
    right = skeleton(0.08 + 0.01 * (index % 3), 0.5 * (index % 2))
    nothing = np.zeros((SIZE, SIZE), bool)
    return Sample(
        image=image,
        target_right=targets[0],
        target_left=targets[1],
        amodal_right=amodal[0],
        amodal_left=amodal[1],
        visible_right=visible[0],
        visible_left=visible[1],
        arm_right=nothing,
        arm_left=nothing,
        shaded=nothing,
        joints_3d=np.stack([right, right * (-1, 1, 1)]).astype(np.float32),
        joints_2d=np.full((2, 21, 2), 30, np.float32),
        joint_state=np.ones((2, 21), np.uint8),
        pose=np.zeros((2, 48), np.float32),
        betas=np.zeros((2, 10), np.float32),
        transl=np.zeros((2, 3), np.float32),
        camera=np.eye(3, dtype=np.float32),
        present=np.array([True, left]),
        occlusion=np.array([occlusion(a, v) for a, v in zip(amodal, visible, strict=True)], np.float32),
        index=index,
    )


HEADER = Header("AIH_Render", "{}", hashlib.sha256(b"{}").hexdigest(), 0, "free", "test")
SAMPLES = [drawn(0, 10), drawn(1, 15, right_in_front=True), drawn(2, 20), drawn(3, 10, left=False)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("held_out")
    write_shard(folder / "aih-00000.h5", [SAMPLES], len(SAMPLES), HEADER)
    return folder


class PerfectHASM(nn.Module):
    """Knows the four samples by their pixels."""

    stride = 32

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        pixels = (denormalise(image) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        known = [next(s for s in SAMPLES if np.abs(s.image.astype(int) - p).max() < 3) for p in pixels]
        names = {f"{side}_{kind}": f"{kind}_{side}" for side in ("right", "left") for kind in ("amodal", "visible")}
        masks = {ours: np.stack([getattr(s, theirs) for s in known]) for ours, theirs in names.items()}
        margins = {name: torch.from_numpy(mask).float() - 0.5 for name, mask in masks.items()}
        return {name: torch.stack([-margin, margin], 1) for name, margin in margins.items()}


class GreyHDRM(nn.Module):
    config = HDRMConfig()

    def forward(self, x: Tensor, validity: Tensor) -> Tensor:
        return normalise(torch.full_like(x[:, :3], 100 / 255))


class SamePoseSHPE(nn.Module):
    def forward(self, image: Tensor) -> shpe.SHPEOutput:
        joints = torch.from_numpy(skeleton(1.0, 0.0)).expand(len(image), -1, -1)
        heat = torch.rand(len(image), 21, 16, 16)
        return shpe.SHPEOutput(heat, heat, heat, shpe.highest_point(heat), joints - joints[:, :1])


def stubbed(*networks: nn.Module) -> HDR:
    return HDR(*(cast(Any, network) for network in networks), segmentation_size=SIZE, hand_size=SIZE)


@pytest.fixture(scope="module")
def scores(shards: Path) -> Scores:
    hdr = stubbed(PerfectHASM(), GreyHDRM(), SamePoseSHPE())
    gathered = Scores()
    prior = training_prior([shards])
    for indices in ([0, 1], [2, 3]):
        batch = AIHDataset(shards, FIELDS)[indices]
        metas = [SampleMeta(both) for both in batch["present"].all(1).tolist()]
        add_scores(gathered, indices, batch, predict(hdr, batch), prior, metas)
    return gathered


def test_perfect_masks_have_an_iou_of_one_in_every_part(scores: Scores) -> None:
    for part in ("amodal", "occluded", "visible"):
        assert scores.overlap[part, HASM].pooled == pytest.approx(1.0)
        assert scores.overlap[part, HASM].per_sample == pytest.approx(1.0)


def test_amodal_as_visible_loses_just_the_occluded_part(scores: Scores) -> None:
    visible, amodal = (
        sum(int(getattr(s, f"{kind}_{side}").sum()) for s in SAMPLES for side in ("right", "left"))
        for kind in ("visible", "amodal")
    )
    assert scores.overlap["amodal", AS_VISIBLE].pooled == pytest.approx(visible / amodal)
    assert scores.overlap["occluded", AS_VISIBLE].pooled == 0.0


def test_empty_cases_are_counted(scores: Scores) -> None:
    assert scores.overlap["amodal", HASM].empty == 1, "one sample has no left hand"
    assert scores.overlap["occluded", HASM].empty == 8 - 2


def test_the_mean_training_mask_is_cut_where_it_suits_the_training_set(scores: Scores, shards: Path) -> None:
    prior = training_prior([shards])
    always = SAMPLES[0].amodal_right
    assert (prior.masks["right_amodal"] == always).all(), "it is there in every sample"
    assert 0.3 < scores.overlap["amodal", MEAN_MASK].pooled < 1.0


def test_copying_the_input_is_the_squared_error_of_image_and_target_in_the_hole(scores: Scores) -> None:
    first = scores.region["hole", COPY].psnr_of_each()[0]
    sample = SAMPLES[0]
    hole = (sample.amodal_right & ~sample.visible_right) | (~sample.amodal_right & sample.visible_left)
    squared = ((sample.image / 255.0 - sample.target_right / 255.0) ** 2)[hole].mean()
    assert first == pytest.approx(-10 * np.log10(squared), abs=0.3)


def test_a_painter_of_background_is_right_in_the_removal_region_and_wrong_on_the_hand(scores: Scores) -> None:
    assert scores.region["removal", TRUE].psnr > 30
    assert scores.region["hidden", TRUE].psnr < 12
    assert scores.region["hidden", COPY].empty == 7 - 2
    assert scores.region["whole", COPY].empty == 1, "a hand by itself has no hole"


def test_found_masks_paint_as_well_as_true_ones_when_they_are_true(scores: Scores) -> None:
    assert scores.region["removal", FOUND].psnr == pytest.approx(scores.region["removal", TRUE].psnr, abs=3)


def test_joint_errors_are_in_mm_of_the_true_hand_and_mirrored_left(scores: Scores) -> None:
    straight = [k for k, (sample, _) in enumerate(scores.targets) if sample % 2 == 0]
    bent = [k for k, (sample, _) in enumerate(scores.targets) if sample == 1]
    assert len(scores.targets) == 7
    for method in (ALONE, TRUE, FOUND, BOUND):
        assert max(float(scores.pose.errors(method, HDR_OWN)[k].max()) for k in straight) < 0.01
    bone = 1000 * (0.08 + 0.01)
    relative = skeleton(bone, 0.5) - skeleton(bone, 0.5)[0]
    guess = skeleton(bone, 0.0) - skeleton(bone, 0.0)[0]
    for k in bent:
        errors = scores.pose.errors(ALONE, HDR_OWN)[k]
        np.testing.assert_allclose(errors, np.linalg.norm(relative - guess, axis=1), atol=1e-2)


def test_the_mean_pose_is_between_the_poses(scores: Scores) -> None:
    mean = np.mean(scores.pose.errors(MEAN_POSE, HDR_OWN), axis=1)
    assert (mean > 0.5).all()
    assert mean.max() < np.mean(scores.pose.errors(ALONE, HDR_OWN), axis=1).max()


def test_occlusion_bins_hold_every_hand_once(scores: Scores) -> None:
    rows = [row for row in result_rows(scores) if row.group == "pose" and ALONE in row.metric]
    cases = {row.metric.rsplit(", ", 1)[1]: row.cases for row in rows}
    assert cases["all hands"] == 7
    assert cases["hands with some occlusion"] == 2
    assert sum(count for name, count in cases.items() if name.startswith("hidden")) == 7


class CarelessHASM(PerfectHASM):
    """Exchanges the hands of one sample."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.image = SAMPLES[index].image.astype(int)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        pixels = (denormalise(image) * 255).round().byte().permute(0, 2, 3, 1).numpy()
        here = torch.tensor([np.abs(self.image - p).max() < 3 for p in pixels])
        return hasm.swap_hands_where(super().forward(image), here)


def scores_of(network: nn.Module, shards: Path) -> Scores:
    gathered, everything = Scores(), list(range(len(SAMPLES)))
    batch = AIHDataset(shards, FIELDS)[everything]
    seen = predict(stubbed(network, GreyHDRM(), SamePoseSHPE()), batch)
    add_scores(gathered, everything, batch, seen, training_prior([shards]), [SampleMeta(True)] * len(SAMPLES))
    return gathered


def test_a_pair_under_the_wrong_names_is_counted_and_fits_under_the_others(shards: Path) -> None:
    rows = {row.metric: row for row in result_rows(scores_of(CarelessHASM(1), shards)) if row.group == "masks"}
    share = rows["handedness accuracy of pairs"]
    assert (share.ours, share.cases) == (pytest.approx(2 / 3), 3), "a hand by itself is no pair"
    for words in ("whole hand (amodal)", "visible part"):
        assert rows[f"IoU, {words}, over the set"].ours < 0.9
        assert rows[f"IoU, {words}, over the set, better handedness"].ours == pytest.approx(1.0)


def test_the_mean_mask_is_free_of_names_too_and_gains_nothing_where_it_has_them(shards: Path, scores: Scores) -> None:
    named, unnamed = scores.overlap["amodal", MEAN_MASK], scores.unnamed["amodal", MEAN_MASK]
    assert named.pooled == pytest.approx(unnamed.pooled), "right hands are always left of left ones here"


def test_nothing_found_is_under_no_name(shards: Path) -> None:
    assert not any(scores_of(BlindHASM(), shards).named[HASM])


class BlindHASM(nn.Module):
    stride = 32

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        nothing = torch.stack([torch.ones(len(image), 16, 16), -torch.ones(len(image), 16, 16)], 1)
        return {f"{side}_{kind}": nothing for side in ("right", "left") for kind in ("amodal", "visible")}


class CentreSHPE(nn.Module):
    """All joints are in the middle of the crop."""

    def forward(self, image: Tensor) -> shpe.SHPEOutput:
        rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        heat = torch.exp(-((rows - 7.5) ** 2 + (columns - 7.5) ** 2) / 8).expand(len(image), 21, -1, -1)
        return shpe.SHPEOutput(heat, heat, heat, shpe.highest_point(heat), torch.zeros(len(image), 21, 3))


def tzionas_scores(frames: Path, folder: Path) -> Scores:
    """A first frame, by networks that find no hand and all joints in the middle of what they look at."""
    photos = open_source(TzionasConfig(source=str(frames), size=128))
    header = replace(HEADER, subset=TzionasConfig.subset)
    write_shard(folder / "tzionas-00000.h5", [photos.samples([0])], 1, header)
    hdr = stubbed(BlindHASM(), GreyHDRM(), CentreSHPE())
    dataset, gathered = AIHDataset(folder, FIELDS), Scores()
    batch = dataset[[0]]
    add_scores(gathered, [0], batch, predict(hdr, batch), None, read_sample_meta(dataset, [0], batch))
    return gathered


def apart(joints: NDArray[np.float64], around: NDArray[np.float64]) -> float:
    """Mean distance of joints (K,2) from the middle of the box of others."""
    return float(np.linalg.norm(joints - (around.min(0) + around.max(0)) / 2, axis=1).mean())


def test_hands_without_masks_are_cut_around_their_joints_and_measured_in_pixels_of_the_frame(tmp_path: Path) -> None:
    spots = write_frames(tmp_path / "frames").astype(float)
    gathered = tzionas_scores(tmp_path / "frames", tmp_path)
    hands = [hand[(hand != 0).all(1)] for hand in (spots[:14], spots[14:])]
    (grid,) = (grid for grid in pose_grids(gathered.pose) if "EPE" in grid.title)
    pixels = {line.name: line.values for line in grid.lines}
    alone = [apart(hand, hand) for hand in hands]
    everything = np.concatenate(hands)
    found = [apart(hand, everything) for hand in hands]
    np.testing.assert_allclose(pixels[ALONE], [*alone, (13 * alone[0] + 13 * alone[1]) / 26], rtol=1e-4)
    np.testing.assert_allclose(pixels[FOUND], [*found, (13 * found[0] + 13 * found[1]) / 26], rtol=1e-4)
    assert np.isnan([*pixels[TRUE], *pixels[BOUND]]).all(), "nothing is known of masks and targets"
    of_rows = {row.metric: row.ours for row in result_rows(gathered)}
    assert of_rows[f"EPE in the image, {FOUND}, all hands"] == pixels[FOUND][2]
    assert np.isnan(gathered.pose.occlusion).all()
    assert (gathered.unmasked, gathered.unknown) == (2, 0)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"needs licensed files: {REAL}")
def test_both_hands_of_the_real_frame_have_an_error_in_pixels(tmp_path: Path) -> None:
    gathered = tzionas_scores(REAL, tmp_path)
    (grid,) = (grid for grid in pose_grids(gathered.pose) if "EPE" in grid.title)
    spots = np.loadtxt(next(REAL.glob("*.txt")))[:, 1:]
    hands = [hand[(hand != 0).all(1)] for hand in (spots[:14], spots[14:])]
    np.testing.assert_allclose(grid.lines[0].values[:2], [apart(hand, hand) for hand in hands], rtol=1e-4)


def test_what_hasm_finds_of_a_hand_without_a_mask_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    nothing = np.zeros((SIZE, SIZE), bool)
    joints = np.stack([SAMPLES[0].joints_2d[0], np.full((21, 2), np.nan, np.float32)])
    unknown = replace(SAMPLES[0], amodal_left=nothing, visible_left=nothing, joints_2d=joints)
    write_shard(tmp_path / "a-00000.h5", [[unknown]], 1, HEADER)
    hdr = stubbed(PerfectHASM(), GreyHDRM(), SamePoseSHPE())
    gathered, batch = Scores(), AIHDataset(tmp_path, FIELDS)[[0]]
    add_scores(gathered, [0], batch, predict(hdr, batch), None, [SampleMeta(True)])
    assert gathered.overlap["amodal", HASM].pooled == pytest.approx(1.0)
    assert (gathered.unmasked, gathered.unknown, gathered.pose.hand) == (0, 1, [0])


class MeanDifference(nn.Module):
    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        return (image - other).abs().mean((1, 2, 3))


class MeanColour(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.mean((2, 3))


def test_lpips_and_fid_are_taken_of_the_hands_with_a_hole_and_of_the_input_too(shards: Path, scores: Scores) -> None:
    gathered, batch = Scores(), AIHDataset(shards, FIELDS)[[0, 3]]
    seen = predict(stubbed(PerfectHASM(), GreyHDRM(), SamePoseSHPE()), batch)
    perceptual = PerceptualMetrics(cast(Any, MeanDifference()), cast(Any, MeanColour()))
    add_scores(gathered, [0, 3], batch, seen, None, [SampleMeta(True), SampleMeta(False)], perceptual)
    first = [row for row in result_rows(gathered) if row.metric.startswith("LPIPS")]
    copied = (seen.crops.image - seen.crops.target).abs().mean((1, 2, 3))
    assert [row.cases for row in first] == [2, 2], "a hand by itself has no hole"
    assert first[0].baseline == pytest.approx(float(copied[:2].mean())) and float(copied[2]) == 0
    assert 0 < first[0].ours < first[0].baseline
    assert not any("LPIPS" in row.metric or "FID" in row.metric for row in result_rows(scores))

    fid = [row for row in result_rows(gathered) if row.metric.startswith("FID")]
    colours = [image[:2].mean((2, 3)).numpy() for image in (seen.crops.image, seen.crops.target)]
    assert fid[0].baseline == pytest.approx(frechet_distance(*colours), rel=1e-5)
    assert [row.cases for row in fid] == [2, 2] and 0 < fid[0].ours < fid[0].baseline


def test_without_training_data_the_rows_stay_and_their_baseline_is_missing(shards: Path) -> None:
    batch = AIHDataset(shards, FIELDS)[[0, 1]]
    gathered = Scores()
    seen = predict(stubbed(PerfectHASM(), GreyHDRM(), SamePoseSHPE()), batch)
    add_scores(gathered, [0, 1], batch, seen, None, [SampleMeta(True)] * 2)
    rows = {row.metric: row for row in result_rows(gathered) if row.baseline_name == MEAN_POSE}
    assert all(np.isnan(row.baseline) and row.wins is None for row in rows.values())


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    networks = (
        hasm.HASM(preset("hasm", "nano")), hdrm.HDRM(preset("hdrm", "nano")), shpe.SHPE(preset("shpe", "nano")),
    )  # fmt: skip
    for network in networks:
        network.save_pretrained(folder / network.task)
        (folder / network.task / "run.json").write_text('{"size": 64}')
    return folder


def test_evaluate_prints_and_writes_table_and_pictures(
    shards: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = evaluate(shards, weights, tmp_path / "eval", [shards], "cpu", 3)
    assert "MPJPE" in capsys.readouterr().out
    written = {str(path.relative_to(tmp_path / "eval")) for path in (tmp_path / "eval").rglob("*.*")}
    files = {"metrics.json", "metrics.csv", "grids.csv", "index.html"}
    assert written == files | {*(f"pictures/{kind}.png" for kind in ("masks", "images", "pose"))}
    stored = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert len(stored["rows"]) == len(evaluation.rows)
    assert stored["settings"]["samples"] == "3"
    assert len((tmp_path / "eval" / "metrics.csv").read_text().splitlines()) == len(evaluation.rows) + 1


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(shards: Path, weights: Path, tmp_path: Path, limit: int) -> None:
    with pytest.raises(AIHError, match="--limit"):
        evaluate(shards, weights, tmp_path / "eval", [], "cpu", limit)
    assert not (tmp_path / "eval").exists()


def test_missing_weights_are_one_sentence(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(AIHError, match="hasm"):
        evaluate(shards, tmp_path, tmp_path / "eval", [], "cpu", None)
    assert not (tmp_path / "eval").exists()


def test_prior_survives_unknown_joints(tmp_path: Path) -> None:
    unknown = drawn(0, 10)
    unknown.joints_3d[1] = np.nan
    write_shard(tmp_path / "a-00000.h5", [[unknown, SAMPLES[1]]], 2, HEADER)
    prior = training_prior([tmp_path])
    assert np.isfinite(prior.pose).all()
