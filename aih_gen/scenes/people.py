"""Who is to be seen in a scene beside its hands: the person they belong to, other people, and a hand of theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from aih_gen.hands.model import HandModel
from aih_gen.scenes.bodies import People, Pose, load_people
from aih_gen.scenes.body import FOREARM, HEAD
from aih_gen.scenes.gestures import FingerSolver
from aih_gen.scenes.pair import PairPose
from aih_gen.scenes.persons import Shown, person_props, sample_person
from aih_gen.scenes.props import prop
from aih_gen.scenes.scene import Camera, Prop, Skin
from aih_gen.scenes.skin import SkinRegions, sample_skin, skin_regions, thickness, vertex_albedo
from aih_gen.scenes.skinning import bone_transforms, bones
from aih_gen.scenes.vectors import cross, length, unit
from aih_gen.typing import Array, Floating, Int32, Int64, Mask

ALSO_OTHERS, OTHER_HAND = 0.3, 0.14
"""How often scenes with people show others beside the hands' own person, and a hand of another person."""
FOREARM_END = FOREARM + 0.012
"""Metres from the wrist to where a forearm ends that a person's upper arm continues."""
CELLS = 24
"""Cells a side of the raster in which it is judged what hides what."""
OCCLUSION_TOLERANCE = 0.04
"""Metres by which a person may be before the hands: the raster is coarse."""
MIN_DEPTH = 0.18
"""Metres from the camera within which nothing of a person is drawn."""
MIN_SHOWN = 0.01
"""Share of the picture that a person must cover to be worth drawing."""
HEAD_HEIGHT = 0.24
HEAD_SIZES = (0.14, 0.42)
"""Heights of other people's heads, in image sides."""
MAX_DEPTH = 6.0
DOWN_TO_KNEES = 1.3
"""Metres from the eyes to where legs end."""
HAND_LENGTH, HAND_SIZES = 0.19, (0.09, 0.22)
"""Metres, and lengths in image sides of other people's hands."""
BEHIND_THE_BACK = np.array([[-0.24, 0.27, 0.10], [-0.03, 0.24, 0.22]])
"""Elbow and wrist (m) of the right arm of a person whose right hand the picture does not show."""
MIN_BEFORE = 0.35
"""Metres before the body at least from which it hides such an arm."""
MAX_HEAD_ANGLES, MAX_EYE_ANGLES = np.array([50.0, 28.0]), np.array([22.0, 14.0])
"""Greatest turns in degrees, aside and up or down, of head and eyes."""


@dataclass(frozen=True, eq=False)
class Placed:
    """The hands' person before the camera, in the frame of ``scenes.body``. First axes: right, left."""

    rotation: Array  # (3,3) from the body's axes to the camera's
    shift: Array  # (3,) m
    wrists: Array  # (2,3) m
    elbows: Array  # (2,3) m
    points: Array  # (N,3) m of the hands and most of the forearms
    known: bool  # whether this is a body's frame, and forearms are drawn that lead to its elbows
    sides: tuple[int, ...] = (0, 1)  # which hands are there

    @classmethod
    def of(cls, pair: PairPose, rotation: Array, shift: Array, known: bool) -> Placed:
        """Where a pair's person is that a view turns and moves so, as far as their body's frame is ``known``."""
        elbows = pair.wrists + FOREARM * pair.elbows
        along = np.linspace(0, 0.7, 6)[:, None, None]
        arms = (pair.wrists + along * FOREARM * pair.elbows)[:, list(pair.sides)].reshape(-1, 3)
        points = np.concatenate([*pair.points(), *([arms] if pair.armed else [])])
        return cls(rotation, shift, pair.wrists, elbows, points, known and pair.armed, pair.sides)


@dataclass(frozen=True, eq=False)
class Company:
    """The people of a scene."""

    props: tuple[Prop, ...] = ()
    names: tuple[str, ...] = ()  # of ``Scene.shows``
    joined: bool = False  # whether the forearms end where the upper arms of the hands' own person begin
    blur: float = 0.0  # share of the background's


