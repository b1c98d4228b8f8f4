"""Interactions of two hands by name: gestures, relative orientations, and the regions that touch.

The first hand of an interaction is the right one as often as the left. Directions are written in its own terms:
(along the fingers, out of the back, to the thumb's side).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from aih_gen.hands.anatomy import back_directions
from aih_gen.hands.joints import FINGERS, MANO_FINGERS
from aih_gen.hands.model import HandModel
from aih_gen.hands.normals import vertex_normals
from aih_gen.scenes.skinning import Skinning
from aih_gen.scenes.vectors import rotate, unit
from aih_gen.typing import Array, Int64

OrientationSampler = Callable[[np.random.Generator, int], tuple[Array, Array]]
"""Samples a number of directions (N,3) of the second hand's fingers and of its back."""

TIP = 0.010
"""Metres around a finger's end that count as its tip."""


@dataclass(frozen=True)
class Interaction:
    """One way of holding two hands together."""

    share: float
    """Relative frequency among the sampled pairs, before views are rejected for their occlusion."""
    first: tuple[str, ...]
    """Gestures of the first hand."""
    second: tuple[str, ...]
    orientation: OrientationSampler
    contacts: tuple[tuple[str, str], ...]
    """Regions of the first and the second hand that touch; the hands are brought together at the first pair."""
    slip: float = 0.012
    """Standard deviation (m) of where they meet, along the first hand's surface."""
    gap: tuple[float, float] = (0.0, 0.0)
    """Range (m) of the distance that is left between them."""
    laid: float = 1.0
    """The second hand moves until it touches the first, palm first (1) or back first (-1); 0: it stays where the
    regions meet."""
    offset: float = 0.0
    """Metres by which the second hand lies to one side of the first along the thumb's direction: fingers in gaps."""
    closing: tuple[str, str] | None = None
    """Gestures towards which both hands close, finger by finger, until they meet the other hand."""


