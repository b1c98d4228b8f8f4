"""Pairs of hands within the limits of a person's joints: gestures, an interaction, and arms that reach there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from aih_gen.hands.anatomy import FINGER_BONES, GESTURES
from aih_gen.hands.model import HandModel
from aih_gen.kernels.hands import Rest, bones
from aih_gen.scenes.body import MIRROR, MIRROR_FRAME, Arms, arms_apart, bend, comfortable_arms, fitting_arms
from aih_gen.scenes.contact import ContactQuality, Contacts, ContactSolver, Hands, HandState
from aih_gen.scenes.contact import posed as posed_hands
from aih_gen.scenes.contact_geometry import touch_distance
from aih_gen.scenes.gestures import FingerSolver, sample_gestures
from aih_gen.scenes.interactions import INDEPENDENT, INTERACTIONS, TIGHT, Interaction, contact_anchors, regions
from aih_gen.scenes.pair import PairPose, outline
from aih_gen.scenes.skinning import Posed, Skinning
from aih_gen.scenes.vectors import cross, length, rotate, rotvec_to_matrix, unit
from aih_gen.typing import Array

INDEPENDENT_SHARE = 0.1
CANDIDATES = 48
"""Arm poses tried at once for a pair."""
ROTATION_NOISE = 0.09
"""Standard deviation (radians) of the second hand's rotation about each axis."""
NEAR, FAR = 0.03, 0.22
"""Independent hands: least distance between joints, greatest between palms, in metres."""
MAX_ALIKE = 3
"""Pairs in a row with the same gestures and other arm poses."""
FREE_GESTURES = tuple(name for name in GESTURES if name != "woven")
APART = "apart"
"""The interaction of two hands well apart, the fallback where sampling fails."""
LONE = "one hand"
LONE_GESTURES = (*FREE_GESTURES, "relaxed", "relaxed", "spread", "flat")
"""A hand that is alone rests more often, or is raised."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two hands, right and left, in the frame of the person's body (see ``scenes.body``)."""

    hands: Hands
    posed: tuple[Posed, Posed]
    """Outlines of the hands (``scenes.pair.outline``)."""
    elbows: Array  # (2,3) m
    angles: Array  # (2,4) degrees: flexion, deviation and pronation of the wrist, swivel of the elbow
    interaction: str
    contacts: Contacts
    closing: Array | None = None
    """(2,5,4) degrees towards which fingers close once the hands touch."""
    quality: ContactQuality | None = None
    """Depth and gap after `PairSampler.resolve_contact`."""


@dataclass(frozen=True, eq=False)
class Gestured:
    """A hand that makes a gesture, in its own frame, with the wrist at the origin."""

    angles: Array  # (5,4) degrees
    joints: Array  # (21,3) m, MANO's and the tips
    anchor: Array  # (3,) middle of the region that touches the other hand