class PeopleSampler:
    """Samples the people of scenes; reads them when the first are needed."""

    def __init__(self, models: tuple[HandModel, HandModel], finger_solver: FingerSolver) -> None:
        self.models, self.finger_solver = models, finger_solver
        self._hands: list[tuple[Int32, SkinRegions]] = []

    def sample(self, rng: np.random.Generator, placed: Placed | None, skin: Skin, camera: Camera) -> Company:
        """Some people for a scene whose hands belong to a person of that skin; nobody where there is no room."""
        people = load_people()
        hidden = _Raster.of(placed, camera)
        own, other, hand = Company(), Company(), Company()
        if placed is not None and placed.known:
            own = _own_person(rng, people, placed, skin, camera, hidden)
        if own.props:  # others stand farther away
            hidden = replace(hidden, farthest=max(float(one.vertices[:, 2].max()) for one in own.props))
        if not own.props or rng.random() < ALSO_OTHERS:
            other = self._other_person(rng, people, placed, camera, hidden)
        if rng.random() < OTHER_HAND or not own.props + other.props:
            hand = self._other_hand(rng, camera, hidden)
        props = own.props + other.props + hand.props
        names = tuple(dict.fromkeys(own.names + other.names + hand.names))
        return Company(props, names, bool(own.props), 0.3 if own.props else 0.7)

    def _other_person(
        self, rng: np.random.Generator, people: People, placed: Placed | None, camera: Camera, hidden: _Raster
    ) -> Company:
        """Somebody in the background, whose head is to be seen beside the hands; their own are small or outside."""
        skin = sample_skin(rng)
        person = sample_person(rng, people, skin.back.astype(np.float64), None, bare=rng.random() < 0.6)
        focal = float(camera.matrix[0, 0]) / camera.size
        up = np.array([0, -1.0, 0])
        if placed is not None and placed.known:
            tilt = placed.rotation @ up
            up = unit(np.array([np.clip(tilt[0], -0.25, 0.25), min(tilt[1], -0.75), np.clip(tilt[2], -0.5, 0.5)]))
        for _ in range(16):
            size = float(np.exp(rng.uniform(*np.log(HEAD_SIZES))))
            depth = min(max(focal * HEAD_HEIGHT / size, hidden.farthest + 0.35), MAX_DEPTH)
            size = focal * HEAD_HEIGHT / depth
            place = np.array([rng.uniform(-0.47, 0.47), rng.uniform(-0.47, 0.2)])
            whole = place[1] + size * DOWN_TO_KNEES / HEAD_HEIGHT < 0.5
            if whole or size < 0.12 or hidden.share_free(place, 0.5 * size) < 0.6:
                continue
            rotation = _standing(rng, up, place, focal)
            shift = np.array([*(place / focal * depth), depth]) - rotation @ HEAD
            eye = -rotation.T @ shift
            elbows, wrists = _hanging(rng)
            shown = Shown(people, person, _pose(rng, _target(rng, eye, eye), elbows, wrists, False), rotation, shift)
            if hidden.behind(shown.points[shown.torso_vertices]):
                hands = self._hands_of(rng, replace(skin, sleeve=None), shown, elbows, wrists, hidden)
                if hands is not None:
                    names = "other person", *_names_of(shown, hidden), *["other hand"] * bool(hands)
                    return Company(person_props(shown, camera) + hands, names)
        return Company()

    def _hands_of(
        self, rng: np.random.Generator, skin: Skin, shown: Shown, elbows: Array, wrists: Array, hidden: _Raster
    ) -> tuple[Prop, ...] | None:
        """The hands of somebody in the background, as far as in the picture; None if large, or near the scene's own."""
        found = []
        for side, row in ((0, 1), (1, 0)):
            along = unit(elbows[row] - wrists[row]) * (1 if side == 0 else -1)
            outwards = np.array([-1.0 if side == 0 else 1.0, 0, 0]) + 0.4 * rng.normal(size=3)
            root = _frame(shown.rotation @ along, shown.rotation @ outwards)
            wrist = shown.moved(wrists[row].astype(np.float32)).astype(np.float64)
            tip = wrist - HAND_LENGTH * root[:, 0] * (1 if side == 0 else -1)
            if not hidden.cells(np.stack([wrist, tip]))[2].any():
                continue
            middle, size = hidden.seen((wrist + tip) / 2, HAND_LENGTH)
            if size > HAND_SIZES[1] or hidden.share_free(middle, 0.5 * size) < 0.8:
                return None
            found.append(self._hand(rng, side, skin, root, 0, wrist, armed=False))
        return tuple(found)

    def _other_hand(self, rng: np.random.Generator, camera: Camera, hidden: _Raster) -> Company:
        """A hand of somebody else, small, apart from the scene's own, its arm leading out of the picture."""
        side = int(rng.integers(2))
        skin = sample_skin(rng)
        focal = float(camera.matrix[0, 0]) / camera.size
        for _ in range(6):
            extent = float(np.exp(rng.uniform(*np.log(HAND_SIZES))))
            place = rng.uniform(-0.42, 0.42, 2)
            depth = max(focal * HAND_LENGTH / extent, hidden.farthest + 0.1)
            size = focal * HAND_LENGTH / depth
            if size >= 0.05 and hidden.share_free(place, 0.8 * size) == 1:
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
        angles = self.finger_solver.sample(rng, (names, names), self.finger_solver.at_rest(shaped))
        fingers, hand = self.finger_solver.joints.matrices(angles)[side], shaped[side]
        transl = place - bones(hand.joints, root, fingers)[1][joint]
        skinning = self.finger_solver.skinnings[side]
        frames = bone_transforms(hand.joints, root, fingers, np.eye(3), transl)
        points = skinning(hand, frames).vertices.astype(np.float32)
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
    rng: np.random.Generator, people: People, placed: Placed, skin: Skin, camera: Camera, hidden: _Raster
) -> Company:
    """The person whose hands they are, where the camera sees some of them and they are behind the hands."""
    tone = skin.back.astype(np.float64) * rng.uniform(0.92, 1.08)
    person = sample_person(rng, people, tone, skin.sleeve, bare=True)
    eye = -placed.rotation.T @ placed.shift
    headless = bool(length(eye - HEAD) < 0.25)
    look_at = _target(rng, eye, placed.points.mean(0))
    wrists, elbows = (points[::-1].copy() for points in (placed.wrists, placed.elbows))  # left first
    for side in {0, 1} - set(placed.sides):
        elbows[1 - side], wrists[1 - side] = (where * [1 - 2 * side, 1, 1] for where in BEHIND_THE_BACK)
        if eye[2] > -MIN_BEFORE and _near_picture(placed.rotation @ elbows[1 - side] + placed.shift, camera):
            return Company()  # only from before does the body hide where that arm ends
    pose = _pose(rng, look_at, elbows, wrists, sitting=rng.random() < (0.6 if headless else 0.3))
    shown = Shown(people, person, pose, placed.rotation, placed.shift, headless, handed=True)
    if not hidden.behind(shown.points[shown.torso_vertices]):
        return Company()
    return Company(person_props(shown, camera), ("own person", *_names_of(shown, hidden)))


