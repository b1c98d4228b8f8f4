"""Posing one hand at a time in NumPy, as sampling poses does many times a scene.

``hands.model.HandModel`` is the definition; this is its arithmetic for one hand, for any choice of its vertices, with
the bones' frames kept, and nothing that depends on how many hands are posed together (law 1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from aih_gen.hands.anatomy import FINGER_BONES
from aih_gen.hands.joints import FROM_MANO_AND_TIPS
from aih_gen.hands.model import NUM_BONES, HandModel
from aih_gen.hands.normals import VertexNormals
from aih_gen.scenes.vectors import rotate
from aih_gen.typing import Array, Int64

_CARRIERS = np.array([*range(NUM_BONES), 0])
"""Joints about which the bones and the forearm rotate."""


@dataclass(frozen=True, eq=False)
class Shaped:
    """One person's hand at rest."""

    points: Array  # (3,V) m, x, y and z of the vertices: hand, then forearm
    joints: Array  # (16,3) m
    tips: Array  # (5,3) m, thumb to little


@dataclass(frozen=True, eq=False)
class Posed:
    """One posed hand."""

    vertices: Array  # (V,3) m, hand, then forearm
    joints: Array  # (16,3) MANO's order
    rotations: Array  # (16,3,3) orientation of each bone
    tips: Array  # (5,3) thumb to little
    fingers: Array  # (5,3,3,3) rotation of each finger bone relative to the one before
    carried: Array  # (3,3,V) rotation of each vertex's surroundings

    def joints21(self) -> Array:
        """(21,3) in the project's order."""
        return np.concatenate([self.joints, self.tips])[FROM_MANO_AND_TIPS]

    def moved(self, shift: Array) -> Posed:
        """The same hand, ``shift`` (3,) metres farther on."""
        return replace(self, vertices=self.vertices + shift, joints=self.joints + shift, tips=self.tips + shift)


@dataclass(frozen=True, eq=False)
class Skinning:
    """Linear blend skinning of some of one model's vertices. The forearm is carried by a bone of its own."""

    template: Array  # (3,V)
    shapedirs: Array  # (3V,10)
    posedirs: Array | None  # (3V,135)
    weights: Array  # (17,V)
    rest_normals: Array  # (3,V) unit, outwards
    joint_template: Array  # (16,3)
    joint_shapedirs: Array  # (48,10)
    dominant_bone: Int64  # (V,) bone that carries most of each vertex; the wrist for the forearm
    num_hand: int
    """Number of vertices of the hand; they come first."""
    tips: Int64
    """(5,) rows of the finger tips."""

    def only(self, rows: Int64) -> Skinning:
        """The same for the vertices ``rows`` (R,), ascending, and the finger tips."""
        rows = np.union1d(rows, self.tips)
        flat = (rows + np.arange(3)[:, None] * self.template.shape[1]).ravel()
        return replace(
            self,
            template=self.template[:, rows],
            shapedirs=self.shapedirs[flat],
            posedirs=None if self.posedirs is None else self.posedirs[flat],
            weights=np.ascontiguousarray(self.weights[:, rows]),
            rest_normals=self.rest_normals[:, rows],
            dominant_bone=self.dominant_bone[rows],
            num_hand=int(np.searchsorted(rows, self.num_hand)),
            tips=np.searchsorted(rows, self.tips),
        )

    def shape(self, betas: Array) -> Shaped:
        """The hand of ``betas`` (10,) at rest."""
        points = self.template + (self.shapedirs @ betas).reshape(3, -1)
        joints = self.joint_template + (self.joint_shapedirs @ betas).reshape(-1, 3)
        return Shaped(points, joints, points[:, self.tips].T)

    def __call__(self, shaped: Shaped, frames: BoneTransforms) -> Posed:
        """The hand of this shape, posed as its ``frames`` say."""
        rest = shaped.points
        if self.posedirs is not None:
            local = np.empty((NUM_BONES, 3, 3))
            local[FINGER_BONES] = frames.fingers
            rest = rest + (self.posedirs @ (local[1:] - np.eye(3)).ravel()).reshape(3, -1)
        # Coordinates first: one product, and rows of V numbers in everything after it.
        blended = (frames.transforms.reshape(NUM_BONES + 1, 12).T @ self.weights).reshape(3, 4, -1)
        points = blended[:, 3] + (blended[:, :3] * rest).sum(1)
        vertices = np.ascontiguousarray(points.T)
        return Posed(vertices, frames.joints, frames.rotations, vertices[self.tips], frames.fingers, blended[:, :3])

    def normals(self, posed: Posed) -> Array:
        """(V,3) unit normals: the resting hand's, carried along."""
        carried = posed.carried
        normals = carried[:, 0] * self.rest_normals[0]
        normals += carried[:, 1] * self.rest_normals[1] + carried[:, 2] * self.rest_normals[2]
        normals /= np.maximum(np.sqrt((normals * normals).sum(0)), 1e-9)
        return normals.T


