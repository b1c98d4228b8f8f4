"""Scenes -> posed, coloured meshes, for every renderer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from aih_gen.hands import HandModel, load_hand_pair
from aih_gen.hands.anatomy import FINGER_BONES, bone_rotations
from aih_gen.hands.joints import WRIST
from aih_gen.hands.normals import vertex_normals
from aih_gen.render.layers import ARM, HAND
from aih_gen.render.watch import CASE_REACH, case_faces, case_shape, case_vertices, forearm_axes
from aih_gen.scenes.scene import Hand, Scene
from aih_gen.scenes.skin import SkinRegions, skin_regions, thickness
from aih_gen.scenes.skinning import skinning
from aih_gen.typing import Float32, Int32, UInt8

DRAWN_BEYOND_ELBOW = 0.35
"""Metres by which the forearm is drawn on, beyond the elbow."""
ELBOW_ROUND = 0.03
"""Metres over which a forearm that ends at the elbow is rounded."""


@dataclass(frozen=True, eq=False)
class Topology:
    """Shared by all meshes of one side. Hand vertices first, then the forearm's, then those of a watch's case."""

    faces: Int32  # (F,3)
    part: UInt8  # (F,) HAND or ARM
    rest: Float32  # (V,3) rest position of the right hand on both sides; a watch's in its radius
    regions: SkinRegions
    elbow: Int32  # (E,) vertices at the forearm's end; its last E are these, ``DRAWN_BEYOND_ELBOW`` farther


@dataclass(frozen=True, eq=False)
class Meshes:
    """The same side's hand in N scenes; NaN where it is absent."""

    vertices: Float32  # (N,V,3) m, camera space
    normals: Float32  # (N,V,3) unit
    joints_3d: Float32  # (N,21,3)


class HandPair:
    """The right and the left hand model with their topology and skin."""

    def __init__(self, hand_model: str) -> None:
        self.models: tuple[HandModel, HandModel] = load_hand_pair(hand_model)
        self.skinnings = [skinning(model) for model in self.models]
        self.topology = tuple(_topology(model) for model in self.models)

    def pose(self, scenes: Sequence[Scene], side: int) -> Meshes:
        """Pose and colour hand ``side`` (0 right, 1 left) of every scene."""
        there = [(k, hand) for k, scene in enumerate(scenes) if (hand := scene.hands[side]) is not None]
        points = len(self.topology[side].rest)  # with the watch's case
        vertices, normals, joints = (np.full((len(scenes), n, 3), np.nan, np.float32) for n in (points, points, 21))
        if there:
            rows = [k for k, _ in there]
            shown = [scenes[k] for k in rows]
            posed = [self._pose_one(hand, side) for _, hand in there]
            bare, joints[rows] = (np.stack(arrays) for arrays in zip(*posed, strict=True))
            bare = self._with_upper_arm(bare, joints[rows], side)
            for k, (_, hand) in enumerate(there):
                if np.isfinite(hand.arm_length):
                    self._end_at_elbow(bare[k], joints[rows[k], WRIST], hand.arm_length, side)
            bare = self._with_watch(bare, joints[rows], shown, side)
            faces, regions = self.topology[side].faces, self.topology[side].regions
            normals[rows] = [vertex_normals(hand, faces) for hand in bare]
            clothes = np.stack([thickness(regions, scene.skin) for scene in shown])
            vertices[rows] = bare + normals[rows] * clothes[..., None]
        return Meshes(vertices, normals, joints)

    def _with_upper_arm(self, vertices: Float32, joints: Float32, side: int) -> Float32:
        """The forearm made longer than any image shows, so that no arm ends in a stump."""
        end = vertices[:, self.topology[side].elbow]
        if not end.shape[1]:
            return vertices
        away = end.mean(1) - joints[:, WRIST]
        away *= DRAWN_BEYOND_ELBOW / np.linalg.norm(away, axis=1, keepdims=True)
        return np.concatenate([vertices, end + away[:, None]], axis=1)

    def _with_watch(self, vertices: Float32, joints: Float32, scenes: Sequence[Scene], side: int) -> Float32:
        model = self.models[side]
        if not model.has_arm:
            return vertices
        cases = []
        for scene, posed, joint in zip(scenes, vertices, joints, strict=True):
            watch = scene.skin.dress.watch
            worn = watch if watch is not None and watch.side == side else None
            hand = scene.hands[side]
            assert hand is not None, "only hands that are there wear a watch"
            axes = forearm_axes(hand, side)
            cases.append(case_vertices(worn, posed[model.num_vertices :], joint[WRIST], axes))
        return np.concatenate([vertices, np.stack(cases).astype(np.float32)], axis=1)

    def _end_at_elbow(self, vertices: Float32, wrist: Float32, length: float, side: int) -> None:
        """Let a forearm end, rounded, ``length`` m from its wrist."""
        topology = self.topology[side]
        if not len(topology.elbow):
            return
        along = vertices[topology.elbow].mean(0) - wrist
        along /= np.linalg.norm(along)
        far = np.flatnonzero(topology.regions.arm_reach[: len(vertices)] > length - 0.06)
        way = vertices[far] - wrist
        reach = (way @ along)[:, None]
        share = np.clip((reach - (length - ELBOW_ROUND)) / ELBOW_ROUND, 0, 1)
        across = (way - reach * along) * np.sqrt(np.maximum(1 - share * share, 0.01))
        vertices[far] = wrist + np.minimum(reach, length) * along + across

    def _pose_one(self, hand: Hand, side: int) -> tuple[Float32, Float32]:
        # One at a time: in a batch, the last bit of a product depends on the batch's size (law 1).
        local = bone_rotations(hand.pose)
        arm = Rotation.from_rotvec(hand.arm_pose.astype(np.float64)).as_matrix()
        skinning = self.skinnings[side]
        shaped = skinning.shape(hand.betas.astype(np.float64))
        posed = skinning.pose(shaped, local[0], local[FINGER_BONES], arm, hand.transl.astype(np.float64))
        return posed.vertices.astype(np.float32), posed.joints21().astype(np.float32)


