"""Hands that touch but do not pass through each other.

Points of one hand that lie inside the other ask to be moved out along its surface's normal; intended contacts ask to be
closed. Both are linear in small changes of the second hand's place and of both hands' joint angles, so each step solves
one damped least-squares problem and then puts the angles back within what a hand can hold.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from aih_gen.hands.anatomy import FINGER_BONES, held
from aih_gen.scenes.gestures import FingerRoom
from aih_gen.scenes.skinning import Posed, Shaped

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Contacts = tuple[tuple[Index, Index], ...]
"""Vertices of the right and of the left hand that are meant to touch."""

REACH = 0.012
"""A point farther than this (m) from a surface is taken to be outside it: half a hand's thickness."""
CELL = 0.004
"""Side (m) of the cells in which hands that approach each other are compared."""
ARM_NEAR = 0.2
"""Metres of forearm that take part."""
TOLERANCE, TOUCHING = 0.0012, 0.002
"""Depth (m) that is left alone, and the distance at which hands that should touch do."""
OVERDO = 0.0003
"""Metres by which more is asked than is needed."""
MOST_ROWS = 60
"""Deepest points that are asked to move, a hand."""
STEPS = 12
SCALE = np.concatenate([[0.01] * 3, [0.15] * 3, [0.15] * 40])
"""What counts as one unit of change: metres, radians of the second hand's turn, radians of the joint angles."""
DAMPING = 1.5
"""Weight of such a unit's square against a square millimetre of depth."""
LARGEST = 1.2
"""Units that anything may change by in one step."""
PULL = 3.0
"""Weight of an intended contact against that of one point inside."""


@dataclass(frozen=True, eq=False)
class HeldHand:
    """One hand as a person holds it."""

    shaped: Shaped
    root: Array  # (3,3)
    angles: Array  # (5,4) degrees
    arm: Array  # (3,3) forearm relative to the hand
    transl: Array  # (3,) m


@dataclass(frozen=True, eq=False)
class Asks:
    """Pairs of vertices whose distance along a direction should change."""

    right: Index  # (N,)
    left: Index  # (N,)
    direction: Array  # (N,3) unit, that in which the right vertex should move from the left one
    wanted: Array  # (N,) m
    weight: Array  # (N,)


@dataclass(frozen=True, eq=False)
class Surface:
    """Points of a closed surface with outward unit normals, their box, and a search tree over them."""

    points: Array  # (P,3) m
    normals: Array  # (P,3)
    low: Array  # (3,)
    high: Array  # (3,)
    tree: cKDTree


def surface(points: Array, normals: Array) -> Surface:
    """Prepare a surface for depth queries; it may be empty."""
    if not len(points):
        return Surface(points, normals, np.full(3, np.inf), np.full(3, -np.inf), cKDTree(points))
    tree = cKDTree(points, compact_nodes=False, balanced_tree=False)
    return Surface(points, normals, points.min(0), points.max(0), tree)


def inside(points: Array, other: Surface) -> tuple[Index, Index, Array]:
    """Which of ``points`` (P,3) lie inside ``other``, the surface point nearest to each, and their depths in metres.

    The depth is the distance along the nearest surface point's normal, exact for flat and nearly so for round surfaces.
    """
    close = np.flatnonzero(((points > other.low) & (points < other.high)).all(1))
    distance, nearest = other.tree.query(points[close], distance_upper_bound=REACH)
    near = np.isfinite(distance)
    close, nearest = close[near], nearest[near]
    depth = -((points[close] - other.points[nearest]) * other.normals[nearest]).sum(1)
    deep = depth > 0
    return close[deep], nearest[deep], depth[deep]


