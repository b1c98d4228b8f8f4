"""Two hands: limits of their joints, posing, fingers kept apart, and contact.

Angles of the fingers come as (5,4) arrays in degrees, as in ``hands.anatomy``. Where an axis of two leads, the right
hand comes first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_gen.kernels.compiled import compiled

Array = NDArray[np.float64]
Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]

MAX_CURL = 206.0
"""Greatest sum of a finger's three flexions in degrees: then its tip lies in the palm."""
DIP_SHARE, DIP_FREEDOM = 0.6, 15.0
"""The last joint follows the middle one: DIP = 0.6 PIP within 15 degrees (one tendon bends both)."""
MAX_STRAIGHTER = 40.0
"""Degrees of MCP and of PIP by which the ring finger can be straighter than both its neighbours, which pull it."""

OPEN_THUMB = (0.0, -12.0, -6.0, -10.0)
"""Opposition, adduction, MCP and IP flexion of a thumb that points away from every finger."""
MAX_OVERLAP = 0.0015
"""Depth (m) to which capsules may overlap: they are thicker than the fingers between the joints."""
LEVER = 0.05
"""Distance (m) from the knuckle at which neighbouring fingers meet."""
PARTING_STEPS = 8
POINTS = 5
"""Points along a bone that are compared with other bones' capsules."""

VICINITY = 0.013
"""Vertices at least this near (m) to the other hand take part in the steps."""
MAX_DEPTH = 0.012
"""A point farther than this (m) from a surface is taken to be outside it: half a hand's thickness."""
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

_DEGREE = np.pi / 180
_BUCKETS = 4096
"""Of a table of cells: a power of two."""
_BLOCK = 16
"""Vertices that are compared, or passed over, together."""


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
    """How the fingers of a right and a left hand bend, and how thick they are."""

    axes: Array  # (2,5,4,3) unit, of the joint angles
    low: Array  # (5,4) degrees
    high: Array  # (5,4)
    radius: Array  # (2,5,3) m, of the bones' capsules


class Hands(NamedTuple):
    """Shape, pose and place of two hands."""

    betas: Array  # (2,10)
    roots: Array  # (2,3,3)
    angles: Array  # (2,5,4) degrees
    arms: Array  # (2,3,3) forearms relative to the hands
    transl: Array  # (2,3) m
    recorded: Array  # (2,5,3,3,3) rotations of recorded fingers, which ``angles`` bend further; (0,...) where none are


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


# Joint angles and their limits


@compiled
def spread_range(mcp: float) -> float:
    """Share of the range of spreading that is left at a knuckle's flexion in degrees."""
    return min(max(1 - mcp / 90, 0.1), 1.0)


@compiled
def clamp_to_joint_limits(angles: Array, low: Array, high: Array) -> None:
    """Bring ``angles`` (N,5,4) to the nearest ones within the limits and couplings of the fingers."""
    for hand in angles:
        for finger in range(5):
            for k in range(4):
                hand[finger, k] = min(max(hand[finger, k], low[finger, k]), high[finger, k])
        for k in (1, 2):
            hand[3, k] = max(hand[3, k], min(hand[2, k], hand[4, k]) - MAX_STRAIGHTER)
        for finger in range(1, 5):
            spread, mcp, pip, dip = hand[finger]
            follows = DIP_SHARE * pip
            dip = min(max(dip, follows - DIP_FREEDOM), follows + DIP_FREEDOM)
            share = min(1.0, (MAX_CURL - mcp) / max(pip + dip, 1.0))
            hand[finger, 2], hand[finger, 3] = share * pip, share * dip
            # Collateral ligaments are tight in bent knuckles: a bent finger cannot be spread.
            room = spread_range(mcp)
            hand[finger, 0] = min(max(spread, room * low[finger, 0]), room * high[finger, 0])
            for k in range(4):
                hand[finger, k] = min(max(hand[finger, k], low[finger, k]), high[finger, k])


