"""Command lines -> command objects; a mistake there is one sentence, like every other mistake of the user's."""

from __future__ import annotations

import contextlib
import io
import itertools
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
        AIHError: they ask for none.
        SystemExit: ``--help`` or ``--version`` was asked for and printed.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if list(given) == ["--version"]:
        print(f"{prog} {_version()}")
        raise SystemExit(0)

    def parse() -> Any:
        options = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.DisallowNone)
        return tyro.cli(commands, prog=prog, description=description, args=given, config=options)

    try:
        with contextlib.redirect_stderr(io.StringIO()), _plain_text() if "NO_COLOR" in os.environ else _nothing():
            return parse()
    except SystemExit as stop:
        if not stop.code:
            raise
    said = io.StringIO()
    with contextlib.redirect_stderr(said), _plain_text(), contextlib.suppress(SystemExit):
        parse()  # once more, for its message without colours
    raise AIHError(_sentence(said.getvalue()))


_nothing = contextlib.nullcontext


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


def _sentence(message: str) -> str:
    """A message of tyro's on one line, suggestions included: its parts, which rules divide, but for help."""
    lines = [line.strip(_FRAME) for line in message.splitlines()[1:]]  # the first is a title
    lines = [line if line.strip("-") else "" for line in lines]  # rules, where the terminal has no Unicode
    parts = [" ".join(part) for whole, part in itertools.groupby(lines, key=bool) if whole]
    return "; ".join(part for part in parts if not part.startswith(_HELP))


_FRAME = " \u2502\u256d\u256e\u2570\u256f\u2500|+"
_HELP = ("For full helptext", "Argument helptext")
