"""Persons: who they are, what they wear, and their meshes as props."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aih_gen.scenes.bodies import ELBOW, END, Build, Cut, People, Pose, Posed, posed, tapered
from aih_gen.scenes.portraits import CLOTH_EXTENT, Face, Picture, cloth_picture, eye_picture, face_picture, hair_colour
from aih_gen.scenes.scene import Prop, Sleeve

Array = NDArray[np.float64]

SKIN_ROUGHNESS, HAIR_ROUGHNESS, CLOTH_ROUGHNESS = 0.5, 0.6, 0.95
LONG, WHOLE = 1.98, 3.0
"""Reach of sleeves to the wrist, and past everything."""
NECKLINES = {"crew": 0.086, "wide": 0.105, "deep": 0.125, "high": 0.068, "turtleneck": 0.0}
MEN = ("buzz", "crop", "crop", "short", "short", "side part", "swept back", "receding", "curly", "bald", "side part")
WOMEN = ("bob", "long", "long", "wavy", "wavy", "fringe", "tied", "tied", "curly", "short")
AFRICAN = ("buzz", "crop", "afro", "curly", "tied", "bald")
EYE_RADIUS = 0.0155


@dataclass(frozen=True, eq=False)
class Outfit:
    """Clothes."""

    picture: Picture
    neck: float  # m from the neck's base
    sleeve: float  # of reach
    trousers: Array  # (3,) linear reflectance


@dataclass(frozen=True, eq=False)
class Person:
    """Who it is: everything but the pose."""

    first: int  # of the people
    second: int
    share: float
    expression: dict[str, float]
    tone: Array  # (3,) linear reflectance of the skin
    hair: Array  # (3,)
    style: str  # of hair; "bald" and "buzz" are painted alone
    bearded: bool
    face: Picture
    eye: Picture
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
        lip_colour=tuple(float(c) for c in tone * [0.8, 0.3, 0.33] * rng.uniform(0.8, 1.2, 3)),
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
        face_picture(people, face, tone, colour), eye_picture(rng, darkness), _outfit(rng, woman, sleeve, bare),
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
        "blink": max(float(rng.normal(0.12, 0.1)), 0.0),
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
        colour, other, width, reach = sleeve.colour, sleeve.stripe, sleeve.stripe_width, LONG
        kind = "plain" if width or kind == "checks" else kind
    picture = cloth_picture(rng, colour.astype(np.float32), other.astype(np.float32), width, kind)
    legs = rng.uniform(0.015, 0.3) * (1 + rng.uniform(-0.25, 0.45) * np.array([-1, 0, 1]))
    return Outfit(picture, round(neck, 3), round(reach, 1), np.clip(legs, 0.01, 0.6))


def person_props(
    people: People, person: Person, pose: Pose, turn: Array, shift: Array, headless: bool = False, handed: bool = False
) -> tuple[Prop, ...]:
    """The person's meshes where ``turn`` (3,3) and ``shift`` (3,) bring the body's frame to the camera's.

    ``headless`` is who looks through the camera. Where ``handed``, the arms end past the elbows, as other meshes
    continue them.
    """
    build = Build.of(people, person.first, person.second, person.share, person.expression)
    at = posed(people, build, pose)
    points = tapered(people, at, pose.elbows, pose.wrists) if handed else at.points
    end = ELBOW + END if handed else WHOLE
    views = turn.astype(np.float32), shift.astype(np.float32)
    props = _skin(people, person, points, end, views, headless) + _clothes(people, person, points, end, views)
    if headless:
        return props
    props += _eyes_and_teeth(people, person, points, views)
    names = ([person.style] if person.style in people.hair else []) + ["full beard"] * person.bearded
    return props + tuple(_hair(people, person, build, at, name, views) for name in names)


Views = tuple[NDArray[np.float32], NDArray[np.float32]]


def _prop(
    people: People, part: str, cut: Cut, points: NDArray[np.float32], views: Views, albedo: Array, roughness: float,
    scatter: float = 0.0, picture: Picture | None = None, places: NDArray[np.float32] | None = None,
) -> Prop:  # fmt: skip
    span = people.parts[part]
    normals = np.zeros_like(points)
    normals[span] = people.normals[part](points[None, span])[0]
    count = len(cut.first)
    shade = cut.of(0.25 + 0.75 * people.sky)[:, None]
    return Prop(
        vertices=cut.of(points) @ views[0].T + views[1],
        normals=cut.of(normals) @ views[0].T,
        faces=cut.faces,
        albedo=np.asarray(np.broadcast_to(albedo, (len(points), 3))[cut.first] * shade, np.float32),
        roughness=np.full(count, roughness, np.float32),
        scatter=np.full(count, scatter, np.float32),
        picture=picture,
        places=None if places is None else cut.of(places),
    )


def _skin(
    people: People, person: Person, points: NDArray[np.float32], end: float, views: Views, headless: bool
) -> tuple[Prop, ...]:
    """Head and neck with the face's picture, and what clothes leave bare of the rest."""
    head, rest = _skin_cuts(people, person.outfit.neck, person.outfit.sleeve, end)
    albedo = np.ones((len(points), 3))
    span = people.parts["skin"]
    albedo[span] -= people.inside[:, None] * [0.6, 0.8, 0.8]
    props = []
    if len(rest.faces):
        props.append(_prop(people, "skin", rest, points, views, person.tone, SKIN_ROUGHNESS, 1.0))
    if not headless:
        props.append(
            _prop(people, "skin", head, points, views, albedo, SKIN_ROUGHNESS, 1.0, person.face, people.places)
        )
    return tuple(props)


