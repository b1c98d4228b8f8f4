"""Kinematics of the arms that carry the hands: reach of the wrists, and ranges of motion.

The person faces a camera that looks along +z: x right in its image, y down. Shoulders are at y = z = 0, the right one
at negative x. A hand's frame (3,3) has the model's axes as columns: +x to the elbow of a right hand (-x of a left one),
+y out of the back of the hand, +z to the thumb's side. The left arm is computed as the mirror image of a right one.
Segment lengths are a mean adult's (Winter 2009); ranges of motion are rounded inwards from Boone and Azen (1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aih_gen.scenes.vectors import by_rows, cross, length
from aih_gen.typing import Array, Int64, Mask

MIRROR = np.array([-1.0, 1.0, 1.0])
MIRROR_FRAME = MIRROR[:, None] * MIRROR
"""Factor, element by element, that turns a frame or a rotation (3,3) into the other side's."""
DEGREE = np.pi / 180
SHOULDER = np.array([-0.18, 0.0, 0.0])
UPPER_ARM, FOREARM = 0.30, 0.25
"""Lengths in metres."""
MIN_REACH, MAX_REACH = 0.16, 0.98 * (UPPER_ARM + FOREARM)
"""Distances (m) from shoulder to wrist that an arm can bridge."""
HEAD = np.array([0.0, -0.24, -0.08])
"""Between the eyes."""
FLEXION, DEVIATION, PRONATION = (-58.0, 62.0), (-28.0, 18.0), (-75.0, 80.0)
"""Ranges in degrees: towards the palm, towards the thumb, palm down."""
SWIVEL = (-15.0, 95.0)
"""Range in degrees of the elbow about the line from shoulder to wrist: 0 is down, 90 outwards."""
MIN_ANGLES, MAX_ANGLES = np.array([FLEXION, DEVIATION, PRONATION, SWIVEL]).T
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
    possible: Mask  # (N,) all angles within their ranges, and the wrist within reach

    def discomfort(self) -> Array:
        """(N,) squared distance of the angles from comfortable ones, in standard deviations."""
        return (((self.angles - COMFORT[:, 0]) / COMFORT[:, 1]) ** 2).sum(1)

    def forearm(self) -> Array:
        """(N,5,3) points along the forearm, wrist first, spaced like ``ARM_RADIUS``."""
        return self.wrist[:, None] + PLACES * (self.elbow - self.wrist)[:, None]

    def mirrored(self) -> Arms:
        """The same arms on the other side."""
        return Arms(self.wrist * MIRROR, self.hand * MIRROR_FRAME, self.elbow * MIRROR, self.angles, self.possible)

    def __getitem__(self, chosen: Int64 | slice) -> Arms:
        return Arms(
            self.wrist[chosen], self.hand[chosen], self.elbow[chosen], self.angles[chosen], self.possible[chosen]
        )


def comfortable_arms(rng: np.random.Generator, count: int, wrist: Array) -> Arms:
    """``count`` right arms with their wrists at ``wrist`` (N,3), each angle sampled within its range."""
    comfortable = COMFORT[:, 0] + COMFORT[:, 1] * rng.standard_normal((count, 4))
    angles = np.minimum(np.maximum(comfortable, MIN_ANGLES), MAX_ANGLES)
    elbow, hinge, reached = _elbow(wrist, angles[:, 3:])
    elbow, hinge = elbow[..., 0].T, hinge[..., 0].T
    along = (wrist - elbow) / FOREARM
    pronation = angles[:, 2:3] * DEGREE
    back = cross(along, hinge) * np.sin(pronation) - hinge * np.cos(pronation)
    straight = np.array([-along, back, cross(back, along)]).transpose(1, 2, 0)
    return Arms(wrist, straight @ bend(angles[:, 0], angles[:, 1]), elbow, angles, reached)


