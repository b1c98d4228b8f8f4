"""HDR on drawn photos, with networks that read the answer off the colours: red right, green left, blue a joint."""

import copy
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from aih_gen import assets
from aih_gen.errors import AIHError, AssetError
from hdr_model.config import HDRMConfig, preset
from hdr_model.inference.detection import Window
from hdr_model.inference.hands import HandEstimator
from hdr_model.inference.infer import infer_photos
from hdr_model.inference.photos import read_photo
from hdr_model.inference.pipeline import HDR, MEAN_BONE_LENGTH, _spread, without_speckles
from hdr_model.inference.views import ONE_VIEW
from hdr_model.masks import HandMasks
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.normalisation import denormalise, normalise
from hdr_model.nets.shpe import SHPE, SHPEOutput, highest_point
from hdr_model.painting import HandInput, dilate

Photo = NDArray[np.uint8]
PAINT = (0, 200, 200)


class ColourHASM(nn.Module):
    stride = 32

    def __init__(self) -> None:
        super().__init__()
        self.sides = list[int]()

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        self.sides.append(image.shape[-1])
        red, green, _ = functional.avg_pool2d(denormalise(image), 4).unbind(1)
        right, left = red - green - 0.3, green - red - 0.3
        inside = {"right_visible": right, "left_visible": left, "right_amodal": right, "left_amodal": left}
        return {name: torch.stack([torch.zeros_like(m), m], 1) for name, m in inside.items()}


class OneColourHDRM(nn.Module):
    config = HDRMConfig()

    def forward(self, x: Tensor, validity: Tensor) -> Tensor:
        return normalise(torch.tensor(PAINT, device=x.device).view(1, 3, 1, 1) / 255).expand_as(x[:, :3])


class BlueSHPE(nn.Module):
    """All joints where it is bluest; middle MCP one bone along x, which is "away from the thumb" of no hand."""

    def forward(self, image: Tensor) -> SHPEOutput:
        blue = functional.avg_pool2d(denormalise(image), 4)
        heat = (blue[:, 2] - blue[:, 1]).clamp_min(0.001)[:, None].expand(-1, 21, -1, -1)
        xyz = torch.zeros(len(image), 21, 3)
        xyz[:, 9] = torch.tensor([1.0, 2.0, 3.0])
        return SHPEOutput(heat, heat, heat, highest_point(heat), xyz)


@pytest.fixture
def hdr() -> HDR:
    stubs = (cast(Any, stub) for stub in (ColourHASM(), OneColourHDRM(), BlueSHPE()))
    return HDR(*stubs, segmentation_size=128, hand_size=128)


