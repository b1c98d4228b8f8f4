"""Hands that touch but do not pass through each other.

Points of one hand that lie inside the other ask to be moved out along its surface's normal; intended contacts ask to be
closed. Both are linear in small changes of the left hand's place and of both hands' joint angles, so each step solves
one damped least-squares problem and then puts the angles back within what a hand can hold. Steps pose only the vertices
that lie near the other hand; what comes out is measured on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from aih_gen.hands.anatomy import FINGER_BONES, held
from aih_gen.scenes.gestures import FingerRoom
from aih_gen.scenes.skinning import Posed, Shaped, Skinning, framed
from aih_gen.scenes.vectors import cross, length, turned, turns_about, unit
from aih_gen.typing import Array, Int64, Mask

Contacts = tuple[tuple[Int64, Int64], ...]
"""Vertices of the right and of the left hand that are meant to touch."""

REACH = 0.012
"""A point farther than this (m) from a surface is taken to be outside it: half a hand's thickness."""
VICINITY = 0.013
"""Vertices at least this near (m) to the other hand take part in the steps."""
CELL = 0.011
"""Side (m) of the cells in which hands that approach each other are compared."""
ARM_NEAR = 0.2
"""Metres of forearm that take part."""
TOLERANCE, TOUCHING = 0.0012, 0.002
"""Depth (m) that is left alone, and the distance at which hands that should touch do."""
OVERDO = 0.0003
"""Metres by which more is asked than is needed."""
MOST_ROWS = 40
"""Deepest points that are asked to move, a hand."""
STEPS = 12
SCALE = np.concatenate([[0.01] * 3, [0.15] * 3, [0.15] * 40])
"""What counts as one unit of change: metres, radians of the left hand's turn, radians of the joint angles."""
DAMPING = 1.5
"""Weight of such a unit's square against a square millimetre of depth."""
LARGEST = 1.2
"""Units that anything may change by in one step."""
PULL = 3.0
"""Weight of an intended contact against that of one point inside."""
YIELD = 25.0
"""Degrees by which the joints of recorded fingers may be bent otherwise."""
CLOSING_ROUNDS, CLOSING_STEPS = 4, 4
CLOSING_REACH, CLOSING_STRIDE = 0.025, 3
"""Rounds and steps in which fingers close; how near (m) to the other hand the vertices of a round are, and of how many
one takes part.
"""
CLOSING_PACE = 0.6
"""Units by which an angle may close in one step: a finger tip goes no farther than half a finger is thick."""
APART, MOST_APART = 0.004, 60
"""Metres of a step by which hands that no bending frees are moved apart, and how many such steps there may be."""


@dataclass(frozen=True, eq=False)
class HeldHand:
    """One hand as a person holds it."""

    betas: Array  # (10,)
    root: Array  # (3,3)
    angles: Array  # (5,4) degrees
    arm: Array  # (3,3) forearm relative to the hand
    transl: Array  # (3,) m
    recorded: Array | None = None  # (5,3,3,3) rotations of recorded fingers; ``angles`` bend them otherwise


Hands = tuple[HeldHand, HeldHand]


@dataclass(frozen=True)
class Fit:
    """How a pair's surfaces lie to each other, in metres."""

    depth_before: float
    depth: float
    """Greatest depth of a point of one hand in the other."""
    gap: float
    """Widest distance between parts that should touch."""


class Asks(NamedTuple):
    """N pairs of vertices whose distance along a direction should change."""

    right: Int64  # (N,)
    left: Int64  # (N,)
    direction: Array  # (N,3) unit, that in which the right vertex should move from the left one
    wanted: Array  # (N,) m
    weight: Array  # (N,)


class Surface(NamedTuple):
    """Points of a closed surface with outward unit normals."""

    points: Array  # (P,3) m
    normals: Array  # (P,3)


def inside(points: Array, other: Surface) -> tuple[Int64, Int64, Array]:
    """Which of ``points`` (P,3) lie inside ``other``, the surface point nearest to each, and their depths in metres.

    The depth is the distance along the nearest surface point's normal, exact for flat and nearly so for round surfaces.
    """
    if not len(points) or not len(other.points):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    nearest = nearest_points(points, other.points)
    offset = points - other.points[nearest]
    depth = -np.einsum("ij,ij->i", offset, other.normals[nearest])
    deep = np.flatnonzero((depth > 0) & (np.einsum("ij,ij->i", offset, offset) < REACH**2))
    return deep, nearest[deep], depth[deep]


