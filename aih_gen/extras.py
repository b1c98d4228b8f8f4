"""Packages that only some commands need, which extras of the project install."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from aih_gen.errors import AIHError


def import_extra(module: str, extra: str, where: str, package: str) -> Any:
    """A module that comes with ``aih-hdr[extra]``; ``where`` and ``package`` name its use and itself in errors.

    Raises:
        AIHError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise AIHError(f'{where}: expected {package}, found it missing; pip install "aih-hdr[{extra}]"') from error
