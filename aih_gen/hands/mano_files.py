"""MANO files by side: found under any name that says ``right`` or ``left``, and checked to be of the side they are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from aih_gen.errors import AssetError
from aih_gen.typing import Array, Side

FILE_NAMES = {"right": "MANO_RIGHT", "left": "MANO_LEFT"}
SUFFIXES = (".pkl", ".npz")
MIN_REACH = 0.05
"""Metres along x from the wrist to the middle of the fingers from which the side of a hand at rest is certain."""

_SIDE = re.compile("right|left", re.IGNORECASE)
_SPELLINGS = (str.lower, str.upper, str.capitalize)


def find_mano(path: Path, side: Side) -> Path:
    """The file of one side, from either side's file or the folder of both; letters may be of any case.

    A file whose name says neither side is taken for the wanted one; a link with such a name counts as its target.

    Raises:
        AssetError: there is none.
    """
    if path.is_file():
        named = path.resolve() if path.is_symlink() and not named_side(path) else path
        brother = named.with_name(_SIDE.sub(lambda word: _spelt_alike(word[0], side), named.stem) + named.suffix)
        found = _in_any_case(brother) if named_side(named) else named
        if found is None:
            raise AssetError(f"{path}: expected the {side} hand's file {brother.name} beside it, found none")
        return found
    for suffix in SUFFIXES:
        if (found := _in_any_case(path / (FILE_NAMES[side] + suffix))) is not None:
            return found
    raise AssetError(f"{path}: expected 'free', a MANO file or a folder with {FILE_NAMES[side]}.pkl, found neither")


def named_side(path: Path) -> Side | None:
    """The side that a file's name says; None where it says none or both."""
    said = {word.lower() for word in _SIDE.findall(path.stem)}
    return None if len(said) != 1 else "right" if said == {"right"} else "left"


def check_side(path: Path, side: Side, joints: Array) -> None:
    """Refuse the joints (16,3) at rest, in metres, of the other side's hand: a right one's fingers point along -x.

    Raises:
        AssetError: it is the other side's.
    """
    reach = float(np.mean(joints[1:13, 0] - joints[0, 0])) * (1 if side == "right" else -1)
    if reach > MIN_REACH:
        raise AssetError(f"{path}: expected a {side} hand, found a {'left' if side == 'right' else 'right'} one")


def _spelt_alike(word: str, side: Side) -> str:
    return next((spell(side) for spell in _SPELLINGS if spell(word) == word), side)


def _in_any_case(path: Path) -> Path | None:
    if path.is_file():
        return path
    found = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    return next((file for file in found if file.name.lower() == path.name.lower() and file.is_file()), None)
