"""Persons: identity, clothes, and their meshes as props."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aih_gen.kernels.meshes import projected_bounds
from aih_gen.scenes.bodies import ELBOW, END, HEAD_BONES, Build, People, Pose, posed, tapered
from aih_gen.scenes.mesh_cut import Cut
from aih_gen.scenes.portraits import Face, cloth_texture, eye_texture, face_texture, hair_colour
from aih_gen.scenes.scene import Camera, Prop, Sleeve
from aih_gen.typing import Array, Float32, Int32, UInt8

SKIN_ROUGHNESS, HAIR_ROUGHNESS, CLOTH_ROUGHNESS, EYE_ROUGHNESS = 0.5, 0.6, 0.95, 0.22
MIN_AWAY = 0.02
"""Metres from the camera within which no point counts."""
LONG, WHOLE = 1.98, 3.0
"""Reach of sleeves to the wrist, and past everything."""
NECKLINES = {"crew": 0.086, "wide": 0.105, "deep": 0.125, "high": 0.079, "turtleneck": 0.0}
MEN = ("buzz", "crop", "crop", "short", "short", "side part", "swept back", "receding", "curly", "bald", "side part")
WOMEN = ("bob", "long", "long", "wavy", "wavy", "fringe", "tied", "tied", "curly", "short")
AFRICAN = ("buzz", "crop", "afro", "curly", "tied", "bald")
HANGING = ("bob", "long", "wavy", "fringe")
"""Hair of which the inner side is seen."""
OPEN_MOUTHS = ("laugh", "jaw")
TEETH = np.array([0.6, 0.55, 0.46])


@dataclass(frozen=True, eq=False)
class Outfit:
    """Clothes."""

    texture: UInt8
    neck: float  # m from the neck's base
    sleeve: float  # of reach
    trousers: Array  # (3,) linear reflectance


@dataclass(frozen=True, eq=False)
class Person:
    """Identity and clothes of a person: everything but the pose."""

    first: int  # of the people
    second: int
    share: float
    expression: dict[str, float]
    tone: Array  # (3,) linear reflectance of the skin
    hair: Array  # (3,)
    style: str  # of hair; "bald" and "buzz" are painted alone
    bearded: bool
    face: Face
    eye: UInt8
    outfit: Outfit


def sample_person(rng: np.random.Generator, people: People, tone: Array, sleeve: Sleeve | None, bare: bool) -> Person:
    """A person of that skin, (3,) linear reflectance. ``sleeve`` is the cloth of the hands' own person, else absent;
    ``bare`` says whether the arms are bare where there is no such sleeve.
    """  # fmt: skip
    darkness = float(np.clip(1 - tone.mean() / 0.45, 0, 1))
    first, second = _alike(rng, people, darkness)
    woman, age = people.traits[first, 0] > 0.5, float(people.traits[first, 1])
    colour = hair_colour(rng, darkness, age)
    style = _style(rng, woman, people.traits[first, 3] > 0.5, age)
    beard = 0.0 if woman else rng.random()
    bearded = beard > 0.78
    face = Face(
        lips=float(rng.uniform(0.1, 0.6)) if woman and rng.random() < 0.5 else 0.0,
        lip_colour=tone * [0.8, 0.3, 0.33] * rng.uniform(0.8, 1.2, 3),
        brow=float(rng.uniform(0.2, 0.45) if woman else rng.uniform(0.35, 0.65)),
        stubble=0.0 if beard < 0.45 else 0.85 if bearded else float(rng.uniform(0.15, 0.75)),
        shadow=0.0 if woman else float(rng.uniform(0.02, 0.22)),
        scalp={"bald": 0.08, "buzz": 0.8, "receding": 0.75}.get(style, 0.93),
        receding={"receding": 0.02, "bald": 0.01}.get(style, 0.0),
        flush=float(rng.uniform(0.2, 0.9)) * (1 - 0.5 * darkness),
        freckles=float(rng.uniform(0.3, 1)) if darkness < 0.4 and rng.random() < 0.2 else 0.0,
        lash=float(rng.uniform(0.45, 0.75) if woman else rng.uniform(0.2, 0.45)),
        seed=int(rng.integers(2**31)),
    )
    return Person(
        first, second, float(rng.uniform(0, 0.45)), _expression(rng), tone, colour, style, bearded,
        face, eye_texture(rng, darkness), _outfit(rng, woman, sleeve, bare),
    )  # fmt: skip


def _alike(rng: np.random.Generator, people: People, darkness: float) -> tuple[int, int]:
    """Two of the people of one sex, such as skin of that darkness is frequent among."""
    african, asian, european = people.traits[:, 3:].T
    odds = european * (1.15 - darkness) ** 2 + asian * (1 - 0.6 * darkness) + african * (0.05 + darkness) ** 2
    first = int(rng.choice(len(odds), p=odds / odds.sum()))
    odds = odds * (people.traits[:, 0] == people.traits[first, 0])
    return first, int(rng.choice(len(odds), p=odds / odds.sum()))


def _style(rng: np.random.Generator, woman: bool, african: bool, age: float) -> str:
    styles = AFRICAN if african and rng.random() < 0.6 else WOMEN if woman else MEN
    style = styles[int(rng.integers(len(styles)))]
    if woman and style in ("bald", "receding", "buzz") and rng.random() < 0.9:
        return "tied"
    return "side part" if style in ("receding", "bald") and age < 0.62 else style


def _expression(rng: np.random.Generator) -> dict[str, float]:
    """A calm face mostly, sometimes one that speaks or laughs; never an exactly neutral one."""
    face = {
        "blink": max(float(rng.normal(0.24, 0.12)), 0.0),
        "squint": max(float(rng.normal(0.1, 0.2)), 0.0),
        "brows up": max(float(rng.normal(0, 0.25)), 0.0),
        "brows down": max(float(rng.normal(0, 0.25)), 0.0),
        "smile": max(float(rng.normal(0.15, 0.25)), 0.0),
        "press": max(float(rng.normal(0, 0.2)), 0.0),
        "frown": max(float(rng.normal(0, 0.2)), 0.0),
        "aside": float(np.clip(rng.normal(0, 0.12), 0, 0.4)),
    }
    kind = rng.random()
    if kind < 0.10:
        face["laugh"] = float(rng.uniform(0.5, 1.0))
    elif kind < 0.28:
        face["jaw"] = float(rng.uniform(0.05, 0.35))
        face["funnel"] = float(rng.uniform(0, 0.6))
    elif kind < 0.34:
        face["blink"] = float(rng.uniform(0.6, 1.0))
    return face


def _outfit(rng: np.random.Generator, woman: bool, sleeve: Sleeve | None, bare: bool) -> Outfit:
    names = ("crew", "crew", "wide", "high", "turtleneck") + (("deep", "wide") if woman else ("crew",))
    neck = NECKLINES[names[int(rng.integers(len(names)))]]
    kinds = ("plain", "plain", "plain", "print", "print", "buttons", "open", "checks", "blocks")
    kind = kinds[int(rng.integers(len(kinds)))]
    if sleeve is None:
        grey = rng.uniform(0.02, 0.75)
        colour = np.clip(grey * (1 + rng.uniform(0.05, 0.9) * (rng.random(3) - 0.5)), 0.01, 0.88)
        other = np.clip(rng.uniform(0.02, 0.75) + 0.3 * (rng.random(3) - 0.5), 0.01, 0.88)
        width = float(rng.uniform(0.008, 0.05)) if rng.random() < 0.2 else 0.0
        reach = float(rng.uniform(0.3, 0.75))
        reach = reach if bare else LONG
    else:
        colour, other = sleeve.colour.astype(np.float64), sleeve.stripe.astype(np.float64)
        width, reach = sleeve.stripe_width, LONG
        kind = "plain" if width or kind == "checks" else kind
    texture = cloth_texture(rng, colour.astype(np.float32), other.astype(np.float32), width, kind)
    legs = rng.uniform(0.015, 0.3) * (1 + rng.uniform(-0.25, 0.45) * np.array([-1, 0, 1]))
    return Outfit(texture, round(neck, 3), round(reach, 1), np.clip(legs, 0.01, 0.6))


class Shown:
    """A posed person before a camera: where ``rotation`` (3,3) and ``shift`` (3,) bring the body's frame to the
    camera's.

    ``headless`` is who looks through the camera. Where ``handed``, the arms end past the elbows, as other meshes
    continue them.
    """

    def __init__(
        self, people: People, person: Person, pose: Pose, rotation: Array, shift: Array, headless: bool = False,
        handed: bool = False,
    ) -> None:  # fmt: skip
        self.people, self.person, self.headless = people, person, headless
        self.build = Build.of(people, person.first, person.second, person.share, person.expression)
        self.at = posed(people, self.build, pose)
        rest = tapered(people, self.at, pose.elbows, pose.wrists) if handed else self.at.points
        self.end = ELBOW + END if handed else WHOLE
        self.rotation: Float32 = rotation.astype(np.float32)
        self.shift: Float32 = shift.astype(np.float32)
        self.points = self.moved(rest)
        """(V,3) m in the camera's frame."""
        self._normals: dict[str, Float32] = {}

    def moved(self, points: Float32) -> Float32:
        """Points (N,3) of the body's frame in the camera's."""
        return points @ self.rotation.T + self.shift

    def normals(self, part: str) -> Float32:
        """(V,3) unit normals of a part, in the camera's frame."""
        if part not in self._normals:
            self._normals[part] = self.people.normals(part, self.points)
        return self._normals[part]

    def eyes(self) -> Array:
        """(2,3) m, the middle of each eye in the camera's frame."""
        span = self.people.parts["eyes"]
        left = self.people.mean[span, 0] > 0
        return np.stack([self.points[span][side].mean(0, dtype=np.float64) for side in (left, ~left)])

    def forward(self) -> Array:
        """(3,) from the head towards where the face looks, in the camera's frame."""
        head = self.at.bones[self.people.bones.index("head"), :, :3]
        return self.rotation.astype(np.float64) @ head @ np.array([0.0, 0.0, -1.0])

    @property
    def torso_vertices(self) -> Int32:
        """Vertices that decide whether the person is before or behind other things: not the arms near the elbows."""
        return _torso_vertices(self.people, self.headless)


