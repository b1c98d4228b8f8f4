"""Rendering and composition: scenes become samples whose masks, depths and targets are true."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from aih_gen.compose.masks import hole
from aih_gen.compose.rendered import RenderedSource
from aih_gen.compose.sample import JOINT_OTHER_OCCLUDED, JOINT_OUTSIDE, JOINT_VISIBLE, Sample
from aih_gen.config import RenderConfig
from aih_gen.errors import AIHError
from aih_gen.render import make_renderer
from aih_gen.render.layers import ARM, HAND
from aih_gen.scenes.sensor import PERFECT

COUNT = 20
PARITY_SCENES = int(os.environ.get("AIH_PARITY_SCENES", "10"))
"""50 is the whole proof."""


@pytest.fixture(scope="module")
def source() -> RenderedSource:
    return RenderedSource(RenderConfig(seed=11, size=128))


@pytest.fixture(scope="module")
def samples(source: RenderedSource) -> list[Sample]:
    return source.samples(range(COUNT))


def test_image_and_targets_are_equal_to_the_bit_outside_the_hole_and_the_shaded_pixels(samples: list[Sample]) -> None:
    for s in samples:
        right = hole(s.amodal_right, s.visible_right, s.visible_left, s.arm_left)
        left = hole(s.amodal_left, s.visible_left, s.visible_right, s.arm_right)
        free = [~(gone | s.shaded) for gone in (right, left)]
        assert np.array_equal(s.image[free[0]], s.target_right[free[0]])
        assert np.array_equal(s.image[free[1]], s.target_left[free[1]])
        assert not (s.shaded & right & left).any() and s.shaded.mean() < 0.2
        assert (s.image[right] != s.target_right[right]).any() or not right.any()


def test_visible_is_inside_amodal_and_nothing_is_owned_twice(samples: list[Sample]) -> None:
    for s in samples:
        assert not (s.visible_right & ~s.amodal_right).any() and not (s.visible_left & ~s.amodal_left).any()
        owned = np.stack([s.visible_right, s.visible_left, s.arm_right, s.arm_left]).sum(0)
        assert owned.max() <= 1


def test_occlusion_is_the_hidden_share_of_the_amodal_area(samples: list[Sample]) -> None:
    for s in samples:
        hidden = 1 - s.visible_right.sum() / s.amodal_right.sum() if s.amodal_right.any() else np.nan
        assert s.occlusion[0] == pytest.approx(hidden, nan_ok=True)
    assert any(s.occlusion.max() > 0.2 for s in samples)


def test_the_target_shows_the_hidden_part_of_its_hand(source: RenderedSource, samples: list[Sample]) -> None:
    index = max(samples, key=lambda s: float(np.nan_to_num(s.occlusion[0]))).index
    scene = replace(source.scenes.sample(index), sensor=PERFECT)
    sample, alone = source.compose_scenes([scene])[0], source.renderer.render([scene])[0].colour[0, ..., :3]
    hidden = sample.amodal_right & ~sample.visible_right
    error = np.abs(sample.target_right[hidden].astype(int) - alone[hidden]).mean()
    assert error < 2 < 6 < np.abs(sample.image[hidden].astype(int) - alone[hidden]).mean()


def test_visible_joints_lie_on_their_hand_and_hidden_ones_under_the_other(samples: list[Sample]) -> None:
    seen = 0
    for s in samples:
        hands = ((s.amodal_right, s.visible_left | s.arm_left), (s.amodal_left, s.visible_right | s.arm_right))
        for side, (amodal, other) in enumerate(hands):
            if not s.present[side]:
                continue
            for (x, y), state in zip(np.rint(s.joints_2d[side]).astype(int), s.joint_state[side], strict=True):
                if state == JOINT_OUTSIDE:
                    assert not (0 <= x < 128 and 0 <= y < 128)
                elif state == JOINT_OTHER_OCCLUDED:
                    assert other[y, x]
                elif state == JOINT_VISIBLE:
                    seen += 1
                    # Tips are vertices of the outline: the pixel that holds them may round to its outer neighbour.
                    assert amodal[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].any()
    assert seen > 200


def test_joints_project_through_the_camera(samples: list[Sample]) -> None:
    for s in samples:
        projected = s.joints_3d @ s.camera.T
        assert np.allclose(projected[..., :2] / projected[..., 2:], s.joints_2d, atol=1e-3, equal_nan=True)


def test_a_sample_does_not_depend_on_its_neighbours_in_the_batch(source: RenderedSource, samples: list[Sample]) -> None:
    alone, among = source.samples([17])[0], samples[17]
    for name in ("image", "target_right", "target_left", "amodal_right", "depth", "joints_2d"):
        assert np.array_equal(getattr(alone, name), getattr(among, name)), name


def test_a_read_back_that_brings_nothing_is_an_error(
    source: RenderedSource, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = SimpleNamespace(size=(128, 256), read_into=lambda *_, **__: None)
    monkeypatch.setattr(source.renderer, "geometry", lost)
    with source.renderer.context, pytest.raises(AIHError, match="OpenGL: expected the image that was drawn"):
        source.renderer._read(lost, False, samples[0].joints_3d)


def test_the_plain_and_the_full_look_have_the_same_geometry(source: RenderedSource) -> None:
    scenes = [source.scenes.sample(i) for i in range(4)]
    plain = make_renderer("gl", source.hands, 128, "plain").render(scenes)
    for a, b in zip(source.renderer.render(scenes), plain, strict=True):
        assert np.array_equal(a.part, b.part) and np.array_equal(a.depth, b.depth)


def test_a_surface_that_faces_the_lamp_is_brighter_than_one_that_does_not(source: RenderedSource) -> None:
    scene = source.scenes.sample(0)
    shown = []
    for x in (-1.0, 1.0):  # light from the left, then from the right
        lamp = np.array([[x, 0, -0.2]], np.float32) / np.float32(np.hypot(1, 0.2))
        lights = replace(scene.lights, directions=lamp, colours=np.ones((1, 3), np.float32))
        lights = replace(lights, harmonics=0.1 * scene.lights.harmonics, shadows=False)
        shown.append(source.renderer.render([replace(scene, lights=lights)])[0])
    change = shown[0].colour[..., 0].astype(int) - shown[1].colour[..., 0]
    depth = np.where(np.isfinite(shown[0].depth), shown[0].depth, np.nan)
    slope = depth[..., 2:] - depth[..., :-2]
    left, right = ((slope * way > 0.0005) & (slope * way < 0.02) for way in (-1, 1))  # which way the surface faces
    assert change[..., 1:-1][left].mean() > 20 and change[..., 1:-1][right].mean() < -20


def test_the_two_renderers_draw_the_same_geometry(source: RenderedSource) -> None:
    pytest.importorskip("pyrender", reason="the extra 'pyrender' is not installed")
    from aih_gen.render.pyrender import PyrenderRenderer

    scenes = [source.scenes.sample(i) for i in range(PARITY_SCENES)]
    scenes.append(replace(scenes[0], hands=(None, None)))
    assert {sum(hand is not None for hand in scene.hands) for scene in scenes} == {0, 1, 2}
    ours = source.renderer.render(scenes)
    pyrender = PyrenderRenderer(source.hands, 128)
    reference = pyrender.render(scenes)
    pyrender.renderer.delete()  # now: when garbage is collected, it would take the current OpenGL context with it
    areas = np.zeros(2)
    for a, b in zip(ours, reference, strict=True):
        for part in (HAND, ARM):
            first, second = a.part == part, b.part == part
            assert (first & second).sum() >= 0.995 * (first | second).sum()
            for one, other in zip(first, second, strict=True):
                band = binary_dilation(other, np.ones((3, 3))) & ~binary_erosion(other, np.ones((3, 3)))
                assert not ((one != other) & ~band).any()
            areas += first.sum(), second.sum()
        both = np.isfinite(a.depth) & np.isfinite(b.depth)
        assert (np.abs(a.depth[both] - b.depth[both]) < 5e-4).sum() >= 0.99 * both.sum()
        assert np.array_equal(a.joints_3d, b.joints_3d, equal_nan=True)
    assert areas[0] == pytest.approx(areas[1], rel=1e-4)
