"""AIH_Syn: whole hands, true masks, exact joints."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from aih_gen.compose.copy_paste import CopyPasteSource
from aih_gen.compose.sample import JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE, JOINT_VISIBLE, Sample
from aih_gen.config import SIDES, SynConfig
from aih_gen.errors import AIHError
from aih_gen.hands import load_hand_model
from aih_gen.shards.schema import Header
from aih_gen.shards.verify import sample_problems
from aih_gen.shards.writer import write_shard
from aih_gen.sources import open_source
from tests.data.samples import make_header, make_sample, write_samples

SIZE, SOURCES = 96, 48
PLAIN: dict[str, Any] = {"colour_gain": 0.0, "colour_shift": 0.0, "contrast": 0.0, "brightness": 0.0}
GRID_ERROR = 0.02
"""The recipe counts occlusion on a grid of points, samples count pixels."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> SynConfig:
    folder = tmp_path_factory.mktemp("source")
    write_samples(folder / "aih_render-00000.h5", SOURCES, SIZE)
    return SynConfig(source=str(folder), seed=3, size=SIZE)


@pytest.fixture(scope="module")
def source(config: SynConfig) -> CopyPasteSource:
    return open_source(config)


@pytest.fixture(scope="module")
def samples(source: CopyPasteSource) -> list[Sample]:
    return source.samples(range(60))


def write(path: Path, samples: list[Sample]) -> SynConfig:
    write_shard(path / "aih_render-00000.h5", [samples], len(samples), make_header())
    return SynConfig(source=str(path), size=samples[0].image.shape[0])


def test_masks_and_targets_keep_their_promises(samples: list[Sample]) -> None:
    assert [problem for sample in samples for problem in sample_problems(sample)] == []


def test_the_covered_hand_has_a_true_target_and_an_occlusion_in_range(samples: list[Sample], config: SynConfig) -> None:
    covered = [SIDES.index(sample.provenance["covered"]) for sample in samples]
    assert set(covered) == {0, 1}
    for sample, side in zip(samples, covered, strict=True):
        targets = (sample.target_right, sample.target_left)
        assert sample.provenance["in_range"]
        assert config.min_occlusion - GRID_ERROR <= sample.occlusion[side] < config.max_occlusion + GRID_ERROR
        assert sample.occlusion[1 - side] == 0
        np.testing.assert_array_equal(targets[1 - side], sample.image)
        assert (targets[side] != sample.image).any()


def test_a_range_that_nothing_meets_is_owned_up_to(config: SynConfig) -> None:
    never = dataclasses.replace(config, min_occlusion=0.999, max_occlusion=1.0, max_tries=3)
    provenance = open_source(never).samples([0])[0].provenance
    assert provenance["tries"] == 3 and not provenance["in_range"]


def test_a_sample_depends_on_its_index_alone(config: SynConfig, source: CopyPasteSource, samples: list[Sample]) -> None:
    for again in (source.samples([7])[0], open_source(config).samples([9, 7])[1]):
        np.testing.assert_array_equal(again.image, samples[7].image)
        np.testing.assert_array_equal(again.joints_3d, samples[7].joints_3d)
        assert again.provenance == samples[7].provenance
    other = open_source(dataclasses.replace(config, seed=4)).samples([7])[0]
    assert other.provenance != samples[7].provenance


def test_each_hands_virtual_camera_projects_its_joints(samples: list[Sample]) -> None:
    for sample in samples:
        assert np.isnan(sample.camera).all()
        for side, name in enumerate(SIDES):
            projected = sample.joints_3d[side] @ np.array(sample.provenance["hands"][name]["camera"]).T
            np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], sample.joints_2d[side], atol=0.01)


def test_masks_follow_the_joints_and_do_not_shrink(samples: list[Sample]) -> None:
    ratios, strayed = [], []
    for sample in samples:
        for side, name in enumerate(SIDES):
            amodal = (sample.amodal_right, sample.amodal_left)[side]
            if amodal[0].any() or amodal[-1].any() or amodal[:, 0].any() or amodal[:, -1].any():
                continue
            origin = sample.provenance["hands"][name]
            affine, crop = np.array(origin["affine"]), make_sample(origin["source"], SIZE)
            before = np.argwhere((crop.amodal_right, crop.amodal_left)[side])[:, ::-1]
            after = np.argwhere(amodal)[:, ::-1]
            ratios.append(len(after) / (len(before) * np.linalg.det(affine[:, :2])))
            strayed.append(after.mean(0) - affine[:, :2] @ before.mean(0) - affine[:, 2])
    assert len(ratios) > 40
    # A finger is two pixels wide here, so single masks vary; a bias would show in the mean.
    np.testing.assert_allclose(ratios, 1, atol=0.05)
    np.testing.assert_allclose(strayed, 0, atol=0.5)
    assert np.mean(ratios) == pytest.approx(1, abs=0.005)
    np.testing.assert_allclose(np.mean(strayed, 0), 0, atol=0.03)


