"""Command lines -> command objects. tyro words a mistake there and suggests what may have been meant."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import tyro

from aih_gen.errors import AIHError


def parse_arguments(commands: Any, prog: str, description: str, arguments: Sequence[str] | None) -> Any:
    """The one of ``commands`` (a union of dataclasses) that the arguments ask for; None takes those of the process.

    Raises:
        AIHError: they ask for none; tyro has said why on stderr, with what may have been meant.
        SystemExit: ``--help`` or ``--version`` was given and printed.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if list(given) == ["--version"]:
        print(f"{prog} {_version()}")
        raise SystemExit(0)
    options = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.DisallowNone)
    try:
        with _plain_text() if "NO_COLOR" in os.environ else contextlib.nullcontext():
            return tyro.cli(commands, prog=prog, description=description, args=given, config=options)
    except SystemExit as stop:
        if not stop.code:
            raise
    raise AIHError("arguments: expected those that the command takes, found others, as said above")


def device_numbers(given: str | None) -> list[int] | None:
    """The numbers of ``--gl-device``, such as ``0,1``; None where it is not given.

    Raises:
        AIHError: it is something else than numbers.
    """
    numbers = [text.strip() for text in given.split(",")] if given is not None else []
    if not all(text.isdecimal() for text in numbers):
        raise AIHError(
            f"--gl-device: expected the number of a device, or several such as 0,1, found {given or 'nothing'}"
        )
    return [int(text) for text in numbers] or None


@contextlib.contextmanager
def _plain_text() -> Iterator[None]:
    """Have tyro print without colours, as to a terminal that has none."""
    before = os.environ.get("TERM")
    os.environ["TERM"] = "dumb"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TERM"]
        else:
            os.environ["TERM"] = before


def _version() -> str:
    try:
        return version("aih-hdr")
    except PackageNotFoundError:
        return "(not installed)"


def print_any_name() -> None:
    """Have what is printed hold what its encoding lacks, such as file names that are not UTF-8, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def run_script(main: Callable[..., object]) -> None:
    """Call ``main`` with the arguments of the process, required ones by position; a user's mistake exits with 2."""
    try:
        tyro.cli(main, config=(tyro.conf.PositionalRequiredArgs,))
    except AIHError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
