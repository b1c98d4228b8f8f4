"""Command lines -> command objects; a mistake there is one sentence, like every other mistake of the user's."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from aih_gen.errors import AIHError


def parse_arguments(commands: Any, prog: str, description: str, arguments: Sequence[str] | None) -> Any:
    """The one of ``commands`` (a union of dataclasses) that the arguments ask for; None takes those of the process.

    Raises:
        AIHError: they ask for none.
        SystemExit: ``--help`` was asked for and printed.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                commands,
                prog=prog,
                description=description,
                args=arguments,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.DisallowNone),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise AIHError(_sentence(said.getvalue())) from None


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


def _sentence(framed: str) -> str:
    """The text between the title and the second rule of tyro's message box, drawn with or without Unicode."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", framed).strip("\n")
    lines = [re.sub(r"[│╭╮╰╯]", " ", line).strip() for line in plain.split("\n")[1:]]
    body = itertools.dropwhile(_is_rule, lines)
    return " ".join(" ".join(itertools.takewhile(lambda line: not _is_rule(line), body)).split())


def _is_rule(line: str) -> bool:
    return set(line) <= set("─-")