def photo(height: int = 240, width: int = 320, right: bool = True, left: bool = True, scale: int = 1) -> Photo:
    """A red right hand (on the left of the image) touching a green left hand, a blue joint on each."""
    image = np.full((height, width, 3), 128, np.uint8)
    y, x = height // 2, width // 2
    if right:
        image[y - 30 // scale : y + 30 // scale, x - 60 // scale : x] = (220, 40, 40)
        image[y - 10 : y - 4, x - 30 // scale - 3 : x - 30 // scale + 3] = (150, 40, 255)
    if left:
        image[y - 30 // scale : y + 30 // scale, x : x + 60 // scale] = (40, 220, 40)
        image[y + 4 : y + 10, x + 30 // scale - 3 : x + 30 // scale + 3] = (40, 120, 255)
    return image


def is_red(image: Photo) -> NDArray[np.bool_]:
    return (image == (220, 40, 40)).all(-1)


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize(("height", "width"), [(240, 320), (320, 200), (256, 256)])
def test_masks_have_the_photos_size_and_lie_on_the_hands(hdr: HDR, height: int, width: int) -> None:
    image = photo(height, width)
    result = hdr(image)
    assert all(mask.shape == (height, width) for mask in result.masks.values())
    assert iou(result.masks["right_visible"], is_red(image)) > 0.85


def test_small_hands_are_looked_at_again_from_close(hdr: HDR) -> None:
    image = photo(900, 1200, scale=1)
    blocky = hdr.segment(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)["right_visible"][0].numpy()
    assert iou(hdr(image).masks["right_visible"], is_red(image)) > iou(blocky, is_red(image)) + 0.05


def test_both_hands_joints_come_back_to_the_photo(hdr: HDR) -> None:
    result = hdr(photo())
    np.testing.assert_allclose(result.right.joints_2d[0], (160 - 30 - 0.5, 120 - 7.5), atol=1.5)
    np.testing.assert_allclose(result.left.joints_2d[0], (160 + 30 - 0.5, 120 + 6.5), atol=1.5)


def test_a_left_hands_pose_is_mirrored_back_and_scaled_to_metres(hdr: HDR) -> None:
    result = hdr(photo())
    np.testing.assert_allclose(result.right.joints_3d[9], np.multiply((1, 2, 3), MEAN_BONE_LENGTH), rtol=1e-5)
    np.testing.assert_allclose(result.left.joints_3d[9], np.multiply((-1, 2, 3), MEAN_BONE_LENGTH), rtol=1e-5)
    assert not result.left.joints_3d[0].any()


def test_the_other_hand_is_painted_over_and_nothing_else_changes(hdr: HDR) -> None:
    image = photo()
    alone = hdr(image).right.image
    green = (image == (40, 220, 40)).all(-1)
    changed = (alone != image).any(-1)
    assert (alone[green] == PAINT).all(-1).mean() > 0.97
    assert (alone[:, 165:][green[:, 165:]] == PAINT).all(), "away from the border between the hands"
    assert not changed[:60].any()
    assert not changed[:, :150].any(), "the right hand is as it was"
    assert 1.0 < changed.sum() / green.sum() < 1.5, "only the other hand and a rim around it"


def test_growing_takes_a_rim_of_this_hand_too_where_the_other_covers_it(hdr: HDR) -> None:
    masks = torch.zeros(4, 1, 1, 128, 128, dtype=torch.bool)
    amodal, visible, other, arm = masks
    amodal[..., 40:90, 20:60] = visible[..., 40:90, 20:60] = True
    other[..., 40:90, 60:100] = True
    hand = HandInput(torch.rand(1, 3, 128, 128), HandMasks(amodal, visible, other, arm), torch.eye(3)[None, :2])
    exact, grown = (hdr.paint(hand, dilate_hole).holes[0, 0] for dilate_hole in (False, True))
    assert (exact == other[0, 0]).all()
    assert grown[60, 58:102].all()
    assert not grown[60, 20:55].any()


def test_one_hand_alone_leaves_the_other_absent(hdr: HDR) -> None:
    image = photo(left=False)
    result = hdr(image)
    assert result.right.present
    assert not result.left.present
    assert np.isnan(result.left.joints_2d).all()
    assert result.left.joints_2d.shape == (21, 2)
    assert np.isnan(result.left.joints_3d).all()
    assert result.left.crop.shape == (4,)
    assert (result.left.image == image).all()
    assert not result.masks["left_visible"].any()


def test_no_hand_at_all_is_no_error(hdr: HDR) -> None:
    image = photo(left=False, right=False)
    result = hdr(image)
    assert not result.right.present
    assert (result.right.image == image).all()


def test_the_crop_is_twice_the_hand_around_its_middle(hdr: HDR) -> None:
    left, top, right, bottom = hdr(photo()).right.crop
    assert right - left == pytest.approx(2 * 60, abs=6)
    assert (left + right) / 2 == pytest.approx(129.5, abs=2)
    assert (top + bottom) / 2 == pytest.approx(119.5, abs=2)


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)]
)
def test_what_is_not_an_image_is_refused_with_what_was_found(hdr: HDR, image: NDArray[Any]) -> None:
    with pytest.raises(AIHError, match=rf"{image.shape[0]}.*{image.dtype}"):
        hdr(image)


def test_an_array_a_pillow_image_and_a_path_are_the_same_photo(hdr: HDR, tmp_path: Path) -> None:
    image = photo()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(image).copy()).save(tmp_path / "photo.png", exif=exif)
    expected = hdr(image).right.joints_2d
    for given in (Image.fromarray(image), Image.open(tmp_path / "photo.png"), tmp_path / "photo.png"):
        result = hdr(given)
        assert (result.image == image).all()
        np.testing.assert_array_equal(result.right.joints_2d, expected)
    np.testing.assert_array_equal(hdr(str(tmp_path / "photo.png")).right.joints_2d, expected)


def test_a_list_in_is_a_list_out(hdr: HDR) -> None:
    box = np.array([90.0, 80.0, 230.0, 160.0])
    results = hdr([photo(), Image.fromarray(photo(left=False))], [box, None])
    assert [result.left.present for result in results] == [True, False]
    np.testing.assert_array_equal(results[0].right.joints_2d, hdr(photo(), box).right.joints_2d)
    assert hdr([]) == []


@pytest.mark.parametrize(
    ("given", "box", "error", "said"),
    [
        (None, None, TypeError, "found NoneType"),
        ([None], None, TypeError, "found NoneType"),
        ([[1, 2, 3]], None, TypeError, "found list"),
        (torch.zeros(8, 8, 3), None, TypeError, "found torch.Tensor"),
        (np.zeros((2, 8, 8, 3), np.uint8), None, AIHError, r"\(2, 8, 8, 3\) of uint8"),
        ("nowhere.png", None, AIHError, "nowhere.png: expected an image, found no file"),
        (photo(), np.zeros((3, 4)), AIHError, "expected four numbers"),
        (photo(), "everywhere", AIHError, "expected four numbers"),
        (photo(), (1, 2, 3), AIHError, "expected four numbers"),
        (photo(), (0, 0, 1e9, 1e9), AIHError, "at most 2 times the photo, which is 320x240"),
        ([photo()], [None, None], AIHError, "expected one for each of 1 photos, found 2"),
        (photo(), (0, 0, 10**400, 9), AIHError, "box: expected four numbers"),
    ],
)
def test_what_hdr_cannot_take_is_one_sentence(hdr: HDR, given: Any, box: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said) as caught:
        hdr(given, box)
    assert "\n" not in str(caught.value)


