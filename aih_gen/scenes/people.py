"""People in a scene beside its hands: the person they belong to, other people, and a hand of another person."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from aih_gen.hands.model import HandModel
from aih_gen.scenes.bodies import People, Pose, load_people
from aih_gen.scenes.body import FOREARM, HEAD
from aih_gen.scenes.gestures import FingerSolver
from aih_gen.scenes.hand_raster import HandRaster, Placed
from aih_gen.scenes.persons import Shown, person_props, sample_person
from aih_gen.scenes.props import prop
from aih_gen.scenes.scene import Camera, Prop, Skin
from aih_gen.scenes.skin import SkinRegions, sample_skin, skin_regions, thickness, vertex_albedo
from aih_gen.scenes.vectors import cross, length, unit
from aih_gen.typing import Array, Int32

ALSO_OTHERS, OTHER_HAND = 0.3, 0.14
"""Shares of scenes with people that show others beside the hands' own person, and a hand of another person."""
FOREARM_END = FOREARM + 0.012
"""Metres from the wrist to where a forearm ends that a person's upper arm continues."""
HEAD_HEIGHT = 0.24
HEAD_SIZES = (0.14, 0.42)
"""Heights of other people's heads, in image sides."""
MAX_DEPTH = 6.0
DOWN_TO_KNEES = 1.3
"""Metres from the eyes to where legs end."""
HAND_LENGTH, HAND_SIZES = 0.19, (0.09, 0.22)
"""Metres, and lengths in image sides of other people's hands."""
BEHIND_THE_BACK = np.array([[-0.24, 0.27, 0.10], [-0.03, 0.24, 0.22]])
"""Elbow and wrist (m) of the right arm of a person whose right hand the image does not show."""
MIN_BEFORE = 0.35
"""Metres before the body at least from which it hides such an arm."""
MAX_HEAD_ANGLES, MAX_EYE_ANGLES = np.array([50.0, 28.0]), np.array([22.0, 14.0])
"""Greatest rotations in degrees, aside and up or down, of head and eyes."""


@dataclass(frozen=True, eq=False)
class Company:
    """The people of a scene."""

    props: tuple[Prop, ...] = ()
    names: tuple[str, ...] = ()  # of ``Scene.shows``
    joined: bool = False  # the forearms end where the upper arms of the hands' own person begin
    blur: float = 0.0  # share of the background's


