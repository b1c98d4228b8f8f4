"""Atomic writes: whole or absent, through no planted link, and nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aih_gen.errors import AIHError, WriteError
from aih_gen.io import write
from aih_gen.io.write import atomic_folder, atomic_path, check_writable, exclusive, write_bytes, write_text

_FILL_AND_WAIT = """
import sys, time
from pathlib import Path
from aih_gen.io.write import {kind}
with {kind}(Path(sys.argv[1])) as temporary:
    (temporary / "half" if temporary.is_dir() else temporary).write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def killed_while_writing(path: Path, kind: str) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _FILL_AND_WAIT.format(kind=kind), str(path)], stdout=subprocess.PIPE
    )
    assert writer.stdout and writer.stdout.readline() == b"ready\n"
    assert len(names(path.parent)) == 1
    with_other_writer_alive(path, kind)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()


def with_other_writer_alive(path: Path, kind: str) -> None:
    """A second writer leaves the first one's temporary alone."""
    other = path.with_name(path.name + "-other")
    if kind == "atomic_path":
        write_bytes(other, b"")
        other.unlink()
    else:
        with atomic_folder(other):
            pass
        other.rmdir()
    assert len(names(path.parent)) == 1


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with contextlib.suppress(RuntimeError), atomic_path(path) as temporary:
        temporary.write_bytes(b"ne")
        raise RuntimeError
    assert path.read_text() == "old" and names(tmp_path) == ["file"]
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and names(tmp_path) == ["file"]


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with contextlib.suppress(RuntimeError), atomic_folder(path) as temporary:
        (temporary / "part").touch()
        raise RuntimeError
    assert not names(tmp_path)
    with atomic_folder(path) as temporary:
        (temporary / "part").touch()
    assert names(tmp_path) == ["folder"] and names(path) == ["part"]
    with pytest.raises(AIHError, match="not there yet"), atomic_folder(path):
        pass


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    killed_while_writing(path, "atomic_path")
    assert len(names(tmp_path)) == 1
    write_bytes(path, b"whole")
    assert names(tmp_path) == ["file"]
    path.unlink()
    killed_while_writing(path, "atomic_folder")
    assert len(names(tmp_path)) == 1
    with atomic_folder(path):
        pass
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("make", [atomic_path, atomic_folder])
def test_ctrl_c_while_a_temporary_is_made_leaves_nothing(
    make: Callable[[Path], contextlib.AbstractContextManager[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        assert len(names(tmp_path)) == 1  # it is there, and not locked yet
        raise KeyboardInterrupt

    monkeypatch.setattr(write.fcntl, "flock", interrupted)
    with pytest.raises(KeyboardInterrupt), make(tmp_path / "out"):
        pytest.fail("it was made")
    assert names(tmp_path) == []


def test_a_planted_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_text("precious")
    path.symlink_to(victim)
    for name in ("file.tmp", ".file.tmp", "file.partial"):
        (tmp_path / name).symlink_to(victim)
    write_text(path, "new")
    assert victim.read_text() == "precious" and path.read_text() == "new" and not path.is_symlink()


def test_a_disk_that_fails_is_a_users_mistake_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(WriteError, match=r"none/file: expected a file that can be written to \(No such file"):
        write_bytes(tmp_path / "none" / "file", b"")
    write_bytes(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"file: expected a file that can be written to \(No space left on device\)"):
        write_bytes(tmp_path / "file", b"new")
    with (
        pytest.raises(WriteError, match=r"new: expected a folder that can be written to"),
        atomic_folder(tmp_path / "new"),
    ):
        pass
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_where_a_file_is_wanted_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(AIHError, match="expected a file or nothing yet, found a folder"):
        check_writable(tmp_path, "file")


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AIHError, match="pipe: expected a file or nothing yet"):
        write_bytes(tmp_path / "pipe", b"")
    assert names(tmp_path) == ["pipe"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_names_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_bytes(path, b"1")
    assert path.read_bytes() == b"1"


def test_one_process_at_a_time_has_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with exclusive(path, "busy"), pytest.raises(AIHError, match="busy"), exclusive(path, "busy"):
        pass
    with exclusive(path, "busy"):
        pass