def test_hdr_can_be_pickled_copied_and_moved(hdr: HDR) -> None:
    expected = hdr(photo()).left.joints_3d
    for other in (pickle.loads(pickle.dumps(hdr)), copy.deepcopy(hdr), hdr.to("cpu"), hdr.to("auto")):  # noqa: S301
        np.testing.assert_array_equal(other(photo()).left.joints_3d, expected)
    with pytest.raises(AIHError, match="abacus"):
        hdr.to("abacus")


def test_speckles_and_tiny_masks_are_not_hands() -> None:
    margins = torch.full((2, 32, 32), -1.0)
    margins[0, 4:16, 4:16] = 1
    margins[0, 28, 28] = 1
    margins[1, 3, 3] = 5
    kept = without_speckles(margins) > 0
    assert kept[0].sum() == 144
    assert not kept[1].any()


def test_dilation_of_a_point_is_a_disc() -> None:
    point = torch.zeros(1, 1, 21, 21, dtype=torch.bool)
    point[0, 0, 10, 10] = True
    grown = dilate(point, 9)[0, 0]
    assert grown.any(0).sum() == 9
    assert grown[10].sum() == 9
    assert not grown[6, 6]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    networks = (HASM(preset("hasm", "nano")), HDRM(preset("hdrm", "nano")), SHPE(preset("shpe", "nano")))
    for network in networks:
        network.save_pretrained(folder / network.task / "weights")
        (folder / network.task / "run.json").write_text(json.dumps({"task": network.task, "size": 64}))
    return folder


def test_saved_networks_run_at_the_size_they_were_trained_at(weights: Path) -> None:
    hdr = HDR.from_pretrained(weights)
    assert (hdr.segmentation_size, hdr.hand_size) == (64, 64)
    assert hdr(photo()).right.image.shape == (240, 320, 3)


def test_the_hands_window_is_segmented_at_every_scale() -> None:
    stubs = (ColourHASM(), OneColourHDRM(), BlueSHPE())
    hdr = HDR(
        *(cast(Any, stub) for stub in stubs),
        segmentation_size=128,
        hand_size=128,
        views=replace(ONE_VIEW, scales=(1.0, 1.25, 1.5)),
    )
    masks = hdr.segment(torch.from_numpy(photo()).permute(2, 0, 1)[None] / 255)
    assert stubs[0].sides == [128, 160, 192]
    assert 0.95 < masks["right_amodal"].sum() / (60 * 60) < 1.05


@pytest.mark.parametrize(("left", "top"), [(-300, 0), (400, 0), (0, -300), (0, 300), (-300, 300)])
def test_a_window_beside_the_photo_shows_no_hand(hdr: HDR, left: int, top: int) -> None:
    masks = hdr.segment(torch.from_numpy(photo()).permute(2, 0, 1)[None] / 255, Window(left, top, 100))
    assert all(mask.shape == (1, 240, 320) and not mask.any() for mask in masks.values())


def test_joints_are_the_mean_over_turned_crops_in_the_crops_own_axes() -> None:
    crop = torch.full((2, 3, 128, 128), 0.5)
    for k, (row, column) in enumerate(((40, 84), (90, 30))):
        crop[k, :, row : row + 4, column : column + 4] = torch.tensor([0.0, 0.0, 1.0])[:, None, None]
    one, three = (
        HandEstimator(cast(Any, OneColourHDRM()), cast(Any, BlueSHPE()), 128, views=replace(ONE_VIEW, angles=angles))
        for angles in ((0.0,), (0.0, 90.0, -90.0))
    )
    once, mean = one.estimate(crop), three.estimate(crop)
    torch.testing.assert_close(once[0], mean[0], atol=0.6, rtol=0)  # the place stays
    torch.testing.assert_close(mean[1][:, 9, 2], once[1][:, 9, 2])  # depth stays, and what is opposite cancels out
    torch.testing.assert_close(mean[1][:, 9, :2], once[1][:, 9, :2] / 3, atol=1e-5, rtol=0)


