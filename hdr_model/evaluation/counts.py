"""The number of hands that HASM finds in images of none, one and two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aih_gen.config import SIDES
from hdr_model.evaluation.row import Row
from hdr_model.nets.hasm import MIN_HAND_AREA

Better = Literal["higher", "lower"]
FALSE_DETECTIONS = "false detections, images of no hand"
ONE_HAND = "accuracy of the number of hands, images of one"
SINGLE_HANDEDNESS = "handedness accuracy of single hands"
TWO_HANDS = "accuracy of the number of hands, images of two"
COUNT_METRICS = (FALSE_DETECTIONS, ONE_HAND, SINGLE_HANDEDNESS, TWO_HANDS)


@dataclass(frozen=True)
class Counted:
    """The hands of one sample: right, left."""

    there: tuple[bool, bool]
    found: tuple[bool, bool]
    """HASM's amodal mask covers at least ``MIN_HAND_AREA`` of the image."""


def count_hands(true: Mapping[str, Tensor], predicted: Mapping[str, Tensor]) -> list[Counted]:
    """The hands of B samples, by true and by predicted masks (B,H,W) bool."""
    there, masked = (
        torch.stack([masks[f"{side}_amodal"] for side in SIDES], 1).flatten(2) for masks in (true, predicted)
    )
    found = masked.sum(2) >= MIN_HAND_AREA * masked.shape[2]
    rows = zip(there.any(2).tolist(), found.tolist(), strict=True)
    return [Counted((right, left), (found_right, found_left)) for (right, left), (found_right, found_left) in rows]


def count_rows(counted: Sequence[Counted]) -> Iterator[Row]:
    """Shares of the samples of no, one and two hands; a kind that the set does not hold has no row."""
    none, one, two = ([sample for sample in counted if sum(sample.there) == number] for number in range(3))
    found_one = [sample for sample in one if sum(sample.found) == 1]
    rows: tuple[tuple[str, list[bool], str, float, Better], ...] = (
        (FALSE_DETECTIONS, [any(s.found) for s in none], "a hand everywhere", 1, "lower"),
        (ONE_HAND, [sum(s.found) == 1 for s in one], "always two", 0, "higher"),
        (SINGLE_HANDEDNESS, [s.found == s.there for s in found_one], "a coin", 0.5, "higher"),
        (TWO_HANDS, [all(s.found) for s in two], "always one", 0, "higher"),
    )
    for metric, cases, guess, guessed, better in rows:
        if cases:
            yield Row("masks", metric, "", float(np.mean(cases)), guess, guessed, better, len(cases))
