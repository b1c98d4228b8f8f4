"""Curves as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

from aih_gen.reports.paint import CURVE_COLOURS
from hdr_model.evaluation.templates import render

Points = Sequence[tuple[float, float]]

MAX_POINTS = 400
"""Of a drawn curve; of longer ones evenly spread points are taken."""
_HEIGHT, _LEFT, _TOP, _MARGIN, _NAMES = 300, 56, 30, 30, 180
"""In pixels; the names of the curves stand at the right."""


def curves_svg(
    curves: Mapping[str, Points],
    title: str,
    width: int = 560,
    logarithmic: bool = True,
    across: str = "step",
) -> str:
    """Curves as an inline SVG; empty where no curve has a point.

    Args:
        curves: name -> (step, value) points; points that are not finite are left out.
        logarithmic: the scale of the values, of which those above 0 have a point; else the scale is even.
        across: what the first number of a point is.
    """
    scale: Callable[[float], float] = math.log10 if logarithmic else float
    unscale: Callable[[float], float] = (lambda level: 10.0**level) if logarithmic else float
    least = 0.0 if logarithmic else -math.inf
    finite = {n: [(s, scale(v)) for s, v in c if math.isfinite(v) and v > least] for n, c in curves.items()}
    drawn = {name: curve for name, curve in finite.items() if curve}
    if not drawn:
        return ""
    steps, levels = zip(*(point for curve in drawn.values() for point in curve), strict=True)
    low, high = min(levels), max(max(levels), min(levels) + (0.1 if logarithmic else 1e-3))
    first, last = min(steps), max(max(steps), min(steps) + 1)
    right, bottom = width - _NAMES, _HEIGHT - _MARGIN

    def x(step: float) -> str:
        return f"{_LEFT + (step - first) / (last - first) * (right - _LEFT):.1f}"

    def y(level: float) -> str:
        return f"{bottom - (level - low) / (high - low) * (bottom - _TOP):.1f}"

    return render(
        "curves.svg.jinja",
        title=title,
        across=across,
        width=width,
        height=_HEIGHT,
        left=_LEFT,
        right=right,
        top=_TOP,
        bottom=bottom,
        levels=[(y(level), f"{unscale(level):.3g}") for level in (low + k / 4 * (high - low) for k in range(5))],
        first=f"{first:g}",
        last=f"{last:g}",
        curves=[
            (name, colour, " ".join(f"{x(step)},{y(level)}" for step, level in _thin(curve)))
            for (name, curve), colour in zip(drawn.items(), cycle(CURVE_COLOURS), strict=False)
        ],
    )


def _thin(curve: Points) -> Points:
    chosen = {round(i * (len(curve) - 1) / (MAX_POINTS - 1)) for i in range(MAX_POINTS)}
    return [curve[k] for k in sorted(chosen)]
