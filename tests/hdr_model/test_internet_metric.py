"""Protocol P1 against InterNet's evaluation of InterHand2.6M, restated as its authors publish it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from aih_gen.hands.joints import FROM_INTERHAND
from hdr_model.evaluation.metrics import mpjpe
from hdr_model.evaluation.pose import PoseScores
from hdr_model.evaluation.predict import ALONE
from hdr_model.evaluation.protocols import P1

Array = NDArray[np.float64]
BONE = 0.095
SLOTS, WRISTS = 42, (20, 41)
"""Theirs: the right hand's joints, then the left one's, each finger from tip to base, wrist last."""


def internet_mpjpe(predicted: Array, true: Array, valid: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> float:
    """mm; joints (N,42,3) mm of the camera, which are known (N,42), and the samples (N,) of the split.

    A hand whose wrist is unknown has no known joint. Each hand is moved until its wrist is the origin. Each of the 42
    slots has the mean of its errors; the figure is the mean of those.
    """
    slots: list[list[float]] = [[] for _ in range(SLOTS)]
    for n in np.flatnonzero(chosen).tolist():
        for slot in range(SLOTS):
            root = WRISTS[slot // 21]
            if valid[n, slot] and valid[n, root]:
                found, wanted = (joints[n, slot] - joints[n, root] for joints in (predicted, true))
                slots[slot].append(float(np.sqrt(((found - wanted) ** 2).sum())))
    return float(np.mean([np.mean(errors) for errors in slots if errors]))


def test_p1_is_internets_figure_on_random_predictions() -> None:
    rng = np.random.default_rng(3)
    kinds = np.repeat(["interacting", "right", "left"], (12, 20, 5))
    true = rng.normal((0, 0, 900), 60, (len(kinds), SLOTS, 3))
    predicted = rng.normal((0, 0, 900), 60, (len(kinds), SLOTS, 3))
    valid = rng.random((len(kinds), SLOTS)) < 0.9
    valid[kinds == "right", 21:] = valid[kinds == "left", :21] = False
    scores = PoseScores(BONE)
    for n, kind in enumerate(kinds.tolist()):
        for side in (0, 1):
            if kind in ("interacting", ("right", "left")[side]):
                ours = np.arange(21 * side, 21 * side + 21)[FROM_INTERHAND]
                scores.sample.append(n)
                scores.hand.append(side)
                scores.interacting.append(kind == "interacting")
                scores.touching.append(False)
                scores.true.append(np.where(valid[n, ours, None], true[n, ours], np.nan) / 1000)
                scores.joints_3d[ALONE].append(predicted[n, ours] / 1000 / BONE)
    errors, both = scores.by_side(ALONE, P1), kinds == "interacting"
    for name, chosen in (("SH", ~both), ("IH", both), ("ALL", np.ones_like(both))):
        wanted = internet_mpjpe(predicted, true, valid, chosen)
        assert mpjpe(errors[scores.splits()[name]]) == pytest.approx(wanted, abs=1e-4), name
