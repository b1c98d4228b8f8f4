"""The mean head: its landmarks, and the masks that are painted on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

from aih_gen.typing import Array, Mask

IMAGE_SIDE = 192
"""Side in pixels of the images that are laid over heads."""


@dataclass(frozen=True)
class Face:
    """Landmarks of the mean head."""

    centre: Array  # (3,) of the head
    eye: Array  # (3,) of the left eye
    mouth: Array  # (3,)
    nose: float  # y of its base
    lashes: Array  # (N,3)

    def azimuth(self, points: Array) -> Array:
        """(...) degrees from straight ahead to either side."""
        return np.degrees(np.arctan2(np.abs(points[..., 0]), self.centre[2] - points[..., 2]))

    def places(self, points: Array) -> Array:
        """(...,2) where points are on the image of a head: equal areas around straight ahead."""
        way = points - self.centre
        way /= np.linalg.norm(way, axis=-1, keepdims=True)
        half = np.sqrt(np.maximum((1 + way[..., 2]) / 2, 0))  # sine of half the angle from straight ahead
        flat = way[..., :2] / np.maximum(np.linalg.norm(way[..., :2], axis=-1, keepdims=True), 1e-9)
        return 0.5 + 0.5 * half[..., None] * flat


def curve(x: Array, *knots: tuple[float, float]) -> Array:
    return np.interp(x, *np.array(knots).T)


def masks(face: Face, points: Array, lips: Array, ears: Array) -> dict[str, Array]:
    """Masks of the painted parts of a head, 0 to 1; ``points`` (...,3) lie on it, ``lips`` and ``ears`` are (...)."""
    x, y = np.abs(points[..., 0]), points[..., 1] - face.eye[1]
    azimuth, front = face.azimuth(points), points[..., 2] < face.centre[2] - 0.02
    # A signed distance of 1 cm is half the range, so that edges can be moved when painting.
    middle = curve(x, (0.0, -0.0155), (0.012, -0.0175), (0.036, -0.0245), (0.056, -0.0165))
    thick = curve(x, (0.0, 0.001), (0.010, 0.0045), (0.03, 0.0045), (0.055, 0.0015))
    ends = np.minimum(x - 0.009, 0.055 - x)
    brow = np.where(front, np.minimum(thick - np.abs(y - middle), ends), -0.01)
    mouth = face.mouth[1] - face.eye[1]
    top = curve(
        azimuth, (0, face.nose - face.eye[1] + 0.002), (14, face.nose - face.eye[1] + 0.003), (24, mouth - 0.014),
        (38, mouth - 0.004), (58, mouth - 0.012), (74, mouth - 0.035), (82, 0.0), (88, -0.01), (92, 0.09),
    )  # fmt: skip
    bottom = curve(azimuth, (0, 0.155), (40, 0.145), (75, 0.11), (90, 0.09))
    beard = np.minimum(np.minimum(y - top, bottom - y), 0.012 * (0.45 - lips))
    beard = np.where(ears > 0.3, -0.01, beard)
    line = curve(
        azimuth, (0, -0.066), (22, -0.068), (38, -0.064), (50, -0.048), (60, -0.036), (70, -0.022), (78, 0.016),
        (84, 0.02), (87, -0.02), (100, -0.018), (108, 0.045), (125, 0.075), (180, 0.085),
    )  # fmt: skip
    scalp = np.where(ears > 0.3, -0.01, line - y)
    lash = np.linalg.norm(points[..., None, :] - face.lashes, axis=-1).min(-1)
    blush = np.exp(-(((x - 0.042) / 0.02) ** 2) - ((y - 0.035) / 0.017) ** 2) * front
    tip = np.exp(-((x / 0.012) ** 2) - ((y - (face.nose - face.eye[1] - 0.01)) / 0.012) ** 2) * front
    socket = np.exp(-(((x - face.eye[0]) / 0.02) ** 2) - ((y - 0.009) / 0.009) ** 2) * front
    signed = {"brow": brow, "beard": beard, "scalp": scalp}
    return {
        **{name: np.clip(0.5 + values / 0.02, 0, 1) for name, values in signed.items()},
        "lips": lips,
        "lash": np.exp(-((lash / 0.0022) ** 2)),
        "red": np.clip(blush + 0.8 * tip + 0.6 * ears, 0, 1),
        "socket": socket,
    }


def head_images(face: Face, points: Array, lips: Array, ears: Array, outer: Mask) -> dict[str, Array]:
    """Images (IMAGE_SIDE, IMAGE_SIDE) of ``masks``, from points (V,3) of a head's skin of which some are ``outer``."""
    grid = (np.arange(IMAGE_SIDE) + 0.5) / IMAGE_SIDE
    texels = np.stack(np.meshgrid(grid, grid), -1)
    places = face.places(points[outer])
    values = np.concatenate([points[outer], lips[outer, None], ears[outer, None]], 1)
    between = LinearNDInterpolator(places, values)(texels)
    nearest = NearestNDInterpolator(places, values)(texels)
    between = np.where(np.isnan(between), nearest, between)
    return masks(face, between[..., :3], between[..., 3], between[..., 4])
