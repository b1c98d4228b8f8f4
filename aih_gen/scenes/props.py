"""Things behind the hands, as meshes: people and objects. They belong to the background."""

from __future__ import annotations

import numpy as np

from aih_gen.hands.normals import vertex_normals
from aih_gen.scenes.scene import Prop
from aih_gen.typing import Float32, Floating, Integer


def prop(
    vertices: Floating,
    faces: Integer,
    albedo: Floating,
    roughness: Floating | float = 0.7,
    scatter: Floating | float = 0.0,
    normals: Floating | None = None,
) -> Prop:
    """A prop of ``vertices`` (V,3) m in camera space and ``faces`` (F,3), counter-clockwise seen from outside.

    ``albedo`` (V,3) or (3,) is the linear reflectance, ``roughness`` and ``scatter`` are (V,) or one for all (see
    ``Prop``), ``normals`` (V,3) those of smooth shading if absent: give every flat face vertices of its own.
    """
    count = len(vertices)
    points: Float32 = np.ascontiguousarray(vertices, np.float32)
    if normals is None:
        normals = vertex_normals(points, faces)
    return Prop(
        vertices=points,
        normals=np.asarray(normals, np.float32),
        faces=np.ascontiguousarray(faces, np.int32),
        albedo=np.broadcast_to(np.asarray(albedo, np.float32), (count, 3)),
        roughness=np.broadcast_to(np.asarray(roughness, np.float32), (count,)),
        scatter=np.broadcast_to(np.asarray(scatter, np.float32), (count,)),
    )
