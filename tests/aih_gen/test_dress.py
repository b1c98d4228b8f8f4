"""Dress: each thing where it belongs, on the hand's or the arm's mask, and nothing else changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from aih_gen.compose.rendered import RenderedSource
from aih_gen.config import RenderConfig, sample_rng
from aih_gen.hands.joints import FINGERS, JOINT_NAMES
from aih_gen.render.layers import ARM, HAND, Layers
from aih_gen.render.watch import forearm_axes
from aih_gen.scenes import SceneSampler
from aih_gen.scenes import dress as dresses
from aih_gen.scenes.dress import sample_dress
from aih_gen.scenes.scene import Band, Dress, Glove, Ring, Scene, Watch
from aih_gen.scenes.skin import sample_skin

GOLD = np.array([0.95, 0.72, 0.32], np.float32)
RED, GREEN = np.array([0.5, 0.01, 0.02], np.float32), np.array([0.05, 0.4, 0.1], np.float32)


@pytest.fixture(scope="module")
def source() -> RenderedSource:
    return RenderedSource(RenderConfig(seed=11, size=128))


@pytest.fixture(scope="module")
def bare(source: RenderedSource) -> list[Scene]:
    scenes = [source.scenes.sample(i) for i in range(8)]
    return [
        replace(s, skin=replace(s.skin, sleeve=None, dress=Dress()), lights=replace(s.lights, shadows=False))
        for s in scenes
    ]


def worn(source: RenderedSource, scenes: list[Scene], dress: Dress) -> list[Layers]:
    return source.renderer.render([replace(s, skin=replace(s.skin, dress=dress)) for s in scenes])


def places(scene: Scene, layers: Layers, side: int, pixels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,3) camera space points that ``pixels`` of one hand show."""
    row, column = np.nonzero(pixels)
    rays = np.stack([column, row, np.ones_like(row)], 1) @ np.linalg.inv(scene.camera.matrix.astype(np.float64)).T
    return np.asarray(rays * layers.depth[side][row, column, None])


def changed(one: Layers, other: Layers, side: int) -> NDArray[np.bool_]:
    difference = np.abs(one.colour[side].astype(int) - other.colour[side])[..., :3].max(-1)
    return np.asarray((difference > 8) & (other.part[side] > 0))


def test_each_thing_is_worn_in_its_share_and_not_with_everything_else() -> None:
    count, seen = 3000, Counter[str]()
    for k in range(count):
        skin = sample_skin(sample_rng(0, k))
        dress = sample_dress(sample_rng(1, k), skin)
        seen["glove"] += dress.glove is not None
        seen["rings"] += bool(dress.rings)
        seen["watch"] += dress.watch is not None
        seen["polish"] += dress.polish is not None
        if dress.glove is not None:
            assert not dress.rings and dress.polish is None
        if dress.bands:
            assert skin.sleeve is None or skin.sleeve.start > max(b.start + b.width / 2 for b in dress.bands)
        for side in (0, 1):
            assert sum(band.side == side for band in dress.bands) <= dresses.MAX_BANDS
        assert len({(ring.side, ring.finger) for ring in dress.rings}) == len(dress.rings) <= dresses.MAX_RINGS
    for name, share in (("glove", dresses.GLOVES), ("rings", dresses.RINGS), ("polish", dresses.POLISH)):
        assert seen[name] / count == pytest.approx(share, abs=0.02), name
    assert 0.5 * dresses.WATCH < seen["watch"] / count < dresses.WATCH


