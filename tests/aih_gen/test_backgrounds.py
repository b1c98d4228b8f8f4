"""Backgrounds: plain data that determines pixels, and one door for photographs."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aih_gen.config import sample_rng
from aih_gen.errors import AssetError
from aih_gen.scenes.backgrounds import SHARES, Background, BackgroundLibrary, background_image
from aih_gen.scenes.drawn_backgrounds import draw_background


@pytest.fixture(scope="module")
def shipped() -> BackgroundLibrary:
    return BackgroundLibrary()


def ramp(path: Path, width: int, height: int) -> None:
    """A photograph whose red is its column and whose green is its row, in 0..255."""
    columns, rows = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    Image.fromarray(np.stack([columns, rows, columns * 0], axis=-1).astype(np.uint8)).save(path)


def test_every_shipped_photograph_opens(shipped: BackgroundLibrary) -> None:
    assert 30 <= len(shipped.photos) <= 60
    for name in shipped.photos:
        assert shipped.photo(name).shape == (320, 320, 3)


def test_a_background_alone_determines_its_pixels(shipped: BackgroundLibrary) -> None:
    copy = pickle.loads(pickle.dumps(shipped))  # noqa: S301 - as a worker process receives it
    for index in range(40):
        background = shipped.sample(sample_rng(5, index))
        assert background == copy.sample(sample_rng(5, index))
        image = background_image(background, shipped, 64)
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.uint8
        assert np.array_equal(image, background_image(background, copy, 64))


def test_kinds_come_in_their_shares(shipped: BackgroundLibrary) -> None:
    count = 2000
    kinds = Counter(shipped.sample(sample_rng(1, index)).kind for index in range(count))
    for kind, share in SHARES.items():
        assert kinds[kind] / count == pytest.approx(share, abs=0.04)


def test_a_drawn_background_changes_with_its_seed() -> None:
    for kind in ("clutter", "gradient", "plain", "black"):
        assert np.any(np.asarray(draw_background(kind, 1, 48)) != np.asarray(draw_background(kind, 2, 48)))
    assert np.asarray(draw_background("black", 1, 128)).mean() < 25


def test_a_view_shows_the_square_it_names_and_never_leaves_the_photograph(tmp_path: Path) -> None:
    ramp(tmp_path / "ramp.png", 512, 256)
    library = BackgroundLibrary(tmp_path)
    whole = Background(kind="photo", photo="ramp.png")
    left = background_image(replace(whole, centre=(0.0, 0.5)), library, 128).astype(int)
    assert left[64, 0, 0] == pytest.approx(0, abs=2)
    assert left[64, -1, 0] == pytest.approx(127, abs=2)
    assert left[0, 64, 1] == pytest.approx(0, abs=2)
    assert left[-1, 64, 1] == pytest.approx(255, abs=2)
    right = background_image(replace(whole, centre=(1.0, 0.5), flip=True), library, 128).astype(int)
    assert right[64, 0, 0] == pytest.approx(255, abs=2)
    assert right[64, -1, 0] == pytest.approx(128, abs=2)
    for rotation in (-12.0, 12.0):
        for centre in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
            rotated = background_image(replace(whole, centre=centre, rotation=rotation, gain=(1, 1, 1)), library, 128)
            # Outside the photograph there is only black, and rows 2.. of the ramp are not black.
            assert (rotated.max(axis=-1) < 1).mean() < 0.01


def test_gain_brightens_each_channel(tmp_path: Path) -> None:
    Image.new("RGB", (200, 200), (100, 100, 100)).save(tmp_path / "grey.png")
    background = Background(kind="photo", photo="grey.png", gain=(1.5, 1.0, 0.5))
    assert background_image(background, BackgroundLibrary(tmp_path), 16)[8, 8].tolist() == [150, 100, 50]


def test_the_digest_follows_names_and_bytes(tmp_path: Path) -> None:
    ramp(tmp_path / "a.png", 130, 130)
    digest = BackgroundLibrary(tmp_path).digest()
    assert BackgroundLibrary(str(tmp_path)).digest() == digest
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    renamed = BackgroundLibrary(tmp_path).digest()
    ramp(tmp_path / "b.png", 131, 130)
    assert len({digest, renamed, BackgroundLibrary(tmp_path).digest()}) == 3


def test_a_large_photograph_is_kept_small(tmp_path: Path) -> None:
    ramp(tmp_path / "large.jpg", 3000, 1500)
    assert BackgroundLibrary(tmp_path).photo("large.jpg").shape == (640, 1280, 3)


def test_mistakes_are_named_in_one_sentence(tmp_path: Path, shipped: BackgroundLibrary) -> None:
    with pytest.raises(AssetError, match=r"nowhere: expected a folder of photographs, found no folder"):
        BackgroundLibrary(tmp_path / "nowhere")
    with pytest.raises(AssetError, match=r"expected photographs .*, found none"):
        BackgroundLibrary(tmp_path)
    (tmp_path / "broken.jpg").write_text("not a photograph")
    with pytest.raises(AssetError, match=r"broken\.jpg: expected an image"):
        BackgroundLibrary(tmp_path).photo("broken.jpg")
    ramp(tmp_path / "small.png", 300, 60)
    with pytest.raises(AssetError, match=r"small\.png: expected .* at least 128 pixels a side, found 300x60"):
        BackgroundLibrary(tmp_path).photo("small.png")
    shutil.copy(shipped.folder / shipped.photos[0], tmp_path / "cut.webp")
    (tmp_path / "cut.webp").write_bytes((tmp_path / "cut.webp").read_bytes()[:900])
    with pytest.raises(AssetError, match=r"cut\.webp: expected"):
        BackgroundLibrary(tmp_path).photo("cut.webp")
