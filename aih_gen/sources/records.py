"""Records of other people's data: counts of used and unused ones with reasons, and their samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aih_gen.compose.sample import Sample
from aih_gen.errors import AIHError, one_line
from aih_gen.io.write import write_text

NAMED = 3
"""Records that a summary names for each reason; all of them are in `SKIPPED`."""
SKIPPED = "skipped.tsv"


@dataclass
class ReadReport:
    """Counts of a data set's records. Broken ones contradict its format, others are left out by choice."""

    what: str
    """The kind of record, in the plural."""
    used: int = 0
    broken: dict[str, list[str]] = field(default_factory=dict)
    """Ids by reason."""
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def add_broken(self, reason: str, name: str) -> None:
        """A record that cannot be read."""
        self.broken.setdefault(reason, []).append(name)

    def leave_out(self, reason: str, name: str) -> None:
        """A record that is whole, but of no use here."""
        self.left_out.setdefault(reason, []).append(name)

    @property
    def num_broken(self) -> int:
        """Number of records that cannot be read."""
        return sum(map(len, self.broken.values()))

    @property
    def num_read(self) -> int:
        """Number of records."""
        return self.used + self.num_broken + sum(map(len, self.left_out.values()))

    def check(self, place: Path | str, most_broken: float) -> None:
        """Stop where too much is broken for chance.

        Args:
            place: what was read.
            most_broken: the share of the records that may be broken, 0 to 1.

        Raises:
            AIHError: more than that share is broken, or no record can be used.
        """
        if not 0 <= most_broken <= 1:
            raise AIHError(f"most_broken: expected 0 to 1, found {most_broken}")
        if self.num_broken > most_broken * self.num_read:
            raise AIHError(
                f"{place}: expected at most {most_broken:.1%} broken {self.what}, found {self.num_broken} of "
                f"{self.num_read}: {'; '.join(_lines(self.broken))}"
            )
        if not self.used:
            raise AIHError(f"{place}: expected {self.what} that can be used, found none: {'; '.join(self.lines())}")

    def lines(self) -> list[str]:
        """The summary: counts by reason, with the first names."""
        first = f"{self.num_read:,} {self.what}: {self.used:,} used, {self.num_broken:,} broken"
        return [first, *_lines(self.broken), *_lines(self.left_out)]

    def write(self, folder: Path) -> Path:
        """List every record that is not used in ``folder``, one a line: reason, tab, id, without control characters.

        Raises:
            WriteError: the list cannot be written.
        """
        path = folder / SKIPPED
        rows = [
            f"{one_line(reason)}\t{one_line(name)}\n"
            for by in (self.broken, self.left_out)
            for reason in by
            for name in by[reason]
        ]
        write_text(path, "".join(rows))
        return path


def _lines(by_reason: dict[str, list[str]]) -> list[str]:
    return [
        one_line(f"{len(names):,} {reason} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})")
        for reason, names in by_reason.items()
    ]


class Source(Protocol):
    """Gives samples by index; opened once in every process that makes any."""

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of these indices, in their order."""
        ...

    def describe(self) -> dict[str, Any]:
        """By name of the configuration's field: name, SHA-256 and the like of the files behind it."""
        ...


class Records(Source, Protocol):
    """The usable records of a data set as samples, indices 0 to len - 1."""

    @property
    def report(self) -> ReadReport:
        """Records that were used, broken and left out."""
        ...

    def __len__(self) -> int: ...
