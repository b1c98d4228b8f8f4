"""Hands followed through drawn videos, by networks that read the answer off the colours: red right, green left."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hdr_model.cli import main
from hdr_model.inference.detection import RESOLUTIONS
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.smoothing import OneEuroFilter
from hdr_model.inference.tracking import SEARCH_EVERY, HandTracker
from tests.hdr_model.test_pipeline import hdr, photo  # noqa: F401

Image = NDArray[np.uint8]
RATE = 10


def exchanged(image: Image) -> Image:
    """The hands under each other's colours, as a network sees them that takes one for the other."""
    swapped = image.copy()
    red, green = ((image == colour).all(-1) for colour in ((220, 40, 40), (40, 220, 40)))
    swapped[red], swapped[green] = (40, 220, 40), (220, 40, 40)
    return swapped


class Sizes:
    """The sizes at which the windows of a photo are looked at."""

    def __init__(self, hdr: HDR, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
        self.seen: list[int] = []
        look, usual = HDR._look, hdr.segmentation_size

        def noted(self_: HDR, images: Any, windows: Any, size: int, mirrored: bool) -> Any:
            self.seen.append(size // usual)
            return look(self_, images, windows, size, mirrored)

        monkeypatch.setattr(HDR, "_look", noted)

    def take(self) -> list[int]:
        seen, self.seen = self.seen, []
        return seen


def test_the_whole_frame_is_searched_at_first_and_every_half_second(
    hdr: HDR,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, track = Sizes(hdr, monkeypatch), HandTracker(hdr)
    searched = []
    for k in range(12):
        result = track(photo(), k / RATE)
        assert result.right.present and result.left.present
        searched.append(RESOLUTIONS[0] in looks.take())
    assert [k for k, was in enumerate(searched) if was] == [0, 5, 10]


def test_a_box_is_where_every_frame_is_looked_at(hdr: HDR, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    looks, track, box = Sizes(hdr, monkeypatch), HandTracker(hdr, (90.0, 80.0, 230.0, 160.0), smooth=0), []
    for k in range(12):
        box.append(track(photo(), k / RATE))
        assert looks.take() == [1]
    np.testing.assert_array_equal(box[-1].right.joints_2d, hdr(photo(), (90.0, 80.0, 230.0, 160.0)).right.joints_2d)


def test_moving_hands_are_followed_to_where_they_are_alone(hdr: HDR) -> None:  # noqa: F811
    track, image = HandTracker(hdr, smooth=0), photo(480, 640)
    for k in range(5):
        moved = np.roll(image, (12 * k, 16 * k), (0, 1))
        followed, alone = track(moved, k / RATE), hdr(moved)
        np.testing.assert_allclose(followed.right.joints_2d, alone.right.joints_2d, atol=4)
        np.testing.assert_array_equal(followed.right.image, moved)


def test_a_hand_that_comes_from_elsewhere_is_found_within_half_a_second(hdr: HDR) -> None:  # noqa: F811
    track = HandTracker(hdr)
    one, both = (np.pad(photo(left=left), ((0, 0), (0, 640), (0, 0)), constant_values=128) for left in (False, True))
    both[:, 480:960] = np.roll(both, 600, 1)[:, 480:960]
    both[:, 160:320] = one[:, 160:320]
    both[:, 480:780][(both[:, 480:780] == (220, 40, 40)).all(-1)] = 128
    came = [bool(track(one if k < 2 else both, k / RATE).left.present) for k in range(8)]
    assert came == [False, False, *[k / RATE >= SEARCH_EVERY for k in range(2, 8)]]


def test_a_hand_that_is_lost_is_searched_for_at_once(hdr: HDR, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    looks, track = Sizes(hdr, monkeypatch), HandTracker(hdr)
    track(photo(), 0.0)
    looks.take()
    assert not track(photo(left=False), 0.1).left.present
    assert RESOLUTIONS[0] in looks.take()
    track(photo(left=False), 0.2)
    assert RESOLUTIONS[0] not in looks.take()


def test_hands_keep_their_names_until_most_frames_say_otherwise(hdr: HDR) -> None:  # noqa: F811
    track, image, sides = HandTracker(hdr), photo(), []
    for k in range(12):
        result = track(exchanged(image) if k in (2, 5, 6) else image, k / RATE)
        sides.append(float(result.right.crop[0]) < float(result.left.crop[0]))
    assert all(sides)


def test_hands_are_renamed_when_most_frames_say_so(hdr: HDR) -> None:  # noqa: F811
    track, image, sides = HandTracker(hdr), photo(), []
    for k in range(12):
        result = track(image if k < 3 else exchanged(image), k / RATE)
        sides.append(float(result.right.crop[0]) < float(result.left.crop[0]))
    assert sides[:4] == [True] * 4 and not sides[-1]
    assert sum(a != b for a, b in pairwise(sides)) == 1


def test_a_lone_hand_keeps_its_name_too(hdr: HDR) -> None:  # noqa: F811
    track, image = HandTracker(hdr), photo(left=False)
    named = [track(exchanged(image) if k in (2, 5, 6) else image, k / RATE).right.present for k in range(8)]
    assert named == [True] * 8


def test_joints_at_rest_hardly_shake_and_fast_ones_hardly_lag() -> None:
    rng, times = np.random.default_rng(0), np.arange(90) / 30
    still = 100 + rng.normal(0, 2, (90, 21, 2))
    smoothed = _smoothed(still, times, 100.0)
    assert _jitter(smoothed[10:]) < 0.35 * _jitter(still[10:])
    fast = np.broadcast_to(600 * times[:, None, None], (90, 21, 2))  # 6 hands a second
    smoothed = _smoothed(fast, times, 100.0)
    assert np.abs(smoothed - fast)[30:].max() < 600 * 0.03, "at rest it would be a tenth of a second behind"
    lag = _smoothed(fast, times, 1e9)
    assert np.abs(lag - fast)[30:].min() > 600 * 0.07


def test_smoothing_goes_by_seconds_not_by_frames() -> None:
    ends = []
    for rate in (30, 120):
        smooth = OneEuroFilter(0.2)
        smooth(np.zeros((21, 3)), 0.0, 1e9)
        for k in range(1, rate + 1):
            end = smooth(np.ones((21, 3)), 0.2 * k / rate, 1e9)
        ends.append(float(end[0, 0]))
    assert ends == pytest.approx([1 - np.exp(-1)] * 2, abs=0.01)


def test_smoothing_begins_anew_behind_a_lost_hand_and_a_clock_that_goes_back() -> None:
    smooth, far = OneEuroFilter(0.2), np.full((21, 2), 50.0, np.float32)
    smooth(np.zeros((21, 2), np.float32), 0.0, 100.0)
    assert np.isnan(smooth(np.full((21, 2), np.nan, np.float32), 0.1, np.nan)).all()
    np.testing.assert_array_equal(smooth(far, 0.2, 100.0), far)
    np.testing.assert_array_equal(smooth(2 * far, 0.1, 100.0), 2 * far)
    assert (smooth(far, 0.2, 100.0) > far).all()


def test_no_smoothing_is_no_change() -> None:
    smooth, rng = OneEuroFilter(0), np.random.default_rng(0)
    for k in range(5):
        points = rng.normal(size=(21, 2))
        assert smooth(points, k / RATE, 1.0) is points


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--video", "a.mp4", "--smooth", "-1"], "--smooth: expected seconds of 0 or more, found -1"),
        (["--video", "a.mp4", "--smooth", "nan"], "--smooth: expected seconds of 0 or more, found nan"),
        (["a.png", "--smooth", "0"], "--smooth: expected --video, whose joints it smooths, found photos"),
    ],
)
def test_what_cannot_be_smoothed_is_one_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["infer", *arguments, "--out", "out"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def _jitter(points: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean())


def _smoothed(points: NDArray[np.floating], times: NDArray[np.floating], unit: float) -> NDArray[np.floating]:
    smooth = OneEuroFilter(0.1)
    return np.stack([smooth(one, time, unit) for one, time in zip(points, times.tolist(), strict=True)])
