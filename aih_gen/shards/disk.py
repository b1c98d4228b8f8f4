"""A file for HDF5 to write to that raises no error before ``check``.

HDF5 cannot close a file after a failed write: the process crashes when it ends.
"""

from __future__ import annotations

import io
from typing import Any


class DeferredErrorFile(io.FileIO):
    """A file opened to be written anew. After the first error nothing more is written, and ``check`` raises it."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data, or remember the error."""
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
        """Raise the first OSError."""
        if self._error is not None:
            raise self._error
