"""Scenes of two hands, of one, and of none: how often, what is true of them, and who reads them."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_gen.cli import main
from aih_gen.compose.rendered import RenderedSource, compose
from aih_gen.compose.sample import JOINT_VISIBLE, Sample
from aih_gen.config import SIDES, TWO_HANDS, RenderConfig, SynConfig
from aih_gen.exports.aih_folders import export_aih_folders
from aih_gen.exports.coco import COCO_JSON, export_coco
from aih_gen.render.layers import ARM, HAND, NOTHING
from aih_gen.reports.card import card
from aih_gen.reports.survey import HAND_NAMES, facets
from aih_gen.scenes import SceneSampler
from aih_gen.scenes.scene import Scene
from aih_gen.scenes.sensor import PERFECT
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.verify import sample_problems
from aih_gen.sources import open_source
from aih_gen.sources.aih_folders import AIHRenderConfig, render_folder
from tests.data.samples import NUMBERS, make_sample, write_numbers

NO_PAIRS = (0.0, 0.7, 0.3)
PER_HAND = ("joints_3d", "joints_2d", "pose", "betas", "transl", "occlusion")


@pytest.fixture(scope="module")
def source() -> RenderedSource:
    """One hand or none, in the full look with shadows."""
    return RenderedSource(RenderConfig(seed=2, size=128, hands=NO_PAIRS))


@pytest.fixture(scope="module")
def scenes(source: RenderedSource) -> list[Scene]:
    return [source.scenes.sample(index) for index in range(100)]


@pytest.fixture(scope="module")
def samples(source: RenderedSource) -> list[Sample]:
    return source.samples(range(12))


def there(scene: Scene) -> tuple[bool, ...]:
    return tuple(hand is not None for hand in scene.hands)


def test_as_many_scenes_as_wanted_show_one_hand_and_either_side_as_often(scenes: list[Scene]) -> None:
    counts = Counter(map(there, scenes))
    assert set(counts) == {(True, False), (False, True), (False, False)}
    assert counts[False, False] == pytest.approx(30, abs=15)
    assert counts[True, False] == pytest.approx(counts[False, True], abs=25)


def test_the_shares_leave_scenes_of_two_hands_as_they_are(source: RenderedSource) -> None:
    mixed, pairs = (
        SceneSampler(RenderConfig(seed=11, contact=False, hands=hands), source.hands.models)
        for hands in (RenderConfig.hands, TWO_HANDS)
    )
    for index in (0, 1):
        one, other = mixed.sample(index), pairs.sample(index)
        for first, second in zip(one.hands, other.hands, strict=True):
            assert first is not None and second is not None
            assert np.array_equal(first.pose, second.pose) and np.array_equal(first.transl, second.transl)
        assert np.array_equal(one.camera.matrix, other.camera.matrix) and one.background == other.background


def test_a_hand_that_is_alone_is_large_or_small_and_often_cut_by_the_border(
    source: RenderedSource, scenes: list[Scene]
) -> None:
    shares, extents = [], []
    for side in (0, 1):
        its = [scene for scene in scenes if scene.hands[side] is not None]
        for scene, joints in zip(its, source.hands.pose(its, side).joints_3d, strict=True):
            pixels = joints @ scene.camera.matrix.T
            places = pixels[:, :2] / pixels[:, 2:]
            shares.append(((places > -0.5) & (places < 127.5)).all(1).mean())
            extents.append(np.ptp(places, axis=0).max() / 128)
    assert min(shares) > 0.2 and 0.1 < np.mean(np.array(shares) < 1) < 0.5
    assert min(extents) < 0.35 and max(extents) > 0.6


def test_of_an_absent_hand_nothing_is_known_and_nothing_is_drawn(samples: list[Sample]) -> None:
    assert {tuple(sample.present.tolist()) for sample in samples} == {(True, False), (False, True), (False, False)}
    for sample in samples:
        assert list(sample_problems(sample)) == []
        assert sample.provenance["number_of_hands"] == sample.present.sum()
        for side in np.flatnonzero(~sample.present):
            for dataset in PER_HAND:
                assert np.isnan(getattr(sample, dataset)[side]).all(), dataset
            masks = (sample.amodal[side], sample.visible[side], sample.arm[side])
            assert not any(mask.any() for mask in masks) and not sample.joint_state[side].any()
            assert sample.depth is not None and np.isinf(sample.depth[side]).all()


def test_where_nothing_is_removed_the_target_is_the_image_and_else_the_background(samples: list[Sample]) -> None:
    for sample in samples:
        targets = sample.target_right, sample.target_left
        for side in (0, 1):
            if not sample.present[1 - side]:
                assert np.array_equal(targets[side], sample.image)
        if sample.present.any():
            side = int(sample.present.argmax())
            target = targets[1 - side].astype(int)
            hand = sample.amodal[side]
            gone = hand | sample.arm[side] | sample.shaded
            assert np.array_equal(target[~gone], sample.image[~gone].astype(int))
            assert np.abs(target - sample.image)[hand].mean() > 5


@pytest.mark.parametrize("where", ["outside", "behind"])
def test_the_shadow_of_a_hand_outside_the_image_stays_in_the_target(source: RenderedSource, where: str) -> None:
    """Also where the other one's arm is in the image, but wholly behind this hand."""
    pairs = SceneSampler(RenderConfig(seed=11, size=128, contact=False, hands=TWO_HANDS), source.hands.models)
    shaded = 0
    for index in range(4):
        scene = dataclasses.replace(pairs.sample(index), sensor=PERFECT)
        (layers,) = source.renderer.render([scene])
        part, depth = layers.part.copy(), layers.depth.copy()
        arm = (part[0] == HAND) & (where == "behind")
        part[1], depth[1] = np.where(arm, ARM, NOTHING), np.where(arm, depth[0] + 0.1, np.inf)
        background = np.zeros((128, 128, 3), np.uint8)
        sample = compose(scene, dataclasses.replace(layers, part=part, depth=depth), background)
        assert np.array_equal(sample.target_right, sample.image) and list(sample_problems(sample)) == []
        assert not sample.present[1] and np.isnan(sample.joints_3d[1]).all()
        shaded += int((layers.colour[0] != layers.shaded_colour[0]).any(-1).sum())
    assert shaded > 100


