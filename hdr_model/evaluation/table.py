"""The result of an evaluation as one list of rows, for the terminal, the files and the page."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from aih_gen.errors import AIHError
from aih_gen.io.json import read_json
from aih_gen.io.write import write_text
from hdr_model.evaluation.row import Row
from hdr_model.evaluation.verdict import Finding, verdict, wins

FORMER_METRICS = {
    "pairs under the right names": "handedness accuracy of pairs",
    "pictures of no hand in which one is told": "false detections, images of no hand",
    "pictures of one hand told as one": "accuracy of the number of hands, images of one",
    "pictures told as one, under the right name": "handedness accuracy of single hands",
    "pictures of two hands told as two": "accuracy of the number of hands, images of two",
    **{
        f"IoU, {part}, over the set, whichever name fits": f"IoU, {part}, over the set, better handedness"
        for part in ("whole hand (amodal)", "occluded part alone", "visible part")
    },
}
"""Names of metrics in files of version 0.1 and before, and those of today."""
HEADINGS = ("", "metric", "ours", "baseline", "value", "better", "cases")
_SHORT = ("metric", "ours", "baseline", "value")


@dataclass(frozen=True)
class Line:
    """One line of a ``Grid``."""

    name: str
    values: tuple[float, ...]
    published: bool = False
    """Other people's figures, on other data."""


@dataclass(frozen=True)
class Grid:
    """Figures of one kind side by side."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    note: str = ""
    digits: int = 2

    def shown(self, value: float) -> str:
        """A figure as text."""
        return "-" if math.isnan(value) else f"{value:.{self.digits}f}"

    def print(self, console: Console) -> None:
        """The grid for a terminal; published lines are dim."""
        table = Table(title=self.title)
        table.add_column("")
        for column in self.columns:
            table.add_column(column, justify="right")
        for line in self.lines:
            style = "dim" if line.published else None
            table.add_row(line.name, *(self.shown(value) for value in line.values), style=style)
        console.print(table)
        if self.note:
            console.print(f"- {self.note}", markup=False, highlight=False)

    def markdown(self) -> str:
        """The grid as a Markdown table; published lines are in italics."""
        head = ["", *self.columns]
        rows = [head, ["---", *["---:"] * len(self.columns)]]
        for line in self.lines:
            cells = [line.name, *(self.shown(value) for value in line.values)]
            rows.append([f"*{cell}*" if line.published and cell else cell for cell in cells])
        return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"


@dataclass(frozen=True)
class Curve:
    """One line of a chart of shares over millimetres."""

    chart: str
    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Evaluation:
    """Everything ``hdr eval`` measured."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    """Denominators, empty cases and settings of the figures."""
    settings: dict[str, str] = field(default_factory=dict)
    grids: tuple[Grid, ...] = ()
    curves: tuple[Curve, ...] = ()

    @property
    def verdict(self) -> tuple[Finding, ...]:
        """HDR beside SHPE without it, in sentences; none where joints were not measured."""
        return verdict(self.rows)

    def wins(self, row: Row) -> bool | None:
        """Mark of a row: better (True) or worse (False) than the figures beside it."""
        return wins(row, self.rows)

    def print(self, console: Console | None = None) -> None:
        """The rows with a figure that are no detail, and the verdict, for a terminal; the page has the rest."""
        table = Table(title="HDR on held-out samples")
        for heading in ("", *_SHORT):
            table.add_column(heading, justify="right" if heading in ("ours", "value") else "left")
        rows = [row for row in self.rows if not (row.detail or math.isnan(row.ours))]
        for row, following in zip(rows, (*rows[1:], None), strict=True):
            cells = dict(zip(HEADINGS, row.cells, strict=True))
            ours = cells["ours"]
            cells["ours"] = {True: f"[green]{ours}[/]", False: f"[red]{ours}[/]", None: ours}[self.wins(row)]
            last = following is not None and following.group != row.group
            table.add_row(row.group, *(cells[heading] for heading in _SHORT), end_section=last)
        console = console or Console()
        console.print(table)
        for finding in self.verdict:
            console.print(finding.sentence, markup=False, highlight=False)

    def write(self, folder: Path) -> None:
        """``metrics.json``, ``metrics.csv`` (rows) and ``grids.csv`` (a figure a line) in ``folder``.

        What does not exist is null in JSON and empty in CSV.
        """
        whole = without_nan(asdict(self))
        plain = whole["rows"]
        write_text(folder / "metrics.json", json.dumps(whole, indent=1, allow_nan=False) + "\n")
        write_grids(folder / "grids.csv", self.grids)
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, [f.name for f in fields(Row)])
        writer.writeheader()
        writer.writerows(plain)
        write_text(folder / "metrics.csv", file.getvalue())

    @classmethod
    def read(cls, folder: Path) -> Evaluation:
        """Read the files of ``write``.

        Raises:
            AIHError: ``metrics.json`` is not one of ours.
        """
        path = folder / "metrics.json"
        try:
            whole = read_json(path)
            rows = [Row(**_from_plain(row)) for row in whole["rows"]]
            grids = tuple(_grid(grid) for grid in whole["grids"])
            curves = tuple(Curve(c["chart"], c["name"], tuple((x, y) for x, y in c["points"])) for c in whole["curves"])
            return cls(tuple(rows), tuple(whole["notes"]), dict(whole["settings"]), grids, curves)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise AIHError(f"{path}: expected the metrics.json that `hdr eval` writes, found {error!r}") from error


def write_grids(path: Path, grids: Sequence[Grid]) -> None:
    """Grids as CSV: table, line, column, value, published (0 or 1)."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(("table", "line", "column", "value", "published"))
    for grid in grids:
        for line in grid.lines:
            for column, value in zip(grid.columns, line.values, strict=True):
                writer.writerow((grid.title, line.name, column, without_nan(value), int(line.published)))
    write_text(path, file.getvalue())


def without_nan(value: Any) -> Any:
    """``value``, plain data, with None for every number that is not finite."""
    if isinstance(value, dict):
        return {name: without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _grid(plain: dict[str, Any]) -> Grid:
    lines = tuple(
        Line(line["name"], tuple(float("nan") if v is None else v for v in line["values"]), line["published"])
        for line in plain["lines"]
    )
    return Grid(plain["title"], tuple(plain["columns"]), lines, plain["note"], plain["digits"])


def _from_plain(row: dict[str, Any]) -> dict[str, Any]:
    known = {name: float("nan") if value is None else value for name, value in row.items()}
    return known | {"metric": FORMER_METRICS.get(row["metric"], row["metric"])}