@dataclass(frozen=True, eq=False)
class BoneTransforms:
    """Orientations and places of the bones of one hand, or of several."""

    rotations: Array  # (...,16,3,3) orientation of each bone
    joints: Array  # (...,16,3) m
    fingers: Array  # (...,5,3,3,3) rotation of each finger bone relative to the one before
    transforms: Array  # (...,17,3,4) of bones and forearm from their place at rest

    def __getitem__(self, chosen: int) -> BoneTransforms:
        return BoneTransforms(
            self.rotations[chosen], self.joints[chosen], self.fingers[chosen], self.transforms[chosen]
        )


def bone_transforms(rest: Array, roots: Array, fingers: Array, arms: Array, transl: Array) -> BoneTransforms:
    """Transforms of hands with joints at ``rest`` (...,16,3), rotated by ``roots`` (...,3,3) about their wrists and
    moved by ``transl`` (...,3) metres; ``fingers`` (...,5,3,3,3) and forearms, ``arms`` (...,3,3), are relative to the
    hands.
    """  # fmt: skip
    rotations, joints = bones(rest, roots, fingers)
    joints += transl[..., None, :]
    transforms = np.empty((*rest.shape[:-2], NUM_BONES + 1, 3, 4))
    transforms[..., :NUM_BONES, :, :3] = rotations
    transforms[..., NUM_BONES, :, :3] = roots @ arms
    transforms[..., 3] = joints[..., _CARRIERS, :] - rotate(rest[..., _CARRIERS, :], transforms[..., :3])
    return BoneTransforms(rotations, joints, fingers, transforms)


def bones(rest: Array, roots: Array, fingers: Array) -> tuple[Array, Array]:
    """Orientations (...,16,3,3) and joints (...,16,3), for joints at ``rest`` (...,16,3), ``roots`` (...,3,3) and
    ``fingers`` (...,5,3,3,3).
    """
    wrist, homes = rest[..., :1, :], rest[..., FINGER_BONES, :]
    rotations, ways = np.empty((*homes.shape, 3)), np.empty_like(homes)
    rotations[..., 0, :, :] = roots[..., None, :, :] @ fingers[..., 0, :, :]
    for level in (1, 2):
        rotations[..., level, :, :] = rotations[..., level - 1, :, :] @ fingers[..., level, :, :]
    ways[..., 0, :] = (homes[..., 0, :] - wrist) @ roots.swapaxes(-1, -2)
    ways[..., 1:, :] = rotate(homes[..., 1:, :] - homes[..., :-1, :], rotations[..., :-1, :, :])
    places = wrist[..., None, :] + np.add.accumulate(ways, -2)
    every, joints = np.empty((*rest.shape, 3)), np.empty_like(rest)
    every[..., 0, :, :], joints[..., 0, :] = roots, rest[..., 0, :]
    every[..., FINGER_BONES, :, :], joints[..., FINGER_BONES, :] = rotations, places
    return every, joints


def skinning(model: HandModel) -> Skinning:
    """All vertices of a model, hand and forearm."""
    with torch.no_grad():
        arrays = {name: value.numpy().astype(np.float64) for name, value in model.named_buffers()}
    arm, num_hand, count = arrays["arm_weight"], model.num_vertices, len(arrays["v_template"])
    weights = np.zeros((NUM_BONES + 1, count))
    weights[:NUM_BONES, :num_hand] = arrays["weights"][:num_hand].T
    weights[0, num_hand:], weights[NUM_BONES, num_hand:] = 1 - arm, arm
    posedirs = None
    if len(arrays["posedirs"]):
        by_axis = np.zeros((3, count, 135))
        by_axis[:, :num_hand] = arrays["posedirs"].reshape(num_hand, 3, 135).transpose(1, 0, 2)
        posedirs = by_axis.reshape(-1, 135)
    faces = torch.cat([model.faces, model.arm_faces]).numpy()
    normals = VertexNormals(faces, count)(arrays["v_template"][None])[0]
    return Skinning(
        template=np.ascontiguousarray(arrays["v_template"].T),
        shapedirs=np.ascontiguousarray(arrays["shapedirs"].transpose(1, 0, 2)).reshape(-1, 10),
        posedirs=posedirs,
        weights=weights,
        rest_normals=np.ascontiguousarray(normals.T),
        joint_template=arrays["joint_template"],
        joint_shapedirs=arrays["joint_shapedirs"].reshape(-1, 10),
        dominant_bone=weights[:NUM_BONES].argmax(0),
        num_hand=num_hand,
        tips=model.tip_vertices.numpy(),
    )