def _topology(model: HandModel) -> Topology:
    faces = torch.cat([model.faces, model.arm_faces]).numpy().astype(np.int32)
    part = np.repeat(np.array([HAND, ARM], np.uint8), [len(model.faces), len(model.arm_faces)])
    rest = model.v_template.numpy() - model.joint_template[WRIST].numpy()
    mirror = np.array([1 if model.side == "right" else -1, 1, 1], np.float32)
    rest, regions = rest * mirror, skin_regions(model)
    end = _open_end(faces)
    ring = end
    if model.has_arm and len(end):
        ring = np.arange(len(rest), len(rest) + len(end), dtype=np.int32)
        longer = np.array([DRAWN_BEYOND_ELBOW, 0, 0], np.float32)
        rest = np.concatenate([rest, rest[end] + longer])
        regions = SkinRegions(
            palm=np.concatenate([regions.palm, regions.palm[end]]),
            nail=np.concatenate([regions.nail, regions.nail[end]]),
            arm_reach=np.concatenate([regions.arm_reach, regions.arm_reach[end] + longer[0]]),
        )
        following, opposite = np.roll(end, -1), np.roll(ring, -1)
        wall = [np.stack([end, following, ring], 1), np.stack([following, opposite, ring], 1)]
        faces = np.concatenate([faces, *wall])
    lid = [(ring[0], a, b) for a, b in pairwise(ring[1:])]
    faces = np.concatenate([faces, np.array(lid, np.int32).reshape(-1, 3)])
    if model.has_arm:
        case, outwards = case_shape(False).astype(np.float32), slice(None, None, 1 if model.side == "right" else -1)
        faces = np.concatenate([faces, case_faces(len(rest))[:, outwards]])
        rest = np.concatenate([rest, case])
        none, reach = np.zeros(len(case), np.float32), np.full(len(case), CASE_REACH, np.float32)
        regions = SkinRegions(
            palm=np.concatenate([regions.palm, none]),
            nail=np.concatenate([regions.nail, none]),
            arm_reach=np.concatenate([regions.arm_reach, reach]),
        )
    part = np.concatenate([part, np.full(len(faces) - len(part), part[-1])])
    return Topology(faces, part, rest, regions, end if model.has_arm else end[:0])


def _open_end(faces: Int32) -> Int32:
    """(E,) the vertices around the mesh's one opening, at the wrist or the elbow, in the order in which a face on the
    opening would name them; empty where the mesh is closed, or open in several places.
    """  # fmt: skip
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    paired = {(int(b), int(a)) for a, b in edges}
    following = {int(b): int(a) for a, b in edges if (int(a), int(b)) not in paired}
    ring = [min(following)] if following else []
    while ring and len(ring) < len(following) and following[ring[-1]] in following:
        ring.append(following[ring[-1]])
    whole = bool(ring) and following[ring[-1]] == ring[0]
    return np.array(ring if whole else [], np.int32)
