"""Hand models fitted to joints in 2D and 3D: pose within joint limits, shape, and place before the camera.

Levenberg-Marquardt (Marquardt 1963) over 36 unknowns a hand, all hands of a batch at once, on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aih_gen.hands.anatomy import GESTURES, MCP, PIP, clamp_to_joint_limits
from aih_gen.hands.joints import FINGERS, JOINT_NAMES, WRIST
from aih_gen.hands.model import rotation_matrices
from hdr_model.fitting.kinematics import ANGLES, BETAS, NUM_UNKNOWNS, PLACE, ROOT, HandParameters, Kinematics
from hdr_model.geometry import place_on_rays

STEPS, FIRST_DAMPING = 10, 1e-3
NEAREST, LIKELY, FARTHEST = 0.05, 0.5, 1000.0
"""Depths (m) before the camera: the least of a joint, that of a hand of which nothing is known, and the greatest."""
MIN_CONFIDENCE = 0.05
"""No joint counts for less: shapes and limits alone would decide where it is."""
_RELAXED = torch.from_numpy(np.radians(GESTURES["relaxed"].angles()))
_PALM = [WRIST, *(JOINT_NAMES.index(f"{finger}1") for finger in FINGERS)]


@dataclass(frozen=True)
class Tolerances:
    """Standard deviations of what the fit weighs against each other."""

    joints_3d: float = 0.012
    """Metres, of a joint relative to the wrist."""
    joints_2d: float = 0.006
    """Metres, of a joint's pixel at the hand's depth."""
    limits: float = np.radians(2.0)
    """Radians beyond the joint limits."""
    angles: float = np.radians(60.0)
    """Radians, of a joint angle from the relaxed hand's."""
    betas: float = 1.0


class Observations(NamedTuple):
    """N hands to fit to, float64."""

    side: Tensor  # (N,) 0 right, 1 left
    joints_2d: Tensor  # (N,21,2) px
    joints_3d: Tensor  # (N,21,3) m relative to the wrist, in the camera's axes
    confidence: Tensor  # (N,21) 0 to 1; a joint counts by its share of its hand's mean
    camera: Tensor  # (N,3,3) px


class _Terms(NamedTuple):
    """The sum of squares around some parameters."""

    cost: Tensor  # (N,) half the sum
    gradient: Tensor  # (N,36)
    normal: Tensor  # (N,36,36) products of the derivatives


def fit_hands(kinematics: Kinematics, seen: Observations, tolerances: Tolerances = Tolerances()) -> HandParameters:
    """The hands within the joint limits that explain best what is seen.

    Squared deviations from the joints, in space and in the image, from a relaxed pose and from the mean shape, each in
    its standard deviation, are least. Size is part of the shape.
    """
    confidence = seen.confidence.clamp_min(MIN_CONFIDENCE)
    seen = seen._replace(confidence=confidence / confidence.mean(1, keepdim=True))
    hands = starting_hands(kinematics, seen)
    depth = kinematics(seen.side, hands)[0][:, WRIST, 2]
    damping = torch.full_like(depth, FIRST_DAMPING)
    terms = _terms(kinematics, seen, hands, depth, tolerances)
    for _ in range(STEPS):
        normal = terms.normal + torch.diag_embed(damping[:, None] * terms.normal.diagonal(dim1=1, dim2=2))
        tried = _moved(hands, -torch.linalg.solve_ex(normal, terms.gradient)[0])
        new = _terms(kinematics, seen, tried, depth, tolerances)
        better = new.cost < terms.cost
        damping = torch.where(better, damping / 5, damping * 5).clamp(1e-7, 1e7)
        hands = HandParameters(*(_where(better, *pair) for pair in zip(tried, hands, strict=True)))
        terms = _Terms(*(_where(better, *pair) for pair in zip(new, terms, strict=True)))
    return hands._replace(angles=_within_limits(hands.angles))


def starting_hands(kinematics: Kinematics, seen: Observations) -> HandParameters:
    """Mean hands, with the palm turned, the fingers bent and the wrist placed as seen."""
    count = len(seen.side)
    angles = _RELAXED.repeat(count, 1, 1)
    nothing = seen.joints_3d.new_zeros(count, 10)
    flat = HandParameters(torch.eye(3, dtype=angles.dtype).repeat(count, 1, 1), 0 * angles, nothing, nothing[:, :3])
    joints, _ = kinematics(seen.side, flat)
    wrist = joints[:, :1]
    root = _best_rotation((joints - wrist)[:, _PALM], seen.joints_3d[:, _PALM])
    at_rest, bent = _bones(joints), _bones(seen.joints_3d @ root)
    inner, outer = bent[:, :, :2], bent[:, :, 1:]
    angles[:, :, PIP:] = torch.linalg.cross(inner, outer).norm(dim=-1).atan2((inner * outer).sum(-1))
    knuckle, proximal = at_rest[:, 1:, 0], bent[:, 1:, 0]
    turn = (torch.linalg.cross(knuckle, proximal) * kinematics.axes[seen.side][:, 1:, MCP]).sum(-1)
    angles[:, 1:, MCP] = turn.atan2((knuckle * proximal).sum(-1))
    return HandParameters(root, _within_limits(angles), nothing, _starting_places(seen) - wrist[:, 0])


