"""Folders as people have them: masks of every make, turned photos, files of other kinds among the images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aih_gen.cli import main
from aih_gen.config import SynConfig
from aih_gen.errors import AIHError
from aih_gen.io.images import read_image
from aih_gen.scenes.backgrounds import BackgroundLibrary
from aih_gen.shards.reader import AIHShards
from aih_gen.sources import open_source
from aih_gen.sources.hand_masks import EmptyMask, read_hand_mask
from aih_gen.sources.single_hands import SingleHandPhotos, SingleHandsConfig
from tests.aih_gen.test_folder import write_folder
from tests.data.samples import make_sample

HAND = make_sample(0, 64).amodal_right
LEVELS = HAND * np.uint8(255)
WHITE, BLACK = np.full((64, 64), 255, np.uint8), np.zeros((64, 64), np.uint8)


def of_palette() -> Image.Image:
    image = Image.fromarray(HAND.astype(np.uint8), "P")
    image.putpalette([255, 255, 255, 255, 255, 255])
    image.info["transparency"] = 0
    return image


MASKS: dict[str, Callable[[], Image.Image]] = {
    "grey": lambda: Image.fromarray(LEVELS),
    "one bit": lambda: Image.fromarray(HAND),
    "white, shape in alpha": lambda: Image.fromarray(np.dstack([WHITE, WHITE, WHITE, LEVELS])),
    "black, shape in alpha": lambda: Image.fromarray(np.dstack([BLACK, BLACK, BLACK, LEVELS])),
    "opaque": lambda: Image.fromarray(np.dstack([LEVELS, LEVELS, LEVELS, WHITE])),
    "white on transparent black": lambda: Image.fromarray(np.dstack([LEVELS] * 4)),
    "grey and alpha": lambda: Image.fromarray(np.dstack([WHITE, LEVELS]), "LA"),
    "transparent palette": of_palette,
    "16 bit": lambda: Image.fromarray(HAND * np.uint16(65535)),
    "16 bit, high ground": lambda: Image.fromarray(np.where(HAND, 60000, 3000).astype(np.uint16)),
    "16 bit, low": lambda: Image.fromarray(np.where(HAND, 1000, 300).astype(np.uint16)),
    "16 bit with 8 bit's levels": lambda: Image.fromarray(HAND * np.uint16(255)),
    "inverted": lambda: Image.fromarray(255 - LEVELS),
}


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("make", MASKS)
def test_masks_of_every_make_are_the_same_hand(make: str, tmp_path: Path) -> None:
    MASKS[make]().save(tmp_path / "a_mask.png")
    np.testing.assert_array_equal(read_hand_mask(tmp_path / "a_mask.png"), HAND)


def test_a_mask_that_may_be_another_hand_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a_mask.png"
    Image.fromarray(np.dstack([np.roll(LEVELS, 9, 0)] * 3 + [LEVELS])).save(path)
    with pytest.raises(AIHError, match=r"a_mask\.png: expected the hand in its colours or in its transparency"):
        read_hand_mask(path)
    most = WHITE.copy()
    most[20:, :4] = 0
    Image.fromarray(most).save(path)
    with pytest.raises(AIHError, match=r"expected a bright hand on a dark ground, found 8[0-9]% of the border bright"):
        read_hand_mask(path)
    Image.fromarray(BLACK + np.uint8(100)).save(path)
    with pytest.raises(EmptyMask, match=r"expected a hand \(128 to 255\), found no level above 100"):
        read_hand_mask(path)


def test_a_grey_image_of_16_bit_stays_grey(tmp_path: Path) -> None:
    slope = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(slope).save(tmp_path / "a.png")
    Image.fromarray((slope // 257).astype(np.uint16)).save(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        for mode in ("RGB", "L"):
            found = np.asarray(read_image(tmp_path / name, mode)).reshape(64, 64, -1)
            np.testing.assert_array_equal(found[..., 0], slope // 257)


def test_a_turned_photo_and_its_upright_mask_belong_together_for_every_command(tmp_path: Path) -> None:
    sample = make_sample(0, 64)
    upright = np.pad(sample.target_right, ((0, 32), (0, 0), (0, 0)))  # 96 high, 64 wide
    for side in ("right", "left"):
        (tmp_path / side).mkdir()
        Image.fromarray(np.pad(LEVELS, ((0, 32), (0, 0)))).save(tmp_path / side / "a_mask.png")
        turned, exif = Image.fromarray(np.rot90(upright)), Image.Exif()
        exif[0x0112] = 6
        turned.save(tmp_path / side / "a.jpg", exif=exif, quality=95)
    photos = SingleHandPhotos(SingleHandsConfig(source=str(tmp_path), size=64))
    assert not photos.report.broken and len(photos) == 2
    crop = open_source(SynConfig(source=str(tmp_path), size=64)).hands.crop(0, 0)
    found = photos.samples([0])[0]
    assert crop is not None
    np.testing.assert_array_equal(crop.hand, found.amodal_right)
    np.testing.assert_array_equal(crop.image, found.image)
    assert np.abs(found.image[found.amodal_right].astype(int) - upright[:64][found.amodal_right]).mean() < 60


def mix(folder: Path) -> None:
    """Add what lies in people's folders."""
    first = next(path for path in sorted(folder.iterdir()) if path.suffix == ".jpg")
    shutil.copy(first, folder / "more.JFIF")
    if (mask := folder / f"{first.stem}_mask.png").exists():
        shutil.copy(mask, folder / "more_mask.png")
    for name in ("._0.jpg", "phone.HEIC", "new.avif", "notes.txt"):
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "x.jpg").mkdir()


def test_a_folder_of_hands_may_hold_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "hands", 2, 64)
    for side in ("right", "left"):
        mix(tmp_path / "hands" / side)
    command = ["import", "--from", "folder", str(tmp_path / "hands"), "--size", "64", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    assert len(AIHShards(tmp_path / "out")) == 6
    said = capsys.readouterr().out
    assert (
        "10 images: 6 used, 0 broken" in said and "4 format that is not read (right/new.avif, right/phone.HEIC" in said
    )
    assert open_source(SynConfig(source=str(tmp_path / "hands"), size=64)).hands.count(0) == 3
    assert "right: 2 images of formats that are not read are left out (new.avif, phone.HEIC)" in capsys.readouterr().err


def test_a_folder_of_backgrounds_may_hold_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (200, 200)).save(tmp_path / "a.jpg")
    Image.new("RGB", (200, 200)).save(tmp_path / "b.gif")
    mix(tmp_path)
    library = BackgroundLibrary(tmp_path)
    assert library.photos == ("a.jpg", "b.gif", "more.JFIF")
    assert [library.photo(name).shape for name in library.photos] == [(200, 200, 3)] * 3
    assert "2 images of formats that are not read are left out" in capsys.readouterr().err


def test_a_link_to_nothing_is_not_left_out_without_a_word(tmp_path: Path) -> None:
    Image.new("RGB", (200, 200)).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").symlink_to("gone.jpg")
    with pytest.raises(AIHError, match=r"b\.jpg: expected a readable photograph, found: No such file"):
        BackgroundLibrary(tmp_path).digest()