def _names_of(shown: Shown, hidden: _Raster) -> tuple[str, ...]:
    """``face`` where the picture shows an eye from the front."""
    if shown.headless:
        return ()
    eyes = shown.eyes()
    before = np.einsum("ek,k->e", eyes, shown.forward()) < 0  # the face is turned to the camera
    return ("face",) * bool((before & hidden.shows(eyes)).any())


def _near_picture(point: Array, camera: Camera) -> bool:
    """Whether a point (3,) in camera space lies in the picture, or less than half its side beside it."""
    x, y, z = camera.matrix @ point
    middle = (camera.size - 1) / 2
    return bool(z > 0 and max(abs(x / z - middle), abs(y / z - middle)) < camera.size)


def _frame(along: Array, back: Array) -> Array:
    """(3,3) a hand's axes: x ``along`` (3,), y as near to ``back`` (3,) as can be."""
    x = unit(along)
    y = unit(back - (back @ x) * x)
    return np.stack([x, y, cross(x, y)], 1)


def _standing(rng: np.random.Generator, up: Array, place: Array, focal: float) -> Array:
    """(3,3) a body's axes in the camera's: upright, turned to the camera or away from it."""
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
    """What a person looks at, in the body's frame: the camera at ``eye``, the hands, or something aside."""
    kind = rng.random()
    if kind < 0.4:
        return eye + 0.06 * rng.normal(size=3)
    if kind < 0.65:
        return hands + 0.05 * rng.normal(size=3)
    aside = np.array([rng.normal(0, 0.8), rng.normal(-0.15, 0.25), -1.0])
    return HEAD + 2 * aside