def _starting_places(seen: Observations) -> Tensor:
    """(N,3) m of the wrists; where 2D and 3D contradict each other, on the wrist's ray at a depth that is one."""
    place = place_on_rays(seen.joints_2d, seen.joints_3d, seen.camera)
    depth = place[:, 2:].nan_to_num(LIKELY, FARTHEST, LIKELY).clamp(2 * NEAREST, FARTHEST)
    slope = (seen.joints_2d[:, WRIST] - seen.camera[:, :2, 2]) / seen.camera[:, [0, 1], [0, 1]]
    return torch.where(place[:, 2:] == depth, place, torch.cat([slope * depth, depth], 1))


def _terms(
    kinematics: Kinematics, seen: Observations, hands: HandParameters, depth: Tensor, sigma: Tolerances
) -> _Terms:
    """All that the fit weighs. ``depth`` (N,) m: there a pixel is taken to metres."""
    joints, moves = kinematics(seen.side, hands)
    confidence = seen.confidence[..., None]
    space = confidence / sigma.joints_3d * (joints - joints[:, :1] - seen.joints_3d)
    by_space = (confidence / sigma.joints_3d)[..., None] * (moves - moves[:, :1])

    z = joints[..., 2:].clamp_min(NEAREST)
    slope = joints[..., :2] / z
    scale = confidence * depth[:, None, None] / sigma.joints_2d
    pixels = (seen.joints_2d - seen.camera[:, None, :2, 2]) / seen.camera[:, None, [0, 1], [0, 1]]
    image = scale * (slope - pixels)
    by_image = (scale / z)[..., None] * (moves[..., :2, :] - slope[..., None] * moves[..., 2:, :])

    cost, gradient = depth.new_zeros(len(depth)), depth.new_zeros(len(depth), NUM_UNKNOWNS)
    normal = depth.new_zeros(len(depth), NUM_UNKNOWNS, NUM_UNKNOWNS)
    for residual, derivative in ((space, by_space), (image, by_image)):
        flat, by_unknown = residual.flatten(1), derivative.flatten(1, 2)
        cost += (flat**2).sum(1) / 2
        gradient += (by_unknown.mT @ flat[..., None])[..., 0]
        normal += by_unknown.mT @ by_unknown
    angles = hands.angles.flatten(1)
    beyond = angles - _within_limits(hands.angles).flatten(1)
    everywhere = torch.ones_like(angles)
    for unknown, residual, width, counts in (
        (ANGLES, beyond, sigma.limits, beyond != 0),
        (ANGLES, angles - _RELAXED.flatten(), sigma.angles, everywhere),
        (BETAS, hands.betas, sigma.betas, everywhere[:, :10]),
    ):
        cost += (residual**2).sum(1) / (2 * width**2)
        gradient[:, unknown] += residual / width**2
        normal.diagonal(dim1=1, dim2=2)[:, unknown] += counts / width**2
    return _Terms(cost, gradient, normal)


def _moved(hands: HandParameters, step: Tensor) -> HandParameters:
    """Hands after a ``step`` (N,36) of the unknowns; the wrist stays where only the hand turns."""
    return HandParameters(
        rotation_matrices(step[:, ROOT]) @ hands.root,
        hands.angles + step[:, ANGLES].unflatten(1, (5, 4)),
        hands.betas + step[:, BETAS],
        hands.transl + step[:, PLACE],
    )


def _bones(joints: Tensor) -> Tensor:
    """(N,5,3,3) from one joint to the next, for the outer three of each finger of joints (N,21,3)."""
    fingers = joints[:, 1:].unflatten(1, (5, 4))
    return fingers[:, :, 1:] - fingers[:, :, :-1]


def _within_limits(angles: Tensor) -> Tensor:
    return torch.from_numpy(np.radians(clamp_to_joint_limits(np.degrees(angles.numpy()))))


def _where(chosen: Tensor, these: Tensor, others: Tensor) -> Tensor:
    return torch.where(chosen.reshape(-1, *[1] * (these.ndim - 1)), these, others)


def _best_rotation(source: Tensor, target: Tensor) -> Tensor:
    """(N,3,3) rotations about the origin that bring points (N,P,3) nearest to others (Kabsch 1976)."""
    u, _, vt = torch.linalg.svd(source.mT @ target)
    sign = torch.linalg.det(u @ vt).sign()
    turned = torch.cat([u[..., :2], u[..., 2:] * sign[:, None, None]], -1)
    return (turned @ vt).mT
