"""Joints of a video without their jitter: the one-euro filter (Casiez, Roussel and Vogel, CHI 2012)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SMOOTH = 0.05
"""Seconds, of joints at rest."""
SPEEDUP = 0.5
"""Of the cutoff frequency, in Hz for each hand length a second that a joint moves: the paper's beta."""
SPEED_CUTOFF = 1.0
"""Hz, of the filter of the speeds: the paper's choice."""

Points = NDArray[np.floating]


class OneEuroFilter:
    """Points (K,D) from frame to frame, each by its own speed: one at rest is smoothed, a fast one hardly lags."""

    def __init__(self, smooth: float = SMOOTH) -> None:
        """``smooth``: time constant in seconds of a point at rest; 0 leaves all as they are."""
        self._smooth = smooth
        self._time = math.inf
        self._raw = self._points = self._speeds = np.empty(0)

    def __call__(self, points: Points, time: float, unit: float) -> Points:
        """The points of a frame, smoothed.

        Args:
            points: (K,D). Where any is NaN, and where time does not go forward, the filter begins anew.
            time: in seconds.
            unit: a hand's length in the points' unit, in which speeds are taken.
        """
        step = time - self._time
        anew = not step > 0 or not np.isfinite(points).all()
        raw = np.asarray(points, np.float64)
        if anew or not self._smooth:
            self._time = time if np.isfinite(raw).all() else math.inf
            self._raw, self._points, self._speeds = raw, raw, np.zeros_like(raw)
            return points
        self._speeds = self._speeds + _share(SPEED_CUTOFF, step) * ((raw - self._raw) / step / unit - self._speeds)
        speed = np.linalg.norm(self._speeds, axis=1, keepdims=True)
        cutoff = 1 / (2 * np.pi * self._smooth) + SPEEDUP * speed
        self._points = self._points + _share(cutoff, step) * (raw - self._points)
        self._raw, self._time = raw, time
        return self._points.astype(points.dtype)

    def reset(self) -> None:
        """Begin anew: the next points are of another hand."""
        self._time = math.inf


def _share(cutoff: float | Points, step: float) -> NDArray[np.float64]:
    """The weight of the newest of values ``step`` seconds apart, in a low-pass filter of a ``cutoff`` in Hz."""
    turn = 2 * np.pi * np.asarray(cutoff, np.float64) * step
    return turn / (turn + 1)
