"""Contact of two hands: surfaces touch without passing through each other (``kernels.hands.resolve``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aih_gen.kernels import hands as kernels
from aih_gen.kernels.hands import Rest
from aih_gen.scenes.gestures import FingerSolver
from aih_gen.scenes.skinning import Posed, Skinning
from aih_gen.scenes.vectors import length
from aih_gen.typing import Array, Int64

Contacts = tuple[tuple[Int64, Int64], ...]
"""Vertices of the right and of the left hand that are meant to touch."""

TOLERANCE = kernels.TOLERANCE
"""Depth (m) that is left alone."""
ARM_NEAR = 0.2
"""Metres of forearm that take part."""
_NO_ANGLES, _NOT_RECORDED = np.zeros((0, 5, 4)), np.zeros((0, 3, 3, 3))


@dataclass(frozen=True, eq=False)
class HandState:
    """One hand's shape, pose and place."""

    betas: Array  # (10,)
    root: Array  # (3,3)
    angles: Array  # (5,4) degrees
    arm: Array  # (3,3) forearm relative to the hand
    transl: Array  # (3,) m
    recorded: Array | None = None  # (5,3,3,3) rotations of recorded fingers, which ``angles`` bend further


Hands = tuple[HandState, HandState]


@dataclass(frozen=True)
class ContactQuality:
    """Depth and gap of a pair's surfaces, in metres."""

    depth_before: float
    """Greatest depth when fingers have closed, before the hands are moved apart."""
    depth: float
    """Greatest depth of a point of one hand in the other."""
    gap: float
    """Widest distance between parts that should touch."""


class ContactSolver:
    """Resolves the contact of one pair of hand models."""

    def __init__(self, finger_solver: FingerSolver, arm_near: float = ARM_NEAR) -> None:
        """``arm_near``: metres of forearm that take part; 0 where nothing is known of the arms."""
        self.finger_solver = finger_solver
        right, left = (skinning.only(_near_wrist(skinning, arm_near)) for skinning in finger_solver.skinnings)
        self.models = right.model, left.model

    def resolve_penetration(
        self, hands: Hands, contacts: Contacts, closing: Array | None = None
    ) -> tuple[Hands, ContactQuality]:
        """Move the left hand and both hands' fingers until nothing passes through and intended contacts touch.

        Fingers first close towards the angles ``closing`` (2,5,4) in degrees, if any, as far as the other hand lets
        them. Recorded fingers are bent a little at most; where that does not suffice, the left hand moves away.
        """
        towards = _NO_ANGLES if closing is None else np.ascontiguousarray(closing)
        changed, quality = self._resolve(hands, contacts, towards, kernels.STEPS)
        right, left = (
            replace(before, root=hand.root, angles=hand.angles, transl=hand.transl)
            for before, hand in zip(hands, changed, strict=True)
        )
        return (right, left), quality

    def measure(self, hands: Hands, contacts: Contacts = ()) -> ContactQuality:
        """Depth and gap by all vertices."""
        _, quality = self._resolve(hands, contacts, _NO_ANGLES, 0)
        return replace(quality, depth_before=quality.depth)

    def _resolve(
        self, hands: Hands, contacts: Contacts, towards: Array, steps: int
    ) -> tuple[tuple[kernels.Hand, kernels.Hand], ContactQuality]:
        right, left = (_arrays(hand) for hand in hands)
        fingers = self.finger_solver.fingers
        changed, *quality = kernels.resolve(self.models, fingers, (right, left), _joined(contacts), towards, steps)
        return changed, ContactQuality(*quality)


def _arrays(hand: HandState) -> kernels.Hand:
    recorded = _NOT_RECORDED if hand.recorded is None else hand.recorded
    parts = (hand.betas, hand.root, hand.angles, hand.arm, hand.transl, recorded)
    return kernels.Hand(*(np.ascontiguousarray(part, np.float64) for part in parts))


def _joined(contacts: Contacts) -> kernels.Contacts:
    none = np.zeros(0, np.int64)
    right, left = (np.concatenate([none, *(pair[side] for pair in contacts)]) for side in (0, 1))
    firsts = (np.cumsum([0, *(len(pair[side]) for pair in contacts)]) for side in (0, 1))
    return kernels.Contacts(right, left, *firsts)


def posed(
    finger_solver: FingerSolver, skinnings: Sequence[Skinning], hands: Hands, shaped: Sequence[Rest] | None = None
) -> tuple[Posed, Posed]:
    """Both hands in their state, by some of their vertices; ``shaped`` are these hands at rest, where known."""
    shaped = shaped or [skinning.shape(hand.betas) for skinning, hand in zip(skinnings, hands, strict=True)]
    fingers = finger_solver.joints.matrices(np.array([hand.angles for hand in hands]))
    if hands[0].recorded is not None and hands[1].recorded is not None:
        fingers = fingers @ np.stack([hands[0].recorded, hands[1].recorded])
    right, left = (
        skinnings[k].pose(shaped[k], hand.root, fingers[k], hand.arm, hand.transl) for k, hand in enumerate(hands)
    )
    return right, left


def _near_wrist(skinning: Skinning, distance: float) -> Int64:
    near_wrist = length(skinning.model.template - skinning.model.joints[0]) < distance
    near_wrist[: skinning.num_hand] = True
    return np.flatnonzero(near_wrist)