@lru_cache(maxsize=4)
def _torso_vertices(people: People, headless: bool) -> Int32:
    torso = (people.reach < 0.75) & (np.arange(len(people.mean)) < people.parts["eyes"].start)
    if headless:
        torso &= people.weights[:, [people.bones.index(bone) for bone in HEAD_BONES]].sum(1) < 0.3
    return np.flatnonzero(torso)[::3].astype(np.int32)


def person_props(shown: Shown, camera: Camera) -> tuple[Prop, ...]:
    """The parts of a person that an image may show, as meshes."""
    props = _skin(shown) + _clothes(shown)
    if not shown.headless:
        names = [shown.person.style] * (shown.person.style in shown.people.hair)
        names += ["full beard"] * shown.person.bearded
        props += _eyes_and_teeth(shown) + tuple(_hair(shown, name) for name in names)
    return tuple(prop for prop in props if _in_image(prop.vertices, camera))


def _in_image(vertices: Float32, camera: Camera) -> bool:
    """True if a point (N,3) lies in the image or near its border, or points lie all around it."""
    low, high = projected_bounds(vertices, camera.matrix, MIN_AWAY)
    return bool(((high > 0) & (low < camera.size)).all())


def _prop(
    shown: Shown, part: str, cut: Cut, albedo: Array, roughness: float, scatter: float = 0.0,
    texture: UInt8 | None = None, texture_coordinates: Float32 | None = None,
) -> Prop:  # fmt: skip
    count, shade = len(cut.first), cut.of(shown.people.shade)[:, None]
    return Prop(
        vertices=cut.of(shown.points),
        normals=cut.of(shown.normals(part)),
        faces=cut.faces,
        albedo=np.asarray((albedo[cut.first] if albedo.ndim > 1 else albedo) * shade, np.float32),
        roughness=np.full(count, roughness, np.float32),
        scatter=np.full(count, scatter, np.float32),
        texture=texture,
        texture_coordinates=None if texture_coordinates is None else cut.of(texture_coordinates),
        closed=part != "shirt",
    )


