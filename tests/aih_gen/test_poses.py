"""Poses: the range of one person's two hands, contact, and recorded fits."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from trimesh.triangles import closest_point

from aih_gen.config import TWO_HANDS, RenderConfig, sample_rng
from aih_gen.errors import AIHError
from aih_gen.hands import load_hand_model
from aih_gen.hands.anatomy import (
    DIP,
    FINGER_BONES,
    GESTURES,
    MAX_ANGLES,
    MCP,
    MIN_ANGLES,
    PIP,
    FingerJoints,
    clamp_to_joint_limits,
)
from aih_gen.kernels.hands import DIP_FREEDOM, DIP_SHARE, inside, spread_range
from aih_gen.scenes import SceneSampler
from aih_gen.scenes.body import DEVIATION, FLEXION, PRONATION, arms_apart, comfortable_arms, fitting_arms
from aih_gen.scenes.cameras import camera, sample_any_views
from aih_gen.scenes.contact import HandState, posed
from aih_gen.scenes.gestures import sample_gestures
from aih_gen.scenes.interactions import INDEPENDENT, INTERACTIONS, TIGHT, TIGHT_SHARE, sample_tight
from aih_gen.scenes.poses import FREE_GESTURES, Pair, PairSampler
from aih_gen.scenes.sampler import MAX_GAP, MAX_PENETRATION
from aih_gen.scenes.scene import Camera
from aih_gen.scenes.skinning import skinning
from aih_gen.sources.fits import open_fits, read_fits
from tests.data.mirror import mirror_axis_angle

Array = NDArray[np.float64]
MODELS = (load_hand_model("free", "right"), load_hand_model("free", "left"))
NAMES = (*INTERACTIONS, INDEPENDENT)


@pytest.fixture(scope="module")
def pairs() -> PairSampler:
    return PairSampler(MODELS)


@pytest.fixture(scope="module")
def proposed(pairs: PairSampler) -> list[Pair]:
    return [pairs.propose(sample_rng(1, k), NAMES[k % len(NAMES)]) for k in range(52)]


def winding(points: Array, vertices: Array, faces: Array) -> Array:
    """Generalised winding number of each point: about 1 inside, 0 outside, also for meshes with holes."""
    a, b, c = (vertices[faces[:, k]] - points[:, None] for k in range(3))
    lengths = [np.linalg.norm(side, axis=-1) for side in (a, b, c)]
    volume = (a * np.cross(b, c)).sum(-1)
    below = lengths[0] * lengths[1] * lengths[2]
    below += (a * b).sum(-1) * lengths[2] + (b * c).sum(-1) * lengths[0] + (c * a).sum(-1) * lengths[1]
    return np.asarray(2 * np.arctan2(volume, below).sum(1) / (4 * np.pi))


def true_depth(points: Array, vertices: Array, faces: Array) -> float:
    """Greatest depth (m) of ``points`` inside a mesh, by winding number and distance to triangles."""
    low, high = vertices.min(0), vertices.max(0)
    near = points[((points > low) & (points < high)).all(1)]
    deep = near[winding(near, vertices, faces) > 0.5] if len(near) else near
    corners = vertices[faces]
    deepest = 0.0
    for point in deep:
        around = corners[np.linalg.norm(corners.mean(1) - point, axis=1) < 0.02]
        nearest = closest_point(around, np.broadcast_to(point, (len(around), 3)))
        deepest = max(deepest, float(np.linalg.norm(nearest - point, axis=1).min()))
    return deepest


def test_sampled_gestures_stay_within_limits_and_couplings() -> None:
    rng = np.random.default_rng(0)
    for angles in sample_gestures(rng, [tuple(GESTURES)] * 200):
        assert (angles >= MIN_ANGLES).all() and (angles <= MAX_ANGLES).all()
        assert (np.abs(angles[1:, DIP] - DIP_SHARE * angles[1:, PIP]) <= DIP_FREEDOM + 1e-9).all()
        room = np.array([spread_range(mcp) for mcp in angles[1:, MCP]])
        assert (angles[1:, 0] <= room * MAX_ANGLES[1:, 0] + 1e-9).all()


def test_the_gestures_of_the_library_can_be_held() -> None:
    for name, gesture in GESTURES.items():
        assert np.abs(clamp_to_joint_limits(gesture.angles()) - gesture.angles()).max() < 6, name


def test_the_left_hand_makes_the_mirrored_gesture() -> None:
    right, left = (FingerJoints(model) for model in MODELS)
    for gesture in GESTURES.values():
        angles = gesture.angles()
        assert np.allclose(mirror_axis_angle(right.pose(angles)), left.pose(angles), atol=1e-6)


def test_the_thumb_stays_out_of_the_fingers(pairs: PairSampler) -> None:
    finger_solver, rng = pairs.finger_solver, np.random.default_rng(2)
    model, carrier = finger_solver.skinnings[0], finger_solver.skinnings[0].model.carrier
    shaped = [one.shape(np.zeros(10)) for one in finger_solver.skinnings]
    thumb, fingers = carrier == 15, (carrier > 0) & (carrier < 13)
    depths = []
    for _ in range(60):
        angles = finger_solver.sample(rng, (FREE_GESTURES, FREE_GESTURES), shaped)
        rotations = finger_solver.joints.matrices(angles)[0]
        hand = model.pose(shaped[0], np.eye(3), rotations, np.eye(3), np.zeros(3))
        count, _, _, depth = inside(hand.vertices[thumb], hand.vertices[fingers], hand.normals[fingers])
        depths.append(depth[:count].max(initial=0))
    assert np.percentile(depths, 95) < 0.003 and max(depths) < 0.007


def test_posing_one_hand_is_the_hand_model() -> None:
    rng = np.random.default_rng(4)
    pose, betas, arm = 0.5 * rng.normal(size=(16, 3)), rng.normal(size=10), 0.3 * rng.normal(size=3)
    rotations = Rotation.from_rotvec(pose).as_matrix()
    for model in MODELS:
        one = skinning(model)
        bend = Rotation.from_rotvec(arm).as_matrix()
        transl = np.array([0.1, -0.2, 0.3])
        hand = one.pose(one.shape(betas), rotations[0], rotations[FINGER_BONES], bend, transl)
        inputs = [torch.from_numpy(a[None].astype(np.float32)) for a in (pose.ravel(), betas, transl, arm)]
        out = model(inputs[0], inputs[1], inputs[2], arm_pose=inputs[3])
        assert np.allclose(hand.vertices, torch.cat([out.vertices, out.arm_vertices], 1)[0].numpy(), atol=1e-6)
        assert np.allclose(hand.joints21(), out.joints[0].numpy(), atol=1e-6)


def test_an_arm_is_found_again_from_the_hand_it_carries() -> None:
    rng = np.random.default_rng(5)
    wrist = np.stack([rng.normal(-0.1, 0.05, 50), rng.uniform(0, 0.3, 50), rng.uniform(-0.4, -0.2, 50)], 1)
    arms = comfortable_arms(rng, 50, wrist)
    found = fitting_arms(arms.wrist, arms.hand, swivels=60)
    # Elbows are tried at some places only, so an arm at the edge of its range may be missed.
    assert found.possible[arms.possible].mean() > 0.9
    assert (found.discomfort() <= arms.discomfort() + 0.5)[found.possible].all()


def test_wrists_and_forearms_of_a_pair_are_possible(proposed: list[Pair]) -> None:
    low, high = np.array([FLEXION, DEVIATION, PRONATION]).T
    for pair in proposed:
        assert (pair.angles[:, :3] >= low - 1e-9).all() and (pair.angles[:, :3] <= high + 1e-9).all()


def test_interactions_are_what_they_are_called(proposed: list[Pair]) -> None:
    palm = [0, 5, 9, 17]
    for pair in proposed:
        joints = [one.joints21() for one in pair.posed]
        if pair.interaction == "prayer":
            backs = [hand.root[:, 1] for hand in pair.hands]
            assert backs[0] @ backs[1] < -0.8
        if pair.interaction == "thumb to thumb":
            assert np.linalg.norm(joints[0][4] - joints[1][4]) < 0.04
        assert np.linalg.norm(joints[0][palm].mean(0) - joints[1][palm].mean(0)) < 0.35


def test_hands_that_were_resolved_touch_and_do_not_intersect(pairs: PairSampler, proposed: list[Pair]) -> None:
    kept = 0
    for pair in proposed[:26]:
        resolved = pairs.resolve_contact(pair)
        assert resolved.quality is not None
        if resolved.quality.depth > MAX_PENETRATION or resolved.quality.gap > MAX_GAP:
            continue  # the scene sampler draws another pair
        kept += 1
        count, faces = MODELS[0].num_vertices, [model.faces.numpy() for model in MODELS]
        right, left = (
            one.vertices[:count] for one in posed(pairs.finger_solver, pairs.finger_solver.skinnings, resolved.hands)
        )
        assert true_depth(left, right, faces[0]) < MAX_PENETRATION, pair.interaction
        assert true_depth(right, left, faces[1]) < MAX_PENETRATION, pair.interaction
        for a, b in resolved.contacts:
            apart = np.linalg.norm(right[a][:, None] - left[b], axis=-1)
            assert apart.min() <= MAX_GAP, pair.interaction
    assert kept >= 18


def test_hands_that_hold_each_other_tightly_close_and_do_not_intersect(pairs: PairSampler) -> None:
    kept, bent = 0, []
    for k, name in enumerate(TIGHT):
        pair = pairs.propose(sample_rng(7, k), name)
        resolved = pairs.resolve_contact(pair)
        assert resolved.quality is not None and pair.closing is not None
        if resolved.quality.depth > MAX_PENETRATION or resolved.quality.gap > MAX_GAP:
            continue
        kept += 1
        count, faces = MODELS[0].num_vertices, [model.faces.numpy() for model in MODELS]
        right, left = (
            one.vertices[:count] for one in posed(pairs.finger_solver, pairs.finger_solver.skinnings, resolved.hands)
        )
        assert true_depth(left, right, faces[0]) < MAX_PENETRATION, name
        assert true_depth(right, left, faces[1]) < MAX_PENETRATION, name
        change = [after.angles - before.angles for after, before in zip(resolved.hands, pair.hands, strict=True)]
        bent.append(max(float(one[1:, MCP:].sum(1).mean()) for one in change))
        for hand in resolved.hands:
            assert (hand.angles >= MIN_ANGLES - 1e-6).all() and (hand.angles <= MAX_ANGLES + 1e-6).all()
    assert kept >= 4 and np.median(bent) > 40


def test_tight_interactions_come_in_their_share() -> None:
    names = Counter(sample_tight(sample_rng(2, k)) for k in range(3000))
    assert 1 - names[None] / 3000 == pytest.approx(TIGHT_SHARE, abs=0.02)
    assert set(names) == {None, *TIGHT}


def test_forearms_lead_to_the_elbows_of_hands_that_were_resolved(pairs: PairSampler, proposed: list[Pair]) -> None:
    for pair in proposed[:26:3]:
        resolved = pairs.resolve_contact(pair)
        for one, elbow, model in zip(resolved.posed, resolved.elbows, pairs.outlines, strict=True):
            arm = one.vertices[model.num_hand :] - one.joints[0]
            far = arm[np.linalg.norm(arm, axis=1) > 0.3].mean(0)
            towards = (elbow - one.joints[0]) / np.linalg.norm(elbow - one.joints[0])
            assert far @ towards > np.cos(np.radians(4)) * np.linalg.norm(far), pair.interaction


def write_npz(path: Path, count: int = 3, **changes: Array) -> Path:
    rng = np.random.default_rng(6)
    arrays: dict[str, Array] = {
        "pose": 0.2 * rng.normal(size=(count, 2, 48)),
        "betas": rng.normal(size=(count, 2, 10)),
        "transl": np.tile([[0.0, 0, 0], [0.05, 0.02, 0.1]], (count, 1, 1)) + 0.01 * rng.normal(size=(count, 2, 3)),
        "valid": np.ones((count, 2), bool),
    }
    np.savez(path, **(arrays | changes))  # type: ignore[arg-type]
    return path


def recorded(config: RenderConfig) -> SceneSampler:
    return SceneSampler(config, MODELS, open_fits(config))


def test_recorded_fits_come_out_as_they_went_in(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "fits.npz")
    fits = read_fits(path)
    sampler = recorded(RenderConfig(poses=str(path), hands=TWO_HANDS, contact=False))
    for index in range(5):
        scene = sampler.sample(index)
        row = index % 3
        assert scene.interaction == "recorded"
        for side, hand in enumerate(scene.hands):
            assert np.allclose(hand.pose[3:], fits.pose[row, side, 3:], atol=1e-6)
            assert np.allclose(hand.betas, fits.betas[row, side], atol=1e-6)
        rotations = Rotation.from_rotvec([hand.pose[:3] for hand in scene.hands])
        before = Rotation.from_rotvec(fits.pose[row, :, :3])
        assert ((rotations[0].inv() * rotations[1]) * (before[0].inv() * before[1]).inv()).magnitude() < 1e-4
        # Law 1 holds for recorded poses too.
        again = recorded(RenderConfig(poses=str(path), hands=TWO_HANDS, contact=False)).sample(index)
        assert np.array_equal(again.hands[1].transl, scene.hands[1].transl)


def test_recorded_hands_inside_each_other_are_resolved(tmp_path: Path, pairs: PairSampler) -> None:
    transl = np.tile([[0.0, 0, 0], [0.02, 0.01, 0.02]], (3, 1, 1))
    path = write_npz(tmp_path / "fits.npz", transl=transl)
    depths = []
    for contact in (False, True):
        scene = recorded(RenderConfig(poses=str(path), hands=TWO_HANDS, contact=contact)).sample(1)
        rotations = [Rotation.from_rotvec(hand.pose.reshape(16, 3)).as_matrix() for hand in scene.hands]
        hands = [
            HandState(hand.betas, rotation[0], np.zeros((5, 4)), np.eye(3), hand.transl, rotation[FINGER_BONES])
            for hand, rotation in zip(scene.hands, rotations, strict=True)
        ]
        depths.append(pairs.solver.measure((hands[0], hands[1])).depth)
    assert depths[0] > 0.004 and depths[1] < MAX_PENETRATION


def test_recorded_fingers_can_be_bent_otherwise(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "fits.npz")
    configs = (RenderConfig(poses=str(path), hands=TWO_HANDS, pose_noise=noise, contact=False) for noise in (0.0, 5.0))
    plain, bent = (recorded(config).sample(0) for config in configs)
    change = np.abs(bent.hands[0].pose[3:] - plain.hands[0].pose[3:])
    assert 0.01 < change.max() < np.radians(25)


def test_interhand_fits_are_read_and_frames_without_a_hand_are_skipped(tmp_path: Path) -> None:
    fit = {"pose": [0.1] * 48, "shape": [0.2] * 10, "trans": [0.0, 0.1, 0.9]}
    path = tmp_path / "InterHand2.6M_val_MANO_NeuralAnnot.json"
    path.write_text(json.dumps({"0": {"7": {"right": fit, "left": fit}, "8": {"right": fit, "left": None}}}))
    fits = read_fits(path)
    assert len(fits) == 1 and fits.skipped == 1
    assert fits.pose[0, 1, 5] == 0.1 and fits.betas[0, 0, 0] == 0.2 and fits.transl[0, 1, 2] == 0.9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pose": np.zeros((3, 2, 45))}, "pose: expected numbers of shape (3, 2, 48), found float64 (3, 2, 45)"),
        ({"betas": np.full((3, 2, 10), np.nan)}, "betas: expected finite numbers up to 100"),
        ({"betas": np.full((3, 2, 10), 1e300)}, "betas: expected finite numbers up to 100, found others in fit 0"),
        ({"transl": np.full((3, 2, 3), -1e9)}, "transl: expected finite numbers up to 10000"),
        ({"pose": np.full((3, 2, 48), 1e30)}, "pose: expected finite numbers up to 100"),
        ({"valid": np.zeros((3, 2), bool)}, "found none among 3"),
    ],
)
def test_bad_fits_are_refused_in_a_sentence(tmp_path: Path, changes: dict[str, Array], said: str) -> None:
    path = write_npz(tmp_path / "fits.npz", **changes)
    with pytest.raises(AIHError) as error:
        recorded(RenderConfig(poses=str(path), hands=TWO_HANDS))
    assert said in str(error.value) and str(path) in str(error.value)


def test_fits_are_read_a_frame_at_a_time(tmp_path: Path) -> None:
    fit = {"pose": [0.1] * 48, "shape": [0.2] * 10, "trans": [0.0, 0.1, 0.9]}
    path, count = tmp_path / "fits.json", 2000
    path.write_text(json.dumps({"0": {str(k): {"right": fit, "left": fit} for k in range(count)}}))
    tracemalloc.start()
    fits = read_fits(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    needed = fits.pose.nbytes + fits.betas.nbytes + fits.transl.nbytes
    assert len(fits) == count and fits.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert peak < 4 * needed, "the parsed file takes seven times as much"


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b'{"0": {"1": {"right": {"pose": [1]}}}}', b"{"])
def test_files_that_hold_no_fits_are_refused(tmp_path: Path, content: bytes) -> None:
    for path in (tmp_path / "fits.json", tmp_path / "fits.npz"):
        path.write_bytes(content)
        with pytest.raises(AIHError, match="expected"):
            read_fits(path)
    with pytest.raises(AIHError, match="expected recorded fits"):
        read_fits(tmp_path / "missing.npz")


def test_an_arm_is_in_the_way_of_a_camera_wherever_its_axis_is(pairs: PairSampler, proposed: list[Pair]) -> None:
    off_axis, found = np.array([[1.0, 0, 70], [0, 1, -40], [0, 0, 1]]), []
    for k, pair in enumerate(proposed[:20]):
        plain = pairs.plain(pair)
        view = sample_any_views(np.random.default_rng(k), 1)
        seen, lens = plain.visibility(view), camera(view, 256)
        rotation, shift = view.rotations[0], seen.shift[0]
        for axis in (np.eye(3), off_axis):
            matrix = axis @ lens.matrix.astype(np.float64)
            same = np.linalg.inv(matrix) @ lens.matrix @ rotation  # the same image by a camera with that axis
            moved = np.linalg.inv(matrix) @ lens.matrix @ shift
            before = replace(
                plain,
                wrists=plain.wrists @ same.T + moved,
                elbows=plain.elbows @ same.T,
                hand_points=tuple(points @ same.T + moved for points in plain.hand_points),
            )
            found.append((before.arms_before(Camera(matrix.astype(np.float32), 256)), bool(seen.blocked[0])))
    assert {one for one, _ in found} == {True, False} and all(ours == theirs for ours, theirs in found)


def test_forearms_that_cross_are_noticed() -> None:
    rng = np.random.default_rng(7)
    wrist = np.array([[-0.05, 0.2, -0.3]])
    arms = comfortable_arms(rng, 1, wrist)
    joints = np.full((1, 21, 3), 5.0)
    assert not arms_apart(arms, arms, joints, joints).any()
