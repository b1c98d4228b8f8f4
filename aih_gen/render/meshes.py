"""Scenes -> posed, coloured meshes: what every renderer draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from aih_gen.config import SIDES
from aih_gen.hands import HandModel, load_hand_model
from aih_gen.hands.joints import WRIST
from aih_gen.hands.normals import VertexNormals
from aih_gen.render.layers import ARM, HAND
from aih_gen.scenes.scene import Hand, Scene
from aih_gen.scenes.skin import SkinRegions, skin_regions, thickness


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
        normals, regions = self.normals[side](vertices), self.topology[side].regions
        clothes = np.stack([thickness(regions, scene.skin) for scene in scenes])
        return Meshes(vertices + normals * clothes[..., None], normals, joints)

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
    lid = _lid(faces)
    part = np.repeat(np.array([HAND, ARM], np.uint8), [len(model.faces), len(model.arm_faces)])
    part = np.concatenate([part, np.full(len(lid), part[-1])])
    faces = np.concatenate([faces, lid])
    rest = model.v_template.numpy() - model.joint_template[WRIST].numpy()
    mirror = np.array([1 if model.side == "right" else -1, 1, 1], np.float32)
    return Topology(faces, part, rest * mirror, skin_regions(model))


def _lid(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """(L,3) triangles that close the open end of the mesh, at the wrist or the elbow, where one could look inside."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    paired = {(int(b), int(a)) for a, b in edges}
    following = {int(b): int(a) for a, b in edges if (int(a), int(b)) not in paired}
    ring = [min(following)] if following else []
    while ring and len(ring) < len(following) and following[ring[-1]] in following:
        ring.append(following[ring[-1]])
    if not ring or following[ring[-1]] != ring[0]:
        return np.empty((0, 3), np.int32)  # closed, or open in several places
    return np.array([(ring[0], a, b) for a, b in pairwise(ring[1:])], np.int32)