class PeopleSampler:
    """Samples the people of scenes; reads them when the first are needed."""

    def __init__(self, models: tuple[HandModel, HandModel], finger_solver: FingerSolver) -> None:
        self.models, self.finger_solver = models, finger_solver
        self._hands: list[tuple[Int32, SkinRegions]] = []

    def sample(self, rng: np.random.Generator, placed: Placed | None, skin: Skin, camera: Camera) -> Company:
        """Some people for a scene whose hands belong to a person of that skin; none where there is no room."""
        people = load_people()
        raster = HandRaster.of(placed, camera)
        own, other, hand = Company(), Company(), Company()
        if placed is not None and placed.known:
            own = _own_person(rng, people, placed, skin, camera, raster)
        if own.props:  # others stand farther away
            raster = replace(raster, farthest=max(float(mesh.vertices[:, 2].max()) for mesh in own.props))
        if not own.props or rng.random() < ALSO_OTHERS:
            other = self._other_person(rng, people, placed, camera, raster)
        if rng.random() < OTHER_HAND or not own.props + other.props:
            hand = self._other_hand(rng, camera, raster)
        props = own.props + other.props + hand.props
        names = tuple(dict.fromkeys(own.names + other.names + hand.names))
        return Company(props, names, bool(own.props), 0.3 if own.props else 0.7)

    def _other_person(
        self, rng: np.random.Generator, people: People, placed: Placed | None, camera: Camera, raster: HandRaster
    ) -> Company:
        """A person in the background, whose head is visible beside the hands; their own are small or outside."""
        skin = sample_skin(rng)
        person = sample_person(rng, people, skin.back.astype(np.float64), None, bare=rng.random() < 0.6)
        focal = float(camera.matrix[0, 0]) / camera.size
        up = np.array([0, -1.0, 0])
        if placed is not None and placed.known:
            tilt = placed.rotation @ up
            up = unit(np.array([np.clip(tilt[0], -0.25, 0.25), min(tilt[1], -0.75), np.clip(tilt[2], -0.5, 0.5)]))
        for _ in range(16):
            size = float(np.exp(rng.uniform(*np.log(HEAD_SIZES))))
            depth = min(max(focal * HEAD_HEIGHT / size, raster.farthest + 0.35), MAX_DEPTH)
            size = focal * HEAD_HEIGHT / depth
            place = np.array([rng.uniform(-0.47, 0.47), rng.uniform(-0.47, 0.2)])
            whole = place[1] + size * DOWN_TO_KNEES / HEAD_HEIGHT < 0.5
            if whole or size < 0.12 or raster.share_free(place, 0.5 * size) < 0.6:
                continue
            rotation = _standing(rng, up, place, focal)
            shift = np.array([*(place / focal * depth), depth]) - rotation @ HEAD
            eye = -rotation.T @ shift
            elbows, wrists = _hanging(rng)
            shown = Shown(people, person, _pose(rng, _target(rng, eye, eye), elbows, wrists, False), rotation, shift)
            if raster.behind(shown.points[shown.torso_vertices]):
                hands = self._hands_of(rng, replace(skin, sleeve=None), shown, elbows, wrists, raster)
                if hands is not None:
                    names = "other person", *_names_of(shown, raster), *["other hand"] * bool(hands)
                    return Company(person_props(shown, camera) + hands, names)
        return Company()

    def _hands_of(
        self, rng: np.random.Generator, skin: Skin, shown: Shown, elbows: Array, wrists: Array, raster: HandRaster
    ) -> tuple[Prop, ...] | None:
        """The hands of a person in the background, if in the image; None if large, or near the scene's own."""
        found = []
        for side, row in ((0, 1), (1, 0)):
            along = unit(elbows[row] - wrists[row]) * (1 if side == 0 else -1)
            outwards = np.array([-1.0 if side == 0 else 1.0, 0, 0]) + 0.4 * rng.normal(size=3)
            root = _frame(shown.rotation @ along, shown.rotation @ outwards)
            wrist = shown.moved(wrists[row].astype(np.float32)).astype(np.float64)
            tip = wrist - HAND_LENGTH * root[:, 0] * (1 if side == 0 else -1)
            if not raster.cells(np.stack([wrist, tip]))[2].any():
                continue
            middle, size = raster.project((wrist + tip) / 2, HAND_LENGTH)
            if size > HAND_SIZES[1] or raster.share_free(middle, 0.5 * size) < 0.8:
                return None
            found.append(self._hand(rng, side, skin, root, 0, wrist, armed=False))
        return tuple(found)

    def _other_hand(self, rng: np.random.Generator, camera: Camera, raster: HandRaster) -> Company:
        """A hand of another person, small, apart from the scene's own, its arm leading out of the image."""
        side = int(rng.integers(2))
        skin = sample_skin(rng)
        focal = float(camera.matrix[0, 0]) / camera.size
        for _ in range(6):
            extent = float(np.exp(rng.uniform(*np.log(HAND_SIZES))))
            place = rng.uniform(-0.42, 0.42, 2)
            depth = max(focal * HAND_LENGTH / extent, raster.farthest + 0.1)
            size = focal * HAND_LENGTH / depth
            if size >= 0.05 and raster.share_free(place, 0.8 * size) == 1:
                out = unit(np.array([*(place + 0.05 * rng.normal(size=2)), 0.25 * rng.normal()]))
                root = _frame(out * (1 if side == 0 else -1), rng.normal(size=3))
                where = np.array([*(place / focal * depth), depth])
                return Company((self._hand(rng, side, skin, root, 4, where, armed=True),), ("other hand",))
        return Company()

    def _hand(
        self, rng: np.random.Generator, side: int, skin: Skin, root: Array, joint: int, place: Array, armed: bool
    ) -> Prop:
        """A gesturing hand with axes ``root`` (3,3), MANO's ``joint`` at ``place`` (3,), and a forearm if ``armed``."""
        shaped = [model.shape(np.clip(rng.normal(size=10), -2, 2)) for model in self.finger_solver.skinnings]
        names = ("relaxed", "relaxed", "grasp", "flat", "fist", "point", "spread")[: 7 if armed else 3]
        angles = self.finger_solver.sample(rng, (names, names), shaped)
        fingers, skinning = self.finger_solver.joints.matrices(angles)[side], self.finger_solver.skinnings[side]
        hand = skinning.pose(shaped[side], root, fingers, np.eye(3), np.zeros(3))
        points = hand.moved(place - hand.joints[joint]).vertices.astype(np.float32)
        faces, regions = self._meshes()[side]
        if not armed:
            faces = faces[(faces < skinning.num_hand).all(1)]
        drawn = prop(points, faces, np.clip(vertex_albedo(regions, skin), 0, 1), skin.roughness, 1.0)
        return replace(drawn, vertices=points + drawn.normals * thickness(regions, skin)[:, None], closed=True)

    def _meshes(self) -> list[tuple[Int32, SkinRegions]]:
        if not self._hands:
            for model in self.models:
                faces = np.concatenate([model.faces.numpy(), model.arm_faces.numpy()]).astype(np.int32)
                self._hands.append((faces, skin_regions(model)))
        return self._hands