class PairSampler:
    """Samples pairs for one pair of hand models."""

    def __init__(self, models: tuple[HandModel, HandModel]) -> None:
        self.finger_solver = FingerSolver(models)
        self.solver = ContactSolver(self.finger_solver)
        self.outlines = outline(self.finger_solver.skinnings[0]), outline(self.finger_solver.skinnings[1])
        self.regions = regions(models[0]), regions(models[1])
        self.anchors = [
            contact_anchors(*parts) for parts in zip(self.finger_solver.skinnings, self.regions, strict=True)
        ]

    def propose(self, rng: np.random.Generator, name: str | None = None) -> Pair:
        """One pair before contact is resolved; ``name`` is the interaction, sampled by its share when absent."""
        return next(self.proposals(rng, name))

    def proposals(self, rng: np.random.Generator, name: str | None = None) -> Iterator[Pair]:
        """Pairs without end; up to ``MAX_ALIKE`` in a row share interaction and gestures, with other arm poses."""
        while True:
            interaction_name = name or _sample_interaction(rng)
            betas = _sample_betas(rng)
            swapped = bool(rng.random() < 0.5)
            interaction = (INTERACTIONS | TIGHT).get(interaction_name)
            shaped = self._shaped(betas)
            first, second = self._gestured(rng, interaction, betas, shaped)
            contacts = interaction.contacts if interaction and interaction.gap[1] == 0 else ()
            gestures = first.angles, second.angles
            for arms in _arms(rng, interaction, first, second):
                pair = self._pair(interaction_name, betas, shaped, gestures, arms, contacts, swapped)
                if interaction and interaction.laid:
                    pair = self._touching(rng, pair, interaction, 0 if swapped else 1)
                if interaction and interaction.closing:
                    pair = replace(pair, closing=_closing(rng, interaction.closing, swapped))
                yield pair

    def apart(self, rng: np.random.Generator) -> Pair:
        """A pair that never fails: relaxed hands before the shoulders, palms down."""
        betas = _sample_betas(rng)
        shaped = self._shaped(betas)
        angles = self.finger_solver.sample(rng, (("relaxed",), ("relaxed",)), shaped)
        # Fingers point forwards, away from the body.
        arm = fitting_arms(np.array([[-0.11, 0.12, -0.4]]), np.array([[[0.0, 0, 1], [0, -1, 0], [1, 0, 0]]]))
        return self._pair(APART, betas, shaped, (angles[0], angles[1]), (arm, arm.mirrored()), (), False)

    def lone(self, rng: np.random.Generator, side: int) -> PairPose:
        """One hand alone, relaxed or gesturing, in a comfortable pose of the arm."""
        betas = _sample_betas(rng)
        shaped = self._shaped(betas)
        angles = self.finger_solver.sample(rng, (LONE_GESTURES, LONE_GESTURES), shaped)
        arm = _lone_arm(rng)
        gestures = angles[side], angles[side]  # posed as a pair, of which one hand stays
        return self.plain(self._pair(LONE, betas, shaped, gestures, (arm, arm.mirrored()), (), False)).alone(side)

    def resolve_contact(self, pair: Pair) -> Pair:
        """The pair with the left hand and all fingers moved until surfaces touch but do not intersect."""
        hands, quality = self.solver.resolve_penetration(pair.hands, pair.contacts, pair.closing)
        posed = posed_hands(self.finger_solver, self.outlines, hands)
        # The left forearm rotates with its hand.
        rotation = hands[1].root @ pair.hands[1].root.T
        elbow = posed[1].joints[0] + rotation @ (pair.elbows[1] - pair.posed[1].joints[0])
        return replace(pair, hands=hands, posed=posed, elbows=np.stack([pair.elbows[0], elbow]), quality=quality)

    def plain(self, pair: Pair) -> PairPose:
        """The pair as poses that a hand model takes."""
        wrists = np.array([posed.joints[0] for posed in pair.posed])
        return pair_pose(self.outlines, pair.hands, pair.posed, unit(pair.elbows - wrists), pair.interaction)

    def _shaped(self, betas: Array) -> list[Rest]:
        return [outline.shape(betas) for outline in self.outlines]

    def _touching(self, rng: np.random.Generator, pair: Pair, interaction: Interaction, second: int) -> Pair:
        """The pair with hand ``second`` moved until it touches the other, or to the interaction's gap."""
        back = interaction.laid * pair.hands[second].root[:, 1]
        points = [posed.vertices for posed in pair.posed]
        distance = touch_distance(points[1 - second], points[second], back) + rng.uniform(*interaction.gap)
        # The left hand always moves, first or second.
        shift = min(max(distance, -0.04), 0.07) * (back if second == 1 else -back)
        hands = pair.hands[0], replace(pair.hands[1], transl=pair.hands[1].transl + shift)
        posed = pair.posed[0], pair.posed[1].moved(shift)
        return replace(pair, hands=hands, posed=posed, elbows=_left_moved(pair.elbows, shift))

    def _gestured(
        self, rng: np.random.Generator, interaction: Interaction | None, betas: Array, shaped: list[Rest]
    ) -> tuple[Gestured, Gestured]:
        """The first hand as a right one and the second as a left one."""
        names = (interaction.first, interaction.second) if interaction else (FREE_GESTURES, FREE_GESTURES)
        angles = self.finger_solver.sample(rng, names, shaped)
        fingers, last = self.finger_solver.joints.matrices(angles), FINGER_BONES[:, 2]
        gestured = []
        for k, hand in enumerate(shaped):
            rotations, joints = bones(hand.home, np.eye(3), fingers[k], FINGER_BONES)
            tips = joints[last] + rotate(hand.tips - hand.home[last], rotations[last])
            middle = joints[4]
            if interaction:
                anchor = self.anchors[k][interaction.contacts[0][k]]
                middle = anchor.middle(betas, hand.home, rotations, joints)
            every = np.concatenate([joints, tips])
            gestured.append(Gestured(angles[k], every - joints[0], middle - joints[0]))
        first, second = gestured
        return first, second

    def _pair(
        self,
        name: str,
        betas: Array,
        shaped: list[Rest],
        gestures: tuple[Array, Array],
        arms: tuple[Arms, Arms],
        contacts: tuple[tuple[str, str], ...],
        swapped: bool,
    ) -> Pair:
        """Right and left hand from the first and the second one."""
        order = (1, 0) if swapped else (0, 1)
        if swapped:
            arms = arms[0].mirrored(), arms[1].mirrored()
        first, second = (arms[k] for k in order)
        angles = np.concatenate([first.angles, second.angles])
        bends = bend(angles[:, 0], angles[:, 1]).transpose(0, 2, 1)
        right, left = (
            HandState(betas, arm.hand[0], gestures[k], wrist_bend, arm.wrist[0] - shape.home[0])
            for arm, k, wrist_bend, shape in zip(
                (first, second), order, (bends[0], bends[1] * MIRROR_FRAME), shaped, strict=True
            )
        )
        hands = right, left
        parts = tuple((self.regions[0][pair[order[0]]], self.regions[1][pair[order[1]]]) for pair in contacts)
        posed = posed_hands(self.finger_solver, self.outlines, hands, shaped)
        return Pair(hands, posed, np.concatenate([first.elbow, second.elbow]), angles, name, parts)


