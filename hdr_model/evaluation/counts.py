"""How many hands HASM sees in pictures of none, one and two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aih_gen.config import SIDES
from hdr_model.evaluation.table import Row
from hdr_model.nets.hasm import MIN_HAND_AREA

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Counted:
    """The hands of one sample: right, left."""

    there: tuple[bool, bool]
    told: tuple[bool, bool]
    """HASM's amodal mask covers at least ``MIN_HAND_AREA`` of the picture."""


def count_hands(true: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[Counted]:
    """The hands of B samples, by true and by HASM's masks (B,H,W) bool."""
    there, told = (torch.stack([masks[f"{side}_amodal"] for side in SIDES], 1).flatten(2) for masks in (true, found))
    seen = told.sum(2) >= MIN_HAND_AREA * told.shape[2]
    rows = zip(there.any(2).tolist(), seen.tolist(), strict=True)
    return [Counted((right, left), (told_right, told_left)) for (right, left), (told_right, told_left) in rows]


def count_rows(counted: Sequence[Counted]) -> Iterator[Row]:
    """Shares of the samples of no, one and two hands; what the set does not hold has no row."""
    none, one, two = ([sample for sample in counted if sum(sample.there) == number] for number in range(3))
    told_one = [sample for sample in one if sum(sample.told) == 1]
    rows: tuple[tuple[str, list[bool], str, float, Better], ...] = (
        ("pictures of no hand in which one is told", [any(s.told) for s in none], "a hand everywhere", 1, "lower"),
        ("pictures of one hand told as one", [sum(s.told) == 1 for s in one], "always two", 0, "higher"),
        ("pictures told as one, under the right name", [s.told == s.there for s in told_one], "a coin", 0.5, "higher"),
        ("pictures of two hands told as two", [all(s.told) for s in two], "always one", 0, "higher"),
    )
    for metric, cases, guess, guessed, better in rows:
        if cases:
            yield Row("masks", metric, "", float(np.mean(cases)), guess, guessed, better, len(cases))
