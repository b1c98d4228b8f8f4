"""Objects behind the hands: closed solids on a table, before no hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aih_gen.compose.rendered import RenderedSource
from aih_gen.config import TWO_HANDS, RenderConfig, sample_rng
from aih_gen.scenes import sampler
from aih_gen.scenes.scene import Prop, Scene
from aih_gen.scenes.solids import SOLIDS

Array = NDArray[np.float64]


@pytest.fixture(scope="module")
def source() -> RenderedSource:
    return RenderedSource(RenderConfig(seed=11, size=64, contact=False, hands=TWO_HANDS, people=0))


@pytest.fixture
def scenes(source: RenderedSource, monkeypatch: pytest.MonkeyPatch) -> list[Scene]:
    monkeypatch.setattr(sampler, "OBJECTS_SHARE", 1.0)
    found = [scene for scene in map(source.scenes.sample, range(16)) if scene.props]
    assert len(found) >= 12
    return found


def before(points: Array, prop: Prop) -> NDArray[np.bool_]:
    """(P,) whether a triangle of ``prop`` lies between the camera and each of ``points`` (P,3) (Moeller, Trumbore)."""
    a, b, c = (prop.vertices[prop.faces[:, k]].astype(np.float64) for k in range(3))
    u, v = b - a, c - a
    p = np.cross(points[:, None], v)
    determinant = (p * u).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        first = -(p * a).sum(-1) / determinant
        q = np.cross(-a, u)
        second = (points[:, None] * q).sum(-1) / determinant
        reach = (q * v).sum(-1) / determinant
        return np.asarray(((first >= 0) & (second >= 0) & (first + second <= 1) & (reach > 0) & (reach < 1)).any(1))


def test_solids_are_closed_face_outwards_and_stand_on_the_ground() -> None:
    for name, make in SOLIDS.items():
        for k in range(4):
            solid = make(sample_rng(0, k))
            corners = [part.vertices[part.faces] for part in solid]
            volume = sum(float(np.einsum("fi,fi->", c[:, 0], np.cross(c[:, 1], c[:, 2]))) / 6 for c in corners)
            size = np.ptp(np.concatenate([part.vertices for part in solid]), axis=0)
            # 5 ml a pen to 6 l a box
            assert 3e-6 < volume < 6e-3 and volume < 1.001 * np.prod(size), name
            assert size.max() < 0.36 and abs(min(part.vertices[:, 1].min() for part in solid)) < 1e-9, name
            assert all((part.albedo >= 0).all() and (part.albedo <= 1).all() for part in solid), name


def test_rays_are_stopped_by_what_lies_before_a_point() -> None:
    square = np.array([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1]], np.float32)
    empty = np.zeros((3, 2), np.float32)
    prop = Prop(square, square, np.array([[0, 1, 2]], np.int32), square, empty[:, 0], empty[:, 0])
    points = np.array([[0.4, 0, 2], [0.4, 0, 0.9], [0, 0.9, 2], [-3, 0, 2]])
    assert before(points, prop).tolist() == [True, False, False, False]


def test_objects_are_before_no_hand(source: RenderedSource, scenes: list[Scene]) -> None:
    for scene in scenes[:8]:
        for side in (0, 1):
            hand = source.hands.pose([scene], side).vertices[0, : source.hands.models[side].num_vertices : 5]
            for prop in scene.props:
                assert not before(hand.astype(np.float64), prop).any()


def test_objects_stand_on_the_table(scenes: list[Scene]) -> None:
    for scene in scenes:
        table, things = scene.props[0], scene.props[1:]
        up = np.cross(table.vertices[1] - table.vertices[0], table.vertices[3] - table.vertices[0]).astype(np.float64)
        up /= -np.sign(table.vertices[0] @ up) * np.linalg.norm(up)  # towards the camera
        heights = [(thing.vertices - table.vertices[0]) @ up for thing in things]
        assert all(h.min() > -1e-4 for h in heights) and min(h.min() for h in heights) < 1e-3


def test_objects_move_no_hand(source: RenderedSource, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "OBJECTS_SHARE", 0.0)
    for scene in scenes:
        without = source.scenes.sample(scene.index)
        assert without.props == ()
        for one, other in zip(scene.hands, without.hands, strict=True):
            assert np.array_equal(one.pose, other.pose) and np.array_equal(one.transl, other.transl)
        assert np.array_equal(scene.camera.matrix, without.camera.matrix)