def _own_person(
    rng: np.random.Generator, people: People, placed: Placed, skin: Skin, camera: Camera, raster: HandRaster
) -> Company:
    """The hands' own person, where the camera sees some of them and they are behind the hands."""
    tone = skin.back.astype(np.float64) * rng.uniform(0.92, 1.08)
    person = sample_person(rng, people, tone, skin.sleeve, bare=True)
    eye = -placed.rotation.T @ placed.shift
    headless = bool(length(eye - HEAD) < 0.25)
    look_at = _target(rng, eye, placed.points.mean(0))
    wrists, elbows = (points[::-1].copy() for points in (placed.wrists, placed.elbows))  # left first
    for side in {0, 1} - set(placed.sides):
        elbows[1 - side], wrists[1 - side] = (where * [1 - 2 * side, 1, 1] for where in BEHIND_THE_BACK)
        if eye[2] > -MIN_BEFORE and _near_image(placed.rotation @ elbows[1 - side] + placed.shift, camera):
            return Company()  # only from before does the body hide where that arm ends
    pose = _pose(rng, look_at, elbows, wrists, sitting=rng.random() < (0.6 if headless else 0.3))
    shown = Shown(people, person, pose, placed.rotation, placed.shift, headless, handed=True)
    if not raster.behind(shown.points[shown.torso_vertices]):
        return Company()
    return Company(person_props(shown, camera), ("own person", *_names_of(shown, raster)))


def _names_of(shown: Shown, raster: HandRaster) -> tuple[str, ...]:
    """``face`` where the image shows an eye from the front."""
    if shown.headless:
        return ()
    eyes = shown.eyes()
    before = np.einsum("ek,k->e", eyes, shown.forward()) < 0  # the face is towards the camera
    return ("face",) * bool((before & raster.shows(eyes)).any())


def _near_image(point: Array, camera: Camera) -> bool:
    """True if a point (3,) in camera space lies in the image, or less than half its side beside it."""
    x, y, z = camera.matrix @ point
    middle = (camera.size - 1) / 2
    return bool(z > 0 and max(abs(x / z - middle), abs(y / z - middle)) < camera.size)


