"""Compiled loops over pixels, beside plain NumPy or Pillow that does the same."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.fft import dctn, idctn
from scipy.stats import norm

from aih_gen.compose.compression import _steps, compressed
from aih_gen.kernels.backgrounds import blend_corners, double, shade, stretch, view
from aih_gen.kernels.blur import blurred, box_blur, convolve
from aih_gen.kernels.layers import composite, mark_shaded, premultiply, resolve_visibility
from aih_gen.kernels.sensor import add_noise, changed_box, make_grey, mark_different, repeat_image, tone
from aih_gen.scenes.drawn_backgrounds import _bicubic

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (48, 64, 3), np.uint8)
SMOOTH = np.clip(ndimage.gaussian_filter(RNG.normal(128, 900, (128, 96, 3)), (5, 5, 0)), 0, 255).astype(np.uint8)
WHOLE = np.array([0, 48, 0, 64])
PART = np.array([7, 41, 3, 64])


def rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def far(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


def only(box: np.ndarray, work: object) -> np.ndarray:
    """Pixels in a box, of an image that ``work(box, result)`` makes; fails if it touches one outside."""
    result = np.full(IMAGE.shape, 77, np.uint8)
    work(box, result)  # type: ignore[operator]
    outside = np.ones(IMAGE.shape[:2], bool)
    outside[box[0] : box[1], box[2] : box[3]] = False
    assert (result[outside] == 77).all()
    return result[box[0] : box[1], box[2] : box[3]]


@pytest.mark.parametrize("radius", [0.0, 0.3, 1.0, 1.7, 4.2])
@pytest.mark.parametrize("box", [WHOLE, PART])
def test_a_box_blur_is_a_mean_over_a_square(radius: float, box: np.ndarray) -> None:
    reach = int(np.ceil(radius))
    line = np.clip(radius + 1 - np.abs(np.arange(-reach, reach + 1)), 0, 1) / (2 * radius + 1)
    gain = np.array([1.0, 0.8, 1.3], np.float32)
    mean = IMAGE.astype(float)
    for axis in (0, 1):
        mean = ndimage.correlate1d(mean, line, axis, mode="nearest")
    made = only(box, lambda box, result: box_blur(IMAGE, radius, gain, box, result))
    assert far(made, rounded(mean * gain)[box[0] : box[1], box[2] : box[3]]) <= 1  # by the order of sums
    assert far(blurred(IMAGE, radius, (1.0, 0.8, 1.3)), rounded(mean * gain)) <= 1


@pytest.mark.parametrize("box", [WHOLE, PART])
def test_a_convolution_weighs_the_surroundings(box: np.ndarray) -> None:
    weights = RNG.random((5, 5)).astype(np.float32)
    weights[RNG.random((5, 5)) < 0.4] = 0
    weights /= weights.sum()
    expected = rounded(ndimage.correlate(IMAGE.astype(float), weights[..., None], mode="nearest"))
    made = only(box, lambda box, result: convolve(IMAGE, weights, box, result))
    assert far(made, expected[box[0] : box[1], box[2] : box[3]]) <= 1


def test_a_view_samples_bilinearly_and_goes_on_as_the_border() -> None:
    affine = np.array([[0.8, -0.2, 4.3], [0.3, 0.7, -2.6]])
    made = np.empty((40, 56, 3), np.uint8)
    view(IMAGE, affine, made)
    rows, columns = np.indices((40, 56))
    x, y = (affine[k, 0] * columns + affine[k, 1] * rows + affine[k, 2] for k in (0, 1))
    assert x.max() > 44 and y.min() < -2
    channels = [ndimage.map_coordinates(IMAGE[..., c].astype(float), (y, x), order=1, mode="nearest") for c in range(3)]
    assert far(made, rounded(np.stack(channels, -1))) <= 2  # parts of pixels in 256ths


def test_doubling_is_pillow_s() -> None:
    made = np.empty((96, 128, 3), np.uint8)
    double(IMAGE, made)
    assert far(made, np.asarray(Image.fromarray(IMAGE).resize((128, 96), Image.Resampling.BILINEAR))) <= 1


@pytest.mark.parametrize(("count", "size"), [((5, 40), 64), ((96, 3), 64), ((90, 8), 128)])
def test_coarse_noise_is_stretched_as_by_pillow(count: tuple[int, int], size: int) -> None:
    coarse = RNG.standard_normal(count, dtype=np.float32)
    made = np.ones((size, size), np.float32)
    stretch(coarse, *_bicubic(count[0], size), *_bicubic(count[1], size), made)
    expected = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(made - 1, np.asarray(expected), atol=1e-5)


def test_corner_colours_are_blended_as_by_pillow() -> None:
    corners, made = RNG.integers(0, 256, (2, 2, 3), np.uint8), np.empty((64, 64, 3), np.uint8)
    blend_corners(corners.astype(np.float32), _bicubic(2, 64)[1], made)
    assert far(made, np.asarray(Image.fromarray(corners).resize((64, 64), Image.Resampling.BICUBIC))) <= 1


def test_shading_multiplies() -> None:
    shading, made = RNG.normal(0, 0.6, (48, 64)).astype(np.float32), IMAGE.copy()
    shade(made, shading)
    assert np.array_equal(made, rounded(IMAGE * np.clip(1 + shading, 0, 2)[..., None]))


def two_hands() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts and depths (2,H,W), and colours (2,H,W,4) whose edges are half covered."""
    part = RNG.integers(0, 3, (2, 48, 64), np.uint8)
    depth = np.where(part > 0, RNG.random((2, 48, 64)), np.inf).astype(np.float32)
    colour = RNG.integers(0, 256, (2, 48, 64, 4), np.uint8)
    colour[..., 3] = np.where(RNG.random((2, 48, 64)) < 0.5, 255, colour[..., 3])
    return part, depth, colour


