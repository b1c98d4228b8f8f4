"""Finding hands in large photos, and videos, with networks that read the answer off the colours."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aih_gen.errors import AIHError
from hdr_model.inference.detection import Window, find_hands, likeliest, window_of
from hdr_model.inference.infer import infer_photos
from hdr_model.inference.photos import MAX_PIXELS, read_photo
from hdr_model.inference.pipeline import HDR
from hdr_model.nets.hasm import HASM
from tests.hdr_model.test_pipeline import hdr, iou, is_red, photo, weights  # noqa: F401


def placed(at: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    large = np.full((*size, 3), 128, np.uint8)
    top, left = at
    large[top : top + 120, left : left + 160] = photo(120, 160)
    return large


@pytest.mark.parametrize(("height", "width"), [(1000, 1000), (300, 1600), (2000, 701), (1, 1), (5, 900)])
def test_the_whole_window_is_the_smallest_that_holds_the_photo(height: int, width: int) -> None:
    window = Window.whole(height, width)
    assert window.side == max(height, width)
    assert window.left <= 0 and window.top <= 0
    assert window.left + window.side >= width and window.top + window.side >= height


def test_windows_overlap_by_intersection_over_union() -> None:
    window = Window(10, 20, 40)
    assert window.overlap(window) == 1
    assert window.overlap(Window(30, 20, 40)) == pytest.approx(20 * 40 / (2 * 1600 - 800))
    assert window.overlap(Window(60, 20, 40)) == window.overlap(Window(10, 90, 5)) == 0


def test_the_likeliest_part_is_not_always_the_largest() -> None:
    margin = np.full((10, 10), -5.0, np.float32)
    margin[:4, :4] = 0.1  # 16 cells, hardly
    margin[6:9, 6:10] = 8.0  # 12 cells, surely
    best = likeliest(margin)
    assert best is not None and best.sum() == 12 and best[7, 7]
    assert likeliest(-np.abs(margin)) is None


def test_a_photo_without_hands_and_one_full_of_them_are_looked_at_as_a_whole(hdr: HDR) -> None:  # noqa: F811
    for image in (np.full((200, 300, 3), 128, np.uint8), photo(70, 130)):
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
        assert find_hands(hdr, pixels) == Window.whole(*image.shape[:2])


def test_small_hands_are_found_anywhere_in_a_large_photo(hdr: HDR) -> None:  # noqa: F811
    for at in ((40, 60), (800, 1000), (420, 30)):
        image = placed(at, (1000, 1300))
        assert iou(hdr(image).masks["right_visible"], is_red(image)) > 0.8


def test_a_box_says_where_to_look(hdr: HDR) -> None:  # noqa: F811
    image = placed((100, 100), (600, 900))
    image[350:470, 600:760] = photo(120, 160)
    first, second = hdr(image, box=(120, 130, 240, 190)), hdr(image, box=(620, 380, 740, 440))
    assert first.right.joints_2d[0, 0] < 300 < 550 < second.right.joints_2d[0, 0]
    with pytest.raises(AIHError, match="left < right"):
        hdr(image, box=(50, 50, 50, 80))


def test_a_square_around_a_box_is_centred_on_it() -> None:
    window = window_of((100, 200, 200, 240))
    assert (window.left + window.side / 2, window.top + window.side / 2) == pytest.approx((150, 220), abs=1)
    assert window == Window(window.left, window.top, 140)


def test_photos_of_a_batch_are_what_they_are_alone(hdr: HDR) -> None:  # noqa: F811
    images = [photo(), photo(200, 260, left=False), np.full((50, 40, 3), 128, np.uint8)]
    for image, together in zip(images, hdr.batch(images), strict=True):
        alone = hdr(image)
        assert all((alone.masks[name] == mask).all() for name, mask in together.masks.items())
        for side in ("right", "left"):
            np.testing.assert_allclose(getattr(together, side).joints_3d, getattr(alone, side).joints_3d, atol=1e-6)
            assert (getattr(together, side).image == getattr(alone, side).image).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (17, 3)])
def test_a_picture_of_hardly_any_pixels_has_no_hands(hdr: HDR, shape: tuple[int, int]) -> None:  # noqa: F811
    result = hdr(np.full((*shape, 3), 128, np.uint8))
    assert not result.right.present and not result.left.present
    assert result.masks["right_amodal"].shape == shape


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n{} loop\n"


@pytest.mark.parametrize("name", ["photo.jpg", "photo.eps", "photo"])
def test_a_photo_runs_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    started: list[object] = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *rest, **more: started.append(rest))
    (tmp_path / name).write_bytes(EPS)
    with pytest.raises(AIHError, match="expected an image"):
        read_photo(tmp_path / name)
    assert not started


def test_a_photo_too_large_is_one_sentence_and_not_read(tmp_path: Path, hdr: HDR) -> None:  # noqa: F811
    for side in (20_000, 9_000):
        Image.new("1", (side, side)).save(tmp_path / "large.png")
        with pytest.raises(AIHError, match="64 million pixels") as caught:
            read_photo(tmp_path / "large.png")
        assert str(side) in str(caught.value) or "exceeds" in str(caught.value)
    assert MAX_PIXELS < 9_000**2
    with pytest.raises(AIHError, match="20000x20000"):
        hdr(np.broadcast_to(np.uint8(0), (20_000, 20_000, 3)))


def test_a_folder_stands_for_its_photos_and_an_empty_one_is_refused(weights: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "in").mkdir()
    with pytest.raises(AIHError, match="expected photos"):
        infer_photos([tmp_path / "in"], weights, tmp_path / "out", "cpu")
    for name in ("a.png", "b.JPG", "notes.txt"):
        Image.fromarray(photo()).save(tmp_path / "in" / name, "PNG")
    infer_photos([tmp_path / "in"], weights, tmp_path / "out", "cpu", batch=2)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "b"}
    with np.load(tmp_path / "out" / "a" / "joints.npz") as stored:
        plain = json.loads((tmp_path / "out" / "a" / "result.json").read_text())
        assert stored["joints_3d"].shape == (1, 2, 21, 3)
        assert stored["present"][0].tolist() == [plain[side]["present"] for side in ("right", "left")]


def test_half_precision_weights_are_computed_with_in_full(weights: Path, tmp_path: Path) -> None:  # noqa: F811
    network = HASM.from_pretrained(weights / "hasm" / "weights").bfloat16()
    network.save_pretrained(tmp_path)
    loaded = HASM.from_pretrained(tmp_path)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