@lru_cache(maxsize=128)
def _skin_cuts(people: People, neck: float, sleeve: float, end: float) -> tuple[Cut, Cut]:
    """Head and neck, and other skin, each without what is well under clothes."""
    whole = people.cut("skin", -1.0, end)
    first = whole.first
    seen = (people.neck[first] < neck + 0.02) & (people.reach[first] < 0.3) | (people.reach[first] > sleeve - 0.12) & (
        people.reach[first] > 0
    )
    on_head = people.weights[first][:, [people.bones.index("neck"), people.bones.index("head")]].sum(1) > 0.3
    shown, upper = seen[whole.faces].any(1), on_head[whole.faces].all(1)
    return _only(whole, whole.faces[upper & (shown | ~seen[whole.faces].any(1))]), _only(whole, whole.faces[shown & ~upper])


def _only(cut: Cut, faces: NDArray[np.int32]) -> Cut:
    used, inverse = np.unique(faces, return_inverse=True)
    return Cut(inverse.reshape(-1, 3).astype(np.int32), cut.first[used], cut.second[used], cut.share[used])


def _clothes(
    people: People, person: Person, points: NDArray[np.float32], end: float, views: Views
) -> tuple[Prop, ...]:
    shirt = people.cut("shirt", person.outfit.neck, min(person.outfit.sleeve, end))
    trousers = people.cut("trousers", -1.0, WHOLE)
    places = people.mean[:, :2] / np.float32(CLOTH_EXTENT) + np.float32(0.5)
    return (
        _prop(people, "shirt", shirt, points, views, np.ones(3), CLOTH_ROUGHNESS, 0.0, person.outfit.picture, places),
        _prop(people, "trousers", trousers, points, views, person.outfit.trousers, CLOTH_ROUGHNESS),
    )


def _eyes_and_teeth(people: People, person: Person, points: NDArray[np.float32], views: Views) -> tuple[Prop, ...]:
    span = people.parts["eyes"]
    places = np.zeros((len(points), 2), np.float32)
    middles = people.pivots.mean(0)[[people.bones.index("eye.L"), people.bones.index("eye.R")]]
    side = (people.mean[span, 0] < 0).astype(int)
    places[span] = 0.5 + 0.5 * (people.mean[span, :2] - middles[side, :2]) / EYE_RADIUS
    places = np.clip(places, 0.02, 0.98)
    eyes = _prop(
        people, "eyes", people.cut("eyes", -1.0, WHOLE), points, views, np.ones(3), 0.22, 0.0, person.eye, places
    )
    teeth = _prop(people, "teeth", people.cut("teeth", -1.0, WHOLE), points, views, np.array([0.6, 0.55, 0.46]), 0.35)
    return eyes, teeth


def _hair(people: People, person: Person, build: Build, at: Posed, name: str, views: Views) -> Prop:
    """A head of hair grown on the mean head, on this one: the part below the chin follows the body."""
    hair = people.hair[name]
    head, inverse = people.from_head
    affine = (inverse @ build.points[head]).astype(np.float32)
    grown = hair.points @ affine[:3] + affine[3]
    bones = [people.bones.index(bone) for bone in ("head", "torso")]
    carried = [grown @ at.bones[k, :, :3].T.astype(np.float32) + at.bones[k, :, 3].astype(np.float32) for k in bones]
    hanging = np.clip((grown[:, 1:2] + 0.14) / 0.12, 0, 1)
    points = carried[0] + hanging * (carried[1] - carried[0])
    turn = views[0] @ at.bones[bones[0], :, :3].astype(np.float32)
    colour = np.clip(person.hair * (1.1 if name == "full beard" else 1), 0, 1)
    return Prop(
        vertices=points @ views[0].T + views[1],
        normals=hair.normals @ turn.T,
        faces=hair.faces,
        albedo=np.asarray(np.clip(hair.bright[:, None] * colour, 0, 1), np.float32),
        roughness=np.full(len(points), HAIR_ROUGHNESS, np.float32),
        scatter=np.zeros(len(points), np.float32),
    )
