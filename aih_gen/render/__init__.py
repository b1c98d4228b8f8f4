"""Scene -> Layers: each hand alone (colour, coverage, depth)."""

from __future__ import annotations

from aih_gen.render.layers import Renderer
from aih_gen.render.meshes import HandPair
from aih_gen.scenes.textures import TextureLibrary
from aih_gen.typing import Look, RendererName


def make_renderer(
    name: RendererName,
    hands: HandPair,
    size: int,
    look: Look,
    textures: TextureLibrary | None = None,
    device: int | None = None,
) -> Renderer:
    """The renderer of that name. Each opens its own OpenGL context, in the process that calls.

    ``device`` is the number of EGL's device that draws, by default the first.
    """
    if name == "gl":
        from aih_gen.render.gl import GLRenderer

        return GLRenderer(hands, size, look, textures, device)
    from aih_gen.render.pyrender import PyrenderRenderer

    return PyrenderRenderer(hands, size, device)
