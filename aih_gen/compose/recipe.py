"""The random numbers of a sample of AIH_Syn (paper, section "AIH").

Stored samples and those composed while training follow the same recipe: the numbers are sampled here, on the CPU, and
the pixels follow from them in ``compose.paste``, on any device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aih_gen.compose.crops import HandCrop, hand_box
from aih_gen.config import SynRecipe
from aih_gen.typing import Array, Floating, Mask

Affine = Array  # (2,3) from pixels of the crop to pixels of the sample, both (x, y), centres at integers

GRID = 64
"""Points a side at which the occlusion of an arrangement is counted."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """One arrangement of two hands."""

    front: int
    """Side of the hand that is pasted; the other one is covered."""
    under: Affine
    """Of the covered hand."""
    over: Affine
    """Of the pasted hand."""
    gain: Array  # (3,)
    shift: Array  # (3,)
    """Grey level v of a channel becomes gain * v + shift."""
    tries: int
    in_range: bool
    """True where the occlusion, counted on the grid, is within the limits."""


def sample_arrangement(crops: tuple[HandCrop, HandCrop], recipe: SynRecipe, rng: np.random.Generator) -> Arrangement:
    """Arrange a right and a left hand, of images of one size, until one hides enough of the other."""
    front = int(rng.random() < recipe.left_in_front)
    covered, pasted = crops[1 - front], crops[front]
    size, skin = len(covered.hand), pasted.hand | pasted.skin
    boxes, points = (hand_box(covered.hand), hand_box(pasted.hand)), _grid_points(covered.hand)
    tried: list[tuple[float, Affine, Affine]] = []
    in_range = False
    while not in_range and len(tried) < recipe.max_tries:
        under, over = _arrange(*boxes, size, recipe, rng)
        hidden = _hidden_share(points, under, skin, over)
        in_range = recipe.min_occlusion <= hidden < recipe.max_occlusion
        tried.append((max(recipe.min_occlusion - hidden, hidden - recipe.max_occlusion), under, over))
    _, under, over = min(tried, key=lambda arrangement: arrangement[0])
    gain, shift = _sample_colours(recipe, rng)
    return Arrangement(front, under, over, gain, shift, len(tried), in_range)


def inverse(affine: Affine) -> Affine:
    """From pixels of the sample to pixels of the crop."""
    back = np.linalg.inv(affine[:, :2])
    return np.column_stack([back, -back @ affine[:, 2]])


def transform_points(points: Floating, affine: Affine) -> Array:
    """Points (...,2) under an affine map."""
    return points @ affine[:, :2].T + affine[:, 2]


def _arrange(
    covered: Array,
    pasted: Array,
    size: int,
    recipe: SynRecipe,
    rng: np.random.Generator,
) -> tuple[Affine, Affine]:
    """The covered hand stays in the image, near its place; the pasted one comes over the middle of its box."""
    centre = covered.mean(0) + rng.uniform(-1, 1, 2) * recipe.translation * size
    under = _similarity(covered.mean(0), centre, recipe, rng)
    corners = transform_points(np.array([[x, y] for x in covered[:, 0] for y in covered[:, 1]]), under)
    low, high, last = corners.min(0), corners.max(0), size - 1
    inwards = np.where(high - low > last, last / 2 - (low + high) / 2, np.maximum(-low, 0) + np.minimum(last - high, 0))
    under[:, 2] += inwards
    centre = centre + inwards + rng.uniform(-1, 1, 2) * recipe.pasted_translation * size
    return under, _similarity(pasted.mean(0), centre, recipe, rng)


def _similarity(source: Array, centre: Array, recipe: SynRecipe, rng: np.random.Generator) -> Affine:
    """Rotate and scale about ``source`` (2,), and bring it to ``centre`` (2,)."""
    # As in the paper's recipe, the scale is that of the region that is cut out.
    zoom = 1 / (1 + np.clip(rng.normal(), -recipe.scale_limit, recipe.scale_limit) * recipe.scale_deviation)
    angle = np.deg2rad(np.clip(rng.normal(), -recipe.rotation_limit, recipe.rotation_limit) * recipe.rotation_deviation)
    if rng.random() >= recipe.rotation_probability:
        angle = 0.0
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([zoom * rotation, centre - zoom * rotation @ source])


def _sample_colours(recipe: SynRecipe, rng: np.random.Generator) -> tuple[Array, Array]:
    """Gain, shift, then contrast and brightness, as one gain and one shift for each channel."""
    gain: Array = rng.uniform(1 - recipe.colour_gain, 1 + recipe.colour_gain, 3)
    shift = rng.uniform(-1, 1, 3) * recipe.colour_shift * (rng.random() < recipe.colour_shift_probability)
    changed = rng.random() < recipe.contrast_probability
    contrast = 1 + rng.uniform(-1, 1) * recipe.contrast * changed
    brightness = 255 * rng.uniform(-1, 1) * recipe.brightness * changed
    return gain * contrast, shift * contrast + brightness


def _grid_points(hand: Mask) -> Array:
    """(K,2) pixels of a hand, evenly spread; all of them where few of them would be."""
    step = max(len(hand) // GRID, 1)
    return np.argwhere(hand[::step, ::step])[:, ::-1].astype(np.float64) * step


def _hidden_share(points: Array, under: Affine, skin: Mask, over: Affine) -> float:
    """Occlusion as ``compose.masks`` defines it, at points (K,2) of the covered hand instead of all its pixels."""
    size = len(skin)
    points = transform_points(points, under)
    inside = ((points >= -0.5) & (points < size - 0.5)).all(-1)
    column, row = np.rint(transform_points(points[inside], inverse(over))).astype(np.int64).clip(0, size - 1).T
    return float(skin[row, column].mean()) if inside.any() else 0.0
