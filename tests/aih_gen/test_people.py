"""People beside the hands: where their hands are, in the light of the scene, in no mask."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from aih_gen.compose.rendered import RenderedSource
from aih_gen.config import TWO_HANDS, RenderConfig, check_config
from aih_gen.errors import AIHError, AssetError
from aih_gen.render.layers import ARM, HAND, NOTHING
from aih_gen.scenes import bodies
from aih_gen.scenes.bodies import load_people
from aih_gen.scenes.mesh_cut import cut_mesh
from aih_gen.scenes.people import FOREARM_END
from aih_gen.scenes.persons import EYE_ROUGHNESS
from aih_gen.scenes.scene import SHOWS, Scene, Sleeve
from aih_gen.scenes.sensor import PERFECT
from aih_gen.shards.verify import sample_problems

COUNT, SIZE = 40, 128
PARITY_SCENES = int(os.environ.get("AIH_PARITY_SCENES", "10"))
"""50 is the whole proof."""


@pytest.fixture(scope="module")
def source() -> RenderedSource:
    return RenderedSource(RenderConfig(seed=21, size=SIZE, contact=False, hands=TWO_HANDS))


@pytest.fixture(scope="module")
def scenes(source: RenderedSource) -> list[Scene]:
    return [source.scenes.sample(index) for index in range(COUNT)]


def joined(scene: Scene) -> bool:
    """True if the scene has the hands' own person."""
    return bool(np.isfinite(scene.hands[0].arm_length))


def test_about_half_of_all_scenes_show_people_and_none_where_none_are_wanted(
    source: RenderedSource, scenes: list[Scene]
) -> None:
    assert 0.3 < np.mean([bool(scene.props) for scene in scenes]) < 0.7
    assert 3 < sum(joined(scene) for scene in scenes) < COUNT / 2
    without = RenderedSource(replace(source.config, people=0.0)).scenes
    for scene in scenes[:8]:
        bare = without.sample(scene.index)
        assert not bare.props and not joined(bare)
        for hand, its in zip(bare.hands, scene.hands, strict=True):
            assert np.array_equal(hand.pose, its.pose) and np.array_equal(hand.transl, its.transl)
        assert np.array_equal(bare.camera.matrix, scene.camera.matrix) and bare.background == scene.background


def test_what_a_scene_shows_is_named(source: RenderedSource, scenes: list[Scene]) -> None:
    assert all(set(scene.shows) <= set(SHOWS) for scene in scenes)
    assert [scene.index for scene in scenes if joined(scene)] == [s.index for s in scenes if "own person" in s.shows]
    people = [scene for scene in scenes if {"own person", "other person"} & set(scene.shows)]
    assert all(scene.props for scene in people)
    eyes = {True: [], False: []}  # type: dict[bool, list[bool]]
    for scene in people:
        props = tuple(prop for prop in scene.props if prop.roughness[0] != np.float32(EYE_ROUGHNESS))
        with_eyes, without = source.renderer.render([scene, replace(scene, props=props)])
        assert with_eyes.behind is not None and without.behind is not None
        changed = (with_eyes.behind[0] != without.behind[0]).any(-1) & (with_eyes.part == NOTHING).all(0)
        eyes["face" in scene.shows].append(bool(changed.sum() > 2))
    assert len(eyes[True]) > 5 and np.mean(eyes[True]) > 0.8
    assert len(eyes[False]) > 3 and np.mean(eyes[False]) < 0.2
    sample = source.compose_scenes(people[:1])[0]
    assert sample.provenance["shows"] == list(people[0].shows)


