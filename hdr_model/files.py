"""Text files that survive a process that is killed: replaced whole, or read without an unfinished end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from aih_gen.errors import AIHError


def write_whole(path: Path, text: str) -> None:
    """Replace the file: whoever reads it finds the old text or the new one, never a part."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``metrics.jsonl``: a JSON object with "step" a line. A last line without an end is left out.

    Raises:
        AIHError: a line is not such an object.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            break
        try:
            row = json.loads(line)
            float(row["step"])
        except (ValueError, TypeError, KeyError) as error:
            raise AIHError(f'{path}, line {number}: expected a JSON object with "step", found {line[:60]!r}') from error
        rows.append(row)
    return rows
