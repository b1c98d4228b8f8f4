"""Contact of two hands: surfaces touch without passing through each other.

Points of one hand inside the other are moved out along its surface's normal; intended contacts are closed. Both are
constraints, linear in small changes of the left hand's place and of both hands' joint angles, so each step solves one
damped least-squares problem and then clamps the angles to the joints' limits. Steps pose only the vertices that lie
near the other hand; the result is measured on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from aih_gen.hands.anatomy import FINGER_BONES, clamp_to_joint_limits
from aih_gen.scenes.contact_geometry import MAX_DEPTH, Surface, inside, near
from aih_gen.scenes.gestures import FingerSolver
from aih_gen.scenes.skinning import Posed, Shaped, Skinning, bone_transforms
from aih_gen.scenes.vectors import cross, length, rotate, rotvec_to_matrix
from aih_gen.typing import Array, Int64, Mask

Contacts = tuple[tuple[Int64, Int64], ...]
"""Vertices of the right and of the left hand that are meant to touch."""

VICINITY = 0.013
"""Vertices at least this near (m) to the other hand take part in the steps."""
ARM_NEAR = 0.2
"""Metres of forearm that take part."""
TOLERANCE, TOUCHING = 0.0012, 0.002
"""Depth (m) that is left alone, and the distance at which hands that should touch do."""
OVERCORRECTION = 0.0003
"""Metres by which points are moved farther than needed."""
MAX_ROWS = 40
"""Deepest points of a hand that become constraints."""
STEPS = 12
SCALE = np.concatenate([[0.01] * 3, [0.15] * 3, [0.15] * 40])
"""Units of change: metres, radians of the left hand's rotation, radians of the joint angles."""
DAMPING = 1.5
"""Weight of such a unit's square against a square millimetre of depth."""
MAX_STEP = 1.2
"""Units by which an unknown may change in one step."""
PULL = 3.0
"""Weight of an intended contact against that of one point inside."""
MAX_BEND = 25.0
"""Degrees by which the joints of recorded fingers may be bent."""
CLOSING_ROUNDS, CLOSING_STEPS = 4, 4
CLOSING_REACH, CLOSING_STRIDE = 0.025, 3
"""Rounds and steps in which fingers close; how near (m) to the other hand the vertices of a round are, and of how many
one takes part.
"""
CLOSING_PACE = 0.6
"""Units by which an angle may close in one step: a finger tip goes no farther than half a finger is thick."""
SEPARATION, MAX_SEPARATIONS = 0.004, 60
"""Step (m) by which hands that no bending frees are moved apart, and the number of such steps."""


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
    depth: float
    """Greatest depth of a point of one hand in the other."""
    gap: float
    """Widest distance between parts that should touch."""


class Constraints(NamedTuple):
    """N pairs of vertices whose distance along a direction has to change."""

    right: Int64  # (N,)
    left: Int64  # (N,)
    direction: Array  # (N,3) unit, in which the right vertex moves away from the left one
    distance: Array  # (N,) m
    weight: Array  # (N,)


class ContactSolver:
    """Resolves the contact of one pair of hand models."""

    def __init__(self, finger_solver: FingerSolver, arm_near: float = ARM_NEAR) -> None:
        """``arm_near``: metres of forearm that take part; 0 where nothing is known of the arms."""
        self.finger_solver = finger_solver
        self.skinnings = tuple(skinning.only(_near_wrist(skinning, arm_near)) for skinning in finger_solver.skinnings)

    def resolve_penetration(self, hands: Hands, contacts: Contacts) -> tuple[Hands, ContactQuality]:
        """Move the left hand and both hands' fingers until nothing passes through and intended contacts touch.

        Recorded fingers are bent by ``MAX_BEND`` degrees at most; where that does not suffice, the left hand moves
        away.
        """
        steps = ContactSteps(self.finger_solver, self.skinnings, hands, contacts)
        best, badness = hands, np.inf
        for step in range(STEPS + 1):
            both = steps.pose(hands)
            constraints, depth, gap = steps.constraints(both)
            if step == 0:
                first = depth
            if _badness(depth, gap) < badness:
                best, badness = hands, _badness(depth, gap)
            if step == STEPS or (depth <= TOLERANCE and gap <= TOUCHING):
                break
            hands = steps.step(hands, both, constraints)
        quality = self.measure(best, contacts)
        if best[0].recorded is not None:
            best, quality = self._separate(best, quality)
        return best, replace(quality, depth_before=first)

    def close_fingers(self, hands: Hands, contacts: Contacts, towards: Array) -> Hands:
        """Close the fingers towards the angles ``towards`` (2,5,4) degrees as far as the other hand lets them, after a
        first round without; `resolve_penetration` has the last word.
        """  # fmt: skip
        for k in range(CLOSING_ROUNDS):
            steps = ContactSteps(self.finger_solver, self.skinnings, hands, contacts, CLOSING_REACH, CLOSING_STRIDE)
            for _ in range(CLOSING_STEPS):
                both = steps.pose(hands)
                hands = steps.step(hands, both, steps.constraints(both)[0], towards if k else None)
        return hands

    def measure(self, hands: Hands, contacts: Contacts = ()) -> ContactQuality:
        """Depth and gap by all vertices."""
        every = ContactSteps(self.finger_solver, self.skinnings, hands, contacts, MAX_DEPTH)
        _, depth, gap = every.constraints(every.pose(hands))
        return ContactQuality(depth, depth, gap)

    def _separate(self, hands: Hands, quality: ContactQuality) -> tuple[Hands, ContactQuality]:
        """The left hand moved away from the right one until neither is inside the other."""
        right, left = (hand.transl for hand in hands)
        away = left - right
        away = away / max(float(np.linalg.norm(away)), 1e-9)
        for _ in range(MAX_SEPARATIONS):
            if quality.depth <= TOLERANCE:
                break
            hands = hands[0], replace(hands[1], transl=hands[1].transl + SEPARATION * away)
            quality = self.measure(hands)
        return hands, quality


