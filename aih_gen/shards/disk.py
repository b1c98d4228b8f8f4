"""A file for HDF5 to write to on which nothing ever fails.

A full disk in the middle of a file is more than HDF5 can take: it cannot close such a file, and the process crashes
when it ends. So the file keeps the error to itself until somebody asks.
"""

from __future__ import annotations

import io
from typing import Any


class UnfailingFile(io.FileIO):
    """Like a new file; after the first error it writes no more, which only ``check`` tells."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        """All of the data, or the error is kept."""
        rest = memoryview(data)
        try:
            while rest and self._error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return self.tell() if size is None else size

    def check(self) -> None:
        """Raise the first OSError that there was."""
        if self._error is not None:
            raise self._error