def pair_pose(
    outlines: tuple[Skinning, Skinning], hands: Hands, posed: tuple[Posed, Posed], elbows: Array, interaction: str
) -> PairPose:
    """Hand states as poses that a hand model takes; ``elbows`` (2,3) are unit directions from the wrists."""
    counts = [outline.num_hand for outline in outlines]
    return PairPose(
        roots=np.array([hand.root for hand in hands]),
        fingers=np.array([hand.fingers for hand in posed]),
        betas=np.array([hand.betas for hand in hands]),
        wrists=np.array([hand.joints[0] for hand in posed]),
        transl=np.array([hand.transl for hand in hands]),
        arms=np.array([hand.arm for hand in hands]),
        elbows=elbows,
        hand_points=(posed[0].vertices[: counts[0]], posed[1].vertices[: counts[1]]),
        armed=len(posed[0].vertices) > counts[0],
        interaction=interaction,
    )


def _sample_betas(rng: np.random.Generator) -> Array:
    """(10,) standard normal within two deviations."""
    return np.minimum(np.maximum(rng.normal(size=10), -2), 2)


def _closing(rng: np.random.Generator, gestures: tuple[str, str], swapped: bool) -> Array:
    """(2,5,4) degrees of the right and the left hand's fingers closed, some more than others."""
    angles = sample_gestures(rng, [(name,) for name in gestures])
    return angles[::-1] if swapped else angles


def _left_moved(points: Array, shift: Array) -> Array:
    return np.array([points[0], points[1] + shift])


_NAMES = (INDEPENDENT, *INTERACTIONS)
_SHARES = np.cumsum([INDEPENDENT_SHARE, *(interaction.share for interaction in INTERACTIONS.values())])


def _sample_interaction(rng: np.random.Generator) -> str:
    return _NAMES[int(_SHARES.searchsorted(_SHARES[-1] * rng.random(), side="right"))]


def _relative_rotations(rng: np.random.Generator, interaction: Interaction) -> Array:
    """(N,3,3) frames of a left second hand in the frame of a right first one."""
    # Along the fingers, out of the back, to the thumb's side is -x, y, z of a right hand.
    fingers, back = (direction * MIRROR for direction in interaction.orientation(rng, CANDIDATES))
    noise = rotvec_to_matrix(ROTATION_NOISE * rng.standard_normal((CANDIDATES, 3)))
    return np.asarray(noise @ np.array([fingers, back, cross(fingers, back)]).transpose(1, 2, 0))