def test_crops_of_two_sizes_are_refused(weights: Path, tmp_path: Path) -> None:
    for name in ("hasm", "hdrm", "shpe"):
        (tmp_path / name).mkdir()
        for file in (weights / name / "weights").iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "shpe" / "run.json").write_text('{"size": 128}')
    with pytest.raises(AssetError, match="256 and 128"):
        HDR.from_pretrained(tmp_path)


def test_without_shipped_weights_the_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(assets, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(assets, "_INSTALLED", tmp_path / "none")
    with pytest.raises(AssetError, match="hdr train"):
        HDR.from_pretrained()


def test_shipped_weights_are_the_default(monkeypatch: pytest.MonkeyPatch, weights: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(assets, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(assets, "_INSTALLED", tmp_path / "none")
    (tmp_path / "weights").symlink_to(weights)
    assert HDR.from_pretrained().hand_size == 64


def test_infer_writes_every_picture_of_every_photo(weights: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(photo()).save(tmp_path / folder / "pair.png")
    infer_photos([tmp_path / "a" / "pair.png", tmp_path / "b" / "pair.png"], weights, tmp_path / "out", "cpu")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"pair", "pair-2"}
    written = {path.name for path in (tmp_path / "out" / "pair").iterdir()}
    sides = {f"mask_{side}_{kind}.png" for side in ("right", "left") for kind in ("amodal", "visible")}
    assert written >= sides | {"right_alone.png", "left_alone.png", "joints.png", "skeletons.png", "overview.png"}
    result = json.loads((tmp_path / "out" / "pair" / "result.json").read_text())
    assert set(result) >= {"right", "left", "joint_names", "units"}


def test_an_unreadable_photo_stops_before_anything_is_written(weights: Path, tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "good.png")
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(AIHError, match=r"notes\.png"):
        infer_photos([tmp_path / "good.png", tmp_path / "notes.png"], weights, tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


def _photos() -> Iterator[tuple[str, Image.Image, tuple[int, int, int]]]:
    yield "grey", Image.new("L", (30, 20), 77), (77, 77, 77)
    yield "16 bit", Image.fromarray(np.full((20, 30), 77 * 257, np.uint16)), (77, 77, 77)
    yield "palette", Image.new("RGB", (30, 20), (9, 8, 7)).quantize(), (9, 8, 7)
    yield "half transparent", Image.new("RGBA", (30, 20), (255, 0, 0, 128)), (255, 127, 127)
    yield "grey with alpha", Image.new("LA", (30, 20), (0, 0)), (255, 255, 255)
    yield "one bit", Image.new("1", (30, 20), 1), (255, 255, 255)


@pytest.mark.parametrize(("image", "colour"), [(i, c) for _, i, c in _photos()], ids=[n for n, *_ in _photos()])
def test_every_kind_of_photo_becomes_rgb(tmp_path: Path, image: Image.Image, colour: tuple[int, int, int]) -> None:
    image.save(tmp_path / "photo.png")
    pixels = read_photo(tmp_path / "photo.png")
    assert pixels.shape == (20, 30, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == colour).all()


def test_a_photo_taken_sideways_is_turned(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_photo(tmp_path / "turned.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize(
    ("name", "found"),
    [("none.png", "no file"), ("", "a folder"), ("tiny.png", "3x3"), ("cut.png", "expected an image")],
)
def test_what_is_no_photo_is_one_sentence(tmp_path: Path, name: str, found: str) -> None:
    Image.new("RGB", (3, 3)).save(tmp_path / "tiny.png")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:4000])
    with pytest.raises(AIHError, match=found) as caught:
        read_photo(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("height", "width"), [(16, 300_000), (300_000, 16)])
def test_a_mask_of_a_panorama_takes_the_room_of_the_panorama(height: int, width: int) -> None:
    """The square around it would have 90,000 million pixels."""
    margin = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(0))
    seen = _spread(margin, Window.whole(height, width), height, width)
    assert seen.shape == (2, height, width)


@pytest.mark.parametrize(
    "window", [Window.whole(60, 80), Window(20, -10, 50), Window(-30, 40, 200), Window(70, 10, 20)]
)
def test_a_windows_mask_is_bilinear_in_its_square_and_empty_beside_it(window: Window) -> None:
    margin = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(0))
    square = functional.interpolate(margin[:, None], (window.side, window.side), mode="bilinear")[:, 0]
    beyond = (80 - window.left - window.side, 60 - window.top - window.side)
    expected = functional.pad(square, (window.left, beyond[0], window.top, beyond[1]), value=-1.0)
    torch.testing.assert_close(_spread(margin, window, 60, 80), expected)


@pytest.mark.parametrize("length", [0.0, -0.1, float("nan"), float("inf")])
def test_a_bone_length_that_is_none_is_refused(length: float, weights: Path) -> None:
    with pytest.raises(AIHError, match="bone_length: expected metres above 0, found"):
        HDR.from_pretrained(weights, bone_length=length)