def test_a_hand_that_is_alone_is_drawn_as_it_is_beside_another_but_for_shadows(source: RenderedSource) -> None:
    pair = SceneSampler(RenderConfig(seed=2, size=128, contact=False, hands=TWO_HANDS), source.hands.models).sample(0)
    pair = dataclasses.replace(pair, lights=dataclasses.replace(pair.lights, shadows=False))
    right, left = pair.hands
    both, *alone = source.renderer.render(
        [pair, *(dataclasses.replace(pair, hands=h) for h in ((right, None), (None, left)))]
    )
    for side, layers in enumerate(alone):
        assert np.array_equal(layers.colour[side], both.colour[side])
        assert np.array_equal(layers.depth[side], both.depth[side])
        assert not layers.part[1 - side].any() and not layers.colour[1 - side].any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"joints_3d": 0.0}, "joints_3d, left: expected NaN"),
        ({"occlusion": 0.0}, "occlusion, left: expected"),
        ({"joint_state": JOINT_VISIBLE}, "joint_state, left: expected state 0"),
        ({"arm_left": True}, "present, left: expected neither hand nor arm, as hand_type is right"),
        ({"target_right": 7}, "rgb, target_right differs from the image in 4096 pixels"),
        ({"shaded": True, "target_right": 7}, "rgb, target_right differs from the image in 4096 pixels, where nothing"),
    ],
)
def test_verify_knows_what_must_be_true_of_an_absent_hand(change: dict[str, Any], said: str) -> None:
    good = dataclasses.replace(make_sample(3, hands=(0,)), provenance={"hand_type": "right"})
    assert list(sample_problems(good)) == []
    broken = {}
    for name, value in change.items():
        broken[name] = np.array(getattr(good, name))
        broken[name][1 if name in (*PER_HAND, "joint_state") else ...] = value
    found = [f"{dataset}, {what}" for dataset, what in sample_problems(dataclasses.replace(good, **broken))]
    assert any(problem.startswith(said) for problem in found), found


