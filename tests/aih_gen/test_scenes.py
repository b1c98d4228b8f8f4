"""Scenes: (configuration, seed, index) -> plain data."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aih_gen.compose.rendered import RenderedSource
from aih_gen.config import TWO_HANDS, RenderConfig
from aih_gen.hands import load_hand_model
from aih_gen.hands.anatomy import FINGER_BONES
from aih_gen.kernels.hands import inside
from aih_gen.render.layers import HAND
from aih_gen.scenes import SceneSampler, cameras
from aih_gen.scenes.cameras import MIN_DEPTH, straight_view
from aih_gen.scenes.contact import HandState
from aih_gen.scenes.contact_geometry import touch_distance
from aih_gen.scenes.pair import SPACING
from aih_gen.scenes.sampler import MAX_PENETRATION
from aih_gen.scenes.scene import Camera
from aih_gen.scenes.visibility import MIN_LENGTH, arms_in_the_way, hidden_shares, share_inside, shown_lengths

MODELS = (load_hand_model("free", "right"), load_hand_model("free", "left"))


@pytest.fixture(scope="module")
def sampler() -> SceneSampler:
    return SceneSampler(RenderConfig(seed=3, hands=TWO_HANDS), MODELS)


def sphere(centre: tuple[float, float, float], radius: float, count: int = 2000):  # type: ignore[no-untyped-def]
    directions = np.random.default_rng(0).normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.array(centre) + radius * directions, directions


def same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(np.array_equal(a, b))  # type: ignore[arg-type]


def test_a_scene_depends_on_seed_and_index_alone(sampler: SceneSampler) -> None:
    forward = [asdict(sampler.sample(i)) for i in range(4)]
    backward = [
        asdict(SceneSampler(RenderConfig(seed=3, hands=TWO_HANDS), MODELS).sample(i)) for i in reversed(range(4))
    ][::-1]
    assert all(map(same, forward, backward))
    assert not same(forward[0], asdict(SceneSampler(RenderConfig(seed=4, hands=TWO_HANDS), MODELS).sample(0)))


def test_depths_of_points_inside_a_surface() -> None:
    ball, into, apart = sphere((0, 0, 0), 0.02), sphere((0.03, 0, 0), 0.02), sphere((0.05, 0, 0), 0.02)
    count, _, _, depths = inside(into[0], *ball)
    assert depths[:count].max() == pytest.approx(0.01, abs=1e-3)
    assert inside(apart[0], *ball)[0] == 0


def test_a_surface_goes_just_as_far_as_the_other_one() -> None:
    ball, above = sphere((0, 0, 0), 0.02), sphere((0.0, 0.07, 0), 0.02)
    way = touch_distance(ball[0], above[0], np.array([0.0, 1.0, 0.0]))
    assert way == pytest.approx(-0.03, abs=3e-3)
    assert touch_distance(ball[0], sphere((0.2, 0, 0), 0.02)[0], np.array([0.0, 1.0, 0.0])) == 0


def test_hidden_shares_are_those_of_two_squares() -> None:
    grid = np.stack(np.meshgrid(np.linspace(-0.05, 0.05, 41), np.linspace(-0.05, 0.05, 41), [0.5]), 0).reshape(1, 3, -1)
    grid = grid.astype(np.float32)
    front = grid + np.array([0.05, 0, -0.02], np.float32)[:, None]
    shares = hidden_shares(np.concatenate([grid, front], 2), grid.shape[2], None, np.ones(1))
    assert shares[0, 0] == pytest.approx(0.5, abs=0.08) and shares[0, 1] == 0
    swapped = hidden_shares(np.concatenate([front, grid], 2), grid.shape[2], None, np.ones(1))
    assert np.array_equal(swapped[0], shares[0, ::-1])


def test_only_what_the_picture_holds_of_a_hand_counts() -> None:
    square = np.stack(np.meshgrid(np.linspace(-0.05, 0.05, 41), np.linspace(-0.05, 0.05, 41), [0.5]), 0)
    hand = square.reshape(1, 3, -1).astype(np.float32)
    half = hand * np.array([0.5, 1, 0.9], np.float32)[:, None] + np.array([-0.025, 0, 0], np.float32)[:, None]
    # What is not hidden lies outside the image, or inside, or nothing of the hand is in it.
    for aside, focal, hidden in ((0, 1, 0.5), (0.5, 1.1, 1), (0.9, 1, 1)):
        moved = np.array([aside, 0, 0], np.float32)[:, None]
        both = np.concatenate([hand + moved, half + 0.9 * moved], 2)
        shares = hidden_shares(both, hand.shape[2], None, np.full(1, focal))
        assert shares[0, 0] == pytest.approx(hidden, abs=0.1)


def test_an_arm_hides_what_lies_behind_it_and_nothing_before_it() -> None:
    square = np.stack(np.meshgrid(np.linspace(-0.1, 0.1, 61), np.linspace(-0.1, 0.1, 61), [0.5]), 0).reshape(1, 3, -1)
    hands = np.concatenate([square, square + np.array([0, 0, 0.001])[:, None]], 2).astype(np.float32)
    elbows = np.array([[[0.0, -1, 0], [1, 0, 0]]])
    for depth, least, most in ((0.4, 0.25, 0.6), (0.6, 0, 0)):
        wrists = np.array([[[0, 0.3, 0.6], [-0.3, 0, depth]]])
        assert least <= hidden_shares(hands, square.shape[2], (wrists, elbows), np.ones(1))[0, 0] <= most


def test_an_arm_that_ends_in_the_picture_or_hides_it_is_in_the_way() -> None:
    wrists = np.array([[[0.0, 0, 0.5]] * 2])
    for elbow, blocked in (((0, 1, 0), False), ((0, 0.3, -0.95), True), ((0, 0.55, 0.84), True), ((0, 0, 1), True)):
        elbows = np.array([[elbow, (0, 1, 0)]], float)
        assert arms_in_the_way(wrists, elbows, np.array([1.2]))[0] == blocked, elbow


def test_a_forearm_seen_along_itself_is_in_the_way() -> None:
    # The wrist is near the border, towards which the arm leads, so that nothing else speaks against it.
    wrists, focal = np.array([[[0.0, 0.19, 0.5]] * 2]), np.array([1.2])
    for elbow, shown in ((0.9, 0.55), (0.6, 0.18)):
        elbows = np.array([[(0, elbow, np.sqrt(1 - elbow**2)), (0, 1, 0)]])
        assert shown_lengths(wrists, elbows)[0] == pytest.approx([shown, 0.93], abs=0.03)
        assert arms_in_the_way(wrists, elbows, focal)[0] == (shown < MIN_LENGTH)


def test_what_is_sampled_has_been_checked(sampler: SceneSampler) -> None:
    solver, finger_solver = sampler.pairs.solver, sampler.pairs.finger_solver
    for index in range(20):
        hands = []
        for hand, model in zip(sampler.sample(index).hands, finger_solver.skinnings, strict=True):
            rotations = Rotation.from_rotvec(hand.pose.reshape(16, 3)).as_matrix()
            arm = Rotation.from_rotvec(hand.arm_pose).as_matrix()
            wrist = model.shape(hand.betas).home[0] + hand.transl
            assert wrist[2] > MIN_DEPTH
            hands.append(
                HandState(hand.betas, rotations[0], np.zeros((5, 4)), arm, hand.transl, rotations[FINGER_BONES])
            )
        assert solver.measure((hands[0], hands[1])).depth < MAX_PENETRATION + 1e-5


def test_an_outline_is_as_dense_as_its_cells_are_wide(sampler: SceneSampler) -> None:
    for outline, whole in zip(sampler.pairs.outlines, sampler.pairs.finger_solver.skinnings, strict=True):
        points, every = (one.model.template[: one.num_hand] for one in (outline, whole))
        apart = np.linalg.norm(every[:, None] - points, axis=-1)
        assert apart.min(1).max() < SPACING and outline.num_hand < whole.num_hand / 4


def test_a_hand_close_to_the_camera_is_no_net(sampler: SceneSampler) -> None:
    rng = np.random.default_rng(0)
    pair, view = sampler.pairs.plain(sampler.pairs.apart(rng)), straight_view(rng)
    # The left hand goes far behind the right one, which a wide lens close to both sees large.
    behind = 0.12 * view.rotations[0, 2] + pair.hand_points[0].mean(0) - pair.hand_points[1].mean(0)
    moved = replace(
        pair,
        transl=pair.transl + np.stack([0 * behind, behind]),
        wrists=pair.wrists + np.stack([0 * behind, behind]),
        hand_points=(pair.hand_points[0], pair.hand_points[1] + behind),
        armed=False,
    )
    view = replace(view, focal=np.array([0.8]))
    assert moved.visibility(view).hidden.max() > 0.95


def test_hands_held_apart_need_no_luck(sampler: SceneSampler) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        pair = sampler.pairs.apart(rng)
        assert sampler.pairs.solver.measure(pair.hands).depth == 0
        seen = sampler.pairs.plain(pair).visibility(straight_view(rng))
        assert not seen.blocked[0] and seen.hidden.max() < 0.3


def test_the_wanted_occlusion_changes_what_is_sampled() -> None:
    hidden = []
    for wanted in ((0.05, 0.15), (0.7, 0.85)):
        source = RenderedSource(RenderConfig(seed=3, size=64, hands=TWO_HANDS, occlusion=wanted, contact=False))
        hidden.append(np.mean([sample.occlusion.max() for sample in source.samples(range(16))]))
    assert hidden[0] < 0.2 < 0.62 < hidden[1]


def test_both_hands_are_in_the_picture(sampler: SceneSampler) -> None:
    for index in range(20):
        scene = sampler.sample(index)
        for hand, model in zip(scene.hands, MODELS, strict=True):
            wrist = hand.transl @ scene.camera.matrix.T
            assert wrist[2] > 0.1
            assert np.abs(wrist[:2] / wrist[2] - 127.5).max() < 256, model.side


def test_a_share_of_a_square_is_in_the_picture() -> None:
    square = np.stack(np.meshgrid(np.linspace(-0.05, 0.05, 41), np.linspace(-0.05, 0.05, 41), [0.5]), 0)
    hand = square.reshape(1, 3, -1).astype(np.float32)
    for aside, share in ((0.0, 1.0), (0.25, 0.5), (0.275, 0.25), (0.4, 0.0)):
        moved = hand + np.array([aside, 0, 0], np.float32)[:, None]
        assert share_inside(hand, np.ones(1)) == pytest.approx([1.0])
        assert share_inside(moved, np.ones(1)) == pytest.approx([share], abs=0.03)


def test_hands_close_to_the_camera_are_cut_by_the_border_and_mostly_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    source = RenderedSource(RenderConfig(seed=3, size=128, contact=False, hands=TWO_HANDS, people=0))
    ordinary = [source.scenes.sample(index) for index in range(12)]
    monkeypatch.setattr(cameras, "CLOSE", 1.0)
    scenes = [source.scenes.sample(index) for index in range(12)]
    moved = [(a.hands[0].transl != b.hands[0].transl).any() for a, b in zip(scenes, ordinary, strict=True)]
    assert np.mean(moved) > 0.8
    wide = np.array([[0.5, 0, 63.5 / 2], [0, 0.5, 63.5 / 2], [0, 0, 1]], np.float32)
    cut = 0
    for scene in scenes:
        far = replace(scene, camera=Camera(wide @ scene.camera.matrix, 128), props=())
        near, whole = (layers.part == HAND for layers in source.renderer.render([scene, far]))
        for side in (0, 1):
            share = near[side].sum() / (4 * whole[side].sum())
            assert share > 0.55, (scene.index, side)
            cut += share < 0.97
    assert cut >= 4


def test_ordinary_scenes_stay_when_some_are_close(sampler: SceneSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [sampler.sample(index) for index in range(6)]
    monkeypatch.setattr(cameras, "CLOSE", 0.0)
    after = [sampler.sample(index) for index in range(6)]
    monkeypatch.undo()
    same_view = [np.array_equal(a.hands[0].transl, b.hands[0].transl) for a, b in zip(before, after, strict=True)]
    assert sum(same_view) >= 4
