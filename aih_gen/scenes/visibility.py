"""Visibility: how much of each hand a camera sees, and whether a forearm is in its way; many views at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aih_gen.kernels import views as views_of
from aih_gen.kernels.views import DRAWN_LENGTH
from aih_gen.scenes.body import FOREARM
from aih_gen.scenes.cameras import MIN_DEPTH, Views
from aih_gen.scenes.scene import Camera
from aih_gen.scenes.vectors import length
from aih_gen.typing import Array, Float32, Mask

MIN_INSIDE = 0.76
"""Least share of either hand in every image, by points of its surface; of its silhouette, 0.6 nearly always."""
DRAWN_RADIUS = 0.05
"""Radius (m) of the drawn arm."""
ALONG = np.linspace(0.05, DRAWN_LENGTH, 16)
MAX_ARM = 0.4
"""Share of the image that a forearm may take, as a band as wide as it is thick."""
MIN_LENGTH = 0.35
"""Share of its length that a forearm must show: seen along itself it is a disk or a lump beside the hand."""


@dataclass(frozen=True, eq=False)
class Visibility:
    """H hands, two or one, before N cameras."""

    shift: Array  # (N,3) m, from the rotated hands to camera space
    hidden: (
        Array  # (N,H) estimated share of each hand in the image that the other hand or its arm hides; 1 where blocked
    )
    blocked: Mask  # (N,) a forearm is in the way (``arms_in_the_way``), or too much of a hand is outside

    def __getitem__(self, chosen: int) -> Visibility:
        row = slice(chosen, chosen + 1)
        return Visibility(self.shift[row], self.hidden[row], self.blocked[row])

    @classmethod
    def of(cls, views: Views, hands: Sequence[Array], wrists: Array, elbows: Array, armed: bool) -> Visibility:
        """Visibility in ``views`` of H ``hands``, two or one: points (P,3) of their surfaces.

        Where ``armed``, arms lead from the ``wrists`` (H,3) m in the unit directions ``elbows`` (H,3).
        """
        points, low, high = views_of.rotated(views.rotations, np.concatenate(hands))
        shift = views.shifts(low, high)
        camera_wrists = wrists @ views.rotations.transpose(0, 2, 1) + shift[:, None]
        camera_elbows = elbows @ views.rotations.transpose(0, 2, 1)
        blocked = np.zeros(len(shift), bool)
        if armed:
            blocked = arms_in_the_way(camera_wrists, camera_elbows, views.focal)
        clear = np.flatnonzero(~blocked)
        hidden = np.ones((len(shift), len(hands)))
        if len(hands) == 1:
            hidden[clear] = 0
        elif len(clear):
            points = points[clear]
            points += shift[clear, :, None].astype(np.float32)
            right, focal = len(hands[0]), views.focal[clear]
            bounds = ((0, right), (right, points.shape[2]))
            inside = [views_of.shares_inside(points, start, stop, focal) for start, stop in bounds]
            outside = np.minimum(*inside) < MIN_INSIDE
            blocked[clear] = outside
            arms = (camera_wrists[clear], camera_elbows[clear]) if armed else None
            shares = hidden_shares(points, right, arms, focal)
            hidden[clear] = np.where(outside[:, None], 1, shares)
        return cls(shift, hidden, blocked)


def shown_shares(views: Views, points: Array, shift: Array) -> Array:
    """(N,) shares of ``points`` (P,3), rotated and moved by ``shift`` (N,3), that each image holds."""
    return share_inside((points @ views.rotations.transpose(0, 2, 1) + shift[:, None]).transpose(0, 2, 1), views.focal)


def share_inside(points: Float32 | Array, focal: Array) -> Array:
    """(N,) estimated share in each image of the visible area of points (N,3,P) in camera space."""
    return views_of.shares_inside(np.ascontiguousarray(points, np.float32), 0, points.shape[2], focal)


def hidden_shares(points: Float32, right: int, arms: tuple[Array, Array] | None, focal: Array) -> Array:
    """(N,2) estimated share of each hand in N images that the other hand or its arm hides; 1 if an image holds none.

    ``points`` (N,3,P) of both surfaces are in camera space, the ``right`` hand's come first; ``arms`` are their wrists
    and the unit directions (N,2,3) to the elbows, ``focal`` (N,) in image sides.
    """  # fmt: skip
    wrists, elbows = arms or (_NO_ARMS, _NO_ARMS)
    return views_of.hidden_shares(
        np.ascontiguousarray(points, np.float32), right, wrists, elbows, focal, MIN_DEPTH, FOREARM
    )


_NO_ARMS = np.zeros((0, 2, 3))


def arms_in_the_way(wrists: Array, elbows: Array, focal: Array) -> Mask:
    """(N,) True where a forearm from ``wrists`` (N,H,3) towards ``elbows`` (N,H,3) passes through the image close
    before the camera, fills much of it, ends in it, or is seen along itself. ``focal`` (N,) in image sides.
    """  # fmt: skip
    wrists_first, elbows_first = wrists.transpose(2, 0, 1)[..., None], elbows.transpose(2, 0, 1)[..., None]
    across, down, away = wrists_first + ALONG * elbows_first  # (N,H,16) each
    # The arm is thick: parts a little outside the image still fill part of it.
    scale = focal[:, None, None] / np.maximum(away, 0.02)
    across, down, thick = across * scale, down * scale, DRAWN_RADIUS * scale
    in_image = (np.maximum(np.abs(across), np.abs(down)) < 0.5 + thick) & (away > -DRAWN_RADIUS)
    close = (in_image & (away < 0.6 * wrists_first[2])).any((1, 2))
    right, below = across[..., 1:] - across[..., :-1], down[..., 1:] - down[..., :-1]
    band = np.sqrt(right * right + below * below) * np.minimum(thick[..., 1:], 0.5)
    band *= in_image[..., 1:] & in_image[..., :-1]
    unseen = in_image[..., -1] | (shown_lengths(wrists, elbows) < MIN_LENGTH)
    return np.asarray(close | (2 * band.sum((1, 2)) > MAX_ARM) | unseen.any(1))


def arms_before(camera: Camera, wrists: Array, elbows: Array) -> bool:
    """True if a forearm from ``wrists`` (H,3) m towards ``elbows`` (H,3) is in the way of a camera in whose space they
    are.
    """  # fmt: skip
    focal = float(camera.matrix[0, 0])
    middle = (camera.size - 1) / 2
    # A camera whose axis is off the image's middle sees what one in the middle sees of a sheared space.
    centred = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
    shear = np.linalg.solve(centred, camera.matrix.astype(np.float64)).T
    wrists, elbows = ((points @ shear)[None] for points in (wrists, elbows))
    return bool(arms_in_the_way(wrists, elbows, np.array([focal / camera.size]))[0])


def shown_lengths(wrists: Array, elbows: Array) -> Array:
    """(N,H) share of a forearm's length that is seen, from ``wrists`` (N,H,3) m towards ``elbows`` (N,H,3): 1 square to
    the line of sight and not farther away than the wrist, 0 along that line.
    """  # fmt: skip
    cosine = np.einsum("nsi,nsi->ns", wrists, elbows) / length(wrists)
    sine = np.sqrt(np.maximum(1 - cosine * cosine, 0))
    return np.asarray(sine / np.maximum(1, 1 + FOREARM * elbows[..., 2] / wrists[..., 2]))
