"""Hand-pair poses that a person could hold, sampled within joint limits."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.hands.anatomy import FINGER_LIMITS, GESTURES, THUMB_LIMITS, Finger, Gesture, Thumb, mano_pose
from aih_gen.hands.joints import FINGERS, mirror_axis_angle
from aih_gen.hands.model import HandModel
from aih_gen.hands.normals import VertexNormals
from aih_gen.scenes.contact import separate, surface

Array = NDArray[np.float64]

INTERACTIONS = {"near": 0.4, "touch": 0.3, "clasp": 0.3}
"""How often the hands are merely before each other, touch with a finger, or are laid together."""
WRIST_BEND, WRIST_DEVIATION = 50.0, 18.0
"""Greatest flexion/extension and sideways deviation of the wrist in degrees."""
PALM = [0, 5, 9, 17]
"""Joints whose mean is the middle of the palm."""
ARM_NEAR = 0.22
"""Metres of forearm that take part in contact."""


@dataclass(frozen=True, eq=False)
class PairPose:
    """Two posed hands in some common frame. First axis: right, left."""

    pose: NDArray[np.float32]  # (2,48)
    betas: NDArray[np.float32]  # (2,10)
    transl: Array  # (2,3) m
    arm_pose: NDArray[np.float32]  # (2,3)
    vertices: tuple[Array, Array]  # of hand and forearm, where transl puts them
    hand_vertices: int  # how many of them are the hand's; they come first
    elbow_directions: Array  # (2,3) unit, from wrist to elbow
    interaction: str

    def hands(self) -> tuple[Array, Array]:
        """The vertices without the forearms'."""
        return self.vertices[0][: self.hand_vertices], self.vertices[1][: self.hand_vertices]


def sample_gesture(rng: np.random.Generator) -> Gesture:
    """Two named gestures blended finger by finger, perturbed, and held within the joint limits."""
    names = list(GESTURES)
    first, second = (GESTURES[names[k]] for k in rng.choice(len(names), 2))
    common = rng.beta(0.4, 0.4)
    mixed: dict[str, Any] = {}
    for finger in FINGERS:
        weight = np.clip(common + rng.normal(0, 0.15), 0, 1)
        a, b = getattr(first, finger), getattr(second, finger)
        angles = {f.name: (1 - weight) * getattr(a, f.name) + weight * getattr(b, f.name) for f in fields(a)}
        mixed[finger] = _perturbed(type(a), angles, rng)
    return Gesture(**mixed)


def _perturbed(kind: type[Finger] | type[Thumb], angles: dict[str, float], rng: np.random.Generator) -> Finger | Thumb:
    highest, lowest = THUMB_LIMITS if kind is Thumb else FINGER_LIMITS
    deviation = {"spread": 4.0, "dip": 4.0}
    noisy = {name: angle + rng.normal(0, deviation.get(name, 8.0)) for name, angle in angles.items()}
    if kind is Finger:
        # The last joint follows the middle one, and a bent finger cannot be spread.
        noisy["dip"] = 0.5 * noisy["dip"] + 0.5 * 0.6 * noisy["pip"]
        noisy["spread"] *= np.clip(1 - noisy["mcp"] / 90, 0.15, 1)
    held = {name: float(np.clip(a, getattr(lowest, name), getattr(highest, name))) for name, a in noisy.items()}
    return kind(**held)


def _arm_and_wrist(rng: np.random.Generator, interaction: str) -> tuple[Rotation, Rotation]:
    """Orientation of a right hand before a person who faces the camera, and its forearm's relative to it.

    The elbow is to the right (towards -x), below, and nearer to the body than the wrist.
    """
    elbow = np.array([-0.75, 0.45, 0.45]) + rng.normal(0, 0.3, 3)
    elbow /= np.linalg.norm(elbow)
    # Hand coordinates: +x towards the elbow, +y back of the hand, +z thumb side. Thumbs are mostly up.
    palm_to_palm = interaction == "clasp"
    thumb = np.array([0.0, -1.0, 0.0]) + rng.normal(0, 0.35 if palm_to_palm else 0.8, 3)
    thumb -= (thumb @ elbow) * elbow
    thumb /= np.linalg.norm(thumb)
    forearm = Rotation.from_matrix(np.stack([elbow, np.cross(thumb, elbow), thumb], axis=1))
    bend = np.clip(rng.normal(0, 0.5), -1, 1) * WRIST_BEND
    deviation = np.clip(rng.normal(0, 0.5), -1, 1) * WRIST_DEVIATION
    wrist = Rotation.from_euler("zy", [bend, deviation], degrees=True)
    return forearm * wrist, wrist.inv()


