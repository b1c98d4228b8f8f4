"""What the figures of an evaluation say of HDR: whether it helps SHPE, and which of them are truly better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hdr_model.evaluation.predict import ALONE, FOUND, TRUE, UNPAINTED

if TYPE_CHECKING:
    from hdr_model.evaluation.table import Row

RIVALS = {FOUND: (ALONE, UNPAINTED), TRUE: (ALONE,), ALONE: (FOUND,), UNPAINTED: (FOUND,)}
"""Methods that a method of the joints is to be better than: with HDR and without."""
_WORDS = {ALONE: "SHPE alone (in the true crops)", UNPAINTED: "SHPE in the same crops, nothing painted"}


@dataclass(frozen=True)
class Finding:
    """HDR beside SHPE without it."""

    helps: bool | None
    """None where the figures are equal."""
    sentence: str


def verdict(rows: Sequence[Row]) -> tuple[Finding, ...]:
    """HDR with HASM's masks against SHPE alone, and in the same crops, as far as both were measured."""
    errors = {row.metric: row.ours for row in rows}
    hdr = errors.get(f"MPJPE, {FOUND}, all hands", math.nan)
    others = {method: errors.get(f"MPJPE, {method}, all hands", math.nan) for method in _WORDS}
    return tuple(_finding(hdr, other, _WORDS[method]) for method, other in others.items() if math.isfinite(hdr - other))


def wins(row: Row, rows: Sequence[Row]) -> bool | None:
    """Whether a row's figure is better than its baseline and those of its rivals; None where only one of both."""
    method = next((name for name in RIVALS if f", {name}, " in row.metric), None)
    if not row.wins or method is None:
        return row.wins
    metrics = [row.metric.replace(f", {method}, ", f", {rival}, ") for rival in RIVALS[method]]
    beaten = (other.ours < row.ours for other in rows if other.metric in metrics)
    return None if any(beaten) else True


def _finding(hdr: float, other: float, words: str) -> Finding:
    figures = f"MPJPE {hdr:.2f} mm instead of {other:.2f} mm"
    gain = round(other, 2) - round(hdr, 2)
    if abs(gain) < 0.005:
        return Finding(None, f"HDR neither helps nor hurts against {words}: {figures}.")
    word = "helps" if gain > 0 else "hurts"
    return Finding(gain > 0, f"HDR {word} by {abs(gain):.2f} mm ({abs(gain) / other:.0%}) against {words}: {figures}.")
