"""One measured figure beside a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Group = Literal["masks", "images", "pose"]


@dataclass(frozen=True)
class Row:
    """One measured figure beside its trivial baseline."""

    group: Group
    metric: str
    """The measure, its cases, and how they are averaged."""
    unit: str
    ours: float
    baseline_name: str
    baseline: float
    better: Literal["higher", "lower"]
    cases: int
    """Over how many masks or hands the figure was taken."""
    headline: bool = False
    """Shown at the top of the page."""
    detail: bool = False
    """Left out where there is room for little: in the terminal, and on the card of the weights."""

    @property
    def wins(self) -> bool | None:
        """True where ours is better than the baseline; None where one of them does not exist."""
        if math.isnan(self.ours) or math.isnan(self.baseline):
            return None
        return self.ours > self.baseline if self.better == "higher" else self.ours < self.baseline

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text, under ``HEADINGS``."""
        metric = f"{self.metric} ({self.unit})" if self.unit else self.metric
        figures = (self.shown(self.ours), self.baseline_name, self.shown(self.baseline))
        return (self.group, metric, *figures, self.better, str(self.cases))

    def shown(self, value: float) -> str:
        """``value`` with the digits of its unit."""
        if math.isnan(value):
            return "-"
        return f"{value:.2f}" if self.unit in ("dB", "mm", "px") else f"{value:.3f}"
