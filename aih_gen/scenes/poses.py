"""Pairs of hands that a person could hold: gestures, an interaction, and arms that can bring the hands there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.hands.anatomy import GESTURES
from aih_gen.hands.model import HandModel
from aih_gen.scenes.body import MIRROR, Arms, arms_apart, comfortable_arms, fitting_arms
from aih_gen.scenes.contact import Contacts, ContactSolver, Fit, HeldHand, way_to_touch
from aih_gen.scenes.gestures import FingerRoom
from aih_gen.scenes.interactions import INDEPENDENT, INTERACTIONS, Interaction, regions
from aih_gen.scenes.pair import PairPose
from aih_gen.scenes.skinning import Posed

Array = NDArray[np.float64]

INDEPENDENT_SHARE = 0.1
CANDIDATES = 64
"""Arm poses that are tried at once for a pair."""
TURN_NOISE = 0.09
"""Standard deviation (radians) of the second hand's turn about each axis."""
NEAR, FAR = 0.03, 0.22
"""Independent hands: least distance between joints, greatest between palms, in metres."""
MAX_TRIES = 8
FREE_GESTURES = tuple(name for name in GESTURES if name != "woven")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two held hands, right and left, in the frame of the person's body (see ``scenes.body``)."""

    hands: tuple[HeldHand, HeldHand]
    posed: tuple[Posed, Posed]
    elbows: Array  # (2,3) m
    angles: Array  # (2,4) degrees: flexion, deviation and pronation of the wrist, swivel of the elbow
    interaction: str
    contacts: Contacts
    betas: Array  # (10,) of both hands
    fit: Fit | None = None
    """How well hands and intended contacts fit, once that has been looked after."""


@dataclass(frozen=True, eq=False)
class Gestured:
    """A hand that makes a gesture, in its own frame, seen from its wrist."""

    angles: Array  # (5,4) degrees
    joints: Array  # (21,3) m, MANO's and the tips
    meets: Array  # (3,) middle of the region that meets the other hand


