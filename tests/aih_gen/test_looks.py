"""Skin, light and sensor: people of all tones, shadows that are marked, images that stay equal where they should."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from aih_gen.compose.rendered import RenderedSource
from aih_gen.compose.sensor import apply_sensor
from aih_gen.config import RenderConfig, sample_rng
from aih_gen.errors import AssetError
from aih_gen.hands import export_free_hand, load_hand_model
from aih_gen.render.meshes import HandPair
from aih_gen.render.skin_volume import CREASE, NAIL, VEIN, VOXEL, skin_volume
from aih_gen.scenes import SceneSampler, settings
from aih_gen.scenes import sensor as sensor_module
from aih_gen.scenes.backgrounds import OUTDOORS, Background, BackgroundLibrary, background_image
from aih_gen.scenes.lights import MAX_WHITE, facing_light, harmonic_basis, place_lights, rotate_harmonics, sample_lights
from aih_gen.scenes.scene import Sensor
from aih_gen.scenes.sensor import GREY, PERFECT, sample_grey
from aih_gen.scenes.settings import DARK_STUDIO, DAYLIGHT, dark_studio, daylight, sample_setting
from aih_gen.scenes.skin import TONES, sample_skin, tone_class


def sphere(count: int = 4000) -> np.ndarray:
    normals = np.random.default_rng(1).normal(size=(count, 3))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_people_of_all_six_tones_come_alike_often() -> None:
    people = [sample_skin(sample_rng(0, k)) for k in range(600)]
    counts = Counter(person.tone for person in people)
    assert set(counts) == set(TONES) and all(70 <= n <= 130 for n in counts.values()), counts
    assert all(tone_class(person.back) == person.tone for person in people)


def test_palms_are_paler_than_backs_and_most_of_all_in_dark_skin() -> None:
    people = [sample_skin(sample_rng(1, k)) for k in range(300)]
    contrast = {
        tone: np.mean([p.palm.mean() / p.back.mean() for p in people if p.tone == tone]) for tone in ("light", "dark")
    }
    assert 1 < contrast["light"] < contrast["dark"]


def test_every_shipped_photograph_has_its_light_whose_mean_is_one() -> None:
    table = place_lights()
    assert set(table) == set(BackgroundLibrary().photos)
    for name, rows in table.items():
        soft = (harmonic_basis(sphere()) @ rows[:9]).mean()
        assert soft + rows[10].mean() / 4 == pytest.approx(1, abs=0.03), name
        assert np.linalg.norm(rows[9]) == pytest.approx(1, abs=1e-3)


def test_a_mirrored_background_mirrors_its_light() -> None:
    def light(flip: bool) -> tuple[np.ndarray, np.ndarray]:
        for k in range(100):
            lights = sample_lights(sample_rng(0, k), Background("photo", photo="hall_1.webp", flip=flip), 0.5)
            if len(lights.directions) == 1 and np.abs(lights.harmonics[4:]).max() > 0:
                return lights.harmonics, lights.directions[0]
        raise AssertionError("no place light in 100 draws")

    (plain, lamp), (mirrored, mirrored_lamp) = light(False), light(True)
    flip = np.array([-1.0, 1, 1])
    assert np.allclose(harmonic_basis(sphere() * flip) @ plain, harmonic_basis(sphere()) @ mirrored, atol=1e-5)
    assert np.allclose(lamp * flip, mirrored_lamp, atol=1e-6)


def test_the_camera_exposes_for_what_faces_it_and_leaves_pale_skin_below_white() -> None:
    library, means = BackgroundLibrary(), []
    for k in range(200):
        rng = sample_rng(2, k)
        given = facing_light(sample_lights(rng, library.sample(rng), 0.8))
        means.append(given.mean())
        assert given.max() * 0.8 < MAX_WHITE + 1e-3
    assert min(means) > 0.15 and 0.35 < np.median(means) < 0.8


def test_no_shadow_is_black() -> None:
    library = BackgroundLibrary()
    for k in range(200):
        rng = sample_rng(3, k)
        lights = sample_lights(rng, library.sample(rng), 0.5)
        soft = harmonic_basis(sphere()) @ lights.harmonics  # what a lamp's shadow leaves
        assert (soft.min(0) > 0.08 * facing_light(lights).mean(0)).all()


def test_turned_light_comes_from_where_it_was_turned_to() -> None:
    harmonics = place_lights()["sunset_0.webp"][:9]
    rotated = Rotation.from_rotvec([0, 1.1, 0])
    new = rotate_harmonics(harmonics, rotated.as_matrix(), np.ones(3))
    assert np.allclose(harmonic_basis(rotated.apply(sphere())) @ new, harmonic_basis(sphere()) @ harmonics, atol=1e-4)


def sensed(image: np.ndarray, target: np.ndarray, taken: np.ndarray, sensor: Sensor) -> tuple[np.ndarray, np.ndarray]:
    images = np.stack([image, target, image])
    seen, kept, other = apply_sensor(images, np.stack([taken, np.zeros_like(taken)]), sensor)
    assert np.array_equal(other, seen)
    return seen, kept


def test_the_perfect_sensor_changes_nothing_and_a_real_one_keeps_equal_pixels_equal() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    target, taken = image.copy(), np.zeros((64, 64), bool)
    taken[20:40, 20:40] = True
    target[taken] = 90
    same, kept = sensed(image, target, taken, PERFECT)
    assert np.array_equal(same, image) and np.array_equal(kept, target)

    real = Sensor((3.0, 1.0), 0.8, (1.1, 1.0, 0.9), 1.1, 0.1, 2.0, 70, 5)
    seen, kept = sensed(image, target, taken, real)
    far = np.ones((64, 64), bool)
    far[15:49, 15:49] = False  # blocks of JPEG around it, and what smoothing its colours reaches
    assert np.array_equal(seen[far], kept[far]) and not np.array_equal(seen, image)
    assert (seen[taken] != kept[taken]).any(-1).mean() > 0.9
    assert np.abs(kept[26:34, 26:34].astype(int) - 90 * np.array([1.1, 1.0, 0.9])).mean() < 12


@pytest.mark.parametrize("place", [(20, 40), (48, 60), (88, 95), None])
def test_a_target_differs_from_the_image_in_blocks_of_jpeg_that_blur_reaches(place: tuple[int, int] | None) -> None:
    """A part of a target that is cut out to be blurred and compressed leaves no trace of the cut."""
    rng = np.random.default_rng(0)
    for seed in range(20):
        image = rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)
        target, taken = image.copy(), np.zeros((128, 128), bool)
        near = np.zeros((128, 128), bool)
        if place is not None:
            low, high = place
            taken[low:high, low:high] = True
            target[taken] = 90
            reach = 3 + 1  # of the blur below, and of JPEG's coarse chroma
            near[(low - reach) // 16 * 16 : -(-(high + reach) // 16) * 16 + 1] = True
            near &= near.T
        sensor = Sensor((0.0, 0.0), 0.9, (1.1, 1.0, 0.9), 1.1, 0.1, 2.0, 75, seed)
        seen, kept = sensed(image, target, taken, sensor)
        assert not ((seen != kept).any(-1) & ~near).any()
        assert place is None or (seen[taken] != kept[taken]).any(-1).mean() > 0.9


def test_grey_pictures_have_no_colour_and_targets_are_as_grey() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    target, taken = image.copy(), np.zeros((64, 64), bool)
    taken[20:40, 20:40] = True
    target[taken] = (200, 90, 30)
    for sensor in (replace(PERFECT, grey=True), Sensor((3.0, 1.0), 0.8, (1.1,) * 3, 1.1, 0.1, 2.0, 70, 5, True, 0.8)):
        seen, kept = sensed(image, target, taken, sensor)
        assert np.ptp(seen, axis=-1).max() == 0 and np.ptp(kept, axis=-1).max() == 0
    seen, kept = sensed(image, target, taken, replace(PERFECT, grey=True))
    assert np.array_equal(seen[~taken], kept[~taken])
    assert np.abs(kept[taken] - (0.299 * 200 + 0.587 * 90 + 0.114 * 30)).max() <= 1
    hard, _ = sensed(image, target, taken, replace(PERFECT, grey=True, contrast=1.0))
    assert hard.std() > 1.15 * seen.std()


def test_grey_pictures_and_settings_come_in_their_shares() -> None:
    count = 3000
    grey = [sample_grey(sample_rng(4, k), PERFECT).grey for k in range(count)]
    settings = Counter(sample_setting(sample_rng(5, k)) for k in range(count))
    assert np.mean(grey) == pytest.approx(GREY, abs=0.015)
    assert settings["dark studio"] / count == pytest.approx(DARK_STUDIO, abs=0.015)
    assert settings["daylight"] / count == pytest.approx(DAYLIGHT, abs=0.015)


def test_a_dark_studio_is_lit_by_one_lamp_from_the_side() -> None:
    library = BackgroundLibrary()
    for k in range(60):
        background, lights = dark_studio(sample_rng(6, k), 0.5, True)
        assert background_image(background, library, 32).mean() < 70
        assert len(lights.directions) == 1 and abs(lights.directions[0, 0]) > 0.35
        soft = (harmonic_basis(sphere()) @ lights.harmonics).mean()
        assert lights.colours.mean() > 3 * soft and facing_light(lights).max() * 0.5 < MAX_WHITE + 1e-3


def test_daylight_is_a_hard_sun_from_above_before_a_bright_place() -> None:
    library, bright, plain = BackgroundLibrary(), [], []
    for k in range(60):
        background, lights = daylight(sample_rng(7, k), library, 0.5, True)
        assert background.photo is None or background.photo.startswith(OUTDOORS)
        assert lights.directions[0, 1] < 0 and len(lights.directions) == 1
        assert lights.colours.mean() > 3 * (harmonic_basis(sphere()) @ lights.harmonics).mean()
        bright.append(facing_light(lights).mean())
        rng = sample_rng(8, k)
        plain.append(facing_light(sample_lights(rng, library.sample(rng), 0.5)).mean())
    assert np.median(bright) > 1.1 * np.median(plain)


def test_settings_and_grey_pictures_move_no_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = SceneSampler(RenderConfig(seed=11, size=64), HandPair("free").models)
    plain = sampler.sample(3)
    for module, name in ((settings, "DARK_STUDIO"), (settings, "DAYLIGHT"), (sensor_module, "GREY")):
        with monkeypatch.context() as patched:
            patched.setattr(settings, "DARK_STUDIO", 0.0)
            patched.setattr(module, name, 1.0)
            changed = sampler.sample(3)
        assert (
            changed.sensor.grey
            or changed.lights.colours.shape != plain.lights.colours.shape
            or (changed.lights.colours != plain.lights.colours).any()
        )
        for one, other in zip(plain.hands, changed.hands, strict=True):
            assert np.array_equal(one.pose, other.pose) and np.array_equal(one.transl, other.transl)
        assert np.array_equal(plain.skin.back, changed.skin.back)


def test_compression_leaves_no_outline_of_what_was_taken_away() -> None:
    target = np.full((64, 64, 3), 120, np.uint8)
    taken = np.hypot(*(np.indices((64, 64)) - 31.5)) < 12
    image = np.where(taken[..., None], np.uint8(10), target)
    seen, kept = sensed(image, target, taken, replace(PERFECT, jpeg=50))
    assert np.abs(seen[~taken].astype(int) - 120).max() > 10
    assert np.abs(kept.astype(int) - 120).max() <= 13


def test_shadows_of_the_other_hand_are_dark_marked_and_can_be_switched_off() -> None:
    plain = {"seed": 11, "size": 128}
    with_shadows, without = RenderedSource(RenderConfig(**plain)), RenderedSource(RenderConfig(**plain, shadows=False))
    darker = []
    for k in range(30):
        scene = replace(with_shadows.scenes.sample(k), sensor=PERFECT)
        assert not without.scenes.sample(k).lights.shadows
        sample = with_shadows.compose_scenes([scene])[0]
        bare = without.compose_scenes([replace(scene, lights=replace(scene.lights, shadows=False))])[0]
        assert not bare.shaded.any()
        taken = (sample.visible_left | sample.arm_left, sample.visible_right | sample.arm_right)
        for target, gone in zip((sample.target_right, sample.target_left), taken, strict=True):
            difference = (target.astype(int) - sample.image)[sample.shaded & ~gone]
            darker += difference[np.abs(difference).max(1) > 0].mean(1).tolist()
    assert len(darker) > 500
    assert np.mean(np.array(darker) > 0) > 0.98


def test_nails_lie_on_the_finger_tips_palm_lines_below_and_veins_above() -> None:
    hand = load_hand_model("free")
    volume = skin_volume(hand)
    where = [np.argwhere(volume.values[..., channel] > 128)[:, ::-1] * VOXEL + volume.origin for channel in range(4)]
    tips = np.stack([hand.joint_template.numpy()[bone] for bone in (3, 6, 9, 12, 15)]) - hand.joint_template.numpy()[0]
    nearest = np.linalg.norm(where[NAIL][:, None] - tips, axis=-1)
    assert set(nearest.argmin(1)) == set(range(5)) and nearest.min(1).max() < 0.035
    palm_x = 0.5 * tips[1, 0]
    assert (where[VEIN][:, 1] > -0.01).all() and (
        where[CREASE][where[CREASE][:, 0] > palm_x][:, 1] < 0.005
    ).mean() > 0.9


def test_no_open_wrist_or_elbow_shows(tmp_path: Path) -> None:
    export_free_hand(tmp_path, "right")
    export_free_hand(tmp_path, "left")
    for model in ("free", str(tmp_path)):
        for topology in HandPair(model).topology:
            edges = np.concatenate([topology.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
            assert {tuple(e) for e in edges.tolist()} == {tuple(e[::-1]) for e in edges.tolist()}


def test_a_texture_colours_both_hands(tmp_path: Path) -> None:
    Image.new("RGB", (256, 256), (40, 90, 200)).save(tmp_path / "blue.png")
    samples = RenderedSource(RenderConfig(seed=2, size=128, textures=str(tmp_path), look="plain")).samples(range(4))
    for s in samples:
        for visible in (s.visible_right, s.visible_left):
            if visible.sum() > 100:
                red, _, blue = s.image[visible].astype(float).mean(0)
                assert blue > 1.5 * red


def test_a_mesh_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    Image.new("RGB", (256, 256)).save(tmp_path / "a.png")
    for text, found in (
        ("v 0 0 0\n", "others or none"),
        ("vt 0 0\nf 1/1 2/1 99999/1\n", "99999"),
        ("vt a b\n", "line 1"),
    ):
        (tmp_path / "uv.obj").write_text(text)
        with pytest.raises(AssetError, match=found):
            RenderedSource(RenderConfig(size=128, textures=str(tmp_path)))
