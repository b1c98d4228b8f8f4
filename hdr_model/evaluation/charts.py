"""Curves as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

_HEIGHT = 300
_LINE_COLOURS = ("#222222", "#d1495b", "#2e86ab", "#3fa34d", "#e09f3e", "#7b4fa3", "#8a6d5a", "#5c7c7d")


def curves_svg(
    curves: Mapping[str, Points],
    title: str,
    width: int = 560,
    logarithmic: bool = True,
    across: str = "step",
) -> str:
    """Curves as an inline SVG.

    Args:
        curves: name -> (step, value) points; points that are not finite are left out.
        logarithmic: the scale of the values, of which those above 0 have a point; else the scale is even.
        across: what the first number of a point is.
    """
    scale: Callable[[float], float] = math.log10 if logarithmic else float
    unscale: Callable[[float], float] = (lambda level: 10.0**level) if logarithmic else float
    least = 0.0 if logarithmic else -math.inf
    clean = {n: [(s, v) for s, v in c if math.isfinite(v) and v > least] for n, c in curves.items()}
    clean = {name: curve for name, curve in clean.items() if curve}
    if not clean:
        return ""
    steps = [s for c in clean.values() for s, _ in c]
    levels = [scale(v) for c in clean.values() for _, v in c]
    low, high = min(levels), max(max(levels), min(levels) + (0.1 if logarithmic else 1e-3))
    first, last = min(steps), max(max(steps), min(steps) + 1)
    left, right, top, bottom = 56, width - 180, 30, _HEIGHT - 30

    def place(step: float, level: float) -> str:
        x = left + (step - first) / (last - first) * (right - left)
        return f"{x:.1f},{bottom - (level - low) / (high - low) * (bottom - top):.1f}"

    parts = [f'<text x="{left}" y="18" font-weight="600">{escape(title)}</text>']
    for k in range(5):
        level = low + k / 4 * (high - low)
        y = place(first, level).split(",")[1]
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="#eee"/>')
        label = f"{unscale(level):.3g}"
        parts.append(f'<text x="{left - 6}" y="{y}" text-anchor="end" dominant-baseline="middle">{label}</text>')
    for step, anchor in ((first, "start"), (last, "end")):
        x = place(step, low).split(",")[0]
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="{anchor}">{step:g}</text>')
    parts.append(f'<text x="{(left + right) / 2}" y="{bottom + 18}" text-anchor="middle">{escape(across)}</text>')
    for k, (name, curve) in enumerate(clean.items()):
        colour = _LINE_COLOURS[k % len(_LINE_COLOURS)]
        points = " ".join(place(s, scale(v)) for s, v in _thin(curve, 400))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{right + 10}" y="{top + 8 + 16 * k}" fill="{colour}">{escape(name)}</text>')
    size = f'width="{width}" height="{_HEIGHT}" viewBox="0 0 {width} {_HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="11">{"".join(parts)}</svg>'


def _thin(curve: Points, most: int) -> Points:
    return [curve[k] for k in sorted({round(i * (len(curve) - 1) / (most - 1)) for i in range(most)})]