def _skin(shown: Shown) -> tuple[Prop, ...]:
    """Head and neck with the face's texture, and the bare parts of the rest."""
    people, person = shown.people, shown.person
    head, rest = _skin_cuts(people, person.outfit.neck, person.outfit.sleeve, shown.end)
    albedo = np.ones((len(people.mean), 3))
    albedo[people.parts["skin"]] -= people.inside[:, None] * [0.6, 0.8, 0.8]
    props = []
    if len(rest.faces):
        props.append(_prop(shown, "skin", rest, person.tone, SKIN_ROUGHNESS, 1.0))
    if not shown.headless:
        face = face_texture(people, person.face, person.tone, person.hair)
        props.append(_prop(shown, "skin", head, albedo, SKIN_ROUGHNESS, 1.0, face, people.head_coordinates))
    return tuple(props)


@lru_cache(maxsize=256)
def _skin_cuts(people: People, neck: float, sleeve: float, end: float) -> tuple[Cut, Cut]:
    """Head and neck, and other skin, each without what is well under clothes."""
    whole = people.cut("skin", -1.0, end)
    neck_of, reach = people.neck[whole.first], people.reach[whole.first]
    seen = ((neck_of < neck + 0.02) & (reach < 0.3)) | ((reach > sleeve - 0.12) & (reach > 0))
    on_head = people.weights[whole.first][:, [people.bones.index(bone) for bone in HEAD_BONES]].sum(1) > 0.3
    upper, visible = on_head[whole.faces].all(1), seen[whole.faces].any(1)
    return whole.only(whole.faces[upper]), whole.only(whole.faces[visible & ~upper])


