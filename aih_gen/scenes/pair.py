"""Two posed hands before any camera: what sampled and recorded poses have in common."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.scenes.scene import Hand
from aih_gen.scenes.skinning import Posed

Array = NDArray[np.float64]

STRIDE = 3
"""Every how many vertices serve as points of a surface."""


@dataclass(frozen=True, eq=False)
class PairPose:
    """Two posed hands in some common frame. First axis: right, left."""

    roots: Array  # (2,3,3) orientations of the hands
    fingers: Array  # (2,15,3) axis-angle
    betas: Array  # (2,10)
    rest_wrists: Array  # (2,3) m, about which the hands turn
    transl: Array  # (2,3) m
    arms: Array  # (2,3,3) forearms relative to the hands
    elbow_directions: Array  # (2,3) unit, from wrist to elbow
    posed: tuple[Posed, Posed]
    hand_vertices: int  # how many of the vertices are the hand's; they come first
    interaction: str

    def wrists(self) -> Array:
        """(2,3) m."""
        return self.rest_wrists + self.transl

    def hand_points(self) -> tuple[Array, Array]:
        """Points (P,3) of each hand's surface."""
        count = self.hand_vertices
        return self.posed[0].vertices[:count:STRIDE], self.posed[1].vertices[:count:STRIDE]

    def arm_points(self) -> tuple[Array, Array]:
        """Points (P,3) of each forearm's surface."""
        count = self.hand_vertices
        return self.posed[0].vertices[count:], self.posed[1].vertices[count:]

    def seen(self, view: Array, shift: Array) -> tuple[Hand, Hand]:
        """The hands turned by ``view`` (3,3) into a camera's axes and moved by ``shift`` (3,) there."""
        roots = Rotation.from_matrix(view @ self.roots).as_rotvec()
        pose = np.concatenate([roots, self.fingers.reshape(2, 45)], 1).astype(np.float32)
        transl = (self.wrists() @ view.T + shift - self.rest_wrists).astype(np.float32)
        arms = Rotation.from_matrix(self.arms).as_rotvec().astype(np.float32)
        betas = self.betas.astype(np.float32)
        right, left = (Hand(pose[k], betas[k], transl[k], arms[k]) for k in (0, 1))
        return right, left
