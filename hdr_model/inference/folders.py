"""Folders of results: one for each photo or video, which appears whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from aih_gen.errors import AIHError, WriteError
from aih_gen.io.write import atomic_folder, check_writable, sync

_STAGE = ".new"
"""Within a folder that is there already: its new files, until they are complete."""


def folders_for(paths: Sequence[Path], out: Path) -> list[Path]:
    """A folder in ``out`` for each file, no two alike: of the file's name without the suffix, numbered where taken.

    Raises:
        AIHError: ``out`` or one of these is a file, nothing can be written there, or one holds a file of ``paths``,
            which results might replace.
    """
    check_writable(out)
    folders = [out / name for name in _distinct_names(paths)]
    holding = {Path(os.path.realpath(path)).parent: path for path in paths}
    for folder in folders:
        if (path := holding.get(Path(os.path.realpath(folder)))) is not None:
            raise AIHError(f"{folder}: expected another place than the folder of {path}, which is read, found the same")
        if os.path.lexists(folder) and not folder.is_dir():
            raise AIHError(f"{folder}: expected a folder for the results, found a file")
    return folders


@contextlib.contextmanager
def result_folder(path: Path) -> Iterator[Path]:
    """An empty folder, to be filled with files within the block. At its end it becomes ``path``.

    Where ``path`` is there already, its files of the same names are replaced when all are complete; others stay.

    Raises:
        WriteError: it cannot be written.
    """
    stage = path / _STAGE if path.is_dir() else path
    try:
        if stage != path:
            shutil.rmtree(stage, ignore_errors=True)
        with atomic_folder(stage) as temporary:
            yield temporary
            for file in temporary.iterdir() if stage != path else ():
                if (path / file.name).is_dir():
                    found = f"{path / file.name} is a folder"
                    raise WriteError(f"{path}: expected a folder that can be written to ({found})")
        if stage != path:
            for file in sorted(stage.iterdir()):
                os.replace(file, path / file.name)
            stage.rmdir()
            sync(path)
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(f"{path}: expected a folder that can be written to ({error.strerror or error})") from error


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    own = [path.stem if path.stem.strip(".") else path.name.strip(".") or "photo" for path in paths]
    taken = set(own)
    names: list[str] = []
    for k, name in enumerate(own):
        if name in own[:k]:
            name = next(numbered for n in count(2) if (numbered := f"{name}-{n}") not in taken)
        taken.add(name)
        names.append(name)
    return names
