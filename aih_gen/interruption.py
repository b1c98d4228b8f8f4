"""Ctrl-C and SIGTERM as a request that a loop checks between two steps, and processes that end with their parent.

Python raises KeyboardInterrupt wherever it happens to be, and in a function that a C library has called that is lost.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Context in which the first SIGINT or SIGTERM only sets ``requested``; a second SIGINT interrupts at once.

    A signal that the process ignores stays ignored, and outside the main thread, where none arrives, nothing is done.
    """

    def __init__(self) -> None:
        self.requested = False
        self._waiting = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # others may not set handlers
            handled = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._note) for number in handled}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt if it was requested."""
        if self.requested:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Context in which the first signal interrupts at once: nothing is lost, and it may take long."""
        self._waiting = True
        try:
            self.check()
            yield
        finally:
            self._waiting = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        interrupts = self._waiting or (self.requested and number == signal.SIGINT)
        self.requested = True
        if interrupts:
            raise KeyboardInterrupt


def leave_signals_to_the_loop(_: int) -> None:
    """For processes that only read: Ctrl-C and SIGTERM reach them too, but they end when the loop does."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()


def die_with_parent() -> None:
    """End this process when its parent has ended for any reason.

    Behind a fork server (the default from Python 3.14 on) that one is not the operating system's parent process.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_and_exit() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_and_exit, daemon=True).start()
