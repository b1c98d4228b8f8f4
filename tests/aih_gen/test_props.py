"""Things behind the hands: in the image and both targets, in no mask, in the hands' shadow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aih_gen.compose.rendered import RenderedSource
from aih_gen.compose.sample import Sample
from aih_gen.config import TWO_HANDS, RenderConfig
from aih_gen.scenes.props import prop
from aih_gen.scenes.scene import Prop, Scene
from aih_gen.scenes.sensor import PERFECT
from aih_gen.shards.verify import sample_problems

SIZE = 128


@pytest.fixture(scope="module")
def source() -> RenderedSource:
    return RenderedSource(RenderConfig(seed=11, size=SIZE, hands=TWO_HANDS, people=0))


def wall(scene: Scene, distance: float, side: float = 3.0) -> Prop:
    """A white square that faces the camera, ``distance`` m behind the nearer hand's wrist."""
    z = min(hand.transl[2] for hand in scene.hands) + distance
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * side / 2 + [0, 0, z]
    return prop(corners, np.array([[0, 1, 2], [0, 2, 3]]), np.full(3, 0.7))


@pytest.fixture(scope="module")
def scene(source: RenderedSource) -> Scene:
    scene = replace(source.scenes.sample(0), sensor=PERFECT)
    lamp = np.array([[0.1, -0.2, -1]], np.float32) / np.float32(np.hypot(1, np.hypot(0.1, 0.2)))
    lights = replace(scene.lights, directions=lamp, colours=np.full((1, 3), 0.6, np.float32))
    return replace(scene, lights=lights)


def composed(source: RenderedSource, scene: Scene, *props: Prop) -> Sample:
    return source.compose_scenes([replace(scene, props=props)])[0]


def test_a_prop_is_in_the_image_and_both_targets_and_changes_no_mask(source: RenderedSource, scene: Scene) -> None:
    without, sample = composed(source, scene), composed(source, scene, wall(scene, 0.5))
    for name in ("amodal_right", "amodal_left", "visible_right", "visible_left", "arm_right", "arm_left", "depth"):
        assert np.array_equal(getattr(sample, name), getattr(without, name)), name
    free = ~(sample.amodal_right | sample.amodal_left | sample.arm_right | sample.arm_left)
    for name in ("image", "target_right", "target_left"):
        changed = (getattr(sample, name) != getattr(without, name)).any(-1)
        assert changed[free].mean() > 0.95, name


def test_hands_throw_shadows_on_a_near_prop_and_each_target_has_its_own_hand_s_alone(
    source: RenderedSource, scene: Scene
) -> None:
    sample = composed(source, scene, wall(scene, 0.2))
    unshadowed = composed(source, replace(scene, lights=replace(scene.lights, shadows=False)), wall(scene, 0.2))
    free = ~(sample.amodal_right | sample.amodal_left | sample.arm_right | sample.arm_left)
    dark = {
        name: (getattr(unshadowed, name).astype(int) - getattr(sample, name)).mean(-1)[free] > 5
        for name in ("image", "target_right", "target_left")
    }
    assert 0.01 < dark["target_right"].mean() < dark["image"].mean() < 0.9
    assert (dark["target_right"] != dark["target_left"]).any()
    assert (dark["image"] >= (dark["target_right"] | dark["target_left"])).mean() > 0.99
    assert sample.shaded[free].any() and not list(sample_problems(sample))


def test_the_edge_of_a_prop_is_blended_with_the_background(source: RenderedSource, scene: Scene) -> None:
    layers = source.renderer.render([replace(scene, props=(wall(scene, 0.5, 0.1),))])[0]
    assert layers.behind is not None
    coverage = layers.behind[0, ..., 3]
    assert set(np.unique(coverage)) > {0, 255} and 0 < (coverage == 255).mean() < 0.9


def test_a_texture_covers_a_prop_and_tiles(source: RenderedSource, scene: Scene) -> None:
    plain = wall(scene, 0.5)
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:, :4] = 255
    striped = replace(plain, texture=halves, texture_coordinates=np.float32([[0, 0], [8, 0], [8, 8], [0, 8]]))
    shown = source.renderer.render([replace(scene, props=(striped,))])[0].behind
    assert shown is not None
    bright = shown[0, SIZE // 2, :, 0] > 60
    assert 0.3 < bright.mean() < 0.7 and np.count_nonzero(bright[1:] != bright[:-1]) >= 2


def test_both_renderers_draw_the_same_props(source: RenderedSource, scene: Scene) -> None:
    pytest.importorskip("pyrender", reason="the extra 'pyrender' is not installed")
    from aih_gen.render.pyrender import PyrenderRenderer

    scene = replace(scene, props=(wall(scene, 0.5, 0.1), wall(scene, 1.0, 0.3)))
    ours = source.renderer.render([scene])[0].behind
    renderer = PyrenderRenderer(source.hands, SIZE)
    reference = renderer.render([scene])[0].behind
    renderer.renderer.delete()  # now: when garbage is collected, it would take the current OpenGL context with it
    assert ours is not None and reference is not None
    covered = [behind[0, ..., 3] > 127 for behind in (ours, reference)]
    assert (covered[0] & covered[1]).sum() >= 0.98 * (covered[0] | covered[1]).sum()