def test_shares_that_cannot_be_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fits = write_fits(tmp_path / "fits.npz", [[True, True], [True, True]])
    render = ["render", "--out", str(tmp_path / "out"), "--count", "1"]
    for arguments, said in (
        (["--hands", "0.5", "0.2", "0.2"], "hands: expected three shares from 0 to 1 that sum to 1, found 0.5 0.2 0.2"),
        (["--hands", "1.5", "-0.5", "0"], "hands: expected three shares from 0 to 1 that sum to 1, found 1.5 -0.5 0"),
        (
            ["--poses", fits, "--hands", "0.9", "0.1", "0"],
            f"{fits}: expected frames with a fit of one hand alone, which --hands has a share of, found none among 2",
        ),
        (
            ["--poses", fits, "--hands", "0.9", "0", "0.1"],
            "hands: expected no share of none where poses are recorded, found 0.9 0 0.1",
        ),
    ):
        assert main([*render, *arguments]) == 2
        assert capsys.readouterr().err == f"aih-gen: error: {said}\n"
    assert not (tmp_path / "out").exists()


def write_fits(path: Path, valid: list[list[bool]]) -> str:
    rng = np.random.default_rng(1)
    count = len(valid)
    arrays = {"pose": 0.2 * rng.normal(size=(count, 2, 48)), "betas": rng.normal(size=(count, 2, 10))}
    transl = np.tile([[0.0, 0, 0], [0.1, 0.02, 0.1]], (count, 1, 1))
    np.savez(path, **arrays, transl=transl, valid=np.array(valid))  # type: ignore[arg-type]
    return str(path)


def test_frames_in_which_one_hand_is_fitted_give_scenes_of_one_hand(tmp_path: Path) -> None:
    fits = write_fits(tmp_path / "fits.npz", [[True, True], [True, False], [False, True]])
    sampler = open_source(RenderConfig(poses=fits, hands=(0.0, 1.0, 0.0))).scenes
    with np.load(fits) as stored:
        for index, side in ((0, 0), (1, 1), (2, 0)):
            scene = sampler.sample(index)
            hand = scene.hands[side]
            assert hand is not None and scene.hands[1 - side] is None
            np.testing.assert_allclose(hand.pose[3:], stored["pose"][1 + side, side, 3:], atol=1e-6)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> AIHShards:
    """Eight drawn samples of two hands, one and none in turn."""
    folder = tmp_path_factory.mktemp("mixed")
    write_numbers(folder / "aih_render-00000.h5", 8)
    return AIHShards(folder)


def test_copy_paste_takes_hands_that_are_there(mixed: AIHShards) -> None:
    folder = str(mixed.shards[0].path.parent)
    made = open_source(SynConfig(source=folder, size=64, smallest_hand=0.01)).samples(range(20))
    taken: dict[str, set[int]] = {name: set() for name in SIDES}
    for sample in made:
        assert sample.present.all() and np.isfinite(sample.joints_3d).all() and list(sample_problems(sample)) == []
        for name in SIDES:
            taken[name].add(sample.provenance["hands"][name]["position"])
    for side, name in enumerate(SIDES):
        assert taken[name] <= {k for k in range(8) if side in NUMBERS[k % 4]}
        assert any(len(NUMBERS[k % 4]) == 1 for k in taken[name]), "hands that are alone too"


def test_surveys_and_cards_count_hands(mixed: AIHShards) -> None:
    (found,) = [facet for facet in facets(mixed) if facet.title == "hands"]
    assert {group.name: group.positions for group in found.groups} == {
        name: (k, k + 4) for k, name in enumerate(HAND_NAMES)
    }
    assert f"| {'right alone':24} | {2:9,} | 25.0% |" in card(mixed, "here")
    assert f"| {'absent':24} | {4:9,} | {4:9,} |" in card(mixed, "here")


def test_exports_hold_the_hands_that_are_there(mixed: AIHShards, tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    export_coco(mixed, tmp_path / "coco")
    document = json.loads((tmp_path / "coco" / COCO_JSON).read_text())
    exported = Counter((one["image_id"], one["category_id"]) for one in document["annotations"])
    assert exported == Counter((k, side + 1) for k in range(8) for side in NUMBERS[k % 4])
    assert export_aih_folders(mixed, render_folder(tmp_path / "aih", "machine", "train")) == 6
    back = open_source(AIHRenderConfig(source=str(tmp_path / "aih"), size=64))
    assert [sample.present.tolist() for sample in back.samples(range(len(back)))] == [
        [0 in NUMBERS[k % 4], 1 in NUMBERS[k % 4]] for k in range(8) if NUMBERS[k % 4]
    ]