def test_pixels_follow_the_masks(samples: list[Sample]) -> None:
    """The drawn hands are nearly one colour, so a true mask covers nearly one colour, its edge included."""
    for sample in samples[:30]:
        side = SIDES.index(sample.provenance["covered"])
        for image, mask in (
            ((sample.target_right, sample.target_left)[side], (sample.amodal_right, sample.amodal_left)[side]),
            (sample.image, (sample.visible_right, sample.visible_left)[1 - side]),
        ):
            colours = image[mask].astype(float)
            strays = np.abs(colours - np.median(colours, 0)).max(1) > 60
            assert strays.mean() < 0.1


def test_no_black_corner_and_no_second_arm(tmp_path: Path) -> None:
    """On a white ground with black skin: outside the masks everything is white, whatever the rotation."""
    drawn = []
    for index in range(12):
        sample = make_sample(index, SIZE)
        targets = []
        for side, target in enumerate((sample.target_right, sample.target_left)):
            visible_arm = (sample.arm_right, sample.arm_left)[side]
            skin = (sample.amodal_right, sample.amodal_left)[side] | visible_arm
            targets.append(np.where(skin[..., None], np.uint8(0), np.full_like(target, 255)))
        drawn.append(dataclasses.replace(sample, target_right=targets[0], target_left=targets[1]))
    config = dataclasses.replace(write(tmp_path, drawn), **PLAIN, rotation_probability=1.0)
    for sample in open_source(config).samples(range(30)):
        ground = ~(sample.amodal_right | sample.amodal_left | sample.arm_right | sample.arm_left)
        assert sample.image[ground].min() > 100  # half-covered pixels at an edge are grey
        assert (sample.image[ground] == 255).mean() > 0.9


def test_both_hands_change_colours_alike(config: SynConfig) -> None:
    plain = open_source(dataclasses.replace(config, **PLAIN)).samples(range(5))
    tinted = open_source(config).samples(range(5))
    for one, other in zip(plain, tinted, strict=True):
        gain, shift = np.array(other.provenance["gain"]), np.array(other.provenance["shift"])
        expected = np.clip(one.target_right * gain + shift, 0, 255)
        assert np.abs(other.target_right - expected).max() <= 2


def test_states_say_what_the_pasted_hand_hides(samples: list[Sample]) -> None:
    seen = set()
    for sample in samples:
        side = SIDES.index(sample.provenance["covered"])
        over = (sample.visible_right | sample.arm_right, sample.visible_left | sample.arm_left)[1 - side]
        for joint, state in zip(sample.joints_2d[side], sample.joint_state[side], strict=True):
            column, row = np.rint(joint).astype(int)
            inside = 0 <= column < SIZE and 0 <= row < SIZE
            assert (state == JOINT_OUTSIDE) == (not inside)
            if inside:
                assert (state == JOINT_OTHER_OCCLUDED) == over[row, column]
            seen.add(int(state))
        assert JOINT_OTHER_OCCLUDED not in sample.joint_state[1 - side]
    assert {JOINT_VISIBLE, JOINT_OTHER_OCCLUDED} <= seen


def test_pose_and_translation_still_make_the_joints(tmp_path: Path) -> None:
    """The hand model posed with a sample's parameters gives that sample's joints, in the rolled camera."""
    models = [load_hand_model("free", side) for side in SIDES]
    drawn = []
    for index in range(12):
        sample = make_sample(index, SIZE)
        transl = np.array([[-0.05, 0.02, 0.5], [0.05, 0.02, 0.55]], np.float32)
        joints_3d = np.concatenate([joints(models[s], sample, s, transl) for s in (0, 1)])
        drawn.append(dataclasses.replace(sample, transl=transl, joints_3d=joints_3d))
    config = dataclasses.replace(write(tmp_path, drawn), rotation_probability=1.0)
    for sample in open_source(config).samples(range(10)):
        for side in (0, 1):
            made = joints(models[side], sample, side, sample.transl)[0]
            np.testing.assert_allclose(made, sample.joints_3d[side], atol=1e-5)


