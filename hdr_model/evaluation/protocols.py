"""Protocols of the field: root and scale by which a predicted hand is aligned with the true one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aih_gen.config import SIDES
from aih_gen.hands.joints import JOINT_NAMES, MIDDLE_MCP, WRIST
from aih_gen.typing import Array
from hdr_model.evaluation.metrics import joint_errors

Scale = Literal["average", "bone", "truth"]


@dataclass(frozen=True)
class Protocol:
    """The joint at which a predicted hand is aligned with the true one, and its scale."""

    name: str
    root: int
    scale: Scale
    """``average``: bone units times an average adult's bone, nothing of the truth; ``bone``: made as long from wrist
    to middle MCP as the true hand; ``truth``: bone units times that true length."""


P1 = Protocol("P1 InterNet: wrist, unscaled", WRIST, "average")
P2 = Protocol("P2 IntagHand: middle MCP, scaled", MIDDLE_MCP, "bone")
P2_UNSCALED = Protocol("P2 without scale: middle MCP, unscaled", MIDDLE_MCP, "average")
P3 = Protocol("P3 DIR: wrist, scaled", WRIST, "bone")
HDR_OWN = Protocol("HDR: wrist, true bone length", WRIST, "truth")
PROTOCOLS = (P1, P2_UNSCALED, P2, P3, HDR_OWN)


def protocol_errors(predicted: Array, true: Array, protocol: Protocol, bone_length: float) -> Array:
    """Distances (N,21) in mm between joints (N,21,3) in bone units and true ones in m; NaN where the truth is unknown.

    A protocol that needs a joint which is unknown (its root, or an end of the bone) leaves all of that hand out.
    """
    lengths: dict[Scale, Array] = {
        "average": np.full(len(true), bone_length),
        "bone": bone_lengths(true) / np.maximum(bone_lengths(predicted), 1e-9),
        "truth": bone_lengths(true),
    }
    metric = predicted * lengths[protocol.scale][:, None, None]
    rooted = (joints - joints[:, protocol.root : protocol.root + 1] for joints in (metric, true))
    return joint_errors(*(1000.0 * joints for joints in rooted))


def by_side(errors: Array, hand: Sequence[int]) -> Array:
    """Errors (N,21) of right (0) and left (1) hands as (N,42): left joints after right ones, NaN for the other hand."""
    slots = np.full((len(errors), len(SIDES), len(JOINT_NAMES)), np.nan)
    slots[np.arange(len(errors)), np.asarray(hand, np.int64)] = errors
    return slots.reshape(len(errors), -1)


def bone_lengths(joints: Array) -> Array:
    """Metres, or bone units, (N,) from wrist to middle MCP of joints (N,21,3)."""
    return np.asarray(np.linalg.norm(joints[:, MIDDLE_MCP] - joints[:, WRIST], axis=-1))
