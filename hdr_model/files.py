"""The log of a run, which a process that is killed may leave with an unfinished end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aih_gen.errors import AIHError


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``: a JSON object of numbers, "step" among them, a line.

    A last line without an end is left out, and so are the zeros that a power cut leaves there.

    Raises:
        AIHError: a line is not such an object.
    """
    rows = []
    *lines, _ = path.read_bytes().rstrip(b"\0").split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line.decode())
            if "step" not in row or not all(type(value) in (int, float) for value in row.values()):
                raise ValueError(row)
            float(max(row.values()))  # raises OverflowError
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            found = repr(line[:60].decode(errors="replace"))
            raise AIHError(
                f'{path}, line {number}: expected a JSON object of numbers with "step", found {found}'
            ) from error
        rows.append(row)
    return rows
