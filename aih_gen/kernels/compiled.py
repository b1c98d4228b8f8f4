"""The one way in which this project compiles a function."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import numba

from aih_gen.errors import AIHError

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def compiled(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """The function in machine code, made at its first call with such types and kept on disk from then on.

    Sums are taken in the order of the loops, so that results are the same to the bit on every call; other threads may
    run meanwhile. Where no folder for what is compiled can be written, each process compiles for itself.
    """
    try:
        return _compiled(function, cache=True)
    except RuntimeError:  # no folder for it
        return _compiled(function, cache=False)


def _compiled(function: Callable[_Arguments, _Result], cache: bool) -> Callable[_Arguments, _Result]:
    return cast(Callable[_Arguments, _Result], numba.njit(cache=cache, nogil=True, error_model="numpy")(function))


def is_kept(function: Callable[..., object]) -> bool:
    """True if machine code of a ``compiled`` function, of this or an earlier version, is on disk.

    It is a guess for a line that is printed: where Numba keeps code otherwise, or compiles nothing, it is False.
    """
    folder = getattr(getattr(function, "stats", None), "cache_path", None)
    module = function.__module__.rpartition(".")[2]
    return folder is not None and any(Path(folder).glob(f"{module}.{function.__name__}-*.nbi"))


def check_cache() -> None:
    """Refuse a folder that cannot keep what is compiled, where the user names one.

    Raises:
        AIHError: ``NUMBA_CACHE_DIR`` is such a folder.
    """
    folder = os.environ.get("NUMBA_CACHE_DIR")
    if not folder:
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AIHError(f"NUMBA_CACHE_DIR {folder}: expected a folder, found {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise AIHError(f"NUMBA_CACHE_DIR {folder}: expected a folder that can be written, found one that cannot")
