"""Scenes: (configuration, seed, index) -> plain data."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from aih_gen.compose.rendered import RenderedSource
from aih_gen.config import RenderConfig
from aih_gen.hands import load_hand_model
from aih_gen.scenes import SceneSampler
from aih_gen.scenes.cameras import hidden_shares
from aih_gen.scenes.contact import inside, surface, way_to_touch

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


def test_depths_of_points_inside_a_surface() -> None:
    ball, into, apart = sphere((0, 0, 0), 0.02), sphere((0.03, 0, 0), 0.02), sphere((0.05, 0, 0), 0.02)
    assert inside(into.points, ball)[2].max() == pytest.approx(0.01, abs=1e-3)
    assert not len(inside(apart.points, ball)[0])


def test_a_surface_goes_just_as_far_as_the_other_one() -> None:
    ball, above = sphere((0, 0, 0), 0.02), sphere((0.0, 0.07, 0), 0.02)
    way = way_to_touch(ball.points, above.points, np.array([0.0, 1.0, 0.0]))
    assert way == pytest.approx(-0.03, abs=2e-3)
    assert way_to_touch(ball.points, sphere((0.2, 0, 0), 0.02).points, np.array([0.0, 1.0, 0.0])) == 0


def test_hidden_shares_are_those_of_two_squares() -> None:
    grid = np.stack(np.meshgrid(np.linspace(-0.05, 0.05, 41), np.linspace(-0.05, 0.05, 41), [0.0]), -1).reshape(-1, 3)
    front, nobody = grid + np.array([0.05, 0, -0.02]), np.zeros((0, 3))
    shares = hidden_shares((grid, front), (nobody, nobody), np.eye(3)[None])
    assert shares[0, 0] == pytest.approx(0.5, abs=0.12) and shares[0, 1] == 0
    swapped = hidden_shares((front, grid), (nobody, nobody), np.eye(3)[None])
    assert np.array_equal(swapped[0], shares[0, ::-1])


def test_the_wanted_occlusion_changes_what_is_sampled() -> None:
    hidden = []
    for wanted in ((0.05, 0.15), (0.7, 0.85)):
        source = RenderedSource(RenderConfig(seed=3, size=64, occlusion=wanted, contact=False))
        hidden.append(np.mean([sample.occlusion.max() for sample in source.samples(range(16))]))
    assert hidden[0] < 0.3 < 0.55 < hidden[1]


def test_both_hands_are_in_the_picture(sampler: SceneSampler) -> None:
    for index in range(20):
        scene = sampler.sample(index)
        for hand, model in zip(scene.hands, MODELS, strict=True):
            wrist = hand.transl @ scene.camera.matrix.T
            assert wrist[2] > 0.1
            assert np.abs(wrist[:2] / wrist[2] - 127.5).max() < 256, model.side
