"""MANO parameters of other people's, under the names they use, as the recorded fits that scenes are posed by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from aih_gen.io.archives import read_npz
from aih_gen.sources.records import ReadReport
from aih_gen.typing import AnyArray, Mask

FIELDS = {
    "pose": (48, ("pose", "poses", "mano_pose", "thetas")),
    "betas": (10, ("betas", "shape", "shapes", "mano_shape")),
    "transl": (3, ("transl", "trans", "translation", "mano_trans")),
}
POSES = "poses.npz"
MAX_NUMBERS = {"pose": 100.0, "betas": 100.0, "transl": 1e4}
"""Radians, standard deviations and metres that no fit reaches: a hand of such a size would need all memory there is."""


def import_poses(path: Path) -> tuple[dict[str, AnyArray], ReadReport]:
    """Pairs of hands out of an npz; both hands of a pair are in one frame of reference.

    Each of pose (N,48) axis-angle in radians, zero = flat hand, betas (N,10) and transl (N,3) m is there either for
    both hands, (N,2,...) with the right one first, or twice, its name beginning with ``right_`` and ``left_``.

    Returns:
        ``pose`` (K,2,48), ``betas`` (K,2,10), ``transl`` (K,2,3) of the K pairs whose numbers a hand can have, and what
        became of the N.

    Raises:
        AIHError: no such npz, or an array is missing or of another shape.
    """
    stored = read_npz(path)
    arrays = {name: _both(path, stored, name, width, known) for name, (width, known) in FIELDS.items()}
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1:
        raise AIHError(f"{path}: expected as many poses as betas and translations, found {sorted(counts)}")
    finite = np.logical_and.reduce([np.isfinite(array).all((1, 2)) for array in arrays.values()])
    whole = np.logical_and.reduce([within_reach(name, array).all(1) for name, array in arrays.items()])
    report = ReadReport("pairs", used=int(whole.sum()))
    for row in np.flatnonzero(~whole).tolist():
        report.add_broken("numbers too large for a hand" if finite[row] else "NaN or infinity", f"pair {row}")
    return {name: array[whole].astype(np.float64) for name, array in arrays.items()}, report


def within_reach(name: str, array: AnyArray) -> Mask:
    """True for those of pose, betas or transl (...,D) whose numbers a hand can have: finite, and none too large."""
    return np.asarray((np.abs(array.astype(np.float64)) <= MAX_NUMBERS[name]).all(-1))  # NaN compares false


def _both(path: Path, stored: dict[str, Any], name: str, width: int, known: tuple[str, ...]) -> AnyArray:
    for spelling in known:
        hands = [stored.get(f"{side}_{spelling}") for side in SIDES]
        if spelling in stored:
            found = stored[spelling]
        elif hands[0] is not None and hands[1] is not None and hands[0].shape == hands[1].shape:
            found = np.stack([hands[0], hands[1]], 1)
        else:
            continue
        if found.ndim == 3 and found.shape[1:] == (2, width) and found.dtype.kind in "fiu":
            return found
        shape = f"{found.dtype} {found.shape}"
        raise AIHError(f"{path}: {spelling}: expected numbers of shape (N, 2, {width}), found {shape}")
    raise AIHError(f"{path}: expected {name} as {', '.join(known)} (or right_..., left_...), found {', '.join(stored)}")
