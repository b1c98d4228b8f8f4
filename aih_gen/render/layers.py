"""The result of a renderer: each hand alone, from which everything else is derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aih_gen.kernels.layers import ARM as ARM
from aih_gen.kernels.layers import HAND as HAND
from aih_gen.kernels.layers import NOTHING as NOTHING
from aih_gen.scenes.scene import Scene
from aih_gen.typing import Float32, UInt8

if TYPE_CHECKING:  # it loads OpenGL, which only what draws needs
    from aih_gen.render.context import Driver


@dataclass(frozen=True, eq=False)
class Layers:
    """The hands of one scene, each drawn as if it were alone. First axis: right, left."""

    colour: UInt8  # (2,H,W,4) red, green, blue, share of the pixel that is covered; 0 off the hand
    shaded_colour: UInt8  # (2,H,W,4) with the other hand's shadow; ``colour`` itself if there is none
    part: UInt8  # (2,H,W) part at the centre of the pixel: NOTHING, HAND or ARM
    depth: Float32  # (2,H,W) m at the centre of the pixel, inf where there is nothing
    joints_3d: Float32  # (2,21,3) m, camera space; NaN where there is no hand
    behind: UInt8 | None = None
    """(3,H,W,4) the scene's props as ``colour``: in the shadows of both hands, of the right one, of the left one; or
    (1,H,W,4) where no shadow falls on them."""


class Renderer(Protocol):
    """Draws scenes; all images of one call have the renderer's own size."""

    driver: Driver
    """The OpenGL that draws."""

    def render(self, scenes: Sequence[Scene]) -> list[Layers]:
        """Draw each hand of each scene alone."""
        ...
