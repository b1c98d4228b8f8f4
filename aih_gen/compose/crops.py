"""One hand alone, as copy-paste takes it: the data type, and the protocol of its sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from aih_gen.config import SynRecipe
from aih_gen.typing import Array, Float32, Mask, UInt8


def _unknown(*shape: int) -> Callable[[], Float32]:
    return lambda: np.full(shape, np.nan, np.float32)


@dataclass(frozen=True, eq=False)
class HandCrop:
    """A square image of one hand. Values that its source does not know are NaN, or state 0."""

    image: UInt8  # (S,S,3)
    hand: Mask  # (S,S) pixels of the hand, to the wrist
    skin: Mask  # (S,S) and of its arm, where the source has an arm
    origin: dict[str, Any]
    """Origin, for the provenance of samples."""
    joints_3d: Float32 = field(default_factory=_unknown(21, 3))  # m
    joints_2d: Float32 = field(default_factory=_unknown(21, 2))  # px
    joint_state: UInt8 = field(default_factory=lambda: np.zeros(21, np.uint8))
    pose: Float32 = field(default_factory=_unknown(48))
    betas: Float32 = field(default_factory=_unknown(10))
    transl: Float32 = field(default_factory=_unknown(3))  # m
    camera: Float32 = field(default_factory=_unknown(3, 3))


class SingleHands(Protocol):
    """Gives hands by side (0 right, 1 left) and position; opens files when first needed."""

    def count(self, side: int) -> int:
        """Number of positions; not all of them need to hold a hand that is fit."""
        ...

    def crop(self, side: int, position: int) -> HandCrop | None:
        """The hand there, or None if it is not whole or too small."""
        ...

    def describe(self) -> dict[str, Any]:
        """Names and hashes of the files, by the configuration's field."""
        ...


def is_fit(hand: Mask, recipe: SynRecipe) -> bool:
    """True for a hand (S,S) that is large enough and inside its image."""
    border = sum(int(line.sum()) for line in (hand[0], hand[-1], hand[:, 0], hand[:, -1]))
    return bool(hand.sum() >= recipe.smallest_hand * hand.size and border <= recipe.longest_cut * len(hand))


def hand_box(hand: Mask) -> Array:
    """(2,2) the first and the last pixel (x, y) of a mask that is not empty."""
    columns, rows = (np.flatnonzero(hand.any(axis)) for axis in (0, 1))
    return np.array([[columns[0], rows[0]], [columns[-1], rows[-1]]], np.float64)
