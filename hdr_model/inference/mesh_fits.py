"""Hands of results as meshes: what a photo's joints say of a hand model, before the photo's camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from aih_gen.config import SIDES
from aih_gen.typing import Float32, Int64, Side
from hdr_model.fitting.fit import Observations
from hdr_model.fitting.hands import FittedHands, HandFitter, pair_rows
from hdr_model.inference.mesh import HandMesh, photo_camera
from hdr_model.inference.result import Result


def with_meshes(fitter: HandFitter, results: Sequence[Result], focal_length: float | None = None) -> list[Result]:
    """The results, with a mesh for each hand; those of all photos are fitted together.

    Args:
        fitter: of the hand model.
        results: of photos.
        focal_length: px of the photos; by default each photo's diagonal, a guess.

    Raises:
        AIHError: the focal length is not a positive number.
    """
    cameras = [photo_camera(result.image.shape[0], result.image.shape[1], focal_length) for result in results]
    places = [(k, side) for k, result in enumerate(results) for side in SIDES if result[side].present]
    images, sides = [k for k, _ in places], [SIDES.index(side) for _, side in places]
    fitted = fitter(_observed(results, cameras, places), pair_rows(images, sides)) if places else None
    faces = {side: model.faces.numpy() for side, model in zip(SIDES, fitter.models, strict=True)}
    meshes = {(k, side): _absent(fitter, faces[side], camera) for k, camera in enumerate(cameras) for side in SIDES}
    for row, (k, side) in enumerate(places):
        assert fitted is not None
        meshes[k, side] = _mesh(fitter, fitted, row, faces[side], cameras[k], results[k][side].joints_3d)
    return [
        replace(
            result,
            right=replace(result.right, mesh=meshes[k, "right"]),
            left=replace(result.left, mesh=meshes[k, "left"]),
        )
        for k, result in enumerate(results)
    ]


def _observed(
    results: Sequence[Result], cameras: Sequence[Float32], places: Sequence[tuple[int, Side]]
) -> Observations:
    hands = [results[k][side] for k, side in places]
    arrays = [[getattr(hand, name) for hand in hands] for name in ("joints_2d", "joints_3d", "joint_confidence")]
    stacked = (torch.from_numpy(np.stack(a).astype(np.float64)) for a in (*arrays, [cameras[k] for k, _ in places]))
    return Observations(torch.tensor([SIDES.index(side) for _, side in places]), *stacked)


def _mesh(
    fitter: HandFitter, fitted: FittedHands, row: int, faces: Int64, camera: Float32, joints_3d: Float32
) -> HandMesh:
    pose, betas, transl, vertices, joints = (
        getattr(fitted, name)[row].numpy() for name in ("pose", "betas", "transl", "vertices", "joints")
    )
    distance = np.linalg.norm(joints - joints[0] - joints_3d, axis=-1).mean()
    return HandMesh(pose, betas, transl, vertices, faces, joints, camera, float(distance), fitter.models[0].name)


def _absent(fitter: HandFitter, faces: Int64, camera: Float32) -> HandMesh:
    def unknown(*shape: int) -> Float32:
        return np.full(shape, np.nan, np.float32)

    model = fitter.models[0]
    vertices = unknown(model.num_vertices, 3)
    return HandMesh(
        unknown(48), unknown(10), unknown(3), vertices, faces, unknown(21, 3), camera, float("nan"), model.name
    )