class PairSampler:
    """Samples pairs for one pair of hand models."""

    def __init__(self, models: tuple[HandModel, HandModel]) -> None:
        self.rooms = FingerRoom(models[0]), FingerRoom(models[1])
        self.solver = ContactSolver(self.rooms)
        self.regions = regions(models[0]), regions(models[1])

    def propose(self, rng: np.random.Generator, name: str | None = None) -> Pair:
        """One pair, hands where they would like to be; ``name`` is the interaction, drawn by its share when absent."""
        name = name or _drawn_interaction(rng)
        betas = np.clip(rng.normal(size=10), -2, 2)
        swapped = bool(rng.random() < 0.5)
        interaction = INTERACTIONS.get(name)
        first, second = self._gestured(rng, interaction, betas)
        for _ in range(MAX_TRIES):
            turn = _relative_turn(rng, interaction) if interaction else None
            away = (
                _meeting(rng, interaction, turn, first.meets, second.meets)
                if interaction and turn is not None
                else None
            )
            arms = _arms(rng, turn, away, (first.joints, second.joints))
            if arms is not None:
                contacts = interaction.contacts if interaction and interaction.gap[1] == 0 else ()
                pair = self._pair(name, betas, (first.angles, second.angles), arms, contacts, swapped)
                return (
                    self._laid(rng, pair, interaction, 0 if swapped else 1)
                    if interaction and interaction.laid
                    else pair
                )
        return self.propose(rng)

    def free(self, pair: Pair) -> Pair:
        """The pair with the left hand and the fingers moved such that surfaces touch but do not intersect."""
        hands, fit = self.solver.free(pair.hands, pair.contacts)
        moved = hands[1].transl - pair.hands[1].transl
        posed = self.solver.pose(hands[0], 0), self.solver.pose(hands[1], 1)
        return replace(pair, hands=hands, posed=posed, elbows=_left_moved(pair.elbows, moved), fit=fit)

    def plain(self, pair: Pair) -> PairPose:
        """The pair as poses that a hand model takes."""
        wrists = np.stack([posed.joints[0] for posed in pair.posed])
        away = pair.elbows - wrists
        return PairPose(
            roots=np.stack([hand.root for hand in pair.hands]),
            fingers=np.stack([r.joints.pose(hand.angles) for hand, r in zip(pair.hands, self.rooms, strict=True)]),
            betas=np.stack([pair.betas, pair.betas]),
            rest_wrists=np.stack([hand.shaped.joints[0] for hand in pair.hands]),
            transl=np.stack([hand.transl for hand in pair.hands]),
            arms=np.stack([hand.arm for hand in pair.hands]),
            elbow_directions=away / np.linalg.norm(away, axis=1, keepdims=True),
            posed=pair.posed,
            hand_vertices=self.rooms[0].skinning.num_vertices,
            interaction=pair.interaction,
        )

    def _laid(self, rng: np.random.Generator, pair: Pair, interaction: Interaction, second: int) -> Pair:
        """The pair with hand ``second`` moved until it lies on the other, or at the wanted distance."""
        back = interaction.laid * pair.hands[second].root[:, 1]
        points = [posed.vertices[kept] for posed, kept in zip(pair.posed, self.solver.kept, strict=True)]
        way = way_to_touch(points[1 - second], points[second], back) + rng.uniform(*interaction.gap)
        # The left hand is the one that moves, whichever is second.
        shift = np.clip(way, -0.04, 0.07) * (back if second == 1 else -back)
        hands = pair.hands[0], replace(pair.hands[1], transl=pair.hands[1].transl + shift)
        posed = pair.posed[0], pair.posed[1].moved(shift)
        return replace(pair, hands=hands, posed=posed, elbows=_left_moved(pair.elbows, shift))

    def _gestured(
        self, rng: np.random.Generator, interaction: Interaction | None, betas: Array
    ) -> tuple[Gestured, Gestured]:
        """The first hand as a right and the second as a left one."""
        made = []
        for which, room in enumerate(self.rooms):
            shaped = room.skinning.shape(betas)
            names = (interaction.first, interaction.second)[which] if interaction else FREE_GESTURES
            angles = room.sample(rng, names, shaped)
            turns, joints = room.skinning.bones(shaped, np.eye(3), room.joints.matrices(angles))
            meets = joints[4]
            if interaction:
                region = self.regions[which][interaction.contacts[0][which]]
                meets = room.skinning.points(shaped, turns, joints, region).mean(0)
            tips = room.skinning.points(shaped, turns, joints, room.skinning.tip_vertices)
            made.append(Gestured(angles, np.concatenate([joints, tips]) - joints[0], meets - joints[0]))
        return made[0], made[1]

    def _pair(
        self,
        name: str,
        betas: Array,
        gestures: tuple[Array, Array],
        arms: tuple[Arms, Arms],
        contacts: tuple[tuple[str, str], ...],
        swapped: bool,
    ) -> Pair:
        """Right and left hand from the first and the second one."""
        order = (1, 0) if swapped else (0, 1)
        if swapped:
            arms = arms[0].mirrored(), arms[1].mirrored()
        hands, elbows, angles = [], [], []
        for side, which in enumerate(order):
            shaped = self.rooms[side].skinning.shape(betas)
            arm = arms[which]
            bend = arm.bend()[0].T
            bend = bend if side == 0 else bend * MIRROR[:, None] * MIRROR
            hands.append(HeldHand(shaped, arm.hand[0], gestures[which], bend, arm.wrist[0] - shaped.joints[0]))
            elbows.append(arm.elbow[0])
            angles.append(arm.angles[0])
        parts = tuple((self.regions[0][pair[order[0]]], self.regions[1][pair[order[1]]]) for pair in contacts)
        posed = self.solver.pose(hands[0], 0), self.solver.pose(hands[1], 1)
        return Pair((hands[0], hands[1]), posed, np.array(elbows), np.array(angles), name, parts, betas)


