"""The result of an evaluation as one list of rows, which the terminal, the files and the page all show."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from aih_gen.errors import AIHError

Group = Literal["masks", "images", "pose"]
HEADINGS = ("", "metric", "ours", "baseline", "value", "better", "cases")


@dataclass(frozen=True)
class Row:
    """One measured figure beside its trivial baseline."""

    group: Group
    metric: str
    """What is measured, on what, averaged how."""
    unit: str
    ours: float
    baseline_name: str
    baseline: float
    better: Literal["higher", "lower"]
    cases: int
    """Over how many masks or hands the figure was taken."""
    headline: bool = False
    """Shown at the top of the page."""

    @property
    def wins(self) -> bool | None:
        """Whether ours is better than the baseline; None where one of them does not exist."""
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
        """``value`` with the digits that its unit deserves."""
        if math.isnan(value):
            return "-"
        return f"{value:.2f}" if self.unit in ("dB", "mm") else f"{value:.3f}"


@dataclass(frozen=True)
class Evaluation:
    """Everything ``hdr eval`` measured."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    """How the figures were taken: denominators, empty cases, settings."""
    settings: dict[str, str] = field(default_factory=dict)

    def print(self, console: Console | None = None) -> None:
        """The table and its notes, for a terminal."""
        table = Table(title="HDR on held-out samples")
        for heading in HEADINGS:
            table.add_column(heading, justify="right" if heading in ("ours", "value", "cases") else "left")
        for row, following in zip(self.rows, (*self.rows[1:], None), strict=True):
            group, metric, ours, *rest = row.cells
            colour = {True: f"[green]{ours}[/]", False: f"[red]{ours}[/]", None: ours}[row.wins]
            last = following is not None and following.group != row.group
            table.add_row(group, metric, colour, *rest, end_section=last)
        console = console or Console()
        console.print(table)
        for note in self.notes:
            console.print(f"- {note}", markup=False, highlight=False)

    def write(self, folder: Path) -> None:
        """``metrics.json`` and ``metrics.csv`` in ``folder``; what does not exist is null and empty there."""
        plain = [{name: _json_number(value) for name, value in asdict(row).items()} for row in self.rows]
        whole = {"rows": plain, "notes": self.notes, "settings": self.settings}
        (folder / "metrics.json").write_text(json.dumps(whole, indent=1, allow_nan=False) + "\n")
        with open(folder / "metrics.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Row)])
            writer.writeheader()
            writer.writerows(plain)

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """What ``write`` wrote.

        Raises:
            AIHError: ``metrics.json`` is not one of ours.
        """
        path = folder / "metrics.json"
        try:
            whole = json.loads(path.read_text())
            rows = [Row(**_from_plain(row)) for row in whole["rows"]]
            return cls(tuple(rows), tuple(whole["notes"]), dict(whole["settings"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise AIHError(f"{path}: expected the metrics.json that `hdr eval` writes, found {error!r}") from error


def _json_number(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _from_plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: float("nan") if value is None else value for name, value in row.items()}
