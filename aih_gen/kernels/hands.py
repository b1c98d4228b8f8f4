"""Two hands, in this order: joint limits, posing, fingers apart from each other, points near each other, contact.

One file, as each part calls those before it (``aih_gen.kernels``). Angles of the fingers come as (5,4) arrays in
degrees, as in ``hands.anatomy``. Where an axis of two leads, the right hand comes first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Array = NDArray[np.float64]
Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

_DEGREE = np.pi / 180


class Model(NamedTuple):
    """Linear blend skinning of V vertices of one hand model, hand first, then forearm; E of their weights are not 0."""

    template: Array  # (V,3) m
    shapedirs: Array  # (10,V,3)
    posedirs: Array  # (V,3,135), or (0,3,135) where the pose changes no shape
    first: Int64  # (V+1,) where each vertex's weights begin
    bones: Int64  # (E,) 0..15, and 16 for the forearm's own
    weights: Array  # (E,)
    normals: Array  # (V,3) unit, outwards, at rest
    carrier: Int64  # (V,) bone that carries most of each vertex; the wrist for the forearm
    joints: Array  # (16,3) m
    joint_shapedirs: Array  # (10,16,3)
    chains: Int64  # (5,3) bones of the fingers, thumb to little, base to tip
    tips: Int64  # (5,) vertices


class Fingers(NamedTuple):
    """Axes, limits and thickness of the fingers of one hand model."""

    axes: Array  # (5,4,3) unit, of the joint angles
    low: Array  # (5,4) degrees
    high: Array  # (5,4)
    radius: Array  # (5,3) m, of the bones' capsules
    chains: Int64  # (5,3) bones, thumb to little, base to tip


class Hand(NamedTuple):
    """Shape, pose and place of a hand."""

    betas: Array  # (10,)
    root: Array  # (3,3)
    angles: Array  # (5,4) degrees
    arm: Array  # (3,3) forearm relative to the hand
    transl: Array  # (3,) m
    recorded: Array  # (5,3,3,3) rotations of recorded fingers, which ``angles`` bend further; (0,3,3,3) where none are


class Contacts(NamedTuple):
    """Vertices of the right and of the left hand that are meant to touch; C pairs of regions, one after the other."""

    right: Int64
    left: Int64
    first_right: Int64  # (C+1,)
    first_left: Int64  # (C+1,)


class Constraints(NamedTuple):
    """N pairs of vertices whose distance along a direction has to change."""

    right: Int64  # (N,)
    left: Int64  # (N,)
    direction: Array  # (N,3) unit, in which the right vertex moves away from the left one
    distance: Array  # (N,) m
    weight: Array  # (N,)


class Rest(NamedTuple):
    """A hand at rest."""

    points: Array  # (V,3) m
    home: Array  # (16,3) of the joints
    tips: Array  # (5,3)


class Posed(NamedTuple):
    """Some vertices of a posed hand."""

    rows: Int64  # (R,) of the model's vertices
    points: Array  # (R,3) m
    normals: Array  # (R,3) unit
    rotations: Array  # (16,3,3) of the bones
    joints: Array  # (16,3) m


# Joint angles and their limits

MAX_CURL = 206.0
"""Greatest sum of a finger's three flexions in degrees: then its tip lies in the palm."""
DIP_SHARE, DIP_FREEDOM = 0.6, 15.0
"""The last joint follows the middle one: DIP = 0.6 PIP within 15 degrees (one tendon bends both)."""
MAX_STRAIGHTER = 40.0
"""Degrees of MCP and of PIP by which the ring finger can be straighter than both its neighbours, which pull it."""


@compiled
def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@compiled
def spread_range(mcp: float) -> float:
    """Share of the range of spreading that is left at a knuckle's flexion in degrees."""
    return _clip(1 - mcp / 90, 0.1, 1.0)


@compiled
def clamp_to_joint_limits(angles: Array, low: Array, high: Array) -> None:
    """Bring ``angles`` (5,4) to the nearest ones within the limits and couplings of the fingers."""
    for finger in range(5):
        for k in range(4):
            angles[finger, k] = _clip(angles[finger, k], low[finger, k], high[finger, k])
    for k in (1, 2):
        angles[3, k] = max(angles[3, k], min(angles[2, k], angles[4, k]) - MAX_STRAIGHTER)
    for finger in range(1, 5):
        follows = DIP_SHARE * angles[finger, 2]
        angles[finger, 3] = _clip(angles[finger, 3], follows - DIP_FREEDOM, follows + DIP_FREEDOM)
        share = min(1.0, (MAX_CURL - angles[finger, 1]) / max(angles[finger, 2] + angles[finger, 3], 1.0))
        angles[finger, 2] *= share
        angles[finger, 3] *= share
        # Collateral ligaments are tight in bent knuckles: a bent finger cannot be spread.
        room = spread_range(angles[finger, 1])
        angles[finger, 0] = _clip(angles[finger, 0], room * low[finger, 0], room * high[finger, 0])
        for k in range(4):
            angles[finger, k] = _clip(angles[finger, k], low[finger, k], high[finger, k])


