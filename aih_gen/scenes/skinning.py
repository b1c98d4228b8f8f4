"""Posing one hand at a time in NumPy: what sampling poses needs, many times a scene.

``hands.model.HandModel`` is the definition; this is its arithmetic for one hand, with the bones' frames kept, and
nothing that depends on how many hands are posed together (law 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from aih_gen.hands.anatomy import FINGER_BONES
from aih_gen.hands.joints import FROM_MANO_AND_TIPS
from aih_gen.hands.model import NUM_BONES, HandModel
from aih_gen.hands.normals import VertexNormals

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shaped:
    """One person's hand at rest."""

    vertices: Array  # (V+A,3) m, hand then forearm
    joints: Array  # (16,3)


@dataclass(frozen=True, eq=False)
class Posed:
    """One posed hand."""

    vertices: Array  # (V+A,3) m, hand then forearm
    normals: Array  # (V+A,3) unit, outwards: the resting hand's, carried along
    joints: Array  # (16,3) MANO's order
    turns: Array  # (16,3,3) orientation of each bone
    tips: Array  # (5,3) thumb to little

    def joints21(self) -> Array:
        """(21,3) in the project's order."""
        return np.concatenate([self.joints, self.tips])[FROM_MANO_AND_TIPS]

    def moved(self, shift: Array) -> Posed:
        """The same hand, ``shift`` (3,) metres farther on."""
        return Posed(self.vertices + shift, self.normals, self.joints + shift, self.turns, self.tips + shift)


class Skinning:
    """Linear blend skinning of one model's vertices."""

    def __init__(self, model: HandModel) -> None:
        with torch.no_grad():
            arrays = {name: value.numpy().astype(np.float64) for name, value in model.named_buffers()}
        self.template, self.shapedirs = arrays["v_template"], arrays["shapedirs"].reshape(-1, 10)
        self.joint_template, self.joint_shapedirs = arrays["joint_template"], arrays["joint_shapedirs"].reshape(-1, 10)
        self.posedirs = arrays["posedirs"] if len(arrays["posedirs"]) else None
        self.weights, self.arm_weight = arrays["weights"][: model.num_vertices], arrays["arm_weight"]
        self.num_vertices = model.num_vertices
        self.tip_vertices = model.tip_vertices.numpy()
        self.owner = self.weights.argmax(1)
        """Bone that carries most of each vertex of the hand."""
        faces = torch.cat([model.faces, model.arm_faces]).numpy()
        self.rest_normals = VertexNormals(faces, len(self.template))(self.template[None])[0]

    def shape(self, betas: Array) -> Shaped:
        """The hand of ``betas`` (10,) at rest."""
        return Shaped(
            self.template + (self.shapedirs @ betas).reshape(-1, 3),
            self.joint_template + (self.joint_shapedirs @ betas).reshape(-1, 3),
        )

    def bones(self, shaped: Shaped, root: Array, fingers: Array) -> tuple[Array, Array]:
        """Orientations (16,3,3) and joints (16,3) for ``root`` (3,3) and ``fingers`` (5,3,3,3)."""
        turns, joints = np.empty((NUM_BONES, 3, 3)), np.empty((NUM_BONES, 3))
        turns[0], joints[0] = root, shaped.joints[0]
        before = np.zeros(5, np.int64)
        for level, bones in enumerate(FINGER_BONES.T):
            offset = shaped.joints[bones] - shaped.joints[before]
            joints[bones] = joints[before] + np.einsum("fij,fj->fi", turns[before], offset)
            turns[bones] = turns[before] @ fingers[:, level]
            before = bones
        return turns, joints

    def points(self, shaped: Shaped, turns: Array, joints: Array, chosen: Index) -> Array:
        """Where the ``chosen`` vertices of the hand are, but for what blend shapes of the pose would add."""
        shift = joints - np.einsum("bij,bj->bi", turns, shaped.joints)
        bone = self.owner[chosen]
        return np.einsum("vij,vj->vi", turns[bone], shaped.vertices[chosen]) + shift[bone]

    def __call__(self, shaped: Shaped, root: Array, fingers: Array, arm: Array) -> Posed:
        """Pose a hand: ``root`` (3,3), ``fingers`` (5,3,3,3), ``arm`` (3,3) the forearm relative to the hand."""
        turns, joints = self.bones(shaped, root, fingers)
        shift = joints - np.einsum("bij,bj->bi", turns, shaped.joints)
        hand = shaped.vertices[: self.num_vertices]
        if self.posedirs is not None:
            local = np.empty((NUM_BONES, 3, 3))
            local[FINGER_BONES] = fingers
            hand = hand + (self.posedirs @ (local[1:] - np.eye(3)).ravel()).reshape(-1, 3)
        transforms = np.concatenate([turns, shift[..., None]], -1).reshape(NUM_BONES, 12)
        blended = (self.weights @ transforms).reshape(-1, 3, 4)
        turned = np.matmul(blended[..., :3], np.stack([hand, self.rest_normals[: self.num_vertices]], -1))
        vertices = np.concatenate([turned[..., 0] + blended[..., 3], self._forearm(shaped, root, arm)])
        # The forearm bends only where it meets the hand, so its normals turn as a whole.
        normals = np.concatenate([turned[..., 1], self.rest_normals[self.num_vertices :] @ (root @ arm).T])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        return Posed(vertices, normals, joints, turns, vertices[self.tip_vertices])

    def _forearm(self, shaped: Shaped, root: Array, arm: Array) -> Array:
        local = shaped.vertices[self.num_vertices :] - shaped.joints[0]
        local = local + self.arm_weight[:, None] * (local @ arm.T - local)
        return local @ root.T + shaped.joints[0]
