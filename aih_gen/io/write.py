"""Atomic writes: a file or a folder is absent or whole.

Everything is made under a temporary name beside its place, synced, and renamed. Temporary names cannot be guessed, so
nobody can plant a link there. They are locked while their process lives: what a killed one left is removed by the next
that writes to the same place.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from aih_gen.errors import AIHError, WriteError

_MAX_NAME = 180
"""Bytes of a name that its temporary keeps: file systems allow 255."""
_KEY_BYTES = 8


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """An empty file, to be filled within the block, that replaces ``path`` at its end. On any error it is removed.

    Raises:
        WriteError: the file cannot be made, synced or renamed; what stood there still does.
    """
    with _described(path, "file"):
        _check_replaceable(path)
        _remove_abandoned(path)
        with _temporary(path, _make_file, lambda left: left.unlink(missing_ok=True)) as temporary:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder, to be filled within the block, that becomes ``path`` at its end. On any error it is removed.

    Raises:
        AIHError: ``path`` is there already.
        WriteError: the folder cannot be made or renamed.
    """
    with _described(path, "folder"):
        if path.exists() or path.is_symlink():
            found = "one" if path.is_dir() else "a file"
            raise AIHError(f"{path}: expected a folder that is not there yet, found {found}")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with _temporary(path, _make_folder, shutil.rmtree) as temporary:
            yield temporary
            for name, _, files in os.walk(temporary):
                for file in files:
                    sync(Path(name, file))
                sync(Path(name))
            temporary.rename(path)
            sync(path.parent)


def check_apart(written: Path, read: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse to write a file or folder over one of those that are read, under whatever name or link.

    Raises:
        AIHError: it is one of them.
    """
    for path in read:
        if os.path.realpath(written) == os.path.realpath(path) or _is_same_file(written, path):
            raise AIHError(f"{written}: expected another place than {os.fspath(path)}, which is read, found the same")


def check_outside(written: Path, folders: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse to write into a folder all of whose images are read: the next run would read what this one writes.

    Raises:
        AIHError: the place is one of the folders, or within it, under whatever name or link.
    """
    place = Path(os.path.realpath(written))
    for folder in folders:
        if place.is_relative_to(os.path.realpath(folder)):
            raise AIHError(
                f"{written}: expected a place outside {os.fspath(folder)}, whose images are read, found one in it"
            )


def _is_same_file(first: Path, second: str | os.PathLike[str]) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return first.samefile(second)
    return False


def check_writable(path: Path, kind: str = "folder") -> None:
    """Refuse, before long work, a place where no folder, or other ``kind``, can be made as far as that is known yet.

    Raises:
        AIHError: a folder or device stands where a file is wanted.
        WriteError: a file stands above it, the folder of a file is not there, or the disk is full, read-only or not the
            user's to write to.
    """
    with _described(path, kind):
        if kind == "file":
            _check_replaceable(path)
        above = path.absolute().parents
        place = above[0] if kind == "file" else next(parent for parent in (path, *above) if parent.exists())
        if not place.exists():
            raise FileNotFoundError(errno.ENOENT, f"{place} is not there")
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{place} is a file")
        disk = os.statvfs(place)
        if disk.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        with tempfile.TemporaryFile(dir=place):
            pass  # permissions say little: root has all, and /proc takes no file
        if disk.f_blocks and not disk.f_bavail:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def make_folder(path: Path) -> None:
    """Make a folder and those above it; one that is there stays as it is.

    Raises:
        WriteError: it cannot be made.
    """
    with _described(path, "folder"):
        path.mkdir(parents=True, exist_ok=True)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Replace the file: whoever reads it finds the old content or the new one, never a part.

    Raises:
        WriteError: it cannot be written; what was there still is.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """``write_bytes`` of text in UTF-8."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def exclusive(path: Path, message: str) -> Iterator[None]:
    """A lock on the file ``path``, which is made. The kernel gives it up with its process, so none is ever stale.

    Raises:
        AIHError: another process has it; the error says ``message``.
        OSError: the file cannot be made.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        if not _try_lock(lock):
            raise AIHError(message)
        yield
    finally:
        os.close(lock)


def sync(path: Path) -> None:
    """Have a file, or a folder's list of names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _described(path: Path, kind: str) -> Iterator[None]:
    """Have errors of the disk within the block name ``path``, a file or a folder."""
    try:
        yield
    except AIHError:
        raise
    except OSError as error:
        raise WriteError(f"{path}: expected a {kind} that can be written to ({error.strerror or error})") from error


def _check_replaceable(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise AIHError(f"{path}: expected a file or nothing yet, found a folder or device")


def _temporary_name(path: Path) -> str:
    return f".{_kept_name(path)}.{secrets.token_hex(_KEY_BYTES)}.tmp"


def _kept_name(path: Path) -> str:
    return os.fsdecode(os.fsencode(path.name)[:_MAX_NAME])


@contextlib.contextmanager
def _temporary(path: Path, make: Callable[[Path], int], remove: Callable[[Path], object]) -> Iterator[Path]:
    """A file or folder beside ``path``, locked, and removed at the end: also on Ctrl-C while it is being made.

    ``make`` makes what is not there yet and opens it.
    """
    while True:
        temporary, lock = path.with_name(_temporary_name(path)), None
        try:
            lock = make(temporary)
            if _try_lock(lock) and os.fstat(lock).st_nlink:  # else taken for an abandoned one before it was locked
                yield temporary
                return
        finally:
            with contextlib.suppress(OSError):
                remove(temporary)
            if lock is not None:
                os.close(lock)


def _make_file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def _make_folder(path: Path) -> int:
    while True:
        path.mkdir()
        with contextlib.suppress(FileNotFoundError):  # taken for an abandoned one
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _remove_abandoned(path: Path) -> None:
    """Remove temporaries of ``path`` whose processes have ended."""
    pattern = re.compile(rf"\.{re.escape(_kept_name(path))}\.[0-9a-f]{{{2 * _KEY_BYTES}}}\.tmp")
    for temporary in path.parent.iterdir():
        if not pattern.fullmatch(temporary.name):
            continue
        with contextlib.suppress(OSError):
            lock = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if _try_lock(lock):
                    shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
            finally:
                os.close(lock)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