def nearest_points(points: Array, others: Array) -> Int64:
    """(P,) which of ``others`` (Q,3) is nearest to each of ``points`` (P,3).

    All distances in one product: for the few hundred points of two hands that face each other, up to twice as fast as
    search trees, which would have to be built anew at every step; for a thousand no slower.
    """
    middle = others.mean(0)  # what is near zero keeps its last digits in single precision
    homes = (others - middle).astype(np.float32)
    mine = (points - middle).astype(np.float32)
    # The square of a distance but for what all candidates of a point share.
    ways = np.concatenate([-2 * homes.T, (homes * homes).sum(1)[None]])
    squares = np.concatenate([mine, np.ones((len(mine), 1), np.float32)], 1) @ ways
    return np.asarray(squares.argmin(1))


def near(points: Array, others: Array, distance: float) -> Mask:
    """(P,) which of ``points`` (P,3) lie in a cube of side ``distance`` (m) that holds one of ``others`` (Q,3), or in a
    neighbour of one: at least all that are nearer than ``distance``.
    """  # fmt: skip
    low = others.min(0) - 2 * distance
    cells = ((others - low) / distance).astype(np.int64)
    grid = np.zeros(cells.max(0) + 3, bool)
    grid[tuple(cells.T)] = True
    for axis in range(3):
        grid = grid | np.roll(grid, 1, axis) | np.roll(grid, -1, axis)
    mine = ((points - low) / distance).astype(np.int64)
    found = ((mine >= 0) & (mine < grid.shape)).all(1)
    found[found] = grid[tuple(mine[found].T)]
    return found


def way_to_touch(resting: Array, moving: Array, direction: Array) -> float:
    """How far (m) ``moving`` (P,3) goes along ``direction`` (3,) until it just lies on ``resting`` (Q,3).

    Negative where it is not there yet, zero where they never meet along that line.
    """
    square = np.zeros(3)
    square[np.abs(direction).argmin()] = 1
    square = unit(cross(direction, square))
    points = np.concatenate([resting, moving]) @ np.array([direction, square, cross(direction, square)]).T
    cells = ((points - points.min(0))[:, 1:] / CELL).astype(np.int64)
    wide, tall = cells.max(0) + 1
    column, height = cells[:, 0] * tall + cells[:, 1], points[:, 0]
    top, bottom = np.full(wide * tall, -np.inf), np.full(wide * tall, np.inf)
    np.maximum.at(top, column[: len(resting)], height[: len(resting)])
    np.minimum.at(bottom, column[len(resting) :], height[len(resting) :])
    way = (top - bottom).max()
    return float(way) if np.isfinite(way) else 0.0


class ContactSolver:
    """Frees the hands of one pair of models from each other."""

    def __init__(self, room: FingerRoom) -> None:
        self.room = room
        self.skinnings = tuple(one.only(_near_wrist(one)) for one in room.skinnings)

    def free(self, hands: Hands, contacts: Contacts) -> tuple[Hands, Fit]:
        """Move the left hand and both hands' fingers until nothing passes through and what should touch does.

        Recorded fingers are bent by ``YIELD`` degrees at most; where that does not suffice, the left hand moves away.
        """
        steps = Steps(self.room, self.skinnings, hands, contacts)
        best, badness = hands, np.inf
        for step in range(STEPS + 1):
            both = steps.posed(hands)
            asks, depth, gap = steps.asked(both)
            if step == 0:
                first = depth
            if _badness(depth, gap) < badness:
                best, badness = hands, _badness(depth, gap)
            if step == STEPS or (depth <= TOLERANCE and gap <= TOUCHING):
                break
            hands = steps.changed(hands, both, asks)
        fit = self.measured(best, contacts)
        if best[0].recorded is not None:
            best, fit = self._apart(best, fit)
        return best, replace(fit, depth_before=first)

    def closed(self, hands: Hands, contacts: Contacts, towards: Array) -> Hands:
        """Hands that are freed from each other a little, whose fingers are then drawn towards the angles ``towards``
        (2,5,4) degrees, as far as the other hand lets them; ``free`` has the last word.
        """
        for k in range(CLOSING_ROUNDS):
            steps = Steps(self.room, self.skinnings, hands, contacts, CLOSING_REACH, CLOSING_STRIDE)
            for _ in range(CLOSING_STEPS):
                both = steps.posed(hands)
                hands = steps.changed(hands, both, steps.asked(both)[0], towards if k else None)
        return hands

    def measured(self, hands: Hands, contacts: Contacts = ()) -> Fit:
        """How the surfaces lie to each other, by all vertices."""
        every = Steps(self.room, self.skinnings, hands, contacts, REACH)
        _, depth, gap = every.asked(every.posed(hands))
        return Fit(depth, depth, gap)

    def _apart(self, hands: Hands, fit: Fit) -> tuple[Hands, Fit]:
        """The left hand moved away from the right one until neither is inside the other."""
        right, left = (one.transl for one in hands)
        away = left - right
        away = away / max(float(np.linalg.norm(away)), 1e-9)
        for _ in range(MOST_APART):
            if fit.depth <= TOLERANCE:
                break
            hands = hands[0], replace(hands[1], transl=hands[1].transl + APART * away)
            fit = self.measured(hands)
        return hands, fit