def _left_moved(points: Array, shift: Array) -> Array:
    return np.stack([points[0], points[1] + shift])


def _drawn_interaction(rng: np.random.Generator) -> str:
    shares = np.array([INDEPENDENT_SHARE, *(one.share for one in INTERACTIONS.values())])
    return (INDEPENDENT, *INTERACTIONS)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def _relative_turn(rng: np.random.Generator, interaction: Interaction) -> Array:
    """(3,3) frame of a left second hand in the frame of a right first one."""
    # Along the fingers, out of the back, to the thumb's side is -x, y, z of a right hand.
    fingers, back = (direction * MIRROR for direction in interaction.turn(rng))
    noise = Rotation.from_rotvec(rng.normal(0, TURN_NOISE, 3)).as_matrix()
    return noise @ np.stack([fingers, back, np.cross(fingers, back)], -1)


def _meeting(rng: np.random.Generator, interaction: Interaction, turn: Array, first: Array, second: Array) -> Array:
    """(3,) from the first wrist to the second, so that the places ``first`` and ``second`` (3,) meet."""
    back = turn[:, 1]
    slip = rng.normal(0, interaction.slip, 3)
    aside = rng.choice([-1, 1]) * interaction.offset * np.array([0.0, 0.0, 1.0])
    return first - turn @ second + aside + slip - (slip @ back) * back


def _arms(
    rng: np.random.Generator, turn: Array | None, away: Array | None, joints: tuple[Array, Array]
) -> tuple[Arms, Arms] | None:
    """One way to hold the first hand as a right and the second as a left one; None if none of the tried is possible.

    ``turn`` (3,3) and ``away`` (3,) place the second hand in the first one's frame; where absent it goes its own way.
    """
    wrists = np.stack(
        [
            rng.normal(-0.09, 0.06, CANDIDATES),
            rng.uniform(-0.12, 0.32, CANDIDATES),
            rng.uniform(-0.42, -0.17, CANDIDATES),
        ],
        1,
    )
    first = comfortable_arms(rng, CANDIDATES, wrists)
    first_joints = _carried(first, joints[0])
    if turn is None or away is None:
        other = wrists * MIRROR + rng.normal(0, [0.05, 0.06, 0.06], (CANDIDATES, 3))
        second = comfortable_arms(rng, CANDIDATES, other * MIRROR).mirrored()
        second_joints = _carried(second, joints[1])
        between = np.linalg.norm(first_joints[:, ::2, None] - second_joints[:, None, ::2], axis=-1).min((1, 2))
        palms = np.linalg.norm(first_joints[:, 4] - second_joints[:, 4], axis=-1)
        possible = (between > NEAR) & (palms < FAR)
    else:
        hand = first.hand @ turn
        wrist = first.wrist + first.hand @ away
        mirrored = hand * MIRROR[:, None] * MIRROR
        second = fitting_arms(wrist * MIRROR, mirrored).mirrored()
        second_joints = _carried(second, joints[1])
        possible = np.ones(CANDIDATES, bool)
    possible &= first.possible & second.possible
    possible[possible] &= arms_apart(first[possible], second[possible], first_joints[possible], second_joints[possible])
    chosen = np.flatnonzero(possible)
    if not len(chosen):
        return None
    ease = np.exp(-0.25 * (first.discomfort() + second.discomfort())[chosen])
    one = chosen[rng.choice(len(chosen), 1, p=ease / ease.sum())]
    return first[one], second[one]


def _carried(arms: Arms, joints: Array) -> Array:
    """(N,21,3) joints (21,3), given in the frame of the hand, where the arms hold it."""
    return arms.wrist[:, None] + joints @ arms.hand.transpose(0, 2, 1)