@compiled
def perturb(angles: Array, noise: Array, low: Array, high: Array) -> None:
    """Add ``noise`` to ``angles``, (N,5,4) both, as far as the limits of the joints let it; bent fingers spread less."""
    for hand in range(len(angles)):
        for finger in range(5):
            room = spread_range(angles[hand, finger, 1]) if finger else 1.0
            for k in range(4):
                angles[hand, finger, k] += noise[hand, finger, k] * (1.0 if k else room)
    clamp_to_joint_limits(angles, low, high)


# Posing


@compiled
def _turn(axis: Array, degrees: float, out: Array) -> None:
    """Rotation (3,3) about a unit axis (3,)."""
    x, y, z = axis
    angle = degrees * _DEGREE
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
    """(N,5,3,3,3) rotation of each bone relative to the one before, for ``angles`` (N,5,4) in degrees about ``axes``
    (N,5,4,3).
    """  # fmt: skip
    rotations, aside, bent = np.empty((len(angles), 5, 3, 3, 3)), np.empty((3, 3)), np.empty((3, 3))
    for hand in range(len(angles)):
        for finger in range(5):
            _turn(axes[hand, finger, 0], angles[hand, finger, 0], aside)
            _turn(axes[hand, finger, 1], angles[hand, finger, 1], bent)
            _multiply(aside, bent, rotations[hand, finger, 0])
            for k in (1, 2):
                _turn(axes[hand, finger, k + 1], angles[hand, finger, k + 1], rotations[hand, finger, k])
    return rotations


@compiled
def bones(home: Array, root: Array, fingers: Array, chains: Int64) -> tuple[Array, Array]:
    """Orientations (16,3,3) and joints (16,3) of a hand with joints at ``home`` (16,3) at rest, its ``root`` (3,3)
    rotated about the wrist, its ``fingers`` (5,3,3,3) relative to the bone before.
    """  # fmt: skip
    rotations, joints = np.empty((16, 3, 3)), np.empty((16, 3))
    rotations[0], joints[0] = root, home[0]
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
def shaped(model: Model, betas: Array) -> tuple[Array, Array]:
    """Vertices (V,3) and joints (16,3) at rest of the hand of ``betas`` (10,)."""
    points, joints = model.template.copy(), model.joints.copy()
    for k in range(len(betas)):
        points += betas[k] * model.shapedirs[k]
        joints += betas[k] * model.joint_shapedirs[k]
    return points, joints