def _pose(rng: np.random.Generator, target: Array, elbows: Array, wrists: Array, sitting: bool) -> Pose:
    """A person who looks at ``target`` (3,) mostly with the head, the rest with the eyes."""
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
    """(3,3) a turn about the axis from side to side, degrees."""
    return Rotation.from_euler("x", angle, degrees=True).as_matrix()


def _head_rotation(angles: Array, roll: float) -> Array:
    """(3,3) a turn to the body's left and down by ``angles`` (2,) degrees, after a roll."""
    return Rotation.from_euler("YXZ", [-angles[0], angles[1], roll], degrees=True).as_matrix()


@dataclass(frozen=True, eq=False)
class _Raster:
    """Depths of the hands and forearms before a camera, in cells of the picture."""

    depth: Array  # (CELLS,CELLS) m of the nearest, infinite where there is nothing
    farthest: float  # m
    matrix: Array  # (3,3) px
    size: int

    @classmethod
    def of(cls, placed: Placed | None, camera: Camera) -> _Raster:
        depth = np.full((CELLS, CELLS), np.inf)
        matrix = camera.matrix.astype(np.float64)
        if placed is None:
            return cls(depth, 0.45, matrix, camera.size)
        points = placed.points @ placed.rotation.T + placed.shift
        raster = cls(depth, float(points[:, 2].max()), matrix, camera.size)
        row, column, inside = raster.cells(points)
        np.minimum.at(depth, (row[inside], column[inside]), points[inside, 2])
        padded = np.pad(depth, 1, constant_values=np.inf)
        near = [padded[i : i + CELLS, j : j + CELLS] for i in range(3) for j in range(3)]
        depth[:] = np.min(near, 0)
        return raster

    def cells(self, points: Array) -> tuple[Int64, Int64, Mask]:
        """Rows and columns of points (N,3), and whether the picture holds them."""
        depth = np.maximum(points[:, 2:], 1e-3)
        pixel = points[:, :2] / depth * self.matrix[[0, 1], [0, 1]] + self.matrix[:2, 2]
        place = np.floor(pixel / self.size * CELLS).astype(np.int64)
        inside = ((place >= 0) & (place < CELLS)).all(1) & (points[:, 2] > 1e-3)
        column, row = np.clip(place, 0, CELLS - 1).T
        return row, column, inside

    def behind(self, points: Floating) -> bool:
        """Whether the picture shows enough of ``points`` (N,3), none close to it and hardly any before the hands."""
        row, column, inside = self.cells(points.astype(np.float64))
        depth = points[inside, 2]
        if not len(depth) or depth.min() < MIN_DEPTH:
            return False
        cells = np.unique(row[inside] * CELLS + column[inside])
        before = depth < self.depth[row[inside], column[inside]] - OCCLUSION_TOLERANCE
        over = before & np.isfinite(self.depth[row[inside], column[inside]])
        return bool(len(cells) >= MIN_SHOWN * CELLS**2 and np.count_nonzero(over) <= 0.01 * len(depth))

    def shows(self, points: Array) -> Mask:
        """(N,) whether points (N,3) are in the picture and behind no hand."""
        row, column, inside = self.cells(points)
        return inside & (points[:, 2] < self.depth[row, column])

    def seen(self, point: Array, extent: float) -> tuple[Array, float]:
        """Where a point (3,) is, from the picture's middle, and how long ``extent`` m are there, in image sides."""
        scale = self.matrix[[0, 1], [0, 1]] / point[2]
        return (point[:2] * scale + self.matrix[:2, 2]) / self.size - 0.5, float(scale[0] * extent / self.size)

    def share_free(self, place: Array, reach: float) -> float:
        """Share without hands of the square around ``place`` (2,), from the picture's middle, in image sides."""
        low, high = (np.clip(np.floor((place + 0.5 + way * reach) * CELLS), 0, CELLS).astype(int) for way in (-1, 1))
        part = self.depth[low[1] : high[1] + 1, low[0] : high[0] + 1]
        return float(np.isinf(part).mean()) if part.size else 0.0