def _wrist_offsets(
    rng: np.random.Generator, interaction: Interaction, rotations: Array, first: Array, second: Array
) -> Array:
    """(N,3) from the first wrist to the second, so that the places ``first`` and ``second`` (3,) meet."""
    back = rotations[:, :, 1]
    slip = interaction.slip * rng.standard_normal((CANDIDATES, 3))
    slip -= np.einsum("ni,ni->n", slip, back)[:, None] * back
    slip[:, 2] += np.where(rng.random(CANDIDATES) < 0.5, -interaction.offset, interaction.offset)
    return slip + first - rotations @ second


_LOW_WRIST, _HIGH_WRIST = np.array([-0.09, -0.12, -0.42]), np.array([-0.09, 0.32, -0.17])
"""Box (m) of a right wrist, which then strays sideways."""


def _arms(
    rng: np.random.Generator, interaction: Interaction | None, gesture: Gestured, other: Gestured
) -> list[tuple[Arms, Arms]]:
    """Up to ``MAX_ALIKE`` arm poses, comfortable rather: the first hand as a right one, the second as a left one."""
    wrists = _LOW_WRIST + (_HIGH_WRIST - _LOW_WRIST) * rng.random((CANDIDATES, 3))
    wrists[:, 0] += 0.06 * rng.standard_normal(CANDIDATES)
    first = comfortable_arms(rng, CANDIDATES, wrists)
    if interaction is None:
        away = wrists * MIRROR + rng.normal(0, [0.05, 0.06, 0.06], (CANDIDATES, 3))
        second = comfortable_arms(rng, CANDIDATES, away * MIRROR).mirrored()
    else:
        rotations = _relative_rotations(rng, interaction)
        hand = first.hand @ rotations
        wrist = first.wrist + rotate(
            _wrist_offsets(rng, interaction, rotations, gesture.anchor, other.anchor), first.hand
        )
        second = fitting_arms(wrist * MIRROR, hand * MIRROR_FRAME).mirrored()
    possible = np.flatnonzero(first.possible & second.possible)
    first, second = first[possible], second[possible]
    joints = _carried(first, gesture.joints), _carried(second, other.joints)
    free = arms_apart(first, second, *joints)
    if interaction is None:
        between = length(joints[0][:, ::2, None] - joints[1][:, None, ::2]).min((1, 2))
        free &= (between > NEAR) & (length(joints[0][:, 4] - joints[1][:, 4]) < FAR)
    chosen = np.flatnonzero(free)
    ease = -0.25 * (first.discomfort() + second.discomfort())[chosen]
    # The greatest of Gumbel numbers: sampled without replacement, in proportion to exp(ease).
    rows = chosen[np.argsort(-(ease + rng.gumbel(size=len(chosen))))[:MAX_ALIKE]]
    return [(first[k : k + 1], second[k : k + 1]) for k in rows]


_LONE_LOW, _LONE_HIGH = np.array([-0.17, -0.25, -0.45]), np.array([-0.17, 0.35, -0.2])
"""Box (m) of the wrist of a right hand that is alone: raised beside the head, or lowered."""


def _lone_arm(rng: np.random.Generator) -> Arms:
    """A right arm in a pose more comfortable than one that has to meet the other."""
    while True:
        wrists = _LONE_LOW + (_LONE_HIGH - _LONE_LOW) * rng.random((CANDIDATES, 3))
        wrists[:, 0] += 0.08 * rng.standard_normal(CANDIDATES)
        arms = comfortable_arms(rng, CANDIDATES, wrists)
        if arms.possible.any():
            ease = np.where(arms.possible, -0.5 * arms.discomfort(), -np.inf)
            best = int((ease + rng.gumbel(size=CANDIDATES)).argmax())
            return arms[best : best + 1]


def _carried(arms: Arms, joints: Array) -> Array:
    """(N,21,3) joints (21,3) of the hand's frame, carried to the arms' wrists."""
    return arms.wrist[:, None] + joints @ arms.hand.transpose(0, 2, 1)