@compiled
def perturb(angles: Array, noise: Array, low: Array, high: Array) -> None:
    """Add ``noise`` to ``angles``, (5,4) both, as far as the limits of the joints let it; bent fingers spread less."""
    for finger in range(5):
        room = spread_range(angles[finger, 1]) if finger else 1.0
        angles[finger, 0] += room * noise[finger, 0]
        for k in range(1, 4):
            angles[finger, k] += noise[finger, k]
    clamp_to_joint_limits(angles, low, high)


# Posing


@compiled
def _rotation(x: float, y: float, z: float, angle: float, out: Array) -> None:
    """Rotation (3,3) about a unit axis, by radians."""
    s, t = np.sin(angle), 1 - np.cos(angle)
    out[0, 0], out[0, 1], out[0, 2] = 1 - t * (y * y + z * z), t * x * y - s * z, t * x * z + s * y
    out[1, 0], out[1, 1], out[1, 2] = t * x * y + s * z, 1 - t * (x * x + z * z), t * y * z - s * x
    out[2, 0], out[2, 1], out[2, 2] = t * x * z - s * y, t * y * z + s * x, 1 - t * (x * x + y * y)


@compiled
def _multiply(a: Array, b: Array, out: Array) -> None:
    """The product (3,3) of two others."""
    for i in range(3):
        x, y, z = a[i, 0], a[i, 1], a[i, 2]
        for j in range(3):
            out[i, j] = x * b[0, j] + y * b[1, j] + z * b[2, j]


@compiled
def finger_rotations(angles: Array, axes: Array) -> Array:
    """(5,3,3,3) rotation of each bone relative to the one before, for ``angles`` (5,4) in degrees about ``axes``
    (5,4,3).
    """  # fmt: skip
    rotations, turns = np.empty((5, 3, 3, 3)), np.empty((4, 3, 3))
    for finger in range(5):
        for k in range(4):
            x, y, z = axes[finger, k, 0], axes[finger, k, 1], axes[finger, k, 2]
            out = turns[k] if k < 2 else rotations[finger, k - 1]
            _rotation(x, y, z, angles[finger, k] * _DEGREE, out)
        _multiply(turns[0], turns[1], rotations[finger, 0])
    return rotations


@compiled
def bones(home: Array, root: Array, fingers: Array, chains: Int64) -> tuple[Array, Array]:
    """Orientations (16,3,3) and joints (16,3) of a hand with joints at ``home`` (16,3) at rest, its ``root`` (3,3)
    rotated about the wrist, its ``fingers`` (5,3,3,3) relative to the bone before.
    """  # fmt: skip
    rotations, joints = np.empty((16, 3, 3)), np.empty((16, 3))
    for i in range(3):
        joints[0, i] = home[0, i]
        for j in range(3):
            rotations[0, i, j] = root[i, j]
    for finger in range(5):
        before = 0
        for k in range(3):
            bone = chains[finger, k]
            for i in range(3):
                joints[bone, i] = joints[before, i]
                for j in range(3):
                    joints[bone, i] += rotations[before, i, j] * (home[bone, j] - home[before, j])
            _multiply(rotations[before], fingers[finger, k], rotations[bone])
            before = bone
    return rotations, joints


@compiled
def shaped(model: Model, betas: Array) -> Rest:
    """The hand of ``betas`` (10,) at rest."""
    points, joints, tips = model.template.copy(), model.joints.copy(), np.empty((5, 3))
    for k in range(len(betas)):
        for i in range(3):
            for vertex in range(len(points)):
                points[vertex, i] += betas[k] * model.shapedirs[k, vertex, i]
            for joint in range(16):
                joints[joint, i] += betas[k] * model.joint_shapedirs[k, joint, i]
    for finger in range(5):
        for i in range(3):
            tips[finger, i] = points[model.tips[finger], i]
    return Rest(points, joints, tips)


