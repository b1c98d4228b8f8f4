"""The arms that carry the hands: where a person can bring a wrist, and how it is then bent.

The person faces a camera that looks along +z: x right in its picture, y down. Shoulders are at y = z = 0, the right one
at negative x. A hand's frame (3,3) has the model's axes as columns: +x to the elbow of a right hand (-x of a left one),
+y out of the back of the hand, +z to the thumb's side. The left arm is computed as the mirror image of a right one.
Segment lengths are a mean adult's (Winter 2009); ranges of motion are rounded inwards from Boone and Azen (1979).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from aih_gen.scenes.vectors import cross, length, unit

Array = NDArray[np.float64]

MIRROR = np.array([-1.0, 1.0, 1.0])
SHOULDER = np.array([-0.18, 0.0, 0.0])
UPPER_ARM, FOREARM = 0.30, 0.25
"""Lengths in metres."""
SHORTEST, LONGEST = 0.16, 0.98 * (UPPER_ARM + FOREARM)
"""Distances (m) from shoulder to wrist that an arm can bridge."""
HEAD = np.array([0.0, -0.24, -0.08])
"""Between the eyes."""
FLEXION, DEVIATION, PRONATION = (-58.0, 62.0), (-28.0, 18.0), (-75.0, 80.0)
"""Ranges in degrees: towards the palm, towards the thumb, palm down."""
SWIVEL = (-15.0, 95.0)
"""Range in degrees of the elbow about the line from shoulder to wrist: 0 is down, 90 outwards."""
LOWEST, HIGHEST = np.array([FLEXION, DEVIATION, PRONATION, SWIVEL]).T
COMFORT = np.array([[5.0, 28], [-4, 11], [15, 38], [35, 28]])
"""Mean and standard deviation in degrees of flexion, deviation, pronation and swivel."""
ARM_RADIUS = np.array([0.026, 0.030, 0.036, 0.042, 0.045])
"""Half the thickness (m) of the forearm at evenly spaced places from wrist to elbow."""
PLACES = np.linspace(0.0, 1.0, len(ARM_RADIUS))[:, None]


@dataclass(frozen=True, eq=False)
class Arms:
    """N right arms (left ones mirrored). Angles in degrees."""

    wrist: Array  # (N,3) m
    hand: Array  # (N,3,3)
    elbow: Array  # (N,3)
    angles: Array  # (N,4) flexion, deviation, pronation, swivel
    possible: NDArray[np.bool_]  # (N,) all angles within their ranges, and the wrist within reach

    def discomfort(self) -> Array:
        """(N,) how far the angles are from comfortable ones, in squared standard deviations."""
        return (((self.angles - COMFORT[:, 0]) / COMFORT[:, 1]) ** 2).sum(1)

    def bend(self) -> Array:
        """(N,3,3) the hand relative to its forearm."""
        return _bend(self.angles[:, 0], self.angles[:, 1])

    def forearm(self) -> Array:
        """(N,5,3) points along the forearm, wrist first, spaced like ``ARM_RADIUS``."""
        return self.wrist[:, None] + PLACES * (self.elbow - self.wrist)[:, None]

    def mirrored(self) -> Arms:
        """The same arms on the other side."""
        hand = self.hand * MIRROR[:, None] * MIRROR
        return Arms(self.wrist * MIRROR, hand, self.elbow * MIRROR, self.angles, self.possible)

    def __getitem__(self, chosen: NDArray[np.int64] | slice) -> Arms:
        return Arms(*(getattr(self, field.name)[chosen] for field in fields(self)))


def comfortable_arms(rng: np.random.Generator, count: int, wrist: Array) -> Arms:
    """``count`` right arms with their wrists at ``wrist`` (N,3), each angle drawn within its range."""
    angles = np.minimum(np.maximum(COMFORT[:, 0] + COMFORT[:, 1] * rng.normal(size=(count, 4)), LOWEST), HIGHEST)
    elbow, hinge, reached = _elbow(wrist, angles[:, 3:])
    elbow, hinge = elbow[:, 0], hinge[:, 0]
    along = (wrist - elbow) / FOREARM
    cosine, sine = np.cos(np.radians(angles[:, 2:3])), np.sin(np.radians(angles[:, 2:3]))
    back = -hinge * cosine + cross(along, hinge) * sine
    straight = np.stack([-along, back, cross(back, along)], -1)
    hand = straight @ _bend(angles[:, 0], angles[:, 1])
    return Arms(wrist, hand, elbow, angles, reached)


def fitting_arms(wrist: Array, hand: Array, swivels: int = 8) -> Arms:
    """The most comfortable right arm for each given wrist (N,3) and hand frame (N,3,3)."""
    swivel = np.broadcast_to(np.linspace(*SWIVEL, swivels), (len(wrist), swivels))
    elbow, hinge, reached = _elbow(wrist, swivel)
    to_elbow = (elbow - wrist[:, None]) / FOREARM
    local = to_elbow @ hand
    flexion = -np.arcsin(np.minimum(np.maximum(local[..., 1], -1), 1))
    deviation = np.arctan2(local[..., 2], local[..., 0])
    # Back of the hand, had it no bend: hand @ bend.T @ (0, 1, 0).
    sine, cosine = np.sin(flexion), np.cos(flexion)
    straight = np.stack([sine * np.cos(deviation), cosine, sine * np.sin(deviation)], -1)
    back = straight @ hand.transpose(0, 2, 1)
    pronation = np.arctan2((cross(hinge, to_elbow) * back).sum(-1), -(hinge * back).sum(-1))
    angles = np.stack([*np.degrees([flexion, deviation, pronation]), swivel], -1)
    possible = ((angles >= LOWEST) & (angles <= HIGHEST)).all(-1) & reached[:, None]
    cost = (((angles - COMFORT[:, 0]) / COMFORT[:, 1]) ** 2).sum(-1) + np.where(possible, 0, 1e3)
    best = cost.argmin(1)
    row = np.arange(len(wrist))
    return Arms(wrist, hand, elbow[row, best], angles[row, best], possible[row, best])


def arms_apart(first: Arms, second: Arms, first_hand: Array, second_hand: Array) -> NDArray[np.bool_]:
    """(N,) whether the forearms keep clear of each other, and each of the other hand's joints (N,J,3)."""
    a, b = first.forearm(), second.forearm()
    between = length(a[:, :, None] - b[:, None]) - ARM_RADIUS[:, None] - ARM_RADIUS
    apart = between.min((1, 2)) > -0.004
    for arm, joints in ((a[:, 1:], second_hand), (b[:, 1:], first_hand)):
        distance = length(arm[:, :, None] - joints[:, None])
        apart &= (distance - ARM_RADIUS[1:, None]).min((1, 2)) > 0.006
    return apart


