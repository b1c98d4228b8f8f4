"""Hands followed from frame to frame of a video: their place, which of them is the right one, and their joints."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from aih_gen.config import SIDES
from aih_gen.typing import Side
from hdr_model.geometry import BOX_SCALE, mask_boxes
from hdr_model.inference.detection import Window, find_hands, window_of
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.result import Box, HandResult, Result
from hdr_model.inference.smoothing import SMOOTH, OneEuroFilter
from hdr_model.nets.hasm import swap_hands
from hdr_model.visual import RGB

SEARCH_EVERY = 0.5
"""Seconds after which the whole frame is searched again, for a hand that came."""
MEMORY = 1.0
"""Seconds after which a frame's vote on the hands' names counts half."""
HAND_LENGTH = 2.0
"""Of a hand / its bone from wrist to middle MCP."""
_STEP = 4
"""Pixels apart, of those of two frames' masks that are compared."""

Masks = dict[str, Tensor]


class HandTracker:
    """Frame after frame in, ``Result``s out: as ``HDR`` gives them, but each frame knows of those before it.

    HASM looks where the last frame's hands were; all over the frame where that finds fewer than there were, and every
    ``SEARCH_EVERY`` seconds. A hand's ``image`` is the frame. The state is of the last frame's size.
    """

    def __init__(self, hdr: HDR, box: Box | None = None, smooth: float = SMOOTH) -> None:
        """``box``: where the hands are in every frame, as ``HDR`` takes it; ``smooth``: as ``OneEuroFilter`` does."""
        self._hdr = hdr
        self._given = None if box is None else window_of(box)
        self._window: Window | None = None
        self._searched = -math.inf
        self._hands = 0
        self._names = HandNames()
        self._filters = {side: (OneEuroFilter(smooth), OneEuroFilter(smooth)) for side in SIDES}

    @torch.inference_mode()
    def __call__(self, image: RGB, time: float) -> Result:
        """Both hands of the next frame (H,W,3) uint8, shown from ``time`` on, in seconds."""
        seen = self._seen(self._hdr.pixels(image), time)
        naming = self._names(seen.masks, seen.confidence, time)
        masks = swap_hands(seen.masks) if naming.swapped else seen.masks
        confidence = seen.confidence[::-1] if naming.swapped else seen.confidence
        if naming.new:
            for one in self._filters.values():
                for points in one:
                    points.reset()
        (result,) = self._hdr.separate([image], [masks], [confidence], alone=False)
        right, left = (self._smoothed(result[side], side, time) for side in SIDES)
        return replace(result, right=right, left=left)

    def _seen(self, photo: Tensor, time: float) -> _Seen:
        if self._given is not None:
            return self._look(photo, self._given)
        seen = None if self._window is None else self._look(photo, self._window)
        if seen is None or seen.hands < self._hands or time - self._searched >= SEARCH_EVERY:
            self._searched = time
            anew = self._look(photo, find_hands(self._hdr, photo))
            seen = anew if seen is None or anew.hands > seen.hands else seen
        self._hands, self._window = seen.hands, _around(seen.masks)
        return seen

    def _look(self, photo: Tensor, window: Window) -> _Seen:
        masks, confidence = self._hdr.segment_with_confidence(photo, window)
        return _Seen(masks, confidence[0].tolist())

    def _smoothed(self, hand: HandResult, side: Side, time: float) -> HandResult:
        flat, deep = self._filters[side]
        length = float(hand.crop[2] - hand.crop[0]) / BOX_SCALE
        joints_2d = flat(hand.joints_2d, time, length)
        return replace(
            hand, joints_2d=joints_2d, joints_3d=deep(hand.joints_3d, time, HAND_LENGTH * self._hdr.bone_length)
        )


class Naming(NamedTuple):
    """Decision on a frame's names."""

    swapped: bool
    """Right and left are to change places."""
    new: bool
    """The hands are not those of the last frame, or have other names now."""


class HandNames:
    """Handedness by vote: hands keep their names until most of the frames disagree.

    A frame's hands are those of the last one that they overlap. Its vote weighs its confidence, and half as much
    ``MEMORY`` seconds later.
    """

    def __init__(self) -> None:
        self._last: Masks = {}
        self._votes, self._time = 0.0, 0.0
        """For the names that the hands have."""

    def __call__(self, masks: Masks, confidence: list[float], time: float) -> Naming:
        """Take in a frame's masks (1,H,W) bool and the confidence in the right and the left hand."""
        now: Masks = {side: masks[f"{side}_amodal"][0, ::_STEP, ::_STEP] for side in SIDES}
        same, crossed = (sum([_overlap(now[a], self._last.get(b)) for a, b in pairs]) for pairs in _PAIRS)
        new = not (same or crossed)
        agrees = same >= crossed
        weight = max(confidence)
        self._votes = 0.0 if new else self._votes * 0.5 ** ((time - self._time) / MEMORY)
        self._votes += weight if agrees else -weight
        outvoted = self._votes < 0
        if outvoted:
            self._votes = -self._votes
        swapped = agrees == outvoted
        self._last = {"right": now["left"], "left": now["right"]} if swapped else dict(now)
        self._time = time
        return Naming(swapped, new or outvoted)


_PAIRS = (("right", "right"), ("left", "left")), (("right", "left"), ("left", "right"))


class _Seen(NamedTuple):
    masks: Masks
    confidence: list[float]

    @property
    def hands(self) -> int:
        return sum(bool(self.masks[f"{side}_amodal"].any()) for side in SIDES)


def _around(masks: Masks) -> Window | None:
    """The square in which the hands of masks (1,H,W) are best seen; None without hands."""
    both = masks["right_amodal"] | masks["left_amodal"]
    if not bool(both.any()):
        return None
    whole = Window.whole(*both.shape[-2:])
    centre, side = mask_boxes(both)
    (x, y), half = centre[0].tolist(), float(side) / 2
    near = window_of((x - half, y - half, x + half, y + half))
    return near if near.side < whole.side else whole


def _overlap(mask: Tensor, other: Tensor | None) -> float:
    """Intersection over union of masks (h,w); 0 where one is empty or None."""
    if other is None:
        return 0.0
    common = int((mask & other).sum())
    return common / int((mask | other).sum()) if common else 0.0