class ContactSteps:
    """Steps of one pair, by the vertices of each hand that are near the other one's."""

    def __init__(
        self,
        finger_solver: FingerSolver,
        skinnings: Sequence[Skinning],
        hands: Hands,
        contacts: Contacts,
        distance: float = VICINITY,
        stride: int = 1,
    ) -> None:
        self.finger_solver, self.skinnings = finger_solver, list(skinnings)
        points = [hand.vertices for hand in posed(finger_solver, self.skinnings, hands)]
        for side in (0, 1):
            close = np.flatnonzero(near(points[side], points[1 - side], distance))[::stride]
            rows = np.unique(np.concatenate([close, skinnings[side].tips, *(pair[side] for pair in contacts)]))
            self.skinnings[side] = skinnings[side].only(rows)
            contacts = tuple(_renumbered(pair, rows, side) for pair in contacts)
        self.contacts = contacts
        self.shaped = [skinning.shape(hand.betas) for skinning, hand in zip(self.skinnings, hands, strict=True)]
        self.rest = self.finger_solver.at_rest(self.shaped)

    def pose(self, hands: Hands) -> tuple[Posed, Posed]:
        """Both hands, by the vertices near the other one."""
        return posed(self.finger_solver, self.skinnings, hands, self.shaped)

    def constraints(self, pair: tuple[Posed, Posed]) -> tuple[list[Constraints], float, float]:
        """Constraints of a pair, the greatest depth and the widest gap, in metres."""
        surfaces = [Surface(pair[k].vertices, self.skinnings[k].normals(pair[k])) for k in (0, 1)]
        constraints, deepest, widest = [], 0.0, 0.0
        for side in (0, 1):
            points, nearest, depth = inside(surfaces[side].points, surfaces[1 - side])
            if len(points):
                deepest = max(deepest, float(depth.max()))
                order = np.argsort(-depth, kind="stable")[:MAX_ROWS]
                points, nearest = points[order], nearest[order]
                outward = surfaces[1 - side].normals[nearest] * (1 if side == 0 else -1)
                right, left = (points, nearest) if side == 0 else (nearest, points)
                ones = np.ones(len(order))
                constraints.append(Constraints(right, left, outward, depth[order] + OVERCORRECTION, ones))
        for right, left in self.contacts:
            a, b = pair[0].vertices[right], pair[1].vertices[left]
            squared = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
            i, j = divmod(int(squared.argmin()), len(left))
            apart = b[j] - a[i]
            gap = max(float(np.sqrt(apart @ apart)), 1e-9)
            widest = max(widest, gap)
            if gap > TOUCHING / 2:
                distance, weight = np.array([gap]), np.array([PULL])
                constraints.append(Constraints(right[i : i + 1], left[j : j + 1], apart[None] / gap, distance, weight))
        return constraints, deepest, widest

    def step(
        self, hands: Hands, pair: tuple[Posed, Posed], constraints: list[Constraints], towards: Array | None = None
    ) -> Hands:
        """Hands after one step towards the constraints, and towards these angles (2,5,4) in degrees if given."""
        angles = np.stack([hand.angles for hand in hands])
        way = None if towards is None else np.radians(towards - angles).ravel()
        change = _least_squares(*self._jacobian(hands, pair, constraints), way)
        rotation = rotvec_to_matrix(change[3:6])
        angles = angles + np.degrees(change[6:]).reshape(2, 5, 4)
        if hands[0].recorded is None:
            angles, _ = self.finger_solver.resolve_self_collision(clamp_to_joint_limits(angles), self.rest)
        else:
            angles = np.clip(angles, -MAX_BEND, MAX_BEND)
        pivot, wrist = _pivot(pair[1]), pair[1].joints[0]
        moved = pivot + rotation @ (wrist - pivot) + change[:3]
        root, transl = rotation @ hands[1].root, hands[1].transl + moved - wrist
        return replace(hands[0], angles=angles[0]), replace(hands[1], root=root, angles=angles[1], transl=transl)

    def _jacobian(self, hands: Hands, pair: tuple[Posed, Posed], constraints: list[Constraints]) -> tuple[Array, Array]:
        """Derivatives (N,46) of the constrained distances by the unknowns, and the distances (N,); both weighted."""
        if not constraints:
            return np.zeros((0, len(SCALE))), np.zeros(0)
        right, left, direction, distance, weight = (np.concatenate(part) for part in zip(*constraints, strict=True))
        rows = np.empty((len(distance), len(SCALE)))
        rows[:, :3] = -direction
        rows[:, 3:6] = -cross(pair[1].vertices[left] - _pivot(pair[1]), direction)
        rows[:, 6:26] = self._by_angles(hands, pair, 0, right, direction)
        rows[:, 26:] = -self._by_angles(hands, pair, 1, left, direction)
        return rows * weight[:, None], distance * weight

    def _by_angles(
        self, hands: Hands, pair: tuple[Posed, Posed], side: int, vertices: Int64, direction: Array
    ) -> Array:
        """(N,20) speed of ``vertices`` (N,) along ``direction`` (N,3) as each joint angle grows, m/rad."""
        frames = pair[side].rotations[FINGER_BONES]
        recorded = hands[side].recorded
        if recorded is not None:
            frames = frames @ recorded.transpose(0, 1, 3, 2)
        frames = frames[:, [0, 0, 1, 2]]
        frames[:, 0] = pair[side].rotations[0]
        axes = rotate(self.finger_solver.joints.axes[side], frames).reshape(20, 3)
        centres = pair[side].joints[FINGER_BONES[:, [0, 0, 1, 2]]].reshape(20, 3)
        # axis . ((point - centre) x direction), split into what depends on the point and on the joint.
        moments = cross(pair[side].vertices[vertices], direction)
        speed = moments @ axes.T + direction @ cross(centres, axes).T
        return speed * _MOVED_BY[self.skinnings[side].dominant_bone[vertices]]