def test_a_pixel_belongs_to_the_nearer_hand() -> None:
    part, depth, _ = two_hands()
    masks, removed = np.empty((6, 48, 64), bool), np.empty((2, 48, 64), bool)
    resolve_visibility(part, depth, masks, removed)
    owner = np.where((part == 0).all(0), -1, depth.argmin(0))
    assert np.array_equal(removed, [owner == 1, owner == 0])
    amodal, arm = part == 1, part == 2
    own = np.stack([owner == 0, owner == 1])
    assert np.array_equal(masks, np.concatenate([amodal, own & amodal, own & arm]))


def over(front: np.ndarray, share: np.ndarray, alpha: np.ndarray, back: np.ndarray) -> np.ndarray:
    share, alpha = share[..., None].astype(int), alpha[..., None].astype(int)
    return np.minimum((front[..., :3] * share + back * (255 - alpha) + 127) // 255, 255).astype(np.uint8)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("premultiplied", [False, True])
def test_layers_are_blended_by_their_share(count: int, premultiplied: bool) -> None:
    part, depth, colour = two_hands()
    shaded_colour = colour // 2
    shaded_colour[..., 3] = colour[..., 3]
    behind = RNG.integers(0, 256, (count, 48, 64, 4), np.uint8)
    if premultiplied:
        behind = np.stack([premultiply(layer) for layer in behind]) if count else behind
    removed, made = np.empty((2, 48, 64), bool), np.empty((3, 48, 64, 3), np.uint8)
    resolve_visibility(part, depth, np.empty((6, 48, 64), bool), removed)
    composite(IMAGE, behind, premultiplied, colour, shaded_colour, part, removed, made)

    props = [behind[min(k, count - 1)] for k in range(3)] if count else []
    share = [np.full(p.shape[:2], 255) if premultiplied else p[..., 3] for p in props]
    expected = [over(p, s, p[..., 3], IMAGE) for p, s in zip(props, share, strict=True)] or [IMAGE.copy()] * 3
    for side in (0, 1):
        own, reached = removed[1 - side], part[side] > 0
        alpha = np.where(own & (part[1 - side] > 0), 255, colour[side, ..., 3])
        alone = over(colour[side], alpha, alpha, expected[1 + side])
        both = over(shaded_colour[side], alpha, alpha, expected[0])
        expected[1 + side] = np.where(reached[..., None], alone, expected[1 + side])
        expected[0] = np.where((reached & own)[..., None], both, expected[0])
    assert np.array_equal(made, expected)


def test_colours_are_multiplied_by_the_share_covered() -> None:
    image = RNG.integers(0, 256, (48, 64, 4), np.uint8)
    made = premultiply(image)
    assert np.array_equal(made[..., 3], image[..., 3])
    assert np.array_equal(made[..., :3], (image[..., :3].astype(int) * image[..., 3:] + 127) // 255)


def test_changes_are_found_marked_and_taken_back() -> None:
    target, removed = IMAGE.copy(), np.zeros((48, 64), bool)
    box = np.empty(4, np.int64)
    changed_box(IMAGE, target, removed, box)
    assert box[0] >= box[1]
    target[9, 20, 2] ^= 4
    target[30:35, 12:40] = RNG.integers(0, 256, (5, 28, 3))
    removed[40, 61] = True
    changed_box(IMAGE, target, removed, box)
    assert box.tolist() == [9, 41, 12, 62]

    difference = np.abs(IMAGE.astype(int) - target).max(-1)
    marks = removed.copy()
    mark_different(IMAGE, target, 3, box, marks)
    assert np.array_equal(marks, removed | (difference > 3)) and marks.sum() > 100
    mark_different(IMAGE, target, 0, np.array([0, 9, 0, 64]), removed)
    assert removed.sum() == 1

    images = np.stack([IMAGE, IMAGE, target])
    hidden, shaded = np.stack([removed, difference > 100]), np.empty((48, 64), bool)
    mark_shaded(images, hidden, shaded)
    assert np.array_equal(shaded, (difference > 0) & (difference <= 100))

    repeat_image(IMAGE, marks, box, images[2])
    assert np.array_equal(images[2], np.where(marks[..., None], target, IMAGE))


def test_tone_curves_and_grey() -> None:
    curves = RNG.integers(0, 256, (3, 256), np.uint8)
    expected = np.stack([curves[c][IMAGE[..., c]] for c in range(3)], -1)
    made = only(PART, lambda box, result: tone(IMAGE, curves, box, result))
    assert np.array_equal(made, expected[7:41, 3:])
    grey = np.stack([IMAGE, expected])
    make_grey(grey)
    red, green, blue = np.moveaxis(np.stack([IMAGE, expected]).astype(int), -1, 0)
    assert (grey == ((19595 * red + 38470 * green + 7471 * blue) >> 16)[..., None]).all()


def noise(level: int, shot: float, read: float, seed: int) -> np.ndarray:
    """(H,W,3) in grey levels."""
    flat, made = np.full((512, 512, 3), level, np.uint8), np.empty((512, 512, 3), np.uint8)
    add_noise(flat, shot, read, seed, np.array([0, 512, 0, 512]), made)
    return made.astype(float) - level


def test_noise_is_normal_and_grows_with_brightness() -> None:
    deviation = 24
    drawn = noise(128, 0.0, deviation**2, 5)
    assert abs(drawn.mean()) < 0.1 and drawn.std() == pytest.approx(deviation, rel=0.005)
    for sigmas in (-2.5, -2, -1, 0, 1, 2, 2.5):
        share = (drawn < round(deviation * sigmas) + 0.5).mean()
        assert share == pytest.approx(norm.cdf((round(deviation * sigmas) + 0.5) / deviation), abs=0.002)
    for level in (40, 90, 200):
        assert noise(level, 0.12, 4.0, 6).var() == pytest.approx(0.12 * level + 4 + 1 / 12, rel=0.01)


def test_noise_of_places_channels_and_seeds_is_unrelated() -> None:
    first, second = noise(128, 0.0, 400.0, 5), noise(128, 0.0, 400.0, 6)
    others = [second, np.roll(first, 1, 0), np.roll(first, 1, 1), np.roll(first, 1, 2), np.roll(second, 7, 1)]
    assert max(abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) for other in others) < 0.005
    power = np.abs(np.fft.fft2(first[..., 0] / first[..., 0].std())) ** 2 / first[..., 0].size
    assert power[1:, 1:].max() < 25  # white: exponential, of mean 1


def test_noise_is_the_same_in_every_box() -> None:
    whole = only(WHOLE, lambda box, result: add_noise(IMAGE, 0.1, 4.0, 9, box, result))
    part = only(PART, lambda box, result: add_noise(IMAGE, 0.1, 4.0, 9, box, result))
    assert np.array_equal(part, whole[7:41, 3:])


def blockwise(plane: np.ndarray, steps: np.ndarray) -> np.ndarray:
    rows, columns = plane.shape
    blocks = plane.reshape(rows // 8, 8, columns // 8, 8)
    kept = np.rint(dctn(blocks, axes=(1, 3), norm="ortho") / steps[:, None]) * steps[:, None]
    return np.clip(idctn(kept, axes=(1, 3), norm="ortho").reshape(rows, columns), -128, 127)


def doubled(plane: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        edges = np.pad(plane, [(1, 1) if k == axis else (0, 0) for k in (0, 1)], mode="edge")
        before, after = (np.take(edges, np.arange(plane.shape[axis]) + k, axis) for k in (0, 2))
        both = np.stack([0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after], axis + 1)
        plane = both.reshape(2 * plane.shape[0] if axis == 0 else plane.shape[0], -1)
    return plane


def plain_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """JPEG's loss in plain NumPy."""
    red, green, blue = np.moveaxis(image.astype(float), -1, 0)
    light = 0.299 * red + 0.587 * green + 0.114 * blue - 128
    colours = (
        -0.168736 * red - 0.331264 * green + 0.5 * blue,
        0.5 * red - 0.418688 * green - 0.081312 * blue,
    )
    light_steps, colour_steps = _steps(quality).astype(float)
    light = blockwise(light, light_steps) + 128
    halves = (c.reshape(c.shape[0] // 2, 2, c.shape[1] // 2, 2).mean((1, 3)) for c in colours)
    to_blue, to_red = (doubled(blockwise(half, colour_steps)) for half in halves)
    mixed = [light + 1.402 * to_red, light - 0.344136 * to_blue - 0.714136 * to_red, light + 1.772 * to_blue]
    return rounded(np.stack(mixed, -1))


@pytest.mark.parametrize("quality", [45, 75, 95])
def test_jpeg_loses_what_libjpeg_loses(quality: int) -> None:
    made, part = np.empty_like(SMOOTH), np.empty_like(SMOOTH)
    compressed(quality, SMOOTH, np.array([0, 128, 0, 96]), made)
    # A block whose coefficient lies in the middle between two steps, by rounding, may take the other one.
    assert (np.abs(made.astype(int) - plain_jpeg(SMOOTH, quality)) > 1).mean() < 0.01

    file = io.BytesIO()
    Image.fromarray(SMOOTH).save(file, "JPEG", quality=quality)
    stored = np.asarray(Image.open(file, formats=["JPEG"])).astype(int)  # from whole grey levels at every step
    assert np.abs(made - stored).mean() < 1 and np.percentile(np.abs(made - stored), 99) <= 6
    assert abs((made - stored).mean()) < 0.2
    loss, expected = (np.abs(image.astype(int) - SMOOTH).mean() for image in (made, stored))
    assert loss == pytest.approx(expected, rel=0.1)

    compressed(quality, SMOOTH, np.array([17, 95, 31, 66]), part)
    assert np.array_equal(part[17:95, 31:66], made[17:95, 31:66])
