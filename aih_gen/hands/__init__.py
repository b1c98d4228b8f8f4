"""Hand models: parameters in, mesh and joints out."""

from __future__ import annotations

from pathlib import Path

import torch

from aih_gen.config import SIDES
from aih_gen.errors import AssetError
from aih_gen.hands.export import export_free_hand
from aih_gen.hands.free import load_free_hand
from aih_gen.hands.mano import load_mano
from aih_gen.hands.model import HandModel, HandOutput
from aih_gen.typing import Side, TipConvention

__all__ = ["HandModel", "HandOutput", "export_free_hand", "load_hand_model", "load_hand_pair"]


def load_hand_model(
    name: str | Path = "free",
    side: Side = "right",
    *,
    tips: TipConvention = "manopth",
    dtype: torch.dtype = torch.float32,
) -> HandModel:
    """The hand model of one side.

    Args:
        name: ``free`` for the free (CC0) hand, else the path of a MANO file (pickle or npz) or of the folder with them.
        side: ``right`` or ``left``.
        tips: convention for the finger-tip vertices of MANO's mesh. InterHand2.6M's fits are usually read with smplx's.
            A mesh other than MANO's has tips of its own.
        dtype: precision of the model. A MANO file's float64 numbers reach ``torch.float64`` unrounded; a float32
            model that is made float64 later keeps float32's rounding of them.

    Raises:
        AssetError: no such file, not a MANO file, or the other side's hand.
    """
    if side not in ("right", "left"):
        raise ValueError(f"side: expected 'right' or 'left', found {side!r}")
    if tips not in ("manopth", "smplx"):
        raise ValueError(f"tips: expected 'manopth' or 'smplx', found {tips!r}")
    return load_free_hand(side, dtype) if str(name) == "free" else load_mano(Path(name), side, tips, dtype)


def load_hand_pair(name: str | Path = "free", *, tips: TipConvention = "manopth") -> tuple[HandModel, HandModel]:
    """The right and the left hand model of one name, as ``load_hand_model`` takes it.

    Raises:
        AssetError: as ``load_hand_model`` does, or both sides are the same shape.
    """
    right, left = (load_hand_model(name, side, tips=tips) for side in SIDES)
    if torch.equal(right.v_template, left.v_template):
        raise AssetError(f"{name}: expected a right and a left hand's file, found one shape for both sides")
    return right, left
