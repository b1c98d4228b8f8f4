"""AIH_Syn from images and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aih_gen.cli import main
from aih_gen.config import SIDES, SynConfig
from aih_gen.errors import AIHError
from aih_gen.shards.reader import AIHShards
from aih_gen.shards.verify import sample_problems
from aih_gen.sources import open_source
from tests.data.samples import make_sample

SIZE = 64


def write_folder(folder: Path, count: int, size: int) -> None:
    for name in SIDES:
        (folder / name).mkdir(parents=True)
        for index in range(count):
            sample = make_sample(index, size)
            Image.fromarray(getattr(sample, f"target_{name}")).save(folder / name / f"{index}.jpg", quality=95)
            mask = getattr(sample, f"amodal_{name}") * np.uint8(200)  # grey, as resized masks are
            Image.fromarray(mask).save(folder / name / f"{index}_mask.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "hands", 6, SIZE)
    return tmp_path / "hands"


def test_images_and_masks_become_samples_that_invent_nothing(folder: Path) -> None:
    for sample in open_source(SynConfig(source=str(folder), size=SIZE)).samples(range(12)):
        assert not list(sample_problems(sample))
        for name in ("joints_3d", "joints_2d", "pose", "betas", "transl", "camera"):
            assert np.isnan(getattr(sample, name)).all(), name
        assert not sample.joint_state.any() and sample.present.all()
        for side in SIDES:
            assert (folder / sample.provenance["hands"][side]["file"]).exists()
            assert sample.provenance["hands"][side]["camera"] is None


def test_the_command_takes_a_folder_and_every_number(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "syn"
    arguments = ["syn", "--source", str(folder), "--out", str(out), "--count", "3", "--size", "64"]
    assert main([*arguments, "--left-in-front", "1", "--smallest-hand", "0.02"]) == 0
    shards = AIHShards(out)
    assert len(shards) == 3 and {sample.provenance["covered"] for sample in shards[:]} == {"right"}


def test_larger_images_are_cut_around_the_hand(tmp_path: Path) -> None:
    """A hand at the end of a wide image, twice the size: the square holds all of it, at half the size."""
    hand = make_sample(2, 2 * SIZE)
    for side in SIDES:
        (tmp_path / side).mkdir()
        wide = np.zeros((2 * SIZE, 5 * SIZE), np.uint8)
        wide[:, 3 * SIZE :] = getattr(hand, f"amodal_{side}") * np.uint8(255)
        Image.fromarray(wide).save(tmp_path / side / "a_mask.png")
        Image.fromarray(np.dstack([wide // 2] * 3)).save(tmp_path / side / "a.png")
    hands = open_source(SynConfig(source=str(tmp_path), size=SIZE)).hands
    crop = hands.crop(0, 0)
    assert crop is not None
    assert crop.hand.sum() == pytest.approx(hand.amodal_right.sum() / 4, rel=0.02)
    assert crop.image[crop.hand].min() >= 60 and crop.image[~crop.hand].max() <= 68


def test_a_hand_that_is_small_or_cut_is_never_used(folder: Path) -> None:
    whole = np.asarray(Image.open(folder / "right/0_mask.png"))
    small, cut = np.zeros_like(whole), whole.copy()
    small[30:35, 30:35] = cut[:, :20] = 255
    for index, mask in ((0, small), (1, cut)):
        Image.fromarray(mask).save(folder / f"right/{index}_mask.png")
    samples = open_source(SynConfig(source=str(folder), size=SIZE)).samples(range(40))
    used = {sample.provenance["hands"]["right"]["file"] for sample in samples}
    assert used and not used & {"right/0.jpg", "right/1.jpg"}


def test_every_fault_is_one_sentence(folder: Path) -> None:
    mask, image, other = folder / "left/0_mask.png", folder / "left/0.jpg", folder / "left/1_mask.png"
    before = {path: path.read_bytes() for path in (mask, image)}
    for path in (folder / "left").glob("[1-9]*"):
        path.unlink()

    def refused(sentence: str) -> None:
        with pytest.raises(AIHError, match=sentence):
            open_source(SynConfig(source=str(folder), size=SIZE))
        for path, content in before.items():
            path.write_bytes(content)

    mask.unlink()
    refused(r"left/0.jpg: expected its mask 0_mask.png beside it, found none")
    Image.new("L", (32, 64)).save(mask)
    refused(r"left/0_mask.png: expected 64x64 as its image 0.jpg, found 32x64")
    Image.new("L", (64, 64), 1).save(mask)
    refused(r"left/0_mask.png: expected a hand \(128 to 255\), found no level above 1")
    mask.write_bytes(before[mask][:100])
    refused(r"left/0_mask.png: expected an image")
    image.write_text("not an image")
    refused(r"left/0.jpg: expected an image")
    assert not other.exists()
    mask.unlink()
    image.unlink()
    before.clear()
    refused(r"left: expected images of left hands \(.jpg, .*\), found none")


def test_a_changed_mask_is_another_source(folder: Path) -> None:
    config = SynConfig(source=str(folder), size=SIZE)
    before = open_source(config).describe()
    (folder / "left/0_mask.png").write_bytes((folder / "left/1_mask.png").read_bytes())
    assert open_source(config).describe() != before