def finger_rotations(finger_solver: FingerSolver, hands: Hands) -> Array:
    """(2,5,3,3,3) rotations of both hands' fingers."""
    fingers = finger_solver.joints.matrices(np.array([hand.angles for hand in hands]))
    if hands[0].recorded is not None and hands[1].recorded is not None:
        fingers = fingers @ np.stack([hands[0].recorded, hands[1].recorded])
    return fingers


def posed(
    finger_solver: FingerSolver, skinnings: Sequence[Skinning], hands: Hands, shaped: Sequence[Shaped] | None = None
) -> tuple[Posed, Posed]:
    """Both hands in their state, by some of their vertices; ``shaped`` are these hands at rest, where known."""
    shaped = shaped or [skinning.shape(hand.betas) for skinning, hand in zip(skinnings, hands, strict=True)]
    roots, arms, transl = (np.array([getattr(hand, part) for hand in hands]) for part in ("root", "arm", "transl"))
    frames = bone_transforms(
        np.array([hand.joints for hand in shaped]), roots, finger_rotations(finger_solver, hands), arms, transl
    )
    right, left = (skinnings[k](shaped[k], frames[k]) for k in (0, 1))
    return right, left


def _renumbered(pair: tuple[Int64, Int64], rows: Int64, side: int) -> tuple[Int64, Int64]:
    places = np.searchsorted(rows, pair[side])
    return (places, pair[1]) if side == 0 else (pair[0], places)


def _moved_by() -> Mask:
    """(16,20) True where a joint angle moves a bone."""
    moves = np.zeros((16, 5, 4), bool)
    for finger, chain in enumerate(FINGER_BONES):
        for level, bone in enumerate(chain):
            moves[bone, finger, : level + 2] = True
    return moves.reshape(16, 20)


_MOVED_BY = _moved_by()


def _badness(depth: float, gap: float) -> float:
    return max(depth - TOLERANCE, 0) + 0.3 * max(gap - TOUCHING, 0)


def _pivot(posed: Posed) -> Array:
    """The middle of the palm."""
    return posed.joints[[0, 1, 4, 7]].mean(0)


def _least_squares(rows: Array, distances: Array, way: Array | None) -> Array:
    """(46,) the change that comes nearest to the ``distances`` while staying small, or while the angles go their
    ``way`` (40,) in radians.
    """  # fmt: skip
    scaled = 1000 * rows * SCALE
    normal = scaled.T @ scaled
    normal.flat[:: len(SCALE) + 1] += DAMPING
    sought = scaled.T @ (1000 * distances)
    if way is not None:
        sought[6:] += DAMPING * np.clip(way / SCALE[6:], -CLOSING_PACE, CLOSING_PACE)
    units = np.linalg.solve(normal, sought)
    return SCALE * units * min(1.0, MAX_STEP / max(np.abs(units).max(), 1e-9))


def _near_wrist(skinning: Skinning, distance: float) -> Int64:
    near_wrist = length((skinning.template - skinning.joint_template[0][:, None]).T) < distance
    near_wrist[: skinning.num_hand] = True
    return np.flatnonzero(near_wrist)