@compiled
def skinned(model: Model, rest: Rest, transl: Array, root: Array, fingers: Array, arm: Array, rows: Int64) -> Posed:
    """The vertices ``rows`` (R,) of the hand at ``rest``, rotated by ``root`` (3,3) about its wrist and moved by
    ``transl`` (3,) metres; ``fingers`` (5,3,3,3) and the forearm, ``arm`` (3,3), are relative to the bone before.
    """  # fmt: skip
    rotations, joints = bones(rest.home, root, fingers, model.chains)
    matrices, moves = np.empty((17, 3, 3)), np.empty((17, 3))
    _multiply(rotations[0], arm, matrices[16])
    for bone in range(17):
        joint = bone % 16  # the forearm rotates about the wrist
        for i in range(3):
            if bone < 16:
                joints[bone, i] += transl[i]
            moves[bone, i] = joints[joint, i]
            for j in range(3):
                if bone < 16:
                    matrices[bone, i, j] = rotations[bone, i, j]
                moves[bone, i] -= matrices[bone, i, j] * rest.home[joint, j]
    bends = np.empty(135)
    for finger in range(5):
        for k in range(3):
            for i in range(9):
                bends[9 * (model.chains[finger, k] - 1) + i] = fingers[finger, k, i // 3, i % 3] - (i % 4 == 0)
    points, normals = np.empty((len(rows), 3)), np.empty((len(rows), 3))
    for row in range(len(rows)):
        vertex = rows[row]
        x, y, z = rest.points[vertex, 0], rest.points[vertex, 1], rest.points[vertex, 2]
        if len(model.posedirs):
            for k in range(135):
                x += model.posedirs[vertex, 0, k] * bends[k]
                y += model.posedirs[vertex, 1, k] * bends[k]
                z += model.posedirs[vertex, 2, k] * bends[k]
        square = 0.0
        for i in range(3):
            moved, a, b, c = 0.0, 0.0, 0.0, 0.0
            for k in range(model.first[vertex], model.first[vertex + 1]):
                bone, weight = model.bones[k], model.weights[k]
                moved += weight * moves[bone, i]
                a += weight * matrices[bone, i, 0]
                b += weight * matrices[bone, i, 1]
                c += weight * matrices[bone, i, 2]
            points[row, i] = moved + (a * x + b * y + c * z)
            normals[row, i] = a * model.normals[vertex, 0] + b * model.normals[vertex, 1] + c * model.normals[vertex, 2]
            square += normals[row, i] * normals[row, i]
        for i in range(3):
            normals[row, i] /= max(np.sqrt(square), 1e-9)
    return Posed(rows, points, normals, rotations, joints)


# Fingers apart from each other

OPEN_THUMB = (0.0, -12.0, -6.0, -10.0)
"""Opposition, adduction, MCP and IP flexion of a thumb that points away from every finger."""
MAX_OVERLAP = 0.0015
"""Depth (m) to which capsules may overlap: they are thicker than the fingers between the joints."""
LEVER = 0.05
"""Distance (m) from the knuckle at which neighbouring fingers meet."""
PARTING_STEPS = 8
POINTS = 5
"""Points along a bone that are compared with other bones' capsules."""


@compiled
def _overlaps(angles: Array, rest: Rest, fingers: Fingers, overlaps: Array) -> float:
    """Write the metres by which thumb and fingers, index and middle, middle and ring, ring and little overlap to
    ``overlaps`` (4,), and return the greatest; every bone is a capsule.
    """  # fmt: skip
    local, home, chains, radius = finger_rotations(angles, fingers.axes), rest.home, fingers.chains, fingers.radius
    starts, along, turned, way = np.empty((5, 3, 3)), np.empty((5, 3, 3)), np.empty((3, 3, 3)), np.empty(3)
    for finger in range(5):
        for k in range(3):
            bone, length = chains[finger, k], 0.0
            for i in range(3):
                starts[finger, k, i] = home[bone, i] if k == 0 else starts[finger, k - 1, i] + along[finger, k - 1, i]
                way[i] = (rest.tips[finger, i] if k == 2 else home[chains[finger, k + 1], i]) - home[bone, i]
                length += way[i] * way[i]
                for j in range(3):
                    turned[0, i, j] = local[finger, 0, i, j]
            if k > 0:
                _multiply(turned[k - 1], local[finger, k], turned[k])
            # The last capsule ends where the finger does.
            share = 1 - radius[finger, 2] / np.sqrt(length) if k == 2 else 1.0
            for i in range(3):
                along[finger, k, i] = share * (
                    turned[k, i, 0] * way[0] + turned[k, i, 1] * way[1] + turned[k, i, 2] * way[2]
                )
    greatest = -np.inf
    for finger in range(4):
        # Points of the outer two bones: the thumb's against all fingers, each finger's against the next one.
        deepest, last = -np.inf, 5 if finger == 0 else finger + 2
        for level in (1, 2):
            for step in range(POINTS):
                share = step / (POINTS - 1)
                x = starts[finger, level, 0] + share * along[finger, level, 0]
                y = starts[finger, level, 1] + share * along[finger, level, 1]
                z = starts[finger, level, 2] + share * along[finger, level, 2]
                for other in range(finger + 1, last):
                    for k in range(3):
                        u, v, w = along[other, k, 0], along[other, k, 1], along[other, k, 2]
                        a, b, c = x - starts[other, k, 0], y - starts[other, k, 1], z - starts[other, k, 2]
                        on = _clip((a * u + b * v + c * w) / (u * u + v * v + w * w), 0.0, 1.0)
                        a, b, c = a - on * u, b - on * v, c - on * w
                        distance = np.sqrt(a * a + b * b + c * c)
                        deepest = max(deepest, radius[finger, level] + radius[other, k] - distance)
        overlaps[finger] = deepest if finger == 0 else deepest - MAX_OVERLAP
        greatest = max(greatest, overlaps[finger])
    return greatest


@compiled
def part_fingers(angles: Array, rest: Rest, fingers: Fingers) -> Array:
    """Open the thumb and spread the fingers in ``angles`` (5,4) just far enough; the overlaps that are left, (4,) m."""
    overlaps = np.empty(4)
    greatest = _overlaps(angles, rest, fingers, overlaps)
    for _ in range(PARTING_STEPS):
        if greatest <= 0:
            break
        opening = min(max(overlaps[0], 0.0) / 0.02, 0.3)
        for k in range(4):
            angles[0, k] += (OPEN_THUMB[k] - angles[0, k]) * opening
        # Of two fingers the outer one moves aside; ring and little finger move together.
        away = 1 / LEVER / _DEGREE
        angles[1, 0] += away * max(overlaps[1], 0.0)
        angles[3, 0] += away * max(overlaps[2], 0.0)
        angles[4, 0] += away * (max(overlaps[2], 0.0) + max(overlaps[3], 0.0))
        clamp_to_joint_limits(angles, fingers.low, fingers.high)
        greatest = _overlaps(angles, rest, fingers, overlaps)
    return overlaps


# Points near each other, by cells of space in a table with a fixed number of buckets

MAX_DEPTH = 0.012
"""A point farther than this (m) from a surface is taken to be outside it: half a hand's thickness."""

_BUCKETS = 16**3
"""Of a table of cells, which repeats itself every 16 cells along each axis."""
_BLOCK = 16
"""Vertices that are compared, or passed over, together."""


@compiled
def _bucket(x: int, y: int, z: int) -> int:
    return (x & 15) | (y & 15) << 4 | (z & 15) << 8


@compiled
def _cells(points: Array, low: Array, side: float) -> Int64:
    """(N,3) cells of ``points`` (N,3), with a ``side`` in metres, counted from ``low`` (3,)."""
    cells = np.empty((len(points), 3), np.int64)
    for row in range(len(points)):
        for k in range(3):
            cells[row, k] = int(np.floor((points[row, k] - low[k]) / side))
    return cells


@compiled
def _by_bucket(cells: Int64) -> tuple[Int64, Int64]:
    """Places (B,) at which each bucket begins in the list (N,) of the points by bucket, ascending in each."""
    begin, place, order = (
        np.zeros(_BUCKETS + 2, np.int64),
        np.empty(len(cells), np.int64),
        np.empty(len(cells), np.int64),
    )
    for row in range(len(cells)):
        place[row] = _bucket(cells[row, 0], cells[row, 1], cells[row, 2])
        begin[place[row] + 2] += 1
    for bucket in range(_BUCKETS):
        begin[bucket + 2] += begin[bucket + 1]
    for row in range(len(cells)):  # after which each bucket begins where the one before begins now
        order[begin[place[row] + 1]] = row
        begin[place[row] + 1] += 1
    return begin, order


@compiled
def _bounds(points: Array, rows: Int64, start: int, stop: int, low: Array, high: Array) -> None:
    """Write the least and the greatest coordinates, (3,) each, of some of the ``rows`` of ``points`` (N,3)."""
    for k in range(3):
        low[k], high[k] = np.inf, -np.inf
    for place in range(start, min(stop, len(rows))):
        for k in range(3):
            low[k] = min(low[k], points[rows[place], k])
            high[k] = max(high[k], points[rows[place], k])


@compiled
def near(points: Array, others: Array, distance: float) -> Mask:
    """(P,) True for those of ``points`` (P,3) in a cube of side ``distance`` (m) that holds one of ``others`` (Q,3), or
    in a neighbour of one: at least all that are nearer than ``distance``.
    """  # fmt: skip
    found, low, high = np.zeros(len(points), np.bool_), np.empty(3), np.empty(3)
    _bounds(others, np.arange(len(others)), 0, len(others), low, high)
    cells, own = _cells(others, low, distance), _cells(points, low, distance)
    begin, order = _by_bucket(cells)
    for row in range(len(points)):
        if row and own[row, 0] == own[row - 1, 0] and own[row, 1] == own[row - 1, 1] and own[row, 2] == own[row - 1, 2]:
            found[row] = found[row - 1]
            continue
        far = False
        for k in range(3):
            far |= points[row, k] < low[k] - distance or points[row, k] > high[k] + 2 * distance
        for neighbour in range(0 if far else 27):
            x, y, z = (
                own[row, 0] + neighbour % 3 - 1,
                own[row, 1] + neighbour // 3 % 3 - 1,
                own[row, 2] + neighbour // 9 - 1,
            )
            bucket = _bucket(x, y, z)
            for place in range(begin[bucket], begin[bucket + 1]):
                other = order[place]
                if cells[other, 0] == x and cells[other, 1] == y and cells[other, 2] == z:
                    found[row] = True
                    break
            if found[row]:
                break
    return found


@compiled
def inside(points: Array, others: Array, normals: Array) -> tuple[int, Int64, Int64, Array]:
    """The number K of those of ``points`` (P,3) that lie inside the closed surface of the points ``others`` (Q,3) with
    outward unit ``normals`` (Q,3); then, of which the first K count, (P,) their indices, those of the surface points
    nearest to each, and their depths in metres.

    The depth is the distance along the nearest surface point's normal, exact for flat and nearly so for round surfaces.
    """
    deep, nearest, depths = np.empty(len(points), np.int64), np.full(len(points), -1), np.empty(len(points))
    candidates, around, low, high = (
        np.empty(len(others), np.int64),
        np.empty((len(others), 3)),
        np.empty(3),
        np.empty(3),
    )
    _bounds(others, np.arange(len(others)), 0, len(others), low, high)
    own, number, count = _cells(points, low, MAX_DEPTH), 0, 0
    begin, order = _by_bucket(_cells(others, low, MAX_DEPTH))
    _, turns = _by_bucket(own)  # points of one cell follow each other, and share what is near them
    for turn in range(len(points)):
        row, last = turns[turn], turns[max(turn - 1, 0)]
        x, y, z = own[row, 0], own[row, 1], own[row, 2]
        if turn == 0 or x != own[last, 0] or y != own[last, 1] or z != own[last, 2]:
            number = 0
            for neighbour in range(27):
                bucket = _bucket(x + neighbour % 3 - 1, y + neighbour // 3 % 3 - 1, z + neighbour // 9 - 1)
                for place in range(begin[bucket], begin[bucket + 1]):
                    candidates[number] = order[place]
                    for axis in range(3):
                        around[number, axis] = others[order[place], axis]
                    number += 1
        best = MAX_DEPTH * MAX_DEPTH
        for k in range(number):
            a, b, c = points[row, 0] - around[k, 0], points[row, 1] - around[k, 1], points[row, 2] - around[k, 2]
            square = a * a + b * b + c * c
            if square < best or (square == best and candidates[k] < nearest[row]):
                best, nearest[row] = square, candidates[k]
    for row in range(len(points)):
        found, depth = nearest[row], 0.0
        for k in range(3 if found >= 0 else 0):
            depth -= (points[row, k] - others[found, k]) * normals[found, k]
        if depth > 0:
            deep[count], nearest[count], depths[count] = row, found, depth
            count += 1
    return count, deep, nearest, depths


@compiled
def _closest(a: Array, b: Array, contacts: Contacts, pair: int) -> tuple[int, int]:
    """Of one pair of regions the points of ``a`` (N,3) and of ``b`` (M,3) that are closest to each other."""
    start, stop = contacts.first_left[pair], contacts.first_left[pair + 1]
    blocks = (stop - start + _BLOCK - 1) // _BLOCK
    low, high, least, most = np.empty((blocks, 3)), np.empty((blocks, 3)), np.empty(3), np.empty(3)
    for block in range(blocks):
        begin = start + block * _BLOCK
        _bounds(b, contacts.left, begin, min(begin + _BLOCK, stop), low[block], high[block])
    best, right, left = np.inf, -1, -1
    for first in range(contacts.first_right[pair], contacts.first_right[pair + 1], _BLOCK):
        last = min(first + _BLOCK, contacts.first_right[pair + 1])
        _bounds(a, contacts.right, first, last, least, most)
        for block in range(blocks):
            apart = 0.0
            for k in range(3):
                gap = max(max(least[k] - high[block, k], low[block, k] - most[k]), 0.0)
                apart += gap * gap
            if apart >= best:
                continue
            for place in range(first, last):
                i = contacts.right[place]
                for other in range(start + block * _BLOCK, min(start + (block + 1) * _BLOCK, stop)):
                    j, square = contacts.left[other], 0.0
                    for k in range(3):
                        square += (a[i, k] - b[j, k]) * (a[i, k] - b[j, k])
                    if square < best:
                        best, right, left = square, i, j
    return right, left


# Contact

VICINITY = 0.013
"""Vertices at least this near (m) to the other hand take part in the steps."""
TOLERANCE, TOUCHING = 0.0012, 0.002
"""Depth (m) that is left alone, and the distance at which hands that should touch do."""
OVERCORRECTION = 0.0003
"""Metres by which points are moved farther than needed."""
MAX_ROWS = 40
"""Deepest points of a hand that become constraints."""
STEPS = 12
UNKNOWNS = 46
"""Place and rotation of the left hand, and both hands' joint angles."""
METRES, RADIANS = 0.01, 0.15
"""Units in which they change."""
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


@compiled
def _deepest(depths: Array, count: int, chosen: Int64) -> int:
    """Write the places of the greatest of the first ``count`` of ``depths`` to ``chosen`` (C,), greatest first, of
    equal ones the first; return how many there are.
    """  # fmt: skip
    most = 0
    for place in range(count):
        if most == len(chosen) and depths[place] <= depths[chosen[most - 1]]:
            continue
        most = min(most + 1, len(chosen))
        k = most - 1
        while k > 0 and depths[chosen[k - 1]] < depths[place]:
            chosen[k] = chosen[k - 1]
            k -= 1
        chosen[k] = place
    return most


@compiled
def _constraints(pair: tuple[Posed, Posed], contacts: Contacts) -> tuple[Constraints, int, float, float]:
    """Constraints of two surfaces and their number, the greatest depth and the widest gap, in metres."""
    most = 2 * MAX_ROWS + len(contacts.first_right)
    found = Constraints(
        np.empty(most, np.int64), np.empty(most, np.int64), np.empty((most, 3)), np.empty(most), np.empty(most)
    )
    chosen = np.empty(MAX_ROWS, np.int64)
    count, deepest, widest = 0, 0.0, 0.0
    for side in (0, 1):
        own, other = pair[side], pair[1 - side]
        deep, points, nearest, depths = inside(own.points, other.points, other.normals)
        for k in range(_deepest(depths, deep, chosen)):
            place = chosen[k]
            i, j = points[place], nearest[place]
            deepest = max(deepest, depths[place])
            found.right[count], found.left[count] = (i, j) if side == 0 else (j, i)
            for axis in range(3):
                found.direction[count, axis] = other.normals[j, axis] * (1 - 2 * side)
            found.distance[count], found.weight[count] = depths[place] + OVERCORRECTION, 1
            count += 1
    right, left = pair[0].points, pair[1].points
    for regions in range(len(contacts.first_right) - 1):
        i, j = _closest(right, left, contacts, regions)
        gap = 0.0
        for axis in range(3):
            gap += (left[j, axis] - right[i, axis]) * (left[j, axis] - right[i, axis])
        gap = max(np.sqrt(gap), 1e-9)
        widest = max(widest, gap)
        if gap > TOUCHING / 2:
            found.right[count], found.left[count], found.distance[count], found.weight[count] = i, j, gap, PULL
            for axis in range(3):
                found.direction[count, axis] = (left[j, axis] - right[i, axis]) / gap
            count += 1
    return found, count, deepest, widest


@compiled
def _axes(hand: Hand, fingers: Fingers, rotations: Array) -> Array:
    """(5,4,3) axes of the joint angles of a hand whose bones are in ``rotations`` (16,3,3)."""
    axes, axis = np.empty((5, 4, 3)), np.empty(3)
    for finger in range(5):
        for k in range(4):
            for i in range(3):
                axis[i] = fingers.axes[finger, k, i]
                if k and len(hand.recorded):  # which are nearer to the tip than the angles
                    axis[i] = 0
                    for j in range(3):
                        axis[i] += hand.recorded[finger, k - 1, j, i] * fingers.axes[finger, k, j]
            bone = fingers.chains[finger, k - 1] if k else 0
            for i in range(3):
                axes[finger, k, i] = 0
                for j in range(3):
                    axes[finger, k, i] += rotations[bone, i, j] * axis[j]
    return axes


@compiled
def _by_angles(
    row: Array, factor: float, posed: Posed, point: int, direction: Array, carrier: int, axes: Array, chains: Int64
) -> None:
    """Write to ``row`` (20,) ``factor`` times the speed (m/rad) of a point along ``direction`` as each of the joint
    angles with ``axes`` (5,4,3) grows.
    """  # fmt: skip
    for finger in range(5):
        for level in range(3):
            if chains[finger, level] != carrier:
                continue
            for k in range(level + 2):
                centre = chains[finger, max(k - 1, 0)]
                x = posed.points[point, 0] - posed.joints[centre, 0]
                y = posed.points[point, 1] - posed.joints[centre, 1]
                z = posed.points[point, 2] - posed.joints[centre, 2]
                row[4 * finger + k] = factor * (
                    axes[finger, k, 0] * (y * direction[2] - z * direction[1])
                    + axes[finger, k, 1] * (z * direction[0] - x * direction[2])
                    + axes[finger, k, 2] * (x * direction[1] - y * direction[0])
                )


@compiled
def _solve(matrix: Array, sought: Array) -> None:
    """Solve a symmetric, positive definite system in place; of the ``matrix`` (N,N) the upper half is read."""
    count = len(sought)
    for i in range(count):
        for j in range(i + 1, count):
            factor = matrix[i, j] / matrix[i, i]
            if factor != 0:
                sought[j] -= factor * sought[i]
                for k in range(j, count):
                    matrix[j, k] -= factor * matrix[i, k]
    for i in range(count - 1, -1, -1):
        for k in range(i + 1, count):
            sought[i] -= matrix[i, k] * sought[k]
        sought[i] /= matrix[i, i]


@compiled
def _system(
    matrix: Array, sought: Array, pair: tuple[Posed, Posed], axes: tuple[Array, Array], carriers: tuple[Int64, Int64],
    chains: Int64, constraints: Constraints, count: int,
) -> None:  # fmt: skip
    """Add the first ``count`` constraints to a least-squares problem: its ``matrix`` (U,U), of which the upper half is
    written, times the unknowns is what is ``sought`` (U,).
    """  # fmt: skip
    row, arm, palm = np.empty(UNKNOWNS), np.empty(3), pair[1].joints
    for n in range(count):
        right, left, direction = constraints.right[n], constraints.left[n], constraints.direction[n]
        weight = 1000 * constraints.weight[n]  # millimetres
        for i in range(3):
            pivot = (palm[0, i] + palm[chains[1, 0], i] + palm[chains[2, 0], i] + palm[chains[4, 0], i]) / 4
            arm[i] = pair[1].points[left, i] - pivot
        for k in range(UNKNOWNS):
            row[k] = 0
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            row[k] = -weight * METRES * direction[k]
            row[3 + k] = -weight * RADIANS * (arm[i] * direction[j] - arm[j] * direction[i])
        carrier = carriers[0][pair[0].rows[right]]
        _by_angles(row[6:26], weight * RADIANS, pair[0], right, direction, carrier, axes[0], chains)
        carrier = carriers[1][pair[1].rows[left]]
        _by_angles(row[26:], -weight * RADIANS, pair[1], left, direction, carrier, axes[1], chains)
        for i in range(UNKNOWNS):
            if row[i] != 0:
                sought[i] += row[i] * weight * constraints.distance[n]
                for j in range(i, UNKNOWNS):
                    matrix[i, j] += row[i] * row[j]


@compiled
def _bent(hand: Hand, change: Array, rest: Rest, fingers: Fingers) -> Array:
    """(5,4) degrees: the joint angles after their ``change`` (20,), within their limits."""
    angles = hand.angles.copy()
    for finger in range(5):
        for k in range(4):
            angles[finger, k] += change[4 * finger + k] * (RADIANS / _DEGREE)
            if len(hand.recorded):
                angles[finger, k] = _clip(angles[finger, k], -MAX_BEND, MAX_BEND)
    if not len(hand.recorded):
        clamp_to_joint_limits(angles, fingers.low, fingers.high)
        part_fingers(angles, rest, fingers)
    return angles


@compiled
def _moved(hand: Hand, change: Array, palm: Array, chains: Int64) -> tuple[Array, Array]:
    """Root (3,3) and translation (3,) of the left hand, whose joints are at ``palm`` (16,3), after the ``change``."""
    angle = RADIANS * np.sqrt(change[3] * change[3] + change[4] * change[4] + change[5] * change[5])
    scale = RADIANS / max(angle, 1e-12)
    rotation, root, transl = np.empty((3, 3)), np.empty((3, 3)), hand.transl.copy()
    _rotation(scale * change[3], scale * change[4], scale * change[5], angle, rotation)
    _multiply(rotation, hand.root, root)
    for i in range(3):
        transl[i] += METRES * change[i]
        for j in range(3):  # about the middle of the palm
            pivot = (palm[0, j] + palm[chains[1, 0], j] + palm[chains[2, 0], j] + palm[chains[4, 0], j]) / 4
            transl[i] += (rotation[i, j] - (i == j)) * (palm[0, j] - pivot)
    return root, transl


@compiled
def _step(
    models: tuple[Model, Model], fingers: tuple[Fingers, Fingers], hands: tuple[Hand, Hand], rest: tuple[Rest, Rest],
    pair: tuple[Posed, Posed], constraints: Constraints, count: int, towards: Array, closing: bool,
) -> tuple[Hand, Hand]:  # fmt: skip
    """The hands after one step towards the first ``count`` constraints, and where they are ``closing`` towards the
    angles ``towards`` (2,5,4) in degrees.
    """  # fmt: skip
    chains, right, left = fingers[0].chains, hands[0], hands[1]
    axes = _axes(right, fingers[0], pair[0].rotations), _axes(left, fingers[1], pair[1].rotations)
    matrix, change = np.zeros((UNKNOWNS, UNKNOWNS)), np.zeros(UNKNOWNS)
    for k in range(UNKNOWNS):
        matrix[k, k] = DAMPING
    _system(matrix, change, pair, axes, (models[0].carrier, models[1].carrier), chains, constraints, count)
    if closing:
        for finger in range(5):
            for k in range(4):
                for side in (0, 1):
                    way = (towards[side, finger, k] - hands[side].angles[finger, k]) * _DEGREE / RADIANS
                    change[6 + 20 * side + 4 * finger + k] += DAMPING * _clip(way, -CLOSING_PACE, CLOSING_PACE)
    _solve(matrix, change)
    greatest = 1e-9
    for k in range(UNKNOWNS):
        greatest = max(greatest, abs(change[k]))
    for k in range(UNKNOWNS):
        change[k] *= min(1.0, MAX_STEP / greatest)
    root, transl = _moved(left, change, pair[1].joints, chains)
    angles = _bent(right, change[6:26], rest[0], fingers[0])
    others = _bent(left, change[26:], rest[1], fingers[1])
    return (
        Hand(right.betas, right.root, angles, right.arm, right.transl, right.recorded),
        Hand(left.betas, root, others, left.arm, transl, left.recorded),
    )


@compiled
def pose(model: Model, rest: Rest, hand: Hand, fingers: Fingers, rows: Int64) -> Posed:
    """The vertices ``rows`` (R,) of a hand in its state."""
    bent = finger_rotations(hand.angles, fingers.axes)
    if len(hand.recorded):
        bare = bent.copy()
        for finger in range(5):
            for k in range(3):
                _multiply(bare[finger, k], hand.recorded[finger, k], bent[finger, k])
    return skinned(model, rest, hand.transl, hand.root, bent, hand.arm, rows)


@compiled
def _pose_both(
    models: tuple[Model, Model], rest: tuple[Rest, Rest], hands: tuple[Hand, Hand], fingers: tuple[Fingers, Fingers],
    rows: tuple[Int64, Int64],
) -> tuple[Posed, Posed]:  # fmt: skip
    right = pose(models[0], rest[0], hands[0], fingers[0], rows[0])
    return right, pose(models[1], rest[1], hands[1], fingers[1], rows[1])


@compiled
def _taking_part(
    points: Array, others: Array, distance: float, stride: int, tips: Int64, contact: Int64
) -> tuple[Int64, Int64]:
    """Vertices that take part in steps: one of ``stride`` of those near the other hand, tips, and contacts; and the
    places of the contacts among them.
    """  # fmt: skip
    taking, seen = near(points, others, distance), 0
    for vertex in range(len(points)):
        if taking[vertex]:
            taking[vertex] = seen % stride == 0
            seen += 1
    for vertex in tips:
        taking[vertex] = True
    for vertex in contact:
        taking[vertex] = True
    rows, places, count = np.empty(len(points), np.int64), np.empty(len(points), np.int64), 0
    for vertex in range(len(points)):
        places[vertex] = count
        if taking[vertex]:
            rows[count] = vertex
            count += 1
    among = np.empty(len(contact), np.int64)
    for k in range(len(contact)):
        among[k] = places[contact[k]]
    return rows[:count], among


@compiled
def _separated(hands: tuple[Hand, Hand]) -> tuple[Hand, Hand]:
    """The left hand moved ``SEPARATION`` away from the right one."""
    right, left, square, transl = hands[0], hands[1], 0.0, np.empty(3)
    for i in range(3):
        square += (left.transl[i] - right.transl[i]) * (left.transl[i] - right.transl[i])
    for i in range(3):
        way = (left.transl[i] - right.transl[i]) / max(np.sqrt(square), 1e-9)
        transl[i] = left.transl[i] + SEPARATION * way
    return right, Hand(left.betas, left.root, left.angles, left.arm, transl, left.recorded)


@compiled
def resolve(
    models: tuple[Model, Model], fingers: tuple[Fingers, Fingers], hands: tuple[Hand, Hand], contacts: Contacts,
    towards: Array, steps: int,
) -> tuple[tuple[Hand, Hand], float, float, float]:  # fmt: skip
    """The hands after the left one and both hands' fingers were moved until nothing passes through and intended
    contacts touch; then in metres the greatest depth before the last round, the greatest depth and the widest gap of
    contacts after it. With no ``steps`` hands are measured only.

    Where the angles ``towards`` (2,5,4) in degrees are not empty, fingers close towards them first, as far as the other
    hand lets them, after a round without. Recorded fingers are bent by ``MAX_BEND`` degrees at most; where that does
    not suffice, the left hand moves away.

    Points of one hand inside the other are moved out along its surface's normal; intended contacts are closed. Both are
    constraints, linear in small changes of the left hand's place and of both hands' joint angles, so each step solves
    one damped least-squares problem and then clamps the angles to the joints' limits. Steps pose only the vertices that
    lie near the other hand; the result is measured on all of them.
    """
    rest = shaped(models[0], hands[0].betas), shaped(models[1], hands[1].betas)
    every = np.arange(len(rest[0].points)), np.arange(len(rest[1].points))
    best, before, badness = hands, 0.0, np.inf
    rounds = 0 if steps == 0 else CLOSING_ROUNDS + 1 if len(towards) else 1
    for k in range(rounds):
        last = k == rounds - 1
        pair = _pose_both(models, rest, hands, fingers, every)
        right, left, tips = pair[0].points, pair[1].points, (models[0].tips, models[1].tips)
        distance, stride = (VICINITY, 1) if last else (CLOSING_REACH, CLOSING_STRIDE)
        rows, own = _taking_part(right, left, distance, stride, tips[0], contacts.right)
        others, theirs = _taking_part(left, right, distance, stride, tips[1], contacts.left)
        among = Contacts(own, theirs, contacts.first_right, contacts.first_left)
        for step in range(steps + 1 if last else CLOSING_STEPS):
            pair = _pose_both(models, rest, hands, fingers, (rows, others))
            constraints, count, depth, gap = _constraints(pair, among)
            if last:
                if step == 0:
                    before = depth
                worse = max(depth - TOLERANCE, 0.0) + 0.3 * max(gap - TOUCHING, 0.0)
                if worse < badness:
                    best, badness = hands, worse
                if step == steps or (depth <= TOLERANCE and gap <= TOUCHING):
                    break
            hands = _step(models, fingers, hands, rest, pair, constraints, count, towards, k > 0 and not last)
    depth, gap = 0.0, 0.0
    for k in range(MAX_SEPARATIONS + 1):
        _, _, depth, gap = _constraints(_pose_both(models, rest, best, fingers, every), contacts)
        if depth <= TOLERANCE or k == MAX_SEPARATIONS or steps == 0 or len(best[1].recorded) == 0:
            break
        best = _separated(best)
    return best, before, depth, gap
