"""The hands' meshes and the scene's uniform block, as OpenGL programs take them."""

from __future__ import annotations

from typing import Any

import moderngl
import numpy as np

from aih_gen.render.layers import HAND
from aih_gen.render.meshes import Meshes, Topology

MAX_LAMPS = 4
SCENE = np.dtype(
    [
        ("intrinsics", "4f4"),
        ("depth_range", "2f4"),
        ("size", "f4"),
        ("lamps", "i4"),
        ("harmonics", "(9,4)f4"),
        ("lamp_direction", f"({MAX_LAMPS},4)f4"),
        ("lamp_colour", f"({MAX_LAMPS},4)f4"),
        ("lamp_axes", "(3,4)f4"),
        ("shadow_centre", "3f4"),
        ("shadow_radius", "f4"),
        ("back", "3f4"),
        ("roughness", "f4"),
        ("palm", "3f4"),
        ("mottle", "f4"),
        ("nail", "3f4"),
        ("crease", "f4"),
        ("sleeve", "3f4"),
        ("sleeve_start", "f4"),
        ("stripe", "3f4"),
        ("stripe_width", "f4"),
        ("volume_origin", "3f4"),
        ("vein", "f4"),
        ("volume_extent", "3f4"),
        ("flush", "f4"),
        ("noise_seed", "f4"),
        ("filling", "3f4"),
    ]
)
"""The uniform block of ``shaders/scene.glsl``."""


class SideArrays:
    """One side's mesh, ready for any program."""

    def __init__(self, context: moderngl.Context, topology: Topology) -> None:
        regions = topology.regions
        rest, region = (
            context.buffer(values.astype(np.float32).tobytes())
            for values in (topology.rest, regions.palm - regions.arm_reach)
        )
        self.context = context
        self.index = context.buffer(topology.faces.astype(np.int32).tobytes())
        self.positions, self.normals = (context.buffer(reserve=topology.rest.nbytes, dynamic=True) for _ in range(2))
        self.attributes = (
            (self.positions, "3f", "position"),
            (self.normals, "3f", "normal"),
            (rest, "3f", "rest"),
            (region, "1f", "region"),
        )
        hand, both = int((topology.part == HAND).sum()), len(topology.part)
        self.parts = ((1.0, 0, 3 * hand), (-1.0, 3 * hand, 3 * (both - hand)))  # sign, first index, count
        self._arrays: dict[Any, moderngl.VertexArray] = {}

    def write(self, meshes: Meshes, k: int) -> None:
        """Take the pose of scene ``k``."""
        self.positions.write(meshes.vertices[k])
        self.normals.write(meshes.normals[k])

    def draw(self, program: Any) -> None:
        """The hand, then the forearm, each with its own ``part_sign`` where the program declares it."""
        if program not in self._arrays:
            buffers: list[Any] = [attribute for attribute in self.attributes if attribute[-1] in program]
            self._arrays[program] = self.context.vertex_array(program, buffers, self.index)
        array = self._arrays[program]
        if "part_sign" not in program:
            array.render()
            return
        for sign, first, count in self.parts:  # gl_PrimitiveID would cost llvmpipe a copy of every triangle
            if count:
                program["part_sign"] = sign
                array.render(vertices=count, first=first)
