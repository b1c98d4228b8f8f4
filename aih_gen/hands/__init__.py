"""Hand models: parameters in, mesh and joints out."""

from __future__ import annotations

from pathlib import Path

from aih_gen.config import Side
from aih_gen.hands.free import load_free_hand
from aih_gen.hands.mano import load_mano
from aih_gen.hands.model import HandModel, HandOutput

__all__ = ["HandModel", "HandOutput", "load_hand_model"]


def load_hand_model(name: str | Path = "free", side: Side = "right") -> HandModel:
    """The hand model of one side.

    Args:
        name: ``free`` for the free (CC0) hand, else the path of a MANO file (pickle or npz) or of the folder with them.
        side: ``right`` or ``left``.

    Raises:
        AssetError: no such file, or not a MANO file.
    """
    if side not in ("right", "left"):
        raise ValueError(f"side: expected 'right' or 'left', found {side!r}")
    return load_free_hand(side) if str(name) == "free" else load_mano(Path(name), side)