class Steps:
    """One pair on its way apart: the vertices of each hand that are near the other one's."""

    def __init__(
        self,
        room: FingerRoom,
        skinnings: Sequence[Skinning],
        hands: Hands,
        contacts: Contacts,
        distance: float = VICINITY,
        stride: int = 1,
    ) -> None:
        self.room, self.skinnings = room, list(skinnings)
        points = [one.vertices for one in posed(room, self.skinnings, hands)]
        for side in (0, 1):
            close = np.flatnonzero(near(points[side], points[1 - side], distance))[::stride]
            rows = np.unique(np.concatenate([close, skinnings[side].tips, *(pair[side] for pair in contacts)]))
            self.skinnings[side] = skinnings[side].only(rows)
            contacts = tuple(_renumbered(pair, rows, side) for pair in contacts)
        self.contacts = contacts
        self.shaped = [skinning.shape(hand.betas) for skinning, hand in zip(self.skinnings, hands, strict=True)]
        self.rest = self.room.at_rest(self.shaped)

    def posed(self, hands: Hands) -> tuple[Posed, Posed]:
        """Both hands on their way."""
        return posed(self.room, self.skinnings, hands, self.shaped)

    def asked(self, pair: tuple[Posed, Posed]) -> tuple[list[Asks], float, float]:
        """What has to change, the greatest depth and the widest gap, in metres."""
        surfaces = [Surface(pair[k].vertices, self.skinnings[k].normals(pair[k])) for k in (0, 1)]
        asks, deepest, widest = [], 0.0, 0.0
        for side in (0, 1):
            mine, its, depth = inside(surfaces[side].points, surfaces[1 - side])
            if len(mine):
                deepest = max(deepest, float(depth.max()))
                order = np.argsort(-depth, kind="stable")[:MOST_ROWS]
                outward = surfaces[1 - side].normals[its[order]] * (1 if side == 0 else -1)
                right, left = (mine[order], its[order]) if side == 0 else (its[order], mine[order])
                asks.append(Asks(right, left, outward, depth[order] + OVERDO, np.ones(len(order))))
        for right, left in self.contacts:
            a, b = pair[0].vertices[right], pair[1].vertices[left]
            squared = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
            i, j = divmod(int(squared.argmin()), len(left))
            apart = b[j] - a[i]
            distance = max(float(np.sqrt(apart @ apart)), 1e-9)
            widest = max(widest, distance)
            if distance > TOUCHING / 2:
                wanted, weight = np.array([distance]), np.array([PULL])
                asks.append(Asks(right[i : i + 1], left[j : j + 1], apart[None] / distance, wanted, weight))
        return asks, deepest, widest

    def changed(self, hands: Hands, pair: tuple[Posed, Posed], asks: list[Asks], towards: Array | None = None) -> Hands:
        """Hands after one step towards what is asked, and towards these angles (2,5,4) in degrees if there are any."""
        angles = np.stack([hand.angles for hand in hands])
        way = None if towards is None else np.radians(towards - angles).ravel()
        change = _least_squares(*self._rows(hands, pair, asks), way)
        turn = turns_about(change[3:6])
        angles = angles + np.degrees(change[6:]).reshape(2, 5, 4)
        if hands[0].recorded is None:
            angles, _ = self.room.cleared(held(angles), self.rest)
        else:
            angles = np.clip(angles, -YIELD, YIELD)
        pivot, wrist = _pivot(pair[1]), pair[1].joints[0]
        moved = pivot + turn @ (wrist - pivot) + change[:3]
        root, transl = turn @ hands[1].root, hands[1].transl + moved - wrist
        return replace(hands[0], angles=angles[0]), replace(hands[1], root=root, angles=angles[1], transl=transl)

    def _rows(self, hands: Hands, pair: tuple[Posed, Posed], asks: list[Asks]) -> tuple[Array, Array]:
        """Derivatives (N,46) of what is asked by the unknowns, and how much (N,) is asked; both weighted."""
        if not asks:
            return np.zeros((0, len(SCALE))), np.zeros(0)
        right, left, direction, wanted, weight = (np.concatenate(part) for part in zip(*asks, strict=True))
        rows = np.empty((len(wanted), len(SCALE)))
        rows[:, :3] = -direction
        rows[:, 3:6] = -cross(pair[1].vertices[left] - _pivot(pair[1]), direction)
        rows[:, 6:26] = self._by_angles(hands, pair, 0, right, direction)
        rows[:, 26:] = -self._by_angles(hands, pair, 1, left, direction)
        return rows * weight[:, None], wanted * weight

    def _by_angles(
        self, hands: Hands, pair: tuple[Posed, Posed], side: int, vertices: Int64, direction: Array
    ) -> Array:
        """(N,20) how fast ``vertices`` (N,) move along ``direction`` (N,3) as each joint angle grows, radians."""
        frames = pair[side].turns[FINGER_BONES]
        recorded = hands[side].recorded
        if recorded is not None:
            frames = frames @ recorded.transpose(0, 1, 3, 2)
        frames = frames[:, [0, 0, 1, 2]]
        frames[:, 0] = pair[side].turns[0]
        axes = turned(self.room.joints.axes[side], frames).reshape(20, 3)
        centres = pair[side].joints[FINGER_BONES[:, [0, 0, 1, 2]]].reshape(20, 3)
        # axis . ((point - centre) x direction), split into what depends on the point and on the joint.
        moments = cross(pair[side].vertices[vertices], direction)
        speed = moments @ axes.T + direction @ cross(centres, axes).T
        return speed * _CARRIED[self.skinnings[side].owner[vertices]]