def _leaning(mean: float, deviation: float) -> OrientationSampler:
    """Palm towards palm, the second hand's fingers leaning over the first by an angle in degrees."""

    def orientation(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        angle = np.radians(rng.normal(mean, deviation, count))
        c, s, zero = np.cos(angle), np.sin(angle), np.zeros(count)
        return np.stack([c, s, zero], 1), np.stack([s, -c, zero], 1)

    return orientation


def _spun(palms_meet: bool, angles: tuple[float, ...], deviation: float) -> OrientationSampler:
    """Flat on the first hand's palm, or on its back, spun by one of these angles (degrees)."""

    def orientation(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        angle = np.radians(rng.choice(angles, count) + rng.normal(0, deviation, count))
        fingers = np.stack([np.cos(angle), np.zeros(count), np.sin(angle)], 1)
        return fingers, np.tile([0.0, -1.0 if palms_meet else 1.0, 0.0], (count, 1))

    return orientation


def _faced(side: float, tilt: float) -> OrientationSampler:
    """Palm (side 1) or back (-1) towards the first hand's finger tips, spun at random, tilted by some degrees."""

    def orientation(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
        spin = rng.uniform(0, 2 * np.pi, count)
        fingers = np.stack([np.zeros(count), np.cos(spin), np.sin(spin)], 1)
        back = unit(np.array([side, 0.0, 0.0]) + np.tan(np.radians(tilt)) * rng.normal(size=(count, 3)) * 0.6)
        return unit(fingers - (fingers * back).sum(1, keepdims=True) * back), back

    return orientation


def _alike(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Turned like the first hand, thumbs towards each other."""
    return np.tile([1.0, 0.0, 0.0], (count, 1)), np.tile([0.0, 1.0, 0.0], (count, 1))


_SOFT = ("cup", "relaxed", "flat")
_THUMBS = ("thumb up", "spread", "call")
_TIPS = tuple((f"{finger} tip", f"{finger} tip") for finger in ("middle", "index", "ring"))

INTERACTIONS: dict[str, Interaction] = {
    "prayer": Interaction(0.06, ("flat",), ("flat",), _leaning(0, 6), (("palm", "palm"), ("fingers", "fingers"))),
    "fingertips together": Interaction(
        0.07, ("spread", "relaxed", "cup"), ("spread", "relaxed", "cup"), _leaning(32, 9), _TIPS, 0.004
    ),
    "clasped": Interaction(0.1, ("cup",), ("cup", "relaxed"), _spun(True, (-65, 65, -90), 14), (("palm", "palm"),)),
    "fingers interlaced": Interaction(
        0.09, ("woven",), ("woven",), _leaning(78, 6), (("middle bones", "middle bones"),),
        0.003, laid=0.0, offset=0.011,
    ),
    "hand on hand": Interaction(0.08, ("relaxed", "flat", "fist"), _SOFT, _spun(False, (0,), 25), (("back", "palm"),)),
    "one hand in the other": Interaction(
        0.09, ("cup", "relaxed"), ("cup", "relaxed"), _spun(False, (-90, 90), 22), (("back", "palm"),)
    ),
    "finger touching palm": Interaction(
        0.09, ("point",), ("flat", "spread", "cup", "relaxed"), _faced(1, 30), (("index tip", "palm"),), 0.015
    ),
    "finger touching back": Interaction(
        0.06, ("point", "pinch"), ("flat", "fist", "relaxed"), _faced(-1, 30), (("index tip", "back"),), 0.015,
        laid=-1.0,
    ),
    "crossed": Interaction(
        0.07, ("relaxed", "flat", "fist", "spread"), ("relaxed", "flat", "fist"), _spun(False, (-80, 80), 18),
        (("wrist back", "wrist palm"),), 0.012,
    ),
    "fist in palm": Interaction(0.08, ("fist",), ("flat", "cup"), _faced(1, 15), (("knuckles", "palm"),)),
    "thumb to thumb": Interaction(
        0.06, _THUMBS, _THUMBS, _alike, (("thumb tip", "thumb tip"),), 0.004, laid=0.0
    ),
    "near miss": Interaction(
        0.12, ("relaxed", "grasp", "claw", "pinch", "point"), ("relaxed", "flat", "spread", "claw", "cup"),
        _spun(True, (0, -45, 45, 180), 30), (("palm", "palm"),), 0.03, (0.02, 0.06),
    ),
}  # fmt: skip
"""Interactions of hands that belong together; others are ``INDEPENDENT``, of share ``poses.INDEPENDENT_SHARE``."""
_OPEN = ("flat", "spread")
TIGHT: dict[str, Interaction] = {
    "fingers clasped": Interaction(
        0.15, ("flat",), _OPEN, _spun(True, (-90, -70, 70, 90), 10), (("fingers", "palm"),), closing=("cup", "grip")
    ),
    "fingers hooked": Interaction(
        0.1, ("flat",), ("flat",), _spun(True, (180, 160, -160), 8), (("fingers", "fingers"),), closing=("grip", "grip")
    ),
    "fingers interlocked": Interaction(
        0.25, ("woven tight",), ("woven tight",), _leaning(50, 8), (("bases", "bases"),), 0.003, laid=0.0, offset=0.016,
        closing=("hooked", "hooked"),
    ),
    "prayer interlaced": Interaction(
        0.15, ("woven tight",), ("woven tight",), _leaning(25, 6), (("bases", "bases"),), 0.003, laid=0.0, offset=0.016,
        closing=("half hooked", "half hooked"),
    ),
    "fist wrapped": Interaction(
        0.15, ("fist",), _OPEN, _faced(1, 15), (("knuckles", "palm"),), closing=("fist", "grip")
    ),
    "hand wrapped": Interaction(
        0.15, ("relaxed", "fist"), _OPEN, _spun(False, (-90, -60, 60, 90), 14), (("back", "palm"),),
        closing=("relaxed", "grip"),
    ),
    "thumbs crossed": Interaction(
        0.1, _OPEN, _OPEN, _spun(False, (70, 90), 12), (("thumb bone", "thumb bone"),), 0.004,
        closing=("thumb hooked", "thumb hooked"),
    ),
}  # fmt: skip
"""Interactions of hands that hold each other tightly, whose shares are among themselves."""
TIGHT_SHARE = 0.06
"""Share of scenes in which hands hold each other tightly."""


def sample_tight(rng: np.random.Generator) -> str | None:
    """The name of a tight interaction in ``TIGHT_SHARE`` of all scenes, else None."""
    if rng.random() >= TIGHT_SHARE:
        return None
    shares = np.array([interaction.share for interaction in TIGHT.values()])
    return str(rng.choice(list(TIGHT), p=shares / shares.sum()))


INDEPENDENT = "independent"


def regions(model: HandModel) -> dict[str, Int64]:
    """Vertex indices of the named parts of a hand, from its rest pose."""
    with torch.no_grad():
        out = model(torch.zeros(1, 48))
    vertices = out.vertices[0].numpy().astype(np.float64)
    normals = vertex_normals(vertices, model.faces.numpy())
    dominant_bone = model.weights[: model.num_vertices].numpy().argmax(1)
    facing = (normals * back_directions(model)[dominant_bone]).sum(1)
    joints = model.joint_template.numpy()
    reach = np.abs(vertices[:, 0] - joints[0, 0]) / np.abs(joints[4, 0] - joints[0, 0])  # 1 at the middle knuckle
    inner, outer = facing < -0.6, facing > 0.6
    finger = (dominant_bone > 0) & (dominant_bone < 13)
    base = finger & (dominant_bone % 3 == 1)
    parts = {
        "palm": inner & (dominant_bone == 0) & (reach > 0.35),
        "back": outer & (dominant_bone == 0) & (reach > 0.35),
        "wrist palm": inner & (dominant_bone == 0) & (reach < 0.3),
        "wrist back": outer & (dominant_bone == 0) & (reach < 0.3),
        "fingers": inner & finger,
        "knuckles": outer & base,
        "bases": inner & base,
        "thumb bone": (dominant_bone == 14) & (np.abs(facing) < 0.9),
        "middle bones": finger & (dominant_bone % 3 == 2) & (np.abs(facing) < 0.8),
    }
    tips = vertices[model.tip_vertices.numpy()]
    for name, tip in zip(FINGERS, tips, strict=True):
        last = dominant_bone == 3 * MANO_FINGERS.index(name) + 3
        parts[f"{name} tip"] = last & (np.linalg.norm(vertices - tip, axis=1) < TIP)
    # A model that is not shaped like a hand may lack a part: then all of it stands in.
    return {name: np.flatnonzero(part if part.any() else dominant_bone >= 0) for name, part in parts.items()}


@dataclass(frozen=True, eq=False)
class ContactAnchor:
    """A region that touches the other hand, in B parts: one for each bone that carries it."""

    bones: Int64  # (B,)
    shares: Array  # (B,) of the region's vertices
    middles: Array  # (B,3) m at rest
    shapedirs: Array  # (B,3,10)

    def middle(self, betas: Array, home: Array, rotations: Array, joints: Array) -> Array:
        """(3,) m: the region's middle, posed by joints (16,3) that were at ``home`` (16,3) at rest."""
        offset = self.middles + self.shapedirs @ betas - home[self.bones]
        return self.shares @ (joints[self.bones] + rotate(offset, rotations[self.bones]))


def contact_anchors(skinning: Skinning, regions: dict[str, Int64]) -> dict[str, ContactAnchor]:
    """The anchor of each region, for the ``skinning`` of all vertices."""
    model = skinning.model
    found = {}
    for name, rows in regions.items():
        bones, part_of, counts = np.unique(model.carrier[rows], return_inverse=True, return_counts=True)
        parts = [rows[part_of == k] for k in range(len(bones))]
        middles = np.stack([model.template[part].mean(0) for part in parts])
        shapedirs = np.stack([model.shapedirs[:, part].mean(1).T for part in parts])
        found[name] = ContactAnchor(bones, counts / len(rows), middles, shapedirs)
    return found