def way_to_touch(resting: Array, moving: Array, direction: Array) -> float:
    """How far (m) ``moving`` (P,3) goes along ``direction`` (3,) until it just lies on ``resting`` (Q,3).

    Negative where it is not there yet, zero where they never meet along that line.
    """
    across = np.linalg.svd(direction[None])[2][1:]
    heights = [points @ direction for points in (resting, moving)]
    low = np.minimum((resting @ across.T).min(0), (moving @ across.T).min(0))
    cells = [((points @ across.T - low) // CELL).astype(np.int64) for points in (resting, moving)]
    wide, tall = np.max([cell.max(0) for cell in cells], 0) + 1
    top, bottom = np.full(wide * tall, -np.inf), np.full(wide * tall, np.inf)
    np.maximum.at(top, cells[0][:, 0] * tall + cells[0][:, 1], heights[0])
    np.minimum.at(bottom, cells[1][:, 0] * tall + cells[1][:, 1], heights[1])
    way = (top - bottom).max()
    return float(way) if np.isfinite(way) else 0.0


class ContactSolver:
    """Frees one pair of hand models from each other."""

    def __init__(self, rooms: tuple[FingerRoom, FingerRoom]) -> None:
        self.rooms = rooms
        self.kept = [_near_wrist(room) for room in rooms]
        self.bones = [
            np.concatenate([room.skinning.owner, np.zeros(len(room.skinning.arm_weight), np.int64)]) for room in rooms
        ]

    def pose(self, hand: HeldHand, side: int) -> Posed:
        """The hand where it is held."""
        room = self.rooms[side]
        fingers = room.joints.matrices(hand.angles)
        return room.skinning(hand.shaped, hand.root, fingers, hand.arm).moved(hand.transl)

    def free(self, hands: tuple[HeldHand, HeldHand], contacts: Contacts) -> tuple[tuple[HeldHand, HeldHand], Fit]:
        """Move the left hand and both hands' fingers until nothing passes through and what should touch does."""
        best, best_fit, first = hands, Fit(np.inf, np.inf, np.inf), 0.0
        for step in range(STEPS + 1):
            posed = self.pose(hands[0], 0), self.pose(hands[1], 1)
            asks, depth, gap = self._asked(posed, contacts)
            first = depth if step == 0 else first
            if _badness(depth, gap) < _badness(best_fit.depth, best_fit.gap):
                best, best_fit = hands, Fit(first, depth, gap)
            if step == STEPS or (depth <= TOLERANCE and gap <= TOUCHING):
                break
            hands = self._changed(hands, posed[1], _least_squares(*self._rows(posed, asks)))
        return best, best_fit

    def _meeting_surfaces(self, posed: tuple[Posed, Posed]) -> tuple[tuple[Surface, Surface], tuple[Index, Index]]:
        """What of each hand lies near the other one, and the numbers of those vertices."""
        points = [one.vertices[kept] for one, kept in zip(posed, self.kept, strict=True)]
        surfaces, numbers = [], []
        for side in (0, 1):
            other = points[1 - side]
            near = ((points[side] > other.min(0) - REACH) & (points[side] < other.max(0) + REACH)).all(1)
            numbers.append(self.kept[side][near])
            surfaces.append(surface(points[side][near], posed[side].normals[numbers[side]]))
        return (surfaces[0], surfaces[1]), (numbers[0], numbers[1])

    def _asked(self, posed: tuple[Posed, Posed], contacts: Contacts) -> tuple[list[Asks], float, float]:
        """What has to change, the greatest depth and the widest gap, in metres."""
        surfaces, numbers = self._meeting_surfaces(posed)
        asks, deepest, widest = [], 0.0, 0.0
        for side in (0, 1):
            other = 1 - side
            mine, its, depth = inside(surfaces[side].points, surfaces[other])
            if len(mine):
                deepest = max(deepest, float(depth.max()))
                order = np.argsort(-depth, kind="stable")[:MOST_ROWS]
                ends = numbers[side][mine[order]], numbers[other][its[order]]
                outward = surfaces[other].normals[its[order]] * (1 if side == 0 else -1)
                right, left = ends if side == 0 else ends[::-1]
                asks.append(Asks(right, left, outward, depth[order] + OVERDO, np.ones(len(order))))
        for right, left in contacts:
            distance, nearest = cKDTree(posed[1].vertices[left]).query(posed[0].vertices[right])
            k = int(distance.argmin())
            widest = max(widest, float(distance[k]))
            if distance[k] > TOUCHING / 2:
                from_right, to_left = right[k : k + 1], left[nearest[k : k + 1]]
                towards = (posed[1].vertices[to_left] - posed[0].vertices[from_right]) / distance[k]
                asks.append(Asks(from_right, to_left, towards, distance[k : k + 1], np.array([PULL])))
        return asks, deepest, widest

    def _rows(self, posed: tuple[Posed, Posed], asks: list[Asks]) -> tuple[Array, Array]:
        """Derivatives (N,46) of what is asked by the unknowns, and how much (N,) is asked; both weighted."""
        right, left, direction, wanted, weight = (
            np.concatenate([getattr(ask, field.name) for ask in asks]) for field in fields(Asks)
        )
        rows = np.zeros((len(wanted), len(SCALE)))
        rows[:, :3] = -direction
        rows[:, 3:6] = -np.cross(posed[1].vertices[left] - _pivot(posed[1]), direction)
        rows[:, 6:26] = self._by_angles(posed[0], 0, right, direction)
        rows[:, 26:] = -self._by_angles(posed[1], 1, left, direction)
        return rows * weight[:, None], wanted * weight

    def _by_angles(self, posed: Posed, side: int, vertices: Index, direction: Array) -> Array:
        """(N,20) how fast ``vertices`` (N,) move along ``direction`` (N,3) as each joint angle grows, radians."""
        points, bones = posed.vertices[vertices], self.bones[side][vertices]
        axes = self.rooms[side].joints.axes
        turns = posed.turns[FINGER_BONES[:, [0, 0, 1, 2]]]
        turns[:, 0] = posed.turns[0]
        world = np.einsum("fkij,fkj->fki", turns, axes).reshape(20, 3)
        centres = posed.joints[FINGER_BONES[:, [0, 0, 1, 2]]].reshape(20, 3)
        finger, level = np.divmod(bones - 1, 3)
        row = np.full(len(bones), -1)
        row[bones > 0] = _ROW_OF_CHAIN[finger[bones > 0]]
        carried = (row[:, None] == np.repeat(np.arange(5), 4)) & (level[:, None] >= np.tile([0, 0, 1, 2], 5))
        offset = points[:, None] - centres
        return np.where(carried, (np.cross(world, offset) * direction[:, None]).sum(-1), 0)

    def _changed(self, hands: tuple[HeldHand, HeldHand], left: Posed, change: Array) -> tuple[HeldHand, HeldHand]:
        turn = Rotation.from_rotvec(change[3:6]).as_matrix()
        fingers = [
            self.rooms[side].cleared(held(hands[side].angles + np.degrees(part).reshape(5, 4)), hands[side].shaped)
            for side, part in enumerate((change[6:26], change[26:]))
        ]
        pivot = _pivot(left)
        wrist = left.joints[0]
        moved = pivot + turn @ (wrist - pivot) + change[:3]
        second = replace(hands[1], root=turn @ hands[1].root, angles=fingers[1], transl=hands[1].transl + moved - wrist)
        return replace(hands[0], angles=fingers[0]), second


@dataclass(frozen=True)
class Fit:
    """How a pair's surfaces lie to each other, in metres."""

    depth_before: float
    depth: float
    """Greatest depth of a point of one hand in the other."""
    gap: float
    """Widest distance between parts that should touch."""


_ROW_OF_CHAIN = np.argsort(FINGER_BONES[:, 0])
"""Row of the angles for each chain of MANO's bones."""


def _badness(depth: float, gap: float) -> float:
    return max(depth - TOLERANCE, 0) + 0.3 * max(gap - TOUCHING, 0)


def _pivot(posed: Posed) -> Array:
    """The middle of the palm."""
    return posed.joints[[0, 1, 4, 7]].mean(0)


def _least_squares(rows: Array, wanted: Array) -> Array:
    """(46,) the change that comes nearest to what is wanted while staying small."""
    scaled = 1000 * rows * SCALE
    normal = scaled.T @ scaled + DAMPING * np.eye(len(SCALE))
    units = np.linalg.solve(normal, scaled.T @ (1000 * wanted))
    return SCALE * units * min(1.0, LARGEST / max(np.abs(units).max(), 1e-9))


def _near_wrist(room: FingerRoom) -> Index:
    skinning = room.skinning
    kept = np.linalg.norm(skinning.template - skinning.joint_template[0], axis=1) < ARM_NEAR
    kept[: skinning.num_vertices] = True
    return np.flatnonzero(kept)