def held_fingers(room: FingerRoom, hands: Hands) -> Array:
    """(2,5,3,3,3) rotations of both hands' fingers."""
    fingers = room.joints.matrices(np.array([hand.angles for hand in hands]))
    if hands[0].recorded is not None and hands[1].recorded is not None:
        fingers = fingers @ np.stack([hands[0].recorded, hands[1].recorded])
    return fingers


def posed(
    room: FingerRoom, skinnings: Sequence[Skinning], hands: Hands, shaped: Sequence[Shaped] | None = None
) -> tuple[Posed, Posed]:
    """Both hands where they are held, by some of their vertices; ``shaped`` are these hands at rest, where known."""
    shaped = shaped or [skinning.shape(hand.betas) for skinning, hand in zip(skinnings, hands, strict=True)]
    roots, arms, transl = (np.array([getattr(hand, part) for hand in hands]) for part in ("root", "arm", "transl"))
    frames = framed(np.array([one.joints for one in shaped]), roots, held_fingers(room, hands), arms, transl)
    right, left = (skinnings[k](shaped[k], frames[k]) for k in (0, 1))
    return right, left


def _renumbered(pair: tuple[Int64, Int64], rows: Int64, side: int) -> tuple[Int64, Int64]:
    own = np.searchsorted(rows, pair[side])
    return (own, pair[1]) if side == 0 else (pair[0], own)


def _carried() -> Mask:
    """(16,20) whether each joint angle moves each bone."""
    moves = np.zeros((16, 5, 4), bool)
    for finger, chain in enumerate(FINGER_BONES):
        for level, bone in enumerate(chain):
            moves[bone, finger, : level + 2] = True
    return moves.reshape(16, 20)


_CARRIED = _carried()


def _badness(depth: float, gap: float) -> float:
    return max(depth - TOLERANCE, 0) + 0.3 * max(gap - TOUCHING, 0)


def _pivot(posed: Posed) -> Array:
    """The middle of the palm."""
    return posed.joints[[0, 1, 4, 7]].mean(0)


def _least_squares(rows: Array, wanted: Array, way: Array | None) -> Array:
    """(46,) the change that comes nearest to what is wanted while staying small, or while the angles go their ``way``
    (40,) in radians.
    """  # fmt: skip
    scaled = 1000 * rows * SCALE
    normal = scaled.T @ scaled
    normal.flat[:: len(SCALE) + 1] += DAMPING
    sought = scaled.T @ (1000 * wanted)
    if way is not None:
        sought[6:] += DAMPING * np.clip(way / SCALE[6:], -CLOSING_PACE, CLOSING_PACE)
    units = np.linalg.solve(normal, sought)
    return SCALE * units * min(1.0, LARGEST / max(np.abs(units).max(), 1e-9))


def _near_wrist(skinning: Skinning) -> Int64:
    kept = length((skinning.template - skinning.joint_template[0][:, None]).T) < ARM_NEAR
    kept[: skinning.num_hand] = True
    return np.flatnonzero(kept)
