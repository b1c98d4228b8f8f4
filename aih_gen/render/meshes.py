"""Scenes -> posed, coloured meshes: what every renderer draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from aih_gen.config import SIDES
from aih_gen.hands import HandModel, load_hand_model
from aih_gen.hands.joints import WRIST
from aih_gen.hands.normals import VertexNormals
from aih_gen.render.layers import ARM, HAND
from aih_gen.scenes.scene import Hand, Scene
from aih_gen.scenes.skin import SkinRegions, skin_regions, vertex_albedo


@dataclass(frozen=True, eq=False)
class Topology:
    """What all meshes of one side share. Hand vertices first, then the forearm's."""

    faces: NDArray[np.int32]  # (F,3)
    part: NDArray[np.uint8]  # (F,) HAND or ARM
    rest: NDArray[np.float32]  # (V,3) rest position of the right hand, whichever the side
    regions: SkinRegions


@dataclass(frozen=True, eq=False)
class Meshes:
    """The same side's hand in N scenes."""

    vertices: NDArray[np.float32]  # (N,V,3) m, camera space
    normals: NDArray[np.float32]  # (N,V,3) unit
    albedo: NDArray[np.float32]  # (N,V,3) linear
    joints_3d: NDArray[np.float32]  # (N,21,3)


class HandPair:
    """The right and the left hand model, and what drawing them needs."""

    def __init__(self, hand_model: str) -> None:
        self.models: tuple[HandModel, HandModel] = tuple(load_hand_model(hand_model, side) for side in SIDES)  # type: ignore[assignment]
        self.topology = tuple(_topology(model) for model in self.models)
        self.normals = [VertexNormals(t.faces, len(t.rest)) for t in self.topology]

    def pose(self, scenes: Sequence[Scene], side: int) -> Meshes:
        """Pose and colour hand ``side`` (0 right, 1 left) of every scene."""
        posed = [self._pose_one(scene.hands[side], side) for scene in scenes]
        vertices, joints = (np.stack(arrays) for arrays in zip(*posed, strict=True))
        albedo = np.stack([vertex_albedo(self.topology[side].regions, scene.skin) for scene in scenes])
        return Meshes(vertices, self.normals[side](vertices), albedo, joints)

    def _pose_one(self, hand: Hand, side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        # One at a time: in a batch, the last bit of a product depends on the batch's size (law 1).
        pose, betas, transl, arm_pose = (
            torch.from_numpy(array)[None] for array in (hand.pose, hand.betas, hand.transl, hand.arm_pose)
        )
        with torch.no_grad():
            out = self.models[side](pose, betas, transl, arm_pose=arm_pose)
        return torch.cat([out.vertices, out.arm_vertices], 1)[0].numpy(), out.joints[0].numpy()


def _topology(model: HandModel) -> Topology:
    faces = torch.cat([model.faces, model.arm_faces]).numpy().astype(np.int32)
    part = np.repeat(np.array([HAND, ARM], np.uint8), [len(model.faces), len(model.arm_faces)])
    rest = model.v_template.numpy() - model.joint_template[WRIST].numpy()
    mirror = np.array([1 if model.side == "right" else -1, 1, 1], np.float32)
    return Topology(faces, part, rest * mirror, skin_regions(model))
