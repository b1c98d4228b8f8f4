"""Joint orders, names and the maps between them: the only place that knows an order."""

from __future__ import annotations

import numpy as np

from aih_gen.typing import Side, TipConvention

FINGERS = ("thumb", "index", "middle", "ring", "little")

JOINT_NAMES = ("wrist", *(f"{finger}{k}" for finger in FINGERS for k in (1, 2, 3, 4)))
"""The project's 21 joints: wrist, then each finger from base (1) to tip (4)."""

BONES = tuple((0 if k == 1 else 4 * f + k - 1, 4 * f + k) for f in range(5) for k in (1, 2, 3, 4))
"""The 20 bones of those joints as (parent, child)."""

WRIST, INDEX_MCP, MIDDLE_MCP, LITTLE_MCP = 0, 5, 9, 17
"""Of those: the root of every root-relative pose; knuckles, of which the middle finger's ends the reference bone."""

MANO_FINGERS = ("index", "middle", "little", "ring", "thumb")
MANO_JOINT_NAMES = ("wrist", *(f"{finger}{k}" for finger in MANO_FINGERS for k in (1, 2, 3)))
"""The 16 joints of MANO and of the free hand."""

MANO_PARENTS = (-1, *(0 if k == 1 else 3 * f + k - 1 for f in range(5) for k in (1, 2, 3)))
"""Their tree: five chains of three bones that start at the wrist."""

MANO_TIPS: dict[TipConvention, dict[Side, tuple[int, ...]]] = {
    "manopth": {"right": (745, 317, 444, 556, 673), "left": (745, 317, 445, 556, 673)},
    "smplx": {"right": (744, 320, 443, 554, 671), "left": (744, 320, 443, 554, 671)},
}
"""Finger-tip vertices of the 778-vertex mesh (thumb, index, middle, ring, little), by convention and side."""

# Index of each of the 21 joints in the list "16 MANO joints, then the five tips (thumb to little)".
FROM_MANO_AND_TIPS = np.array(
    [16 + FINGERS.index(name[:-1]) if name.endswith("4") else MANO_JOINT_NAMES.index(name) for name in JOINT_NAMES]
)

INTERHAND_JOINT_NAMES = (*(f"{finger}{k}" for finger in FINGERS for k in (4, 3, 2, 1)), "wrist")
"""InterHand2.6M's 21 joints of a hand: each finger from tip to base, the wrist last."""
FROM_INTERHAND = np.array([INTERHAND_JOINT_NAMES.index(name) for name in JOINT_NAMES])

TZIONAS_JOINT_NAMES = (*(f"{finger}{k}" for finger in FINGERS[:0:-1] for k in (1, 2, 3)), "thumb2", "thumb3")
"""The 14 joints of a hand that Tzionas et al. annotate: no wrist, no finger tips, no base of the thumb."""
TO_TZIONAS = np.array([JOINT_NAMES.index(name) for name in TZIONAS_JOINT_NAMES])
"""Index of each of those 14 among the 21 joints."""