def _elbow(wrist: Array, swivel: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Elbows (N,S,3) and hinge axes (N,S,3) for wrists (N,3) and swivels (N,S) in degrees; which are in reach (N,)."""
    line = wrist - SHOULDER
    far = length(line)[:, None]
    reached = (far[:, 0] < LONGEST) & (far[:, 0] > SHORTEST)
    line = line / far
    far = np.minimum(np.maximum(far, SHORTEST), LONGEST)
    middle = (UPPER_ARM**2 - FOREARM**2 + far**2) / (2 * far)
    radius = np.sqrt(np.maximum(UPPER_ARM**2 - middle**2, 1e-9))
    down = unit(np.array([0.0, 1.0, 0.0]) - line[:, 1:2] * line)
    outward = cross(line, down)
    outward *= np.where(outward[:, :1] > 0, -1, 1)
    angle = np.radians(swivel)[..., None]
    elbow = (SHOULDER + middle * line)[:, None] + radius[:, None] * (
        np.cos(angle) * down[:, None] + np.sin(angle) * outward[:, None]
    )
    return elbow, unit(cross(SHOULDER - elbow, wrist[:, None] - elbow)), reached


def _bend(flexion: Array, deviation: Array) -> Array:
    """(...,3,3) rotation about the hand's +z by ``flexion``, after one about +y by ``deviation`` (degrees)."""
    c, s = np.cos(np.radians(flexion)), np.sin(np.radians(flexion))
    cd, sd = np.cos(np.radians(deviation)), np.sin(np.radians(deviation))
    zero = np.zeros_like(c)
    rows = [[c * cd, -s, c * sd], [s * cd, c, s * sd], [-sd, zero, cd]]
    return np.stack([np.stack(row, -1) for row in rows], -2)