def joints(model: torch.nn.Module, sample: Sample, side: int, transl: np.ndarray) -> np.ndarray:
    parameters = (torch.from_numpy(array[side : side + 1]) for array in (sample.pose, sample.betas, transl))
    with torch.no_grad():
        return model(*parameters).joints.numpy()


def test_the_rotation_of_pose_and_picture_is_the_same(samples: list[Sample]) -> None:
    for sample in samples[:10]:
        for side, name in enumerate(SIDES):
            origin = sample.provenance["hands"][name]
            before = Rotation.from_rotvec(make_sample(origin["source"], SIZE).pose[side, :3])
            rolled = (Rotation.from_rotvec(sample.pose[side, :3]) * before.inv()).as_rotvec()
            affine = np.array(origin["affine"])
            np.testing.assert_allclose(rolled, [0, 0, np.arctan2(affine[1, 0], affine[0, 0])], atol=1e-4)


def test_what_the_source_does_not_know_stays_unknown(tmp_path: Path) -> None:
    unknown = {"pose": (2, 48), "betas": (2, 10), "transl": (2, 3), "joints_3d": (2, 21, 3), "camera": (3, 3)}
    nothing = {name: np.full(shape, np.nan, np.float32) for name, shape in unknown.items()}
    config = write(tmp_path, [dataclasses.replace(make_sample(k, SIZE), **nothing) for k in range(8)])
    sample = open_source(config).samples([0])[0]
    assert all(np.isnan(getattr(sample, name)).all() for name in unknown)
    assert sample.provenance["hands"]["left"]["camera"] is None
    assert np.isfinite(sample.joints_2d).all()


def test_only_whole_hands_with_uncut_arms_are_crops(tmp_path: Path) -> None:
    good = make_sample(2, SIZE)
    nothing = np.zeros_like(good.arm_left)
    apart = dataclasses.replace(good, visible_left=nothing, amodal_left=nothing, arm_left=nothing)
    assert good.arm_right[80].any()
    crossing = nothing.copy()
    crossing[80:84] = True  # the left arm passes over the right one and over nothing of the right hand
    cut = dataclasses.replace(apart, arm_left=crossing, arm_right=good.arm_right & ~crossing)
    column, row = np.rint(good.joints_2d[0, 0]).astype(int)
    over_wrist = nothing.copy()
    over_wrist[row : row + 9, column - 9 : column + 9] = True
    gone = dataclasses.replace(apart, arm_left=over_wrist & ~good.amodal_right, arm_right=nothing)
    small = dataclasses.replace(
        apart, amodal_right=good.amodal_right & (good.amodal_right.cumsum().reshape(SIZE, -1) < 300)
    )
    absent = dataclasses.replace(apart, present=np.array([False, True]))
    armless = dataclasses.replace(apart, arm_right=nothing)
    edge = nothing.copy()
    edge[:, :8] = True
    outside = dataclasses.replace(apart, amodal_right=good.amodal_right | edge)
    whole_left = make_sample(0, SIZE)
    config = write(tmp_path, [apart, cut, gone, small, absent, armless, outside, whole_left, *map(left_only, range(9))])
    hands = open_source(config).hands
    assert [k for k in range(7) if hands.crop(0, k)] == [0, 5]


def left_only(index: int) -> Sample:
    sample = make_sample(index, SIZE)
    return dataclasses.replace(
        sample,
        present=np.array([False, True]),
        visible_right=sample.visible_right & False,
        arm_right=sample.arm_right & False,
    )


def test_a_source_that_cannot_serve_is_refused(tmp_path: Path, config: SynConfig) -> None:
    header = Header("AIH_Syn", "{}", hashlib.sha256(b"{}").hexdigest(), 0, "ellipses", "1")
    write_shard(tmp_path / "aih_syn-00000.h5", [[make_sample(0, SIZE)]], 1, header)
    one = tmp_path / "one"
    one.mkdir()
    for bad, sentence in (
        (
            dataclasses.replace(config, source=str(tmp_path)),
            "expected shards with true targets of both hands, found AIH_Syn",
        ),
        (dataclasses.replace(config, size=64), "expected images of 64x64, found 96x96"),
        (dataclasses.replace(config, source=str(tmp_path / "none")), "none: expected a shard or a folder of shards"),
        (write(one, [left_only(0)]), "expected whole right hands of at least 4% of the image, found none in 1 samples"),
    ):
        with pytest.raises(AIHError, match=sentence):
            open_source(bad)