def test_recorded_photos_and_the_plain_look_get_no_people(
    source: RenderedSource, scenes: list[Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = next(scene for scene in scenes if scene.props)
    sampler = RenderedSource(source.config).scenes
    assert sampler._company(scene.index, None, scene.skin, scene.camera).props
    for setting, value in (("cameras", "recorded"), ("look", "plain")):
        sampler.config = replace(source.config, **{setting: value})
        assert not sampler._company(scene.index, None, scene.skin, scene.camera).props
    sampler.config = source.config
    monkeypatch.setattr(sampler.library, "fixed", True, raising=False)
    assert not sampler._company(scene.index, None, scene.skin, scene.camera).props


def test_the_arms_lead_to_the_person_behind_the_hands(source: RenderedSource, scenes: list[Scene]) -> None:
    people = [scene for scene in scenes if joined(scene)]
    near = 0
    for scene in people:
        surface = np.concatenate([prop.vertices for prop in scene.props])
        for side in (0, 1):
            mesh = source.hands.pose([scene], side)
            away = np.linalg.norm(mesh.vertices[0] - mesh.joints_3d[0, 0], axis=1)
            assert away.max() < FOREARM_END + 0.06
            end = mesh.vertices[0, source.hands.topology[side].elbow].mean(0)
            near += cdist(end[None], surface).min() < 0.05
    # Arms outside the image are not drawn.
    assert near > len(people)


def test_a_long_sleeve_is_of_the_shirt_s_cloth(scenes: list[Scene]) -> None:
    found = 0
    for scene in scenes:
        sleeve = scene.skin.sleeve
        if not joined(scene) or not isinstance(sleeve, Sleeve) or sleeve.stripe_width:
            continue
        for prop in scene.props:
            if prop.texture is not None and prop.roughness[0] > 0.9:
                colour = np.median((prop.texture / 255.0) ** 2, axis=(0, 1))
                found += bool(np.abs(colour - sleeve.colour).max() < 0.02)
    assert found > 1


def test_people_are_behind_the_hands_and_change_no_mask(source: RenderedSource, scenes: list[Scene]) -> None:
    for scene in [scene for scene in scenes if scene.props][:8]:
        layers = source.renderer.render([scene, replace(scene, props=())])
        for name in ("part", "depth", "colour", "shaded_colour"):
            assert np.array_equal(getattr(layers[0], name), getattr(layers[1], name)), name
        behind = layers[0].behind
        assert behind is not None and (behind[0, ..., 3] > 0).mean() > 0.001
        sample = source.compose_scenes([scene])[0]
        assert not list(sample_problems(sample))
        plain = source.compose_scenes([replace(scene, props=(), sensor=PERFECT)])[0]
        shown = source.compose_scenes([replace(scene, sensor=PERFECT)])[0]
        changed = (shown.image != plain.image).any(-1)
        assert changed.any() and not (changed & (plain.visible_right | plain.visible_left))[2:-2, 2:-2].mean() > 0.02


def test_both_renderers_draw_the_same_hands_and_people(source: RenderedSource, scenes: list[Scene]) -> None:
    pytest.importorskip("pyrender", reason="the extra 'pyrender' is not installed")
    from aih_gen.render.pyrender import PyrenderRenderer

    chosen = [scene for scene in (*scenes, *map(source.scenes.sample, range(COUNT, 4 * PARITY_SCENES))) if scene.props]
    chosen = chosen[:PARITY_SCENES]
    ours = source.renderer.render(chosen)
    renderer = PyrenderRenderer(source.hands, SIZE)
    reference = renderer.render(chosen)
    renderer.renderer.delete()  # now: when garbage is collected, it would take the current OpenGL context with it
    both, either = 0, 0
    for a, b in zip(ours, reference, strict=True):
        for part in (HAND, ARM):
            first, second = a.part == part, b.part == part
            assert (first & second).sum() >= 0.995 * (first | second).sum()
        assert a.behind is not None and b.behind is not None
        first, second = a.behind[0, ..., 3] > 127, b.behind[0, ..., 3] > 127
        both, either = both + (first & second).sum(), either + (first | second).sum()
    assert both >= 0.98 * either > 0


def test_a_mesh_is_cut_where_a_field_is_zero() -> None:
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    cut = cut_mesh(faces, corners[:, 0] - np.float32(0.25))
    points = cut.of(corners)
    assert points[:, 0].min() == pytest.approx(0.25)
    a, b, c = (points[cut.faces[:, k]] for k in range(3))
    area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert (area > 0).all() and area.sum() == pytest.approx(0.75)


def test_a_people_folder_of_another_version_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "asset_path", lambda _: tmp_path)
    np.savez(tmp_path / "people.npz", version=bodies.VERSION + 1)
    with pytest.raises(AssetError, match=r"expected a people folder of version 1, found version 2$"):
        load_people.__wrapped__()
    (tmp_path / "people.npz").write_bytes(b"no archive")
    with pytest.raises(AssetError, match="expected an npz, found none that can be read"):
        load_people.__wrapped__()


def test_a_share_of_people_above_one_is_refused() -> None:
    with pytest.raises(AIHError, match=r"people: expected 0 to 1, found 1\.5"):
        check_config(RenderConfig(people=1.5))


def test_a_lone_hand_and_none_have_people_behind_them_too() -> None:
    for shares in ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
        lone = RenderedSource(RenderConfig(seed=21, size=SIZE, contact=False, hands=shares, people=1.0))
        scenes = [lone.scenes.sample(index) for index in range(12)]
        assert sum(bool(scene.props) for scene in scenes) >= 8
        for sample in lone.compose_scenes(scenes[:6]):
            assert not list(sample_problems(sample)) and sample.present.sum() == shares[1]