@compiled
def skinned(
    model: Model, rest: Array, home: Array, rotations: Array, joints: Array, arm: Array, fingers: Array, rows: Int64
) -> tuple[Array, Array]:
    """The vertices ``rows`` (R,) of a hand and their unit normals, (R,3) each.

    At ``rest`` (V,3) its joints are at ``home`` (16,3), now at ``joints`` (16,3), with bones in ``rotations``
    (16,3,3); ``fingers`` (5,3,3,3) and ``arm`` (3,3) are the rotations relative to the bone before.
    """
    matrices, moves = np.empty((17, 3, 3)), np.empty((17, 3))
    matrices[:16] = rotations
    _multiply(rotations[0], arm, matrices[16])
    for bone in range(17):
        joint = bone % 16  # the forearm rotates about the wrist
        for i in range(3):
            moves[bone, i] = joints[joint, i]
            for j in range(3):
                moves[bone, i] -= matrices[bone, i, j] * home[joint, j]
    bends = np.zeros(135)
    if len(model.posedirs):
        for finger in range(5):
            for k in range(3):
                start = 9 * (model.chains[finger, k] - 1)
                for i in range(9):
                    bends[start + i] = fingers[finger, k, i // 3, i % 3] - (i % 4 == 0)
    vertices, normals = np.empty((len(rows), 3)), np.empty((len(rows), 3))
    blended, moved = np.empty((3, 3)), np.empty(3)
    for row in range(len(rows)):
        vertex = rows[row]
        x, y, z = rest[vertex]
        if len(model.posedirs):
            for k in range(135):
                x += model.posedirs[vertex, 0, k] * bends[k]
                y += model.posedirs[vertex, 1, k] * bends[k]
                z += model.posedirs[vertex, 2, k] * bends[k]
        blended[:], moved[:] = 0, 0
        for k in range(model.first[vertex], model.first[vertex + 1]):
            bone, weight = model.bones[k], model.weights[k]
            for i in range(3):
                moved[i] += weight * moves[bone, i]
                for j in range(3):
                    blended[i, j] += weight * matrices[bone, i, j]
        u, v, w = model.normals[vertex]
        for i in range(3):
            vertices[row, i] = moved[i] + (blended[i, 0] * x + blended[i, 1] * y + blended[i, 2] * z)
            normals[row, i] = blended[i, 0] * u + blended[i, 1] * v + blended[i, 2] * w
        a, b, c = normals[row]
        normals[row] /= max(np.sqrt(a * a + b * b + c * c), 1e-9)
    return vertices, normals


# Fingers apart from each other


@compiled
def _overlaps(angles: Array, home: Array, tips: Array, axes: Array, radius: Array, chains: Int64) -> Array:
    """(4,) metres by which thumb and fingers, index and middle, middle and ring, ring and little of one hand overlap;
    every bone is a capsule.
    """  # fmt: skip
    fingers = finger_rotations(angles.reshape(1, 5, 4), axes.reshape(1, 5, 4, 3))[0]
    starts, along, turned, before = np.empty((5, 3, 3)), np.empty((5, 3, 3)), np.empty((3, 3)), np.empty((3, 3))
    for finger in range(5):
        place = home[chains[finger, 0]]
        for k in range(3):
            if k == 0:
                turned[:] = fingers[finger, 0]
            else:
                _multiply(before, fingers[finger, k], turned)
            before[:] = turned
            start = home[chains[finger, k]]
            way = home[chains[finger, k + 1]] - start if k < 2 else tips[finger] - start
            if k == 2:  # a capsule ends where the finger does
                way *= 1 - radius[finger, 2] / np.sqrt(way[0] * way[0] + way[1] * way[1] + way[2] * way[2])
            starts[finger, k] = place
            for i in range(3):
                along[finger, k, i] = turned[i, 0] * way[0] + turned[i, 1] * way[1] + turned[i, 2] * way[2]
            place = place + along[finger, k]
    overlaps = np.empty(4)
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
                        u, v, w = along[other, k]
                        a, b, c = x - starts[other, k, 0], y - starts[other, k, 1], z - starts[other, k, 2]
                        on = min(max((a * u + b * v + c * w) / (u * u + v * v + w * w), 0.0), 1.0)
                        a, b, c = a - on * u, b - on * v, c - on * w
                        distance = np.sqrt(a * a + b * b + c * c)
                        deepest = max(deepest, radius[finger, level] + radius[other, k] - distance)
        overlaps[finger] = deepest if finger == 0 else deepest - MAX_OVERLAP
    return overlaps


@compiled
def part_fingers(angles: Array, homes: Array, tips: Array, fingers: Fingers, chains: Int64) -> Array:
    """Open thumbs and spread fingers in ``angles`` (2,5,4) just far enough; the overlaps that are left, (2,4) m.

    ``homes`` (2,16,3) and ``tips`` (2,5,3) are the hands' joints and finger tips at rest.
    """
    left = np.empty((2, 4))
    for side in (0, 1):
        hand = angles[side]
        home, tip, axes, radius = homes[side], tips[side], fingers.axes[side], fingers.radius[side]
        overlap = _overlaps(hand, home, tip, axes, radius, chains)
        for _ in range(PARTING_STEPS):
            if overlap.max() <= 0:
                break
            opening = min(max(overlap[0], 0.0) / 0.02, 0.3)
            for k in range(4):
                hand[0, k] += (OPEN_THUMB[k] - hand[0, k]) * opening
            # Of two fingers the outer one moves aside; ring and little finger move together.
            index, ring, little = np.maximum(overlap[1:], 0) / LEVER / _DEGREE
            hand[1, 0] += index
            hand[3, 0] += ring
            hand[4, 0] += ring + little
            clamp_to_joint_limits(hand.reshape(1, 5, 4), fingers.low, fingers.high)
            overlap = _overlaps(hand, home, tip, axes, radius, chains)
        left[side] = overlap
    return left


# Points near each other, by cells of space in a table with a fixed number of buckets


@compiled
def _bucket(x: int, y: int, z: int) -> int:
    return (x * 73856093 ^ y * 19349663 ^ z * 83492791) & (_BUCKETS - 1)


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
    """Where each bucket begins, (B+1,), in the list (N,) of the points by bucket, ascending in each."""
    begin, place = np.zeros(_BUCKETS + 1, np.int64), np.empty(len(cells), np.int64)
    for row in range(len(cells)):
        place[row] = _bucket(cells[row, 0], cells[row, 1], cells[row, 2])
        begin[place[row] + 1] += 1
    for bucket in range(_BUCKETS):
        begin[bucket + 1] += begin[bucket]
    order, filled = np.empty(len(cells), np.int64), begin.copy()
    for row in range(len(cells)):
        order[filled[place[row]]] = row
        filled[place[row]] += 1
    return begin, order


@compiled
def _bounds(points: Array, rows: Int64) -> tuple[Array, Array]:
    """Least and greatest coordinates (3,) of those ``rows`` (R,) of ``points`` (N,3)."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for row in rows:
        for k in range(3):
            low[k], high[k] = min(low[k], points[row, k]), max(high[k], points[row, k])
    return low, high


@compiled
def near(points: Array, others: Array, distance: float) -> Mask:
    """(P,) True for those of ``points`` (P,3) in a cube of side ``distance`` (m) that holds one of ``others`` (Q,3), or
    in a neighbour of one: at least all that are nearer than ``distance``.
    """  # fmt: skip
    found = np.zeros(len(points), np.bool_)
    low, _ = _bounds(others, np.arange(len(others)))
    cells, own = _cells(others, low, distance), _cells(points, low, distance)
    begin, order = _by_bucket(cells)
    most = np.zeros(3, np.int64)
    for cell in cells:
        for k in range(3):
            most[k] = max(most[k], cell[k])
    for row in range(len(points)):
        x, y, z = own[row]
        if row and x == own[row - 1, 0] and y == own[row - 1, 1] and z == own[row - 1, 2]:
            found[row] = found[row - 1]
            continue
        if min(x, y, z) < -1 or x > most[0] + 1 or y > most[1] + 1 or z > most[2] + 1:
            continue
        for neighbour in range(27):
            i, j, k = x + neighbour // 9 - 1, y + neighbour // 3 % 3 - 1, z + neighbour % 3 - 1
            bucket = _bucket(i, j, k)
            for place in range(begin[bucket], begin[bucket + 1]):
                other = order[place]
                if cells[other, 0] == i and cells[other, 1] == j and cells[other, 2] == k:
                    found[row] = True
                    break
            if found[row]:
                break
    return found


@compiled
def inside(points: Array, others: Array, normals: Array) -> tuple[Int64, Int64, Array]:
    """Indices (K,) of those of ``points`` (P,3) that lie inside the closed surface of the points ``others`` (Q,3) with
    outward unit ``normals`` (Q,3), of the surface point nearest to each, and their depths (K,) in metres.

    The depth is the distance along the nearest surface point's normal, exact for flat and nearly so for round surfaces.
    """  # fmt: skip
    deep, nearest, depths = np.empty(len(points), np.int64), np.empty(len(points), np.int64), np.empty(len(points))
    count = 0
    low, high = _bounds(others, np.arange(len(others)))
    own = _cells(points, low, MAX_DEPTH)
    begin, order = _by_bucket(_cells(others, low, MAX_DEPTH))
    for row in range(len(points)):
        x, y, z = points[row]
        outside = False
        for k in range(3):
            outside |= not low[k] - MAX_DEPTH < points[row, k] < high[k] + MAX_DEPTH
        if outside:
            continue
        best, found = MAX_DEPTH * MAX_DEPTH, -1
        for neighbour in range(27):
            bucket = _bucket(
                own[row, 0] + neighbour // 9 - 1, own[row, 1] + neighbour // 3 % 3 - 1, own[row, 2] + neighbour % 3 - 1
            )
            for place in range(begin[bucket], begin[bucket + 1]):
                other = order[place]
                a, b, c = x - others[other, 0], y - others[other, 1], z - others[other, 2]
                square = a * a + b * b + c * c
                if square < best or (square == best and other < found):
                    best, found = square, other
        if found >= 0:
            depth = 0.0
            for k in range(3):
                depth -= (points[row, k] - others[found, k]) * normals[found, k]
            if depth > 0:
                deep[count], nearest[count], depths[count] = row, found, depth
                count += 1
    return deep[:count], nearest[:count], depths[:count]


@compiled
def _closest(a: Array, b: Array, right: Int64, left: Int64) -> tuple[int, int]:
    """Those of the vertices ``right`` of points ``a`` and ``left`` of ``b`` that are closest to each other."""
    blocks = (len(left) + _BLOCK - 1) // _BLOCK
    low, high = np.empty((blocks, 3)), np.empty((blocks, 3))
    for block in range(blocks):
        low[block], high[block] = _bounds(b, left[block * _BLOCK : (block + 1) * _BLOCK])
    best, found_right, found_left = np.inf, right[0], left[0]
    for start in range(0, len(right), _BLOCK):
        some = right[start : start + _BLOCK]
        least, most = _bounds(a, some)
        for block in range(blocks):
            apart = 0.0
            for k in range(3):
                gap = max(least[k] - high[block, k], low[block, k] - most[k], 0.0)
                apart += gap * gap
            if apart >= best:
                continue
            for i in some:
                x, y, z = a[i]
                for j in left[block * _BLOCK : (block + 1) * _BLOCK]:
                    u, v, w = x - b[j, 0], y - b[j, 1], z - b[j, 2]
                    square = u * u + v * v + w * w
                    if square < best:
                        best, found_right, found_left = square, i, j
    return found_right, found_left


# Contact


@compiled
def _deepest(depths: Array) -> Int64:
    """Places of the greatest ``MAX_ROWS`` of ``depths``, greatest first; of equal ones the first."""
    chosen, count = np.empty(MAX_ROWS, np.int64), 0
    for place in range(len(depths)):
        if count == MAX_ROWS and depths[place] <= depths[chosen[count - 1]]:
            continue
        count = min(count + 1, MAX_ROWS)
        k = count - 1
        while k and depths[chosen[k - 1]] < depths[place]:
            chosen[k] = chosen[k - 1]
            k -= 1
        chosen[k] = place
    return chosen[:count]


@compiled
def _constraints(
    points: tuple[Array, Array], normals: tuple[Array, Array], contacts: Contacts
) -> tuple[Constraints, float, float]:
    """Constraints of two surfaces, the greatest depth and the widest gap, in metres."""
    most = 2 * MAX_ROWS + len(contacts.first_right)
    right, left = np.empty(most, np.int64), np.empty(most, np.int64)
    direction, distance, weight = np.empty((most, 3)), np.empty(most), np.empty(most)
    count, deepest, widest = 0, 0.0, 0.0
    for side in (0, 1):
        deep, nearest, depths = inside(points[side], points[1 - side], normals[1 - side])
        for k in _deepest(depths):
            deepest = max(deepest, depths[k])
            right[count], left[count] = (deep[k], nearest[k]) if side == 0 else (nearest[k], deep[k])
            outward = normals[1 - side][nearest[k]]
            direction[count] = outward if side == 0 else -outward
            distance[count], weight[count] = depths[k] + OVERCORRECTION, 1
            count += 1
    for pair in range(len(contacts.first_right) - 1):
        i, j = _closest(
            points[0],
            points[1],
            contacts.right[contacts.first_right[pair] : contacts.first_right[pair + 1]],
            contacts.left[contacts.first_left[pair] : contacts.first_left[pair + 1]],
        )
        apart = points[1][j] - points[0][i]
        gap = max(np.sqrt(apart[0] * apart[0] + apart[1] * apart[1] + apart[2] * apart[2]), 1e-9)
        widest = max(widest, gap)
        if gap > TOUCHING / 2:
            right[count], left[count], direction[count], distance[count], weight[count] = i, j, apart / gap, gap, PULL
            count += 1
    found = Constraints(right[:count], left[:count], direction[:count], distance[:count], weight[:count])
    return found, deepest, widest


@compiled
def _axes(hands: Hands, fingers: Fingers, rotations: Array, chains: Int64) -> Array:
    """(2,5,4,3) axes of the joint angles of hands whose bones are in ``rotations`` (2,16,3,3)."""
    axes = np.zeros((2, 5, 4, 3))
    for side in (0, 1):
        for finger in range(5):
            for k in range(4):
                axis, turned = fingers.axes[side, finger, k], np.zeros(3)
                if k and len(hands.recorded):  # which are nearer to the tip than the angles
                    recorded = hands.recorded[side, finger, k - 1]
                    for i in range(3):
                        for j in range(3):
                            turned[i] += recorded[j, i] * axis[j]
                else:
                    turned[:] = axis
                frame = rotations[side, chains[finger, k - 1] if k else 0]
                for i in range(3):
                    for j in range(3):
                        axes[side, finger, k, i] += frame[i, j] * turned[j]
    return axes


@compiled
def _by_angles(
    row: Array, factor: float, point: Array, direction: Array, carrier: int, joints: Array, axes: Array, chains: Int64
) -> None:
    """Write to ``row`` (20,) ``factor`` times the speed (m/rad) of a point along ``direction`` as each of the joint
    angles with ``axes`` (5,4,3) grows.
    """  # fmt: skip
    for finger in range(5):
        for level in range(3):
            if chains[finger, level] != carrier:
                continue
            for k in range(level + 2):
                centre, axis = joints[chains[finger, max(k - 1, 0)]], axes[finger, k]
                x, y, z = point[0] - centre[0], point[1] - centre[1], point[2] - centre[2]
                row[4 * finger + k] = factor * (
                    axis[0] * (y * direction[2] - z * direction[1])
                    + axis[1] * (z * direction[0] - x * direction[2])
                    + axis[2] * (x * direction[1] - y * direction[0])
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


class _Rest(NamedTuple):
    """Both hands at rest."""

    points: tuple[Array, Array]  # (V,3) m
    homes: Array  # (2,16,3) of the joints
    tips: Array  # (2,5,3)


class _Posed(NamedTuple):
    """Some vertices of both hands as posed."""

    rows: tuple[Int64, Int64]  # (R,) of the models' vertices
    points: tuple[Array, Array]  # (R,3) m
    normals: tuple[Array, Array]  # (R,3) unit
    rotations: Array  # (2,16,3,3) of the bones
    joints: Array  # (2,16,3) m


@compiled
def _pose(
    models: tuple[Model, Model], fingers: Fingers, hands: Hands, rest: _Rest, rows: tuple[Int64, Int64]
) -> _Posed:
    """The vertices ``rows`` (R,) of both hands."""
    bent = finger_rotations(hands.angles, fingers.axes)
    if len(hands.recorded):
        for side in (0, 1):
            for finger in range(5):
                for k in range(3):
                    joint = bent[side, finger, k].copy()
                    _multiply(joint, hands.recorded[side, finger, k], bent[side, finger, k])
    rotations, joints = np.empty((2, 16, 3, 3)), np.empty((2, 16, 3))
    for side in (0, 1):
        rotations[side], joints[side] = bones(rest.homes[side], hands.roots[side], bent[side], models[0].chains)
        joints[side] += hands.transl[side]
    points, normals = skinned(
        models[0], rest.points[0], rest.homes[0], rotations[0], joints[0], hands.arms[0], bent[0], rows[0]
    )
    others, other_normals = skinned(
        models[1], rest.points[1], rest.homes[1], rotations[1], joints[1], hands.arms[1], bent[1], rows[1]
    )
    return _Posed(rows, (points, others), (normals, other_normals), rotations, joints)


@compiled
def _step(
    models: tuple[Model, Model], fingers: Fingers, hands: Hands, rest: _Rest, posed: _Posed, constraints: Constraints,
    towards: Array,
) -> None:  # fmt: skip
    """Change ``hands`` by one step towards the constraints, and towards the angles ``towards`` (2,5,4) in degrees where
    these are not empty.
    """  # fmt: skip
    chains = models[0].chains
    palm = posed.joints[1]
    pivot = (palm[0] + palm[chains[1, 0]] + palm[chains[2, 0]] + palm[chains[4, 0]]) / 4
    axes = _axes(hands, fingers, posed.rotations, chains)
    matrix, sought, row = np.zeros((UNKNOWNS, UNKNOWNS)), np.zeros(UNKNOWNS), np.empty(UNKNOWNS)
    for k in range(UNKNOWNS):
        matrix[k, k] = DAMPING
    for n in range(len(constraints.distance)):
        right, left, direction = constraints.right[n], constraints.left[n], constraints.direction[n]
        weight = 1000 * constraints.weight[n]  # millimetres
        point, x, y, z = posed.points[1][left], direction[0], direction[1], direction[2]
        a, b, c = point - pivot
        row[:] = 0
        row[0], row[1], row[2] = -weight * METRES * x, -weight * METRES * y, -weight * METRES * z
        turning = -weight * RADIANS
        row[3], row[4], row[5] = turning * (b * z - c * y), turning * (c * x - a * z), turning * (a * y - b * x)
        carrier = models[0].carrier[posed.rows[0][right]]
        moving, turning = posed.points[0][right], weight * RADIANS
        _by_angles(row[6:26], turning, moving, direction, carrier, posed.joints[0], axes[0], chains)
        carrier = models[1].carrier[posed.rows[1][left]]
        _by_angles(row[26:], -turning, point, direction, carrier, posed.joints[1], axes[1], chains)
        for i in range(UNKNOWNS):
            if row[i] != 0:
                sought[i] += row[i] * weight * constraints.distance[n]
                for j in range(i, UNKNOWNS):
                    matrix[i, j] += row[i] * row[j]
    for side in range(len(towards)):
        for finger in range(5):
            for k in range(4):
                way = (towards[side, finger, k] - hands.angles[side, finger, k]) * _DEGREE / RADIANS
                sought[6 + 20 * side + 4 * finger + k] += DAMPING * min(max(way, -CLOSING_PACE), CLOSING_PACE)
    _solve(matrix, sought)
    sought *= min(1.0, MAX_STEP / max(np.abs(sought).max(), 1e-9))
    hands.angles[:] += sought[6:].reshape(2, 5, 4) * (RADIANS / _DEGREE)
    if len(hands.recorded):
        for side in (0, 1):
            for finger in range(5):
                for k in range(4):
                    angle = hands.angles[side, finger, k]
                    hands.angles[side, finger, k] = min(max(angle, -MAX_BEND), MAX_BEND)
    else:
        clamp_to_joint_limits(hands.angles, fingers.low, fingers.high)
        part_fingers(hands.angles, rest.homes, rest.tips, fingers, chains)
    turn = RADIANS * sought[3:6]
    angle = np.sqrt(turn[0] * turn[0] + turn[1] * turn[1] + turn[2] * turn[2])
    rotation, wrist, root = np.empty((3, 3)), palm[0], hands.roots[1].copy()
    _turn(turn / max(angle, 1e-12), angle / _DEGREE, rotation)
    _multiply(rotation, root, hands.roots[1])
    for i in range(3):
        moved = pivot[i] - wrist[i] + METRES * sought[i]
        for j in range(3):
            moved += rotation[i, j] * (wrist[j] - pivot[j])
        hands.transl[1, i] += moved


@compiled
def _rows(points: Array, others: Array, distance: float, stride: int, tips: Int64, contact: Int64) -> Int64:
    """Vertices that take part in steps: one of ``stride`` of those near the other hand, tips, and contacts."""
    taking, count = np.zeros(len(points), np.bool_), 0
    close = near(points, others, distance)
    for vertex in range(len(points)):
        if close[vertex]:
            taking[vertex] = count % stride == 0
            count += 1
    for vertex in tips:
        taking[vertex] = True
    for vertex in contact:
        taking[vertex] = True
    return np.flatnonzero(taking)


@compiled
def _renumbered(vertices: Int64, rows: Int64, count: int) -> Int64:
    """Places of ``vertices`` in ``rows``, which are some of ``count`` vertices."""
    places, found = np.empty(count, np.int64), np.empty_like(vertices)
    for place in range(len(rows)):
        places[rows[place]] = place
    for k in range(len(vertices)):
        found[k] = places[vertices[k]]
    return found


@compiled
def _vicinity(
    models: tuple[Model, Model], posed: _Posed, contacts: Contacts, distance: float, stride: int
) -> tuple[tuple[Int64, Int64], Contacts]:
    """The vertices of hands, all of them posed, that take part in steps, and the contacts among them."""
    right = _rows(posed.points[0], posed.points[1], distance, stride, models[0].tips, contacts.right)
    left = _rows(posed.points[1], posed.points[0], distance, stride, models[1].tips, contacts.left)
    among = Contacts(
        _renumbered(contacts.right, right, len(posed.points[0])),
        _renumbered(contacts.left, left, len(posed.points[1])),
        contacts.first_right,
        contacts.first_left,
    )
    return (right, left), among


@compiled
def resolve(
    models: tuple[Model, Model], fingers: Fingers, hands: Hands, contacts: Contacts, towards: Array, steps: int
) -> tuple[float, float, float]:
    """Move the left hand and both hands' fingers until nothing passes through and intended contacts touch.

    Returns in metres the greatest depth before the steps, the greatest depth and the widest gap of contacts after them;
    ``hands`` are changed. With no ``steps`` they are measured only.

    Where the angles ``towards`` (2,5,4) in degrees are not empty, fingers close towards them first, as far as the other
    hand lets them, after a round without. Recorded fingers are bent by ``MAX_BEND`` degrees at most; where that does
    not suffice, the left hand moves away.

    Points of one hand inside the other are moved out along its surface's normal; intended contacts are closed. Both are
    constraints, linear in small changes of the left hand's place and of both hands' joint angles, so each step solves
    one damped least-squares problem and then clamps the angles to the joints' limits. Steps pose only the vertices that
    lie near the other hand; the result is measured on all of them.
    """
    points, home = shaped(models[0], hands.betas[0])
    others, other_home = shaped(models[1], hands.betas[1])
    homes, tips = np.stack((home, other_home)), np.stack((points[models[0].tips], others[models[1].tips]))
    rest, every = _Rest((points, others), homes, tips), (np.arange(len(points)), np.arange(len(others)))
    for closing in range(CLOSING_ROUNDS if len(towards) else 0):
        posed = _pose(models, fingers, hands, rest, every)
        rows, among = _vicinity(models, posed, contacts, CLOSING_REACH, CLOSING_STRIDE)
        for _ in range(CLOSING_STEPS):
            posed = _pose(models, fingers, hands, rest, rows)
            constraints, _, _ = _constraints(posed.points, posed.normals, among)
            _step(models, fingers, hands, rest, posed, constraints, towards if closing else towards[:0])
    before, badness = 0.0, np.inf
    if steps:
        posed = _pose(models, fingers, hands, rest, every)
        rows, among = _vicinity(models, posed, contacts, VICINITY, 1)
        best_roots, best_angles, best_transl = hands.roots.copy(), hands.angles.copy(), hands.transl.copy()
        for step in range(steps + 1):
            posed = _pose(models, fingers, hands, rest, rows)
            constraints, depth, gap = _constraints(posed.points, posed.normals, among)
            if step == 0:
                before = depth
            worse = max(depth - TOLERANCE, 0.0) + 0.3 * max(gap - TOUCHING, 0.0)
            if worse < badness:
                best_roots[:], best_angles[:], best_transl[:] = hands.roots, hands.angles, hands.transl
                badness = worse
            if step == steps or (depth <= TOLERANCE and gap <= TOUCHING):
                break
            _step(models, fingers, hands, rest, posed, constraints, towards[:0])
        hands.roots[:], hands.angles[:], hands.transl[:] = best_roots, best_angles, best_transl
    posed = _pose(models, fingers, hands, rest, every)
    _, depth, gap = _constraints(posed.points, posed.normals, contacts)
    if steps and len(hands.recorded):
        away = hands.transl[1] - hands.transl[0]
        away /= max(np.sqrt(away[0] * away[0] + away[1] * away[1] + away[2] * away[2]), 1e-9)
        for _ in range(MAX_SEPARATIONS):
            if depth <= TOLERANCE:
                break
            hands.transl[1] += SEPARATION * away
            posed = _pose(models, fingers, hands, rest, every)
            _, depth, gap = _constraints(posed.points, posed.normals, contacts)
    return before, depth, gap