def _clothes(shown: Shown) -> tuple[Prop, ...]:
    people, outfit = shown.people, shown.person.outfit
    shirt = people.cut("shirt", outfit.neck, min(outfit.sleeve, shown.end))
    trousers = people.cut("trousers", -1.0, WHOLE)
    return (
        _prop(shown, "shirt", shirt, np.ones(3), CLOTH_ROUGHNESS, 0.0, outfit.texture, people.cloth_coordinates),
        _prop(shown, "trousers", trousers, outfit.trousers, CLOTH_ROUGHNESS),
    )


def _eyes_and_teeth(shown: Shown) -> tuple[Prop, ...]:
    """Eyes, and teeth where the mouth is open."""
    people = shown.people
    eyes, teeth = (people.cut(part, -1.0, WHOLE) for part in ("eyes", "teeth"))
    props = [_prop(shown, "eyes", eyes, np.ones(3), EYE_ROUGHNESS, 0.0, shown.person.eye, people.eye_coordinates)]
    if not shown.person.expression.keys().isdisjoint(OPEN_MOUTHS):
        props.append(_prop(shown, "teeth", teeth, TEETH, 0.35))
    return tuple(props)


def _hair(shown: Shown, name: str) -> Prop:
    """A head of hair grown on the mean head, on this one: the part below the chin follows the body."""
    people, hair, transforms = shown.people, shown.people.hair[name], shown.at.bones.astype(np.float32)
    head, inverse = people.from_head
    affine = (inverse @ shown.build.points[head]).astype(np.float32)
    grown = hair.points @ affine[:3] + affine[3]
    on_head, on_torso = (transforms[people.bones.index(bone)] for bone in ("head", "torso"))
    points, below = (grown @ bone[:, :3].T + bone[:, 3] for bone in (on_head, on_torso))
    points += np.clip((grown[:, 1:2] + 0.14) / 0.12, 0, 1) * (below - points)
    colour = shown.person.hair * (1.1 if name == "full beard" else 1)
    return Prop(
        vertices=shown.moved(points),
        normals=hair.normals @ (shown.rotation @ on_head[:, :3]).T,
        faces=hair.faces,
        albedo=np.asarray(np.clip(hair.bright[:, None] * colour, 0, 1), np.float32),
        roughness=np.full(len(points), HAIR_ROUGHNESS, np.float32),
        scatter=np.zeros(len(points), np.float32),
        closed=name not in HANGING,
    )
