"""Two posed hands before any camera: what sampled and recorded poses have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.hands.anatomy import axis_angles
from aih_gen.scenes.cameras import RASTER, Seen, Views, arms_in_the_way, look
from aih_gen.scenes.scene import Camera, Hand
from aih_gen.scenes.skinning import Skinning

Array = NDArray[np.float64]
Index = NDArray[np.int64]

STRIDE = 2
"""Every how many vertices serve as points of a hand's surface where its outline is what matters."""


def outline(skinning: Skinning) -> Skinning:
    """The vertices that suffice to see what hides what."""
    hand = np.arange(0, skinning.num_hand, STRIDE)
    return skinning.only(np.concatenate([hand, np.arange(skinning.num_hand, len(skinning.owner), 2)]))


@dataclass(frozen=True, eq=False)
class PairPose:
    """Two posed hands in some common frame. First axis: right, left."""

    roots: Array  # (2,3,3) orientations of the hands
    fingers: Array  # (2,5,3,3,3) rotations of the bones
    betas: Array  # (2,10)
    wrists: Array  # (2,3) m, about which the hands turn
    transl: Array  # (2,3) m
    arms: Array  # (2,3,3) forearms relative to the hands
    elbows: Array  # (2,3) unit, from wrist to elbow
    hand_points: tuple[Array, Array]  # (P,3) m of each hand's surface
    armed: bool  # whether the models have forearms
    interaction: str

    def before(self, views: Views, cells: int = RASTER) -> Seen:
        """What cameras see of the pair, compared in ``cells`` a side."""
        return look(views, self.hand_points, self.wrists, self.elbows, self.armed, cells)

    def closely(self, skinnings: tuple[Skinning, Skinning], faces: tuple[Index, Index]) -> PairPose:
        """The same with all vertices and the middles of all ``faces`` (F,3) as points: a hand close to the camera is
        else a net through which much is seen.
        """  # fmt: skip
        points = []
        for k, (skinning, its) in enumerate(zip(skinnings, faces, strict=True)):
            posed = skinning(skinning.shape(self.betas[k]), self.roots[k], self.fingers[k], self.arms[k])
            hand = posed.vertices[: skinning.num_hand] + self.transl[k]
            points.append(np.concatenate([hand, (hand[its[:, 0]] + hand[its[:, 1]] + hand[its[:, 2]]) / 3]))
        return replace(self, hand_points=(points[0], points[1]))

    def arms_before(self, camera: Camera) -> bool:
        """Whether a forearm is in the way of a camera in whose space the pair is."""
        focal = float(camera.matrix[0, 0])
        middle = (camera.size - 1) / 2
        # What a camera sees whose axis is off the picture's middle, one in the middle sees of a sheared space.
        centred = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
        shear = np.linalg.solve(centred, camera.matrix.astype(np.float64)).T
        wrists, elbows = (self.wrists @ shear)[None], (self.elbows @ shear)[None]
        return self.armed and bool(arms_in_the_way(wrists, elbows, np.array([focal / camera.size]))[0])

    def middle(self) -> Array:
        """(3,) m, mean of the surfaces."""
        return (self.hand_points[0].mean(0) + self.hand_points[1].mean(0)) / 2

    def hands(self, turn: Array, shift: Array) -> tuple[Hand, Hand]:
        """The hands turned by ``turn`` (3,3) into a camera's axes and moved by ``shift`` (3,) there."""
        turns = Rotation.from_matrix(np.concatenate([turn @ self.roots, self.arms]), assume_valid=True)
        turned = turns.as_rotvec().astype(np.float32)
        pose = np.concatenate([turned[:2], axis_angles(self.fingers).reshape(2, 45).astype(np.float32)], 1)
        rest_wrists = self.wrists - self.transl
        transl = (self.wrists @ turn.T + shift - rest_wrists).astype(np.float32)
        betas = self.betas.astype(np.float32)
        right, left = (Hand(pose[k], betas[k], transl[k], turned[2 + k]) for k in (0, 1))
        return right, left
