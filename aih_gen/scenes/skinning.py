"""Posing one hand at a time, as sampling poses does many times a scene.

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
from aih_gen.hands.normals import vertex_normals
from aih_gen.kernels.hands import Model, Rest, shaped, skinned
from aih_gen.typing import Array, Int64


@dataclass(frozen=True, eq=False)
class Posed:
    """One posed hand."""

    vertices: Array  # (V,3) m, hand, then forearm
    normals: Array  # (V,3) unit: the resting hand's, carried along
    joints: Array  # (16,3) MANO's order
    rotations: Array  # (16,3,3) orientation of each bone
    tips: Array  # (5,3) thumb to little
    fingers: Array  # (5,3,3,3) rotation of each finger bone relative to the one before

    def joints21(self) -> Array:
        """(21,3) in the project's order."""
        return np.concatenate([self.joints, self.tips])[FROM_MANO_AND_TIPS]

    def moved(self, shift: Array) -> Posed:
        """The same hand, ``shift`` (3,) metres farther on."""
        return replace(self, vertices=self.vertices + shift, joints=self.joints + shift, tips=self.tips + shift)


@dataclass(frozen=True, eq=False)
class Skinning:
    """Linear blend skinning of some of one model's vertices. The forearm is carried by a bone of its own."""

    model: Model
    num_hand: int
    """Number of vertices of the hand; they come first."""

    def only(self, rows: Int64) -> Skinning:
        """The same for the vertices ``rows`` (R,), ascending, and the finger tips."""
        model, rows = self.model, np.union1d(rows, self.model.tips)
        counts = np.diff(model.first)[rows]
        entries = np.concatenate([np.arange(model.first[row], model.first[row + 1]) for row in rows])
        some = model._replace(
            template=model.template[rows],
            shapedirs=np.ascontiguousarray(model.shapedirs[:, rows]),
            posedirs=model.posedirs[rows] if len(model.posedirs) else model.posedirs,
            first=np.concatenate([[0], np.cumsum(counts)]),
            bones=model.bones[entries],
            weights=model.weights[entries],
            normals=model.normals[rows],
            carrier=model.carrier[rows],
            tips=np.searchsorted(rows, model.tips),
        )
        return Skinning(some, int(np.searchsorted(rows, self.num_hand)))

    def shape(self, betas: Array) -> Rest:
        """The hand of ``betas`` (10,) at rest."""
        return shaped(self.model, np.asarray(betas, np.float64))

    def pose(self, rest: Rest, root: Array, fingers: Array, arm: Array, transl: Array) -> Posed:
        """The hand at ``rest``, rotated by ``root`` (3,3) about its wrist and moved by ``transl`` (3,) metres;
        ``fingers`` (5,3,3,3) and the forearm, ``arm`` (3,3), are relative to the hand.
        """  # fmt: skip
        every, arm = np.arange(len(rest.points)), np.ascontiguousarray(arm)
        hand = skinned(self.model, rest, transl, np.ascontiguousarray(root), fingers, arm, every)
        return Posed(hand.points, hand.normals, hand.joints, hand.rotations, hand.points[self.model.tips], fingers)


def skinning(model: HandModel) -> Skinning:
    """All vertices of a model, hand and forearm."""
    with torch.no_grad():
        arrays = {name: value.numpy().astype(np.float64) for name, value in model.named_buffers()}
    arm, num_hand, count = arrays["arm_weight"], model.num_vertices, len(arrays["v_template"])
    weights = np.zeros((count, NUM_BONES + 1))
    weights[:num_hand, :NUM_BONES] = arrays["weights"][:num_hand]
    weights[num_hand:, 0], weights[num_hand:, NUM_BONES] = 1 - arm, arm
    posedirs = np.zeros((count if len(arrays["posedirs"]) else 0, 3, 135))
    posedirs[:num_hand] = arrays["posedirs"].reshape(-1, 3, 135)
    vertices, carriers = np.nonzero(weights)
    faces = torch.cat([model.faces, model.arm_faces]).numpy()
    return Skinning(
        Model(
            template=arrays["v_template"],
            shapedirs=np.ascontiguousarray(arrays["shapedirs"].transpose(2, 0, 1)),
            posedirs=posedirs,
            first=np.searchsorted(vertices, np.arange(count + 1)),
            bones=np.ascontiguousarray(carriers),
            weights=weights[vertices, carriers],
            normals=vertex_normals(arrays["v_template"], faces).astype(np.float64),
            carrier=weights[:, :NUM_BONES].argmax(1),
            joints=arrays["joint_template"],
            joint_shapedirs=np.ascontiguousarray(arrays["joint_shapedirs"].transpose(2, 0, 1)),
            chains=FINGER_BONES,
            tips=model.tip_vertices.numpy(),
        ),
        num_hand,
    )
