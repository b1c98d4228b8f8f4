"""JSON files larger than memory: records one at a time, and no longer than they are needed."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import ijson
from ijson.common import ObjectBuilder
from tqdm import tqdm

from aih_gen.errors import AIHError
from aih_gen.io.json import Nesting

NOT_NUMBERS = re.compile(rb"(?:\A|(?<=[\s\[,:]))-?(?:NaN|Infinity)(?=[\s\],}]|\Z)")
"""Python's words, in a piece of JSON that begins after a comma."""

MAX_PIECE = 1 << 24
"""Bytes between two commas."""


class CutJSON(AIHError):
    """A file that ends in the middle, or goes on as no JSON does; what came before it was whole."""


class HashedFile:
    """A file for reading from start to end, whose bytes are hashed and counted on the way.

    Python writes NaN and Infinity where JSON has no such words; they are read as null.
    """

    def __init__(self, path: Path, bar: tqdm[Any]) -> None:
        self._file: IO[bytes] = path.open("rb")
        self._hash, self._bar, self._rest, self._nesting = hashlib.sha256(), bar, b"", Nesting()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, about ``size``, up to a comma or the end of the file: no number or word is cut.

        Raises:
            ValueError: the document is nested deeper than ``io.json`` allows, or more than `MAX_PIECE` without a comma.
        """
        whole, stop = self._rest, 0
        while size and not stop and (data := self._file.read(size)):
            self._hash.update(data)
            self._bar.update(len(data))
            whole += data
            if len(whole) > MAX_PIECE:
                raise ValueError(f"more than {MAX_PIECE:,} bytes without a comma")
            stop = whole.rfind(b",") + 1
        if size and not stop:
            stop = len(whole)
        piece, self._rest = whole[:stop], whole[stop:]
        self._nesting.check(piece)
        return NOT_NUMBERS.sub(b"null", piece) if b"NaN" in whole or b"Infinity" in whole else piece

    def finish(self) -> str:
        """Read the rest; SHA-256 of all."""
        while data := self._file.read(1 << 20):
            self._hash.update(data)
        return self._hash.hexdigest()

    def close(self) -> None:
        """Close it."""
        self._file.close()


class JSONStream:
    """One JSON file, gone through as often as needed. ``sha256`` is known after the first time.

    Raises:
        AIHError: there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.sha256 = path, ""
        if not path.is_file():
            raise AIHError(f"{path}: expected a JSON file, found none")

    def items(self, name: str) -> Iterator[Any]:
        """The members of the list ``name`` of the file's object.

        Raises:
            CutJSON: after the last whole member of a file that is cut or damaged.
        """
        with self._opened(name) as file:
            yield from ijson.items(file, f"{name}.item", use_float=True)

    def pairs(self) -> Iterator[tuple[str, str, Any]]:
        """The members of the members of the file's object: (outer name, inner name, value).

        Raises:
            CutJSON: after the last whole member of a file that is cut or damaged.
            AIHError: the file's object holds something else than objects.
        """
        with self._opened("") as file:
            yield from _pairs(ijson.basic_parse(file, use_float=True), self.path)

    @contextlib.contextmanager
    def _opened(self, part: str) -> Iterator[HashedFile]:
        label = f"{self.path.name} {part}".strip()
        size, interval = self.path.stat().st_size, 0.2 if sys.stderr.isatty() else 10
        with tqdm(total=size, unit="B", unit_scale=True, desc=label, leave=False, mininterval=interval) as bar:
            file = HashedFile(self.path, bar)
            try:
                yield file
                self.sha256 = file.finish()
            except (ijson.JSONError, ValueError, OverflowError, RecursionError) as error:
                self.sha256 = file.finish()
                raise CutJSON(f"{self.path}: expected JSON to the end, found a break ({_line(error)})") from error
            finally:
                file.close()


def _pairs(events: Iterator[tuple[str, Any]], path: Path) -> Iterator[tuple[str, str, Any]]:
    depth, names = 0, ["", ""]
    builder: Any = None
    inside = 0
    for event, value in events:
        if builder is not None:
            builder.event(event, value)
            inside += (event in ("start_map", "start_array")) - (event in ("end_map", "end_array"))
        elif event == "map_key":
            names[depth - 1] = value
            continue
        elif event in ("start_map", "end_map") and depth < 2:
            depth += 1 if event == "start_map" else -1
            continue
        elif event == "end_map" and depth == 2:
            depth -= 1
            continue
        elif depth < 2:
            raise AIHError(f"{path}: expected objects within an object, found {event} at {names[0] or 'the start'}")
        else:
            builder = ObjectBuilder()
            builder.event(event, value)
            inside = int(event in ("start_map", "start_array"))
        if inside == 0:
            yield names[0], names[1], builder.value
            builder = None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