def _frame(along: Array, back: Array) -> Array:
    """(3,3) a hand's axes: x ``along`` (3,), y as near to ``back`` (3,) as can be."""
    x = unit(along)
    y = unit(back - (back @ x) * x)
    return np.stack([x, y, cross(x, y)], 1)


def _standing(rng: np.random.Generator, up: Array, place: Array, focal: float) -> Array:
    """(3,3) a body's axes in the camera's: upright, facing the camera or away from it."""
    facing = rng.normal(0, 38) if rng.random() < 0.8 else rng.uniform(0, 360)
    down = -up
    away = unit(np.array([place[0] / focal, 0, 1.0]))
    away = unit(away - (away @ down) * down)
    right = cross(down, away)
    c, s = np.cos(np.radians(facing)), np.sin(np.radians(facing))
    right, away = c * right + s * away, c * away - s * right
    return np.stack([right, down, away], 1)


def _hanging(rng: np.random.Generator) -> tuple[Array, Array]:
    """Elbows and wrists (2,3) of arms that hang or are bent a little, left and right."""
    out, forward = rng.uniform(0.03, 0.10, 2), rng.uniform(-0.06, 0.08, 2)
    bent = np.radians(rng.uniform(5, 95, 2))
    sides = np.array([1.0, -1.0])
    elbows = np.stack([sides * (0.19 + out), np.full(2, 0.27), -forward], 1)
    inwards = -sides * rng.uniform(0, 0.5, 2) * np.sin(bent)
    lower = np.stack([inwards, np.cos(bent), -np.sin(bent) * 0.9], 1)
    return elbows, elbows + FOREARM * lower / length(lower)[:, None]


def _target(rng: np.random.Generator, eye: Array, hands: Array) -> Array:
    """Gaze target (3,) in the body's frame: the camera at ``eye``, the hands, or a point aside."""
    kind = rng.random()
    if kind < 0.4:
        return eye + 0.06 * rng.normal(size=3)
    if kind < 0.65:
        return hands + 0.05 * rng.normal(size=3)
    aside = np.array([rng.normal(0, 0.8), rng.normal(-0.15, 0.25), -1.0])
    return HEAD + 2 * aside


def _pose(rng: np.random.Generator, target: Array, elbows: Array, wrists: Array, sitting: bool) -> Pose:
    """Pose of a person who looks at ``target`` (3,) mostly with the head, the rest with the eyes."""
    way = target - HEAD
    angles = np.degrees([np.arctan2(way[0], -way[2]), np.arctan2(way[1], np.hypot(way[0], way[2]))])
    head = np.clip(angles * rng.uniform(0.55, 0.95), -MAX_HEAD_ANGLES, MAX_HEAD_ANGLES) + rng.normal(0, 4, 2)
    eyes = np.clip(angles - head, -MAX_EYE_ANGLES, MAX_EYE_ANGLES) + rng.normal(0, 1.5, 2)
    roll = rng.normal(0, 5)
    torso = Rotation.from_euler("yxz", rng.normal(0, [5, 4, 2]), degrees=True).as_matrix()
    thigh = rng.uniform(-92, -72) if sitting else rng.normal(0, 6)
    return Pose(
        torso=torso,
        neck=_head_rotation(0.4 * head, 0.4 * roll),
        head=_head_rotation(0.6 * head, 0.6 * roll),
        eyes=_head_rotation(eyes, 0),
        legs=(_pitch_rotation(thigh), _pitch_rotation(80.0 if sitting else 4.0)),
        elbows=elbows,
        wrists=wrists,
    )


def _pitch_rotation(angle: float) -> Array:
    """(3,3) rotation about the axis from side to side, degrees."""
    return Rotation.from_euler("x", angle, degrees=True).as_matrix()


def _head_rotation(angles: Array, roll: float) -> Array:
    """(3,3) rotation to the body's left and down by ``angles`` (2,) degrees, after a roll."""
    return Rotation.from_euler("YXZ", [-angles[0], angles[1], roll], degrees=True).as_matrix()
