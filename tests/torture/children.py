"""Commands in processes of their own, forked from a server that has imported everything already."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, Protocol

PRELOAD = (
    "torch", "h5py", "hdf5plugin", "aih_gen.cli", "aih_gen.factory", "aih_gen.import_export", "hdr_model.cli",
    "hdr_model.inference.infer", "hdr_model.training.loop", "hdr_model.training.shpe", "tests.torture.children",
)  # fmt: skip
GIB = 2**30


@dataclass(frozen=True)
class Outcome:
    """The end of a child: its exit code (minus the signal that killed it), and all that it said."""

    code: int
    said: str
    events: int = 0
    """Changes to files that it made, as ``count_events`` counts them."""
    writes: int = 0
    """Writes to regular files, where ``preload_shim`` was called."""

    @property
    def clean(self) -> bool:
        """Success, or a user's mistake in one sentence; never a traceback, a crash or a time-out."""
        return self.code in (0, 2) and "Traceback" not in self.said

    def __str__(self) -> str:
        return f"exit code {self.code}: {self.said[-400:]}"


class Attack(Protocol):
    """Something that happens to a child; must be picklable."""

    def arm(self) -> None:
        """Called in the child, just before the command begins."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL ``delay`` seconds after the ``event``-th change to files (from 1), or just before it."""

    event: int
    delay: float = 0.0

    def arm(self) -> None:
        def strike(count: int) -> None:
            if count == self.event:
                if self.delay:  # a thread of its own: the change may be another thread's than the main one
                    threading.Timer(self.delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
                else:
                    os.kill(os.getpid(), signal.SIGKILL)

        count_events(strike)


@dataclass(frozen=True)
class FailingDisk:
    """The ``write``-th write to a regular file (from 1) and all that follow fail, or the one is short."""

    write: int
    error: str
    """ENOSPC, EIO or SHORT."""

    def arm(self) -> None:
        _shim("torture_arm", self.write, ("ENOSPC", "EIO", "SHORT").index(self.error))


_EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.copyfile"}


def count_events(then: Callable[[int], None]) -> None:
    """From now on call ``then`` with the number of every change to files, just before it is made."""
    number = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal number
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in _EVENTS:
            number += 1
            then(number)

    sys.addaudithook(hook)


@dataclass(frozen=True, eq=False)
class Child:
    """A process that runs by itself."""

    process: ForkServerProcess
    result: Connection

    def outcome(self, seconds: float = 60) -> Outcome:
        """Its end; one that takes longer is killed."""
        end = time.monotonic() + seconds
        said, events, writes = b"", 0, 0
        with contextlib.suppress(EOFError):
            if self.result.poll(seconds):  # before it has ended: it waits until all that it said is taken
                said, events, writes = self.result.recv()
        self.process.join(max(0, end - time.monotonic()))
        timed_out = self.process.is_alive()
        if timed_out:
            self.process.kill()
            self.process.join()
        code = -signal.SIGALRM if timed_out else self.process.exitcode or 0
        return Outcome(code, said.decode("utf-8", "replace"), events, writes)


def start(function: Callable[..., object], *arguments: Any, attack: Attack | None = None, gib: float = 0) -> Child:
    """Run a module's function in a child, with a limit on the memory that it adds; an exception is exit code 1."""
    receive, send = _context().Pipe(duplex=False)
    process = _context().Process(target=_run, args=(send, function, arguments, attack, gib))
    process.start()
    send.close()
    return Child(process, receive)


def start_command(arguments: Sequence[str], attack: Attack | None = None) -> Child:
    """Run ``aih-gen ...`` or ``hdr ...`` in a child."""
    return start(typed, list(arguments), attack=attack)


def command(arguments: Sequence[str], attack: Attack | None = None) -> Outcome:
    """Run ``aih-gen ...`` or ``hdr ...`` in a child to its end."""
    return start_command(arguments, attack).outcome()


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOAD))
    return context


def typed(arguments: list[str]) -> None:
    """Run ``aih-gen ...`` or ``hdr ...`` here, and exit."""
    from aih_gen import cli as aih_gen
    from hdr_model import cli as hdr

    program, *rest = arguments
    sys.exit({"aih-gen": aih_gen.main, "hdr": hdr.main}[program](rest))


def _run(send: Connection, function: Callable[..., object], arguments: Any, attack: Attack | None, gib: float) -> None:
    import torch

    torch.set_num_threads(1)
    os.setsid()
    said = os.memfd_create("said")
    os.dup2(said, 1), os.dup2(said, 2)
    events = 0

    def report() -> None:
        sys.stdout.flush(), sys.stderr.flush()
        send.send((os.pread(said, 2**20, max(0, os.fstat(said).st_size - 2**20)), events, _shim("torture_writes")))

    def note(number: int) -> None:
        nonlocal events
        events = number

    if gib:
        used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (used + int(gib * GIB),) * 2)
    _shim("torture_arm", 0, 0)
    if attack is None:
        count_events(note)
    else:
        attack.arm()
    try:
        function(*arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # what a user would see
        traceback.print_exc()
        code = 1
    else:
        code = 0
    report()
    send.close()
    os._exit(code)


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int first, mode, count;
void torture_arm(int write, int how) { first = write; mode = how; count = 0; }
int torture_writes(void) { return count; }

static int strikes(int fd) {
    struct stat about;
    if (fstat(fd, &about) || !S_ISREG(about.st_mode) || about.st_nlink == 0) return 0;
    count++;
    return first && (mode == 2 ? count == first : count >= first);
}
static ssize_t fail(void) { errno = mode == 0 ? ENOSPC : EIO; return -1; }

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (strikes(fd)) { if (mode != 2) return fail(); size = size > 1 ? size / 2 : size; }
    return real(fd, data, size);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t place) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    if (strikes(fd)) { if (mode != 2) return fail(); size = size > 1 ? size / 2 : size; }
    return real(fd, data, size, place);
}
ssize_t writev(int fd, const struct iovec *parts, int count_parts) {
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real) real = dlsym(RTLD_NEXT, "writev");
    if (strikes(fd)) { if (mode != 2) return fail(); if (count_parts > 1) count_parts = 1; }
    return real(fd, parts, count_parts);
}
"""


def _shim(function: str, *arguments: int) -> int:
    """Call a function of ``SHIM``; 0 where it is not loaded."""
    found = getattr(ctypes.CDLL(None), function, None)
    return int(found(*arguments)) if found else 0


def preload_shim(folder: Path) -> None:
    """Have all children's writes pass through ``SHIM``; call it before the first child."""
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    from multiprocessing import forkserver

    os.environ["LD_PRELOAD"] = str(library)
    try:
        _context()
        forkserver.ensure_running()
    finally:
        del os.environ["LD_PRELOAD"]
