"""Compiled loops do what their plain twins in NumPy do, and what is compiled is kept where it may be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.cli import main as aih_gen
from aih_gen.config import sample_rng
from aih_gen.hands import load_hand_model
from aih_gen.hands.anatomy import FINGER_BONES, MAX_ANGLES, MIN_ANGLES, clamp_to_joint_limits
from aih_gen.kernels import hands as kernels
from aih_gen.kernels import meshes, textures, views
from aih_gen.kernels.compiled import is_kept
from aih_gen.scenes.body import FOREARM
from aih_gen.scenes.cameras import MIN_DEPTH
from aih_gen.scenes.contact import Contacts, Hands, _arrays, _joined
from aih_gen.scenes.interactions import INTERACTIONS, TIGHT
from aih_gen.scenes.poses import Pair, PairSampler

Array = NDArray[np.float64]
Int64 = NDArray[np.int64]
MODELS = (load_hand_model("free", "right"), load_hand_model("free", "left"))
NO_ANGLES = np.zeros((0, 5, 4))


@pytest.fixture(scope="module")
def pairs() -> PairSampler:
    return PairSampler(MODELS)


@pytest.fixture(scope="module")
def proposed(pairs: PairSampler) -> list[Pair]:
    return [pairs.propose(sample_rng(3, k), name) for k, name in enumerate((*INTERACTIONS, *TIGHT))]


def clamped(angles: Array) -> Array:
    """Twin of ``clamp_to_joint_limits``."""
    angles = np.clip(angles, MIN_ANGLES, MAX_ANGLES)
    pulled = np.minimum(angles[2, 1:3], angles[4, 1:3]) - kernels.MAX_STRAIGHTER
    angles[3, 1:3] = np.maximum(angles[3, 1:3], pulled)
    follows = kernels.DIP_SHARE * angles[1:, 2]
    angles[1:, 3] = np.clip(angles[1:, 3], follows - kernels.DIP_FREEDOM, follows + kernels.DIP_FREEDOM)
    outer = angles[1:, 2] + angles[1:, 3]
    angles[1:, 2:] *= np.minimum(1, (kernels.MAX_CURL - angles[1:, 1]) / np.maximum(outer, 1))[:, None]
    room = np.clip(1 - angles[1:, 1] / 90, 0.1, 1)
    angles[1:, 0] = np.clip(angles[1:, 0], room * MIN_ANGLES[1:, 0], room * MAX_ANGLES[1:, 0])
    return np.clip(angles, MIN_ANGLES, MAX_ANGLES)


def finger_rotations(angles: Array, axes: Array) -> Array:
    """Twin of ``finger_rotations``."""
    turns = Rotation.from_rotvec((np.radians(angles)[..., None] * axes).reshape(-1, 3)).as_matrix().reshape(5, 4, 3, 3)
    return np.stack([turns[:, 0] @ turns[:, 1], turns[:, 2], turns[:, 3]], 1)


def overlaps(angles: Array, rest: kernels.Rest, fingers: kernels.Fingers) -> Array:
    """Twin of ``_overlaps``."""
    local, starts, along = finger_rotations(angles, fingers.axes), np.zeros((5, 3, 3)), np.zeros((5, 3, 3))
    for finger, chain in enumerate(fingers.chains):
        ends = [*rest.home[chain[1:]], rest.tips[finger]]
        turned, place = np.eye(3), rest.home[chain[0]]
        for k in range(3):
            turned, way = turned @ local[finger, k], ends[k] - rest.home[chain[k]]
            way = way * (1 - fingers.radius[finger, 2] / np.linalg.norm(way)) if k == 2 else way
            starts[finger, k], along[finger, k] = place, turned @ way
            place = place + along[finger, k]
    found = []
    for finger in range(4):
        others = slice(1, 5) if finger == 0 else slice(finger + 1, finger + 2)
        a, axis, thick = starts[others].reshape(-1, 3), along[others].reshape(-1, 3), fingers.radius[others].ravel()
        depths = []
        for level in (1, 2):
            points = starts[finger, level] + np.linspace(0, 1, kernels.POINTS)[:, None] * along[finger, level]
            offset = points[:, None] - a
            share = np.clip((offset * axis).sum(-1) / (axis * axis).sum(-1), 0, 1)
            distance = np.linalg.norm(offset - share[..., None] * axis, axis=-1)
            depths.append((fingers.radius[finger, level] + thick - distance).max())
        found.append(max(depths) - (kernels.MAX_OVERLAP if finger else 0))
    return np.array(found)


def parted(angles: Array, rest: kernels.Rest, fingers: kernels.Fingers) -> Array:
    """Twin of ``part_fingers``."""
    overlap = overlaps(angles, rest, fingers)
    for _ in range(kernels.PARTING_STEPS):
        if overlap.max() <= 0:
            break
        deep = np.maximum(overlap, 0)
        angles = angles.copy()
        angles[0] += (np.array(kernels.OPEN_THUMB) - angles[0]) * min(deep[0] / 0.02, 0.3)
        angles[[1, 3, 4], 0] += np.degrees([deep[1], deep[2], deep[2] + deep[3]]) / kernels.LEVER
        angles = clamped(angles)
        overlap = overlaps(angles, rest, fingers)
    return angles


def posed(model: kernels.Model, rest: kernels.Rest, hand: kernels.Hand, fingers: kernels.Fingers) -> kernels.Posed:
    """Twin of ``pose``, for all vertices."""
    bent = finger_rotations(hand.angles, fingers.axes)
    bent = bent @ hand.recorded if len(hand.recorded) else bent
    rotations, joints = np.tile(hand.root, (16, 1, 1)), np.tile(rest.home[0] + hand.transl, (16, 1))
    for finger, chain in enumerate(model.chains):
        before = 0
        for k, bone in enumerate(chain):
            joints[bone] = joints[before] + rotations[before] @ (rest.home[bone] - rest.home[before])
            rotations[bone] = rotations[before] @ bent[finger, k]
            before = bone
    matrices = np.concatenate([rotations, (hand.root @ hand.arm)[None]])
    carriers = [*range(16), 0]
    moves = joints[carriers] - (matrices @ rest.home[carriers, :, None])[..., 0]
    weights = np.zeros((len(rest.points), 17))
    weights[np.repeat(np.arange(len(rest.points)), np.diff(model.first)), model.bones] = model.weights
    local, points = np.empty((16, 3, 3)), rest.points
    local[FINGER_BONES] = bent
    if len(model.posedirs):
        points = points + model.posedirs @ (local[1:] - np.eye(3)).ravel()
    blended = np.tensordot(weights, matrices, 1)
    normals = (blended @ model.normals[..., None])[..., 0]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    vertices = (blended @ points[..., None])[..., 0] + weights @ moves
    return kernels.Posed(np.arange(len(points)), vertices, normals, rotations, joints)


def inside(points: Array, others: Array, normals: Array) -> tuple[Int64, Int64, Array]:
    """Twin of ``inside``: points, nearest and depths."""
    offset = points[:, None] - others
    squares = (offset * offset).sum(-1)
    nearest = squares.argmin(1)
    every = np.arange(len(points))
    depth = -(offset[every, nearest] * normals[nearest]).sum(-1)
    deep = np.flatnonzero((depth > 0) & (squares[every, nearest] < kernels.MAX_DEPTH**2))
    return deep, nearest[deep], depth[deep]


def near(points: Array, others: Array, distance: float) -> NDArray[np.bool_]:
    """Twin of ``near``."""
    cells, own = (np.floor((part - others.min(0)) / distance) for part in (others, points))
    return (np.abs(own[:, None] - cells).max(-1) <= 1).any(1)


Rows = list[tuple[int, int, Array, float, float]]


def constraints(pair: list[kernels.Posed], contacts: Contacts) -> tuple[Rows, float, float]:
    """Twin of ``_constraints``: rows of right and left vertex, direction, distance and weight."""
    found, deepest, widest = Rows(), 0.0, 0.0
    for side in (0, 1):
        other = pair[1 - side]
        deep, nearest, depths = inside(pair[side].points, other.points, other.normals)
        for k in np.argsort(-depths, kind="stable")[: kernels.MAX_ROWS]:
            i, j = (deep[k], nearest[k]) if side == 0 else (nearest[k], deep[k])
            outward = other.normals[nearest[k]] * (1 - 2 * side)
            found.append((i, j, outward, depths[k] + kernels.OVERCORRECTION, 1.0))
            deepest = max(deepest, float(depths[k]))
    for right, left in contacts:
        apart = pair[1].points[left] - pair[0].points[right][:, None]
        gaps = np.linalg.norm(apart, axis=-1)
        i, j = np.unravel_index(gaps.argmin(), gaps.shape)
        widest = max(widest, float(gaps[i, j]))
        if gaps[i, j] > kernels.TOUCHING / 2:
            found.append((right[i], left[j], apart[i, j] / gaps[i, j], gaps[i, j], kernels.PULL))
    return found, deepest, widest


def by_angles(
    model: kernels.Model, hand: kernels.Hand, fingers: kernels.Fingers, pose: kernels.Posed, vertex: int
) -> Array:
    """(3,20) m/rad by which a vertex moves as each joint angle grows; of a bone only the angles before it count."""
    moved = np.zeros((3, 5, 4))
    for finger, chain in enumerate(model.chains):
        for k in range(4):
            bone = chain[max(k - 1, 0)]
            frame = pose.rotations[chain[k - 1]] if k else pose.rotations[0]
            frame = frame @ hand.recorded[finger, k - 1].T if k and len(hand.recorded) else frame
            if model.carrier[vertex] in chain[max(k - 1, 0) :]:
                axis = frame @ fingers.axes[finger, k]
                moved[:, finger, k] = np.cross(axis, pose.points[vertex] - pose.joints[bone])
    return moved.reshape(3, 20)


def stepped(
    pairs: PairSampler, hands: list[kernels.Hand], rest: list[kernels.Rest], pose: list[kernels.Posed], rows: Rows,
    towards: Array,
) -> list[kernels.Hand]:  # fmt: skip
    """Twin of ``_step``, by a solver for least squares."""
    models, fingers = pairs.solver.models, pairs.finger_solver.fingers
    units = np.array([kernels.METRES] * 3 + [kernels.RADIANS] * 43)
    palm = pose[1].joints
    pivot = palm[[0, *FINGER_BONES[[1, 2, 4], 0]]].mean(0)
    left_sides, right_sides = [np.sqrt(kernels.DAMPING) * np.eye(46)], [np.zeros(46)]
    if len(towards):
        way = np.radians(towards - np.stack([hand.angles for hand in hands])).ravel() / kernels.RADIANS
        right_sides[0][6:] = np.sqrt(kernels.DAMPING) * np.clip(way, -kernels.CLOSING_PACE, kernels.CLOSING_PACE)
    for right, left, direction, distance, weight in rows:
        speed = np.concatenate([
            -direction,
            -np.cross(pose[1].points[left] - pivot, direction),
            direction @ by_angles(models[0], hands[0], fingers[0], pose[0], right),
            -direction @ by_angles(models[1], hands[1], fingers[1], pose[1], left),
        ])  # fmt: skip
        left_sides.append(1000 * weight * (speed * units)[None])
        right_sides.append(np.array([1000 * weight * distance]))
    change = np.linalg.lstsq(np.concatenate(left_sides), np.concatenate(right_sides), rcond=None)[0]
    change *= units * min(1, kernels.MAX_STEP / max(np.abs(change).max(), 1e-9))
    after = []
    for side, hand in enumerate(hands):
        angles = hand.angles + np.degrees(change[6:].reshape(2, 5, 4)[side])
        if len(hand.recorded):
            angles = np.clip(angles, -kernels.MAX_BEND, kernels.MAX_BEND)
        else:
            angles = parted(clamped(angles), rest[side], fingers[side])
        root, transl = hand.root, hand.transl
        if side == 1:
            rotation = Rotation.from_rotvec(change[3:6]).as_matrix()
            root = rotation @ root
            transl = transl + change[:3] + (rotation - np.eye(3)) @ (palm[0] - pivot)
        after.append(hand._replace(angles=angles, root=root, transl=transl))
    return after


def test_limits_of_joints_are_those_of_the_twin() -> None:
    rng = np.random.default_rng(0)
    asked = rng.uniform(-60, 160, (300, 5, 4))
    assert np.allclose(clamp_to_joint_limits(asked), [clamped(angles) for angles in asked], atol=1e-12)


def test_fingers_are_parted_as_by_the_twin(pairs: PairSampler) -> None:
    rng = np.random.default_rng(1)
    moved = 0
    for fingers, model in zip(pairs.finger_solver.fingers, pairs.solver.models, strict=True):
        rest = kernels.shaped(model, rng.normal(size=10))
        for _ in range(25):
            angles = clamped(rng.uniform(MIN_ANGLES, MAX_ANGLES))
            ours = angles.copy()
            left = kernels.part_fingers(ours, rest, fingers)
            assert np.allclose(ours, parted(angles, rest, fingers), atol=1e-9)
            assert np.allclose(left, overlaps(ours, rest, fingers), atol=1e-12)
            moved += not np.array_equal(ours, angles)
    assert moved > 5, "fingers that meet are among them"


@pytest.mark.parametrize("recorded", [False, True])
def test_a_step_of_the_solver_is_the_twins(pairs: PairSampler, proposed: list[Pair], recorded: bool) -> None:
    models, fingers, rng = pairs.solver.models, pairs.finger_solver.fingers, np.random.default_rng(2)
    counts = []
    for pair in proposed:
        hands = [_arrays(hand) for hand in pair.hands]
        if recorded:
            turns = Rotation.from_rotvec(0.1 * rng.normal(size=(2, 15, 3))).as_matrix().reshape(2, 5, 3, 3, 3)
            hands = [
                hand._replace(angles=hand.angles / 10, recorded=turn) for hand, turn in zip(hands, turns, strict=True)
            ]
        rest = [kernels.shaped(model, hand.betas) for model, hand in zip(models, hands, strict=True)]
        parts = zip(models, rest, hands, fingers, strict=True)
        ours = [kernels.pose(*one, np.arange(len(one[1].points))) for one in parts]
        theirs = [posed(*one) for one in zip(models, rest, hands, fingers, strict=True)]
        for a, b in zip(ours, theirs, strict=True):
            assert all(np.allclose(mine, its, atol=1e-12) for mine, its in zip(a, b, strict=True))
        towards = NO_ANGLES if pair.closing is None or recorded else np.ascontiguousarray(pair.closing)
        rows, depth, gap = constraints(theirs, pair.contacts)
        found, count, deepest, widest = kernels._constraints((ours[0], ours[1]), _joined(pair.contacts))
        assert count == len(rows) and (deepest, widest) == pytest.approx((depth, gap), abs=1e-12)
        assert [*found.right[:count]] == [row[0] for row in rows] and [*found.left[:count]] == [row[1] for row in rows]
        after = kernels._step(
            models, fingers, (hands[0], hands[1]), (rest[0], rest[1]), (ours[0], ours[1]), found, count, towards,
            len(towards) > 0,
        )  # fmt: skip
        for a, b in zip(after, stepped(pairs, hands, rest, theirs, rows, towards), strict=True):
            assert np.allclose(a.angles, b.angles, atol=1e-7) and np.allclose(a.root, b.root, atol=1e-9)
            assert np.allclose(a.transl, b.transl, atol=1e-10)
        counts.append(count)
    assert max(counts) > kernels.MAX_ROWS, "the deepest of many points are among them"


def test_a_pose_that_changes_the_shape_is_the_twins(pairs: PairSampler, proposed: list[Pair]) -> None:
    rng, hand, fingers = np.random.default_rng(7), _arrays(proposed[0].hands[0]), pairs.finger_solver.fingers[0]
    plain = pairs.solver.models[0]
    model = plain._replace(posedirs=0.001 * rng.normal(size=(len(plain.template), 3, 135)))
    rest, rows = kernels.shaped(model, hand.betas), np.arange(len(model.template))
    ours, theirs = kernels.pose(model, rest, hand, fingers, rows), posed(model, rest, hand, fingers)
    assert np.allclose(ours.points, theirs.points, atol=1e-12)
    assert np.abs(ours.points - kernels.pose(plain, rest, hand, fingers, rows).points).max() > 0.001


def test_points_near_and_inside_are_those_of_the_twins(proposed: list[Pair]) -> None:
    shares, deep = [], 0
    for pair in proposed:
        a, b = pair.posed
        for distance in (kernels.VICINITY, kernels.CLOSING_REACH):
            close = kernels.near(a.vertices, b.vertices, distance)
            assert np.array_equal(close, near(a.vertices, b.vertices, distance))
            shares.append(close.mean())
        count, *found = kernels.inside(a.vertices, b.vertices, b.normals)
        assert all(
            np.allclose(x[:count], y) for x, y in zip(found, inside(a.vertices, b.vertices, b.normals), strict=True)
        )
        deep += count
    assert 0 < min(shares) < max(shares) < 1 and deep > 20
    nothing = np.zeros((0, 3))
    assert kernels.inside(nothing, a.vertices, a.normals)[0] == kernels.inside(a.vertices, nothing, nothing)[0] == 0
    assert not kernels.near(a.vertices + 1e4, b.vertices, 0.01).any(), "cells repeat, points that far away do not"


def test_a_solve_is_the_same_to_the_bit_whatever_came_before(pairs: PairSampler, proposed: list[Pair]) -> None:
    def solved(pair: Pair) -> Hands:
        return pairs.solver.resolve_penetration(pair.hands, pair.contacts, pair.closing)[0]

    for pair, other in zip(proposed[::4], proposed[1::4], strict=False):
        first = solved(pair)
        solved(other)
        for a, b in zip(first, solved(pair), strict=True):
            assert a.angles.tobytes() == b.angles.tobytes() and a.transl.tobytes() == b.transl.tobytes()


def test_hidden_shares_are_those_of_the_twin() -> None:
    rng = np.random.default_rng(4)
    wide, margin, differences = views.CELLS, 2, []
    for _ in range(12):
        hands = [rng.normal(0, [0.04, 0.03, 0.02], (300, 3)) + np.array([x, 0, 0.5 + x]) for x in (-0.01, 0.02)]
        wrists = np.array([hand.mean(0) + np.array([0, 0.05, 0]) for hand in hands])
        elbows = rng.normal(size=(2, 3))
        elbows /= np.linalg.norm(elbows, axis=1, keepdims=True)
        points = np.concatenate(hands).T[None].astype(np.float32)
        ours = views.hidden_shares(points, 300, wrists[None], elbows[None], np.ones(1), MIN_DEPTH, FOREARM)[0]
        slopes = points[0, :2] / points[0, 2]
        low, high = np.maximum(slopes.min(1), -0.5), np.minimum(slopes.max(1), 0.5)
        scale = wide / (high - low).max()
        start = wide / 2 - scale * (low + high) / 2
        cells = np.floor(slopes * scale + start[:, None]).astype(int)
        depths = np.full((2, wide + 2 * margin, wide + 2 * margin), np.inf)
        for k, (column, row) in enumerate(cells.T):
            if min(column, row) >= 0 and max(column, row) < wide:
                cell = int(k >= 300), row + margin, column + margin
                depths[cell] = min(depths[cell], points[0, 2, k])
        filled = depths.copy()
        for axis in (1, 2):
            one, two, back, far = (np.roll(depths, shift, axis) for shift in (1, 2, -1, -2))
            filled = np.minimum(filled, np.maximum(np.minimum(one, two), np.minimum(back, far)))
        nearest = filled[:, margin:-margin, margin:-margin]
        before = nearest.copy()
        middles = (np.indices((wide, wide))[::-1] + 0.5 - start[:, None, None]) / scale  # slopes
        for side in (0, 1):
            wrist, elbow = wrists[side], elbows[side]
            length = (MIN_DEPTH / 3 - wrist[2]) / elbow[2] if elbow[2] < 0 else 1.0
            end = wrist + np.clip(length, 0.01, views.DRAWN_LENGTH) * elbow
            a, b = wrist[:2] / wrist[2], end[:2] / end[2]
            way = middles - a[:, None, None]
            on = np.clip((way * (b - a)[:, None, None]).sum(0) / ((b - a) @ (b - a)), 0, 1)
            nearness = 1 / wrist[2] + on * (1 / end[2] - 1 / wrist[2])
            reach = on / end[2] / nearness * np.linalg.norm(end - wrist) / FOREARM
            thick = views.THIN + (views.THICK - views.THIN) * np.minimum(reach, 1)
            off = np.linalg.norm(way - on * (b - a)[:, None, None], axis=0)
            before[side][off < thick * nearness] = np.minimum(before[side], 1 / nearness - thick / 2)[
                off < thick * nearness
            ]
        seen = np.isfinite(nearest)
        theirs = 1 - (seen & (nearest <= before[::-1])).sum((1, 2)) / np.maximum(seen.sum((1, 2)), 1)
        differences.append(np.abs(ours - theirs).max())
    # A cell at the edge of an arm, or a point at that of a cell, may fall to the other side.
    assert np.median(differences) < 1e-9 and max(differences) < 0.02


def test_normals_and_bodies_are_those_of_the_twins() -> None:
    rng = np.random.default_rng(5)
    points, faces = rng.normal(size=(60, 3)).astype(np.float32), rng.integers(0, 50, (90, 3)).astype(np.int32)
    a, b, c = (points[faces[:, k]] for k in range(3))
    sums = np.zeros((60, 3))
    for k in range(3):
        np.add.at(sums, faces[:, k], np.cross(b - a, c - a))
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    assert np.allclose(meshes.vertex_normals(points, faces), sums, atol=1e-5)

    mean, first, second = rng.normal(size=(3, 60, 3)).astype(np.float32)
    moving, expressions = rng.permutation(60)[:20], rng.normal(size=(4, 20, 3)).astype(np.float32)
    strengths = rng.random(4).astype(np.float32)
    built = mean + 0.7 * first + 0.3 * second
    built[moving] += np.tensordot(strengths, expressions, 1)
    assert np.allclose(meshes.blend_shapes(mean, first, second, 0.3, moving, expressions, strengths), built, atol=1e-5)

    bones, weights = rng.integers(0, 6, (60, 3)), rng.random((60, 3)).astype(np.float32)
    transforms = rng.normal(size=(6, 3, 4)).astype(np.float32)
    moved = np.einsum("vk,vkij,vj->vi", weights, transforms[bones], np.c_[mean, np.ones(60)])
    assert np.allclose(meshes.skinned(mean, bones, weights, transforms), moved, atol=1e-4)

    pixels = points[points[:, 2] > 0.5]
    pixels = pixels[:, :2] / pixels[:, 2:] * [40, 30] + [20, 10]
    matrix = np.array([[40, 0, 20], [0, 30, 10], [0, 0, 1]], np.float32)
    low, high = meshes.projected_bounds(points, matrix, 0.5)
    assert np.allclose(low, pixels.min(0), atol=1e-3) and np.allclose(high, pixels.max(0), atol=1e-3)


def test_stored_textures_are_those_of_the_twin() -> None:
    linear = np.random.default_rng(6).uniform(-0.2, 1.2, (40, 30, 3)).astype(np.float32)
    assert np.array_equal(textures.sqrt_encoded(linear), (255 * np.sqrt(np.clip(linear, 0, 1)) + 0.5).astype(np.uint8))


SCENE = "from aih_gen import config, scenes, hands, kernels; import hashlib; \
from aih_gen.kernels.compiled import is_kept; print(is_kept(kernels.hands.resolve)); \
s = scenes.SceneSampler(config.RenderConfig(seed=2, people=0), hands.load_hand_pair('free')); \
h = [x.pose.tobytes() + x.transl.tobytes() for k in range(3) for x in s.sample(k).hands if x]; \
print(hashlib.sha256(b''.join(h)).hexdigest())"


def test_samples_are_the_same_with_what_is_compiled_cold_warm_and_not_kept(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    said = []
    for _ in ("cold", "warm"):
        done = subprocess.run(
            [sys.executable, "-c", SCENE], env={**os.environ, "NUMBA_CACHE_DIR": str(cache)}, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        said.append(done.stdout.split())
        assert any(cache.rglob("*.nbc"))
    done = subprocess.run([sys.executable, "-c", SCENE], capture_output=True, text=True, check=True)
    (cold, first), (warm, second), (_, third) = *said, done.stdout.split()
    assert (cold, warm) == ("False", "True") and first == second == third


def test_what_is_not_compiled_or_kept_elsewhere_counts_as_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under NUMBA_DISABLE_JIT a compiled function is the plain one."""
    kernels.spread_range(30.0)
    assert is_kept(kernels.spread_range)
    assert not is_kept(test_what_is_not_compiled_or_kept_elsewhere_counts_as_not_kept)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    assert not is_kept(kernels.spread_range)


def test_a_cache_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").write_text("not a folder")
    assert aih_gen(["render", "--out", str(tmp_path / "out"), "--count", "1"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "NUMBA_CACHE_DIR" in said and "expected a folder" in said
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*.h5"))