def fitting_arms(wrist: Array, hand: Array, swivels: int = 8) -> Arms:
    """The most comfortable right arm for each given wrist (N,3) and hand frame (N,3,3)."""
    swivel = np.empty((len(wrist), swivels))
    swivel[:] = np.linspace(*SWIVEL, swivels)
    elbow, hinge, reached = _elbow(wrist, swivel)
    towards = np.concatenate([(elbow - wrist.T[..., None]) / FOREARM, hinge], -1)
    # In the hand's frame (x to a straight forearm, y out of the back, z to the thumb): the forearm, and its hinge.
    local = (hand.transpose(0, 2, 1) @ towards.transpose(1, 0, 2)).transpose(1, 0, 2)
    (x, y, z), (hinge_x, hinge_y, hinge_z) = local[..., :swivels], local[..., swivels:]
    flexion = -np.arcsin(np.minimum(np.maximum(y, -1), 1))
    # The back of the hand, had it no bend, is (y forearm - (0, 1, 0)) / cos(flexion), and the hinge square to the arm.
    pronation = np.arctan2(hinge_z * x - hinge_x * z, -hinge_y)
    angles = np.array([flexion / DEGREE, np.arctan2(z, x) / DEGREE, pronation / DEGREE, swivel])
    low, high, mean, deviation = (part[:, None, None] for part in (MIN_ANGLES, MAX_ANGLES, *COMFORT.T))
    possible = ((angles >= low) & (angles <= high)).all(0) & reached[:, None]
    cost = (((angles - mean) / deviation) ** 2).sum(0)
    cost[~possible] += 1e3
    best = cost.argmin(1)
    row = np.arange(len(wrist))
    return Arms(wrist, hand, elbow[:, row, best].T, angles[:, row, best].T, possible[row, best])


def arms_apart(first: Arms, second: Arms, first_hand: Array, second_hand: Array) -> Mask:
    """(N,) True where the forearms keep clear of each other and of the other hand's joints (N,J,3)."""
    a, b = (arms.forearm().transpose(2, 0, 1) for arms in (first, second))
    apart = _clear(a, b, ARM_RADIUS[:, None] + ARM_RADIUS - 0.004)
    for arm, joints in ((a, second_hand), (b, first_hand)):
        apart &= _clear(arm[..., 1:], joints.transpose(2, 0, 1), ARM_RADIUS[1:, None] + 0.006)
    return apart


def _clear(points: Array, others: Array, min_distance: Array) -> Mask:
    """(N,) True where all points (3,N,P) are farther from all others (3,N,Q) than ``min_distance`` (P,1 or Q)
    metres.
    """  # fmt: skip
    way = points[..., None] - others[:, :, None]
    way *= way
    return np.asarray((way[0] + way[1] + way[2] > min_distance * min_distance).all((1, 2)))


def _elbow(wrist: Array, swivel: Array) -> tuple[Array, Array, Mask]:
    """Elbows (3,N,S) and hinge axes (3,N,S) for wrists (N,3) and swivels (N,S) in degrees; which are in reach (N,)."""
    line = wrist - SHOULDER
    far = length(line)
    reached = (far < MAX_REACH) & (far > MIN_REACH)
    line = line.T / far
    x, y, z = line
    far = np.minimum(np.maximum(far, MIN_REACH), MAX_REACH)
    middle = (UPPER_ARM**2 - FOREARM**2 + far**2) / (2 * far)
    radius = np.sqrt(np.maximum(UPPER_ARM**2 - middle**2, 1e-9))
    # Square to the line from shoulder to wrist: down, and away from the body.
    level = np.sqrt(np.maximum(x * x + z * z, 1e-18))
    down = np.array([-x * y, level * level, -y * z]) / level
    side = np.where(z < 0, -1.0, 1.0)  # of the cross product of line and down
    outward = np.array([-z, np.zeros_like(z), x]) * (side / level)
    angle = swivel * DEGREE
    cosine, sine = np.cos(angle), np.sin(angle)
    down, outward = down[..., None], outward[..., None]
    centre = SHOULDER[:, None] + middle * line
    elbow = centre[..., None] + radius[:, None] * (cosine * down + sine * outward)
    return elbow, side[:, None] * (cosine * outward - sine * down), reached


def bend(flexion: Array, deviation: Array) -> Array:
    """(N,3,3) right hands relative to their forearms: rotated about +z by ``flexion`` (N,), after a rotation about +y
    by ``deviation`` (N,), degrees.
    """  # fmt: skip
    flexion, deviation = flexion * DEGREE, deviation * DEGREE
    c, s, cd, sd = np.cos(flexion), np.sin(flexion), np.cos(deviation), np.sin(deviation)
    return by_rows([[c * cd, -s, c * sd], [s * cd, c, s * sd], [-sd, np.zeros_like(c), cd]])