def test_the_plain_look_wears_nothing_and_a_dress_changes_no_hand_and_no_camera(
    source: RenderedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled = {}
    for share in (0.0, 1.0):
        for name in ("GLOVES", "RINGS", "WATCH", "BRACELETS", "POLISH"):
            monkeypatch.setattr(dresses, name, share if name != "GLOVES" else 0.0)
        sampled[share] = source.scenes.sample(2)
    assert sampled[1.0].skin.dress.rings and not sampled[0.0].skin.dress.rings
    for one, other in zip(sampled[0.0].hands, sampled[1.0].hands, strict=True):
        assert np.array_equal(one.pose, other.pose) and np.array_equal(one.transl, other.transl)
    assert np.array_equal(sampled[0.0].lights.harmonics, sampled[1.0].lights.harmonics)
    plain = SceneSampler(RenderConfig(seed=11, size=64, look="plain"), source.hands.models).sample(2)
    assert plain.skin.dress.rings == () and plain.skin.dress.polish is None


@pytest.mark.parametrize("finger", ["thumb", "ring"])
def test_a_ring_sits_on_its_bone(source: RenderedSource, bare: list[Scene], finger: str) -> None:
    ring = Ring(1, FINGERS.index(finger), 0.63, 0.005, GOLD, GREEN)
    before, after = worn(source, bare, Dress()), worn(source, bare, Dress(rings=(ring,)))
    level = 2 if finger == "thumb" else 1
    near: list[bool] = []
    for scene, one, other in zip(bare, before, after, strict=True):
        assert np.array_equal(one.part, other.part) and not changed(one, other, 0).any()
        pixels = changed(one, other, 1)
        base, tip = (other.joints_3d[1, JOINT_NAMES.index(f"{finger}{level + k}")] for k in (0, 1))
        middle, along = base + 0.63 * (tip - base), (tip - base) / np.linalg.norm(tip - base)
        offset = places(scene, other, 1, pixels) - middle
        assert (other.part[1][pixels] == HAND).all()
        near += ((np.abs(offset @ along) < 0.009) & (np.linalg.norm(offset, axis=1) < 0.019)).tolist()
    assert len(near) > 60 and np.mean(near) > 0.93  # outlines take the colour of a neighbour


def test_a_watch_is_on_the_arm_close_to_the_wrist(source: RenderedSource, bare: list[Scene]) -> None:
    watch = Watch(0, 0.03, 0.018, GOLD, RED, False)
    dress = Dress(bands=(Band(0, 0.03, 0.02, GREEN, False, 0),), watch=watch)
    before, after = worn(source, bare, Dress()), worn(source, bare, dress)
    raised = 0
    for scene, one, other in zip(bare, before, after, strict=True):
        pixels = changed(one, other, 0)
        if not pixels.any():
            continue
        along, out_of_back, _ = forearm_axes(scene.hands[0], 0)
        offset = places(scene, other, 0, pixels) - other.joints_3d[0, 0]
        assert ((offset @ along > 0.005) & (offset @ along < 0.055)).mean() > 0.97
        standing = places(scene, other, 0, one.part[0] != other.part[0]) - other.joints_3d[0, 0]
        assert (standing @ out_of_back > 0).all()
        assert (other.part[0][pixels] == ARM).mean() > 0.97
        assert np.array_equal(one.part[1], other.part[1])
        # Masks change only where the case stands out.
        grown = one.part[0] != other.part[0]
        assert (other.part[0][grown] == ARM).all()
        raised += int(grown.sum())
    assert raised > 10


def test_a_glove_leaves_no_skin_to_be_seen_on_the_hand(source: RenderedSource, bare: list[Scene]) -> None:
    for knitted in (True, False):
        dress = Dress(glove=Glove(GREEN, knitted, 0.05))
        light, dark = (
            worn(source, [replace(s, skin=replace(s.skin, back=tone, palm=tone)) for s in bare], dress)
            for tone in (np.full(3, 0.6, np.float32), np.full(3, 0.1, np.float32))
        )
        for one, other in zip(light, dark, strict=True):
            inner = (one.part == HAND) & (one.colour[..., 3] == 255)
            assert np.array_equal(one.colour[inner], other.colour[inner])
            assert one.colour[inner][:, 1].mean() > one.colour[inner][:, 0].mean()


def test_painted_nails_are_at_the_finger_tips(source: RenderedSource, bare: list[Scene]) -> None:
    before, after = worn(source, bare, Dress()), worn(source, bare, Dress(polish=RED))
    tips = [JOINT_NAMES.index(f"{finger}4") for finger in FINGERS]
    near: list[bool] = []
    for scene, one, other in zip(bare, before, after, strict=True):
        for side in (0, 1):
            points = places(scene, other, side, changed(one, other, side))
            near += (np.linalg.norm(points[:, None] - other.joints_3d[side, tips], axis=-1).min(1) < 0.022).tolist()
    assert len(near) > 100 and np.mean(near) > 0.93


def test_both_renderers_draw_a_watch_alike(source: RenderedSource, bare: list[Scene]) -> None:
    pytest.importorskip("pyrender", reason="the extra 'pyrender' is not installed")
    from aih_gen.render.pyrender import PyrenderRenderer

    dress = Dress(bands=(Band(1, 0.03, 0.02, GREEN, False, 0),), watch=Watch(1, 0.03, 0.018, GOLD, RED, True))
    scenes = [replace(s, skin=replace(s.skin, dress=dress)) for s in bare[:3]]
    ours = source.renderer.render(scenes)
    pyrender = PyrenderRenderer(source.hands, 128)
    reference = pyrender.render(scenes)
    pyrender.renderer.delete()  # now: when garbage is collected, it would take the current OpenGL context with it
    for a, b in zip(ours, reference, strict=True):
        for part in (HAND, ARM):
            first, second = a.part == part, b.part == part
            assert (first & second).sum() >= 0.995 * (first | second).sum()
