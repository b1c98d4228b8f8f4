"""The door for JSON documents: size and depth are known before anything is parsed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from aih_gen.errors import AssetError

MAX_BYTES = 1 << 28
MAX_DEPTH = 100
"""Arrays and objects within each other; Python's parser and ijson's know no limit of memory for them."""

_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_BRACKETS = b"[]{}"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))


def read_json(path: Path, max_bytes: int = MAX_BYTES) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        AssetError: it cannot be read, is no JSON in UTF-8, too large or nested too deep.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
        if len(raw) > max_bytes:
            raise ValueError(f"more than {max_bytes:,} bytes")
        return parse_json(raw)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise AssetError(f"{path}: expected JSON, found something else ({error})") from error


def parse_json(raw: bytes) -> Any:
    """The content of a JSON document in UTF-8.

    Raises:
        ValueError: it is none, or nested too deep.
    """
    Nesting().check(raw)
    return json.loads(raw.decode("utf-8"))


class Nesting:
    """Depth of arrays and objects within each other in a document that arrives in pieces."""

    def __init__(self) -> None:
        self._depth, self._in_text = 0, 0

    def check(self, piece: bytes) -> None:
        """Count on; no piece may end between a backslash and what it escapes.

        Raises:
            ValueError: more than `MAX_DEPTH`.
        """
        parts = (_ESCAPE.sub(b"", piece) if b"\\" in piece else piece).split(b'"')
        brackets = b"".join(parts[self._in_text :: 2]).translate(None, _OTHERS)
        self._in_text = (self._in_text + len(parts) - 1) % 2
        if brackets:
            codes = np.frombuffer(brackets, np.uint8)
            depths = self._depth + np.cumsum(np.where((codes == ord("[")) | (codes == ord("{")), 1, -1))
            self._depth = int(depths[-1])
            if depths.max() > MAX_DEPTH:
                raise ValueError(f"arrays and objects nested more than {MAX_DEPTH} deep")
