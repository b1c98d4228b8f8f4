"""Masks of the hands in a photo, drawn from parameters that were fitted to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from aih_gen.compose.joint_states import joint_pixels, layer_joint_states
from aih_gen.compose.sample import (
    JOINT_OUTSIDE,
    JOINT_UNKNOWN,
)
from aih_gen.config import RenderConfig
from aih_gen.errors import AIHError
from aih_gen.render import make_renderer
from aih_gen.render.layers import HAND, Layers
from aih_gen.render.meshes import HandPair
from aih_gen.scenes.backgrounds import Background
from aih_gen.scenes.scene import Camera, Hand, Lights, Scene, Skin
from aih_gen.scenes.sensor import PERFECT
from aih_gen.typing import Array, Float32, Mask, UInt8

_GREY = np.full(3, 0.5, np.float32)
_SKIN = Skin(_GREY, _GREY, _GREY, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, "light", None)
_LIGHTS = Lights(
    np.eye(9, 1, dtype=np.float32) * np.ones(3, np.float32), np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32),
    shadows=False,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FittedPair:
    """Hands before a camera; hand 0 is right. Values of hands that are not ``drawn`` are ignored."""

    pose: Float32  # (2,48) axis-angle, radians, zero = flat hand
    betas: Float32  # (2,10)
    transl: Float32  # (2,3) m
    camera: Float32  # (3,3) px, of a square image
    drawn: tuple[bool, bool]


class FitRenderer:
    """Draws each hand of pairs alone, in images of ``size`` pixels a side.

    Raises:
        AIHError: the hand model is the free hand, whose parameters mean something else than MANO's.
    """

    def __init__(self, hand_model: str, size: int) -> None:
        if hand_model == RenderConfig.hand_model:
            raise AIHError(f"hand_model: expected the MANO files that the fits are for, found {hand_model!r}")
        self.hands, self.size = HandPair(hand_model), size
        self.renderer = make_renderer("gl", self.hands, size, "plain")

    def vertices(self, pair: FittedPair, side: int) -> Float32:
        """(V,3) m, camera space."""
        with torch.no_grad():
            parameters = (torch.from_numpy(array[side])[None] for array in (pair.pose, pair.betas, pair.transl))
            return np.asarray(self.hands.models[side](*parameters).vertices[0].numpy())

    def rest_wrists(self, betas: Float32) -> Array:
        """(2,3) m, each hand's wrist at rest, its centre of rotation; betas are (2,10)."""
        wrists = [
            model.joint_template[0].double() + model.joint_shapedirs[0].double() @ torch.from_numpy(shape).double()
            for model, shape in zip(self.hands.models, betas, strict=True)
        ]
        return torch.stack(wrists).numpy()

    def layers(self, pairs: Sequence[FittedPair]) -> list[Layers]:
        """Draw the hands."""
        return self.renderer.render([self._scene(pair) for pair in pairs])

    def _scene(self, pair: FittedPair) -> Scene:
        hands = [
            Hand(pair.pose[side], pair.betas[side], pair.transl[side], np.zeros(3, np.float32))
            if pair.drawn[side]
            else None
            for side in (0, 1)
        ]
        camera = Camera(pair.camera, self.size)
        return Scene(0, (hands[0], hands[1]), _SKIN, _LIGHTS, camera, Background("black"), PERFECT, "fitted")


def to_camera(
    pose: Float32, transl: Float32, rest_wrists: Array, rotation: Array, position: Array
) -> tuple[Float32, Float32]:
    """Poses (2,48) and translations (2,3) in world space -> in a camera's: x = rotation (X - position).

    A hand turns about its wrist at rest (2,3), which is not the origin, so that its translation changes too.
    """
    turned = Rotation.from_matrix(rotation) * Rotation.from_rotvec(pose[:, :3].astype(np.float64))
    moved = (transl + rest_wrists - position) @ rotation.T - rest_wrists
    return np.concatenate([turned.as_rotvec(), pose[:, 3:]], 1).astype(np.float32), moved.astype(np.float32)


def fitted_masks(layers: Layers, shown: Mask) -> tuple[Mask, Mask]:
    """Amodal and visible masks (2,H,W) by depth, within ``shown`` (H,W), the part of the image that is photo."""
    amodal = (layers.part == HAND) & shown
    nearer = layers.depth[::-1] < layers.depth
    return amodal, amodal & ~nearer


def photo_joint_state(joints_2d: Float32, joints_3d: Float32, layers: Layers, shown: Mask) -> UInt8:
    """(2,21) states of annotated joints (2,21,2) px and (2,21,3) m in a photo, by the depth of the fits.

    Unknown where the joint is unknown, and where it lies beside the fitted hand, so that the two contradict each other.
    """
    known = np.asarray(np.isfinite(joints_2d).all(-1) & np.isfinite(joints_3d).all(-1))
    row, column, outside = joint_pixels(joints_2d, len(shown))
    depths = np.where(known, joints_3d[..., 2], np.float32(0))
    state, on_hand = layer_joint_states(layers, layers.depth[::-1] < layers.depth, (row, column), depths)
    state[~on_hand] = JOINT_UNKNOWN
    outside |= ~shown[row, column]
    state[outside] = JOINT_OUTSIDE
    state[~known] = JOINT_UNKNOWN
    return state
