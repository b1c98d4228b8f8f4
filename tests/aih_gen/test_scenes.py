"""Scenes: (configuration, seed, index) -> plain data."""

from __future__ import annotations

from dataclasses import asdict, fields

import numpy as np
import pytest

from aih_gen.config import RenderConfig
from aih_gen.hands import load_hand_model
from aih_gen.hands.anatomy import FINGER_LIMITS, GESTURES, THUMB_LIMITS, Finger, mano_pose
from aih_gen.hands.joints import FINGERS, mirror_axis_angle
from aih_gen.hands.normals import VertexNormals
from aih_gen.scenes import MAX_PENETRATION, SceneSampler
from aih_gen.scenes.contact import penetration, separate, surface
from aih_gen.scenes.poses import sample_gesture

MODELS = (load_hand_model("free", "right"), load_hand_model("free", "left"))


@pytest.fixture(scope="module")
def sampler() -> SceneSampler:
    return SceneSampler(RenderConfig(seed=3), MODELS)


def sphere(centre: tuple[float, float, float], radius: float, count: int = 2000):  # type: ignore[no-untyped-def]
    directions = np.random.default_rng(0).normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return surface(np.array(centre) + radius * directions, directions)


def same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(np.array_equal(a, b))  # type: ignore[arg-type]


def test_a_scene_depends_on_seed_and_index_alone(sampler: SceneSampler) -> None:
    forward = [asdict(sampler.sample(i)) for i in range(4)]
    backward = [asdict(SceneSampler(RenderConfig(seed=3), MODELS).sample(i)) for i in reversed(range(4))][::-1]
    assert all(map(same, forward, backward))
    assert not same(forward[0], asdict(SceneSampler(RenderConfig(seed=4), MODELS).sample(0)))


def test_sampled_fingers_stay_within_their_limits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        gesture = sample_gesture(rng)
        for name in FINGERS:
            angles = getattr(gesture, name)
            highest, lowest = FINGER_LIMITS if isinstance(angles, Finger) else THUMB_LIMITS
            for field in fields(angles):
                low, high = getattr(lowest, field.name), getattr(highest, field.name)
                assert low <= getattr(angles, field.name) <= high


def test_the_gestures_of_the_library_respect_the_limits_too() -> None:
    for gesture in GESTURES.values():
        for name in FINGERS:
            angles = getattr(gesture, name)
            highest, lowest = FINGER_LIMITS if isinstance(angles, Finger) else THUMB_LIMITS
            assert all(getattr(lowest, f.name) <= getattr(angles, f.name) <= getattr(highest, f.name)
                       for f in fields(angles))  # fmt: skip


def test_a_gesture_of_the_left_hand_is_the_mirrored_gesture_of_the_right() -> None:
    for gesture in GESTURES.values():
        right, left = (mano_pose(gesture, model) for model in MODELS)
        assert np.allclose(mirror_axis_angle(right), left, atol=1e-6)


def test_surfaces_that_intersect_are_moved_apart_and_others_are_left_alone() -> None:
    ball, into, apart = sphere((0, 0, 0), 0.02), sphere((0.03, 0, 0), 0.02), sphere((0.05, 0, 0), 0.02)
    assert penetration(into.points, ball)[0].max() == pytest.approx(0.01, abs=1e-3)
    shift, left_over = separate(ball, into)
    assert left_over <= 0.001 and penetration(into.points + shift, ball)[0].max() < 0.002
    assert np.linalg.norm(shift) < 0.02
    assert np.array_equal(separate(ball, apart)[0], np.zeros(3))


def test_hands_of_a_scene_do_not_pass_through_each_other(sampler: SceneSampler) -> None:
    rng = np.random.default_rng(1)
    shallow = 0
    for _ in range(20):
        pair, _, _ = sampler._framed_pair(rng)
        right, left = (
            surface(points, VertexNormals(faces, len(points))(points[None])[0])
            for points, faces in zip(pair.hands(), (m.faces.numpy() for m in MODELS), strict=True)
        )
        deepest = max(penetration(left.points, right)[0].max(), penetration(right.points, left)[0].max())
        shallow += deepest < MAX_PENETRATION + 0.002
    assert shallow >= 19


def test_both_hands_are_in_the_picture(sampler: SceneSampler) -> None:
    for index in range(20):
        scene = sampler.sample(index)
        for hand, model in zip(scene.hands, MODELS, strict=True):
            wrist = hand.transl @ scene.camera.matrix.T
            assert wrist[2] > 0.1
            assert np.abs(wrist[:2] / wrist[2] - 127.5).max() < 256, model.side