class PairSampler:
    """Samples pairs for one pair of hand models."""

    def __init__(self, models: tuple[HandModel, HandModel]) -> None:
        self.models = models
        self.normals = [VertexNormals(torch.cat([m.faces, m.arm_faces]).numpy(), len(m.v_template)) for m in models]

    def propose(self, rng: np.random.Generator, view: Rotation) -> PairPose:
        """One pair as seen from ``view``: camera axes, right wrist at the origin, hands where they would like to be."""
        interaction = str(rng.choice(list(INTERACTIONS), p=list(INTERACTIONS.values())))
        betas = np.clip(rng.normal(size=10), -2, 2)
        both_betas = np.stack([betas, betas + rng.normal(0, 0.05, 10)]).astype(np.float32)
        pose, arm_pose = np.zeros((2, 48), np.float32), np.zeros((2, 3), np.float32)
        elbows = np.zeros((2, 3))
        for side, model in enumerate(self.models):
            hand, arm = _arm_and_wrist(rng, interaction)
            turns = np.stack([hand.as_rotvec(), arm.as_rotvec()])
            if side == 1:
                turns = mirror_axis_angle(turns)
            pose[side, :3] = (view * Rotation.from_rotvec(turns[0])).as_rotvec()
            pose[side, 3:] = mano_pose(sample_gesture(rng), model)
            arm_pose[side] = turns[1]
            forearm = Rotation.from_rotvec(pose[side, :3]) * Rotation.from_rotvec(turns[1])
            elbows[side] = forearm.apply([1.0 if side == 0 else -1.0, 0, 0])
        vertices, joints = self._pose(pose, both_betas, arm_pose)
        goal = _goal(rng, interaction, vertices, joints)
        vertices = (vertices[0], vertices[1] + goal)
        transl = np.stack([np.zeros(3), goal])
        count = self.models[0].num_vertices
        return PairPose(pose, both_betas, transl, arm_pose, vertices, count, elbows, interaction)

    def free(self, pair: PairPose) -> tuple[PairPose, float]:
        """Move the left hand until the hands do not pass through each other; also returns the depth (m) left over."""
        surfaces = []
        for side in (0, 1):
            points = pair.vertices[side]
            normals = self.normals[side](points[None])[0]
            kept = np.linalg.norm(points - pair.transl[side], axis=1) < ARM_NEAR
            surfaces.append(surface(points[kept], normals[kept]))
        shift, left_over = separate(surfaces[0], surfaces[1])
        vertices = (pair.vertices[0], pair.vertices[1] + shift)
        transl = np.stack([pair.transl[0], pair.transl[1] + shift])
        return replace(pair, transl=transl, vertices=vertices), left_over

    def _pose(
        self, pose: NDArray[np.float32], betas: NDArray[np.float32], arm_pose: NDArray[np.float32]
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        vertices, joints = [], []
        for side, model in enumerate(self.models):
            one = [torch.from_numpy(array[side : side + 1]) for array in (pose, betas, arm_pose)]
            with torch.no_grad():
                out = model(one[0], one[1], arm_pose=one[2])
            vertices.append(torch.cat([out.vertices, out.arm_vertices], 1)[0].numpy().astype(np.float64))
            joints.append(out.joints[0].numpy().astype(np.float64))
        return (vertices[0], vertices[1]), (joints[0], joints[1])


def _goal(
    rng: np.random.Generator, interaction: str, vertices: tuple[Array, Array], joints: tuple[Array, Array]
) -> Array:
    """Where the left hand would go, were there nothing in its way."""
    palms = [joints[side][PALM].mean(0) for side in (0, 1)]
    if interaction == "near":
        offset = np.append(rng.normal(0, 0.025, 2), rng.choice([-1, 1]) * rng.uniform(0.02, 0.08))
        return palms[0] + offset - palms[1]
    if interaction == "touch":
        toucher, touched = (0, 1) if rng.random() < 0.5 else (1, 0)
        tip = joints[toucher][4 * rng.integers(1, 6)]
        near_hand = np.linalg.norm(vertices[touched] - palms[touched], axis=1) < 0.1
        spot = vertices[touched][rng.choice(np.flatnonzero(near_hand))]
        return tip - spot if toucher == 0 else spot - tip
    return palms[0] - palms[1] + rng.normal(0, 0.02, 3)
