"""AIH_Render: a scene's layers over its background, and each hand alone over the same background."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from aih_gen.compose.joint_states import joint_pixels, layer_joint_states
from aih_gen.compose.masks import occlusion
from aih_gen.compose.sample import JOINT_OUTSIDE, JOINT_UNKNOWN, Sample
from aih_gen.compose.sensor import apply_sensor
from aih_gen.config import RenderConfig
from aih_gen.kernels.blur import blurred
from aih_gen.kernels.layers import composite, mark_shaded, premultiply, resolve_visibility
from aih_gen.render import make_renderer
from aih_gen.render.layers import HAND, Layers, Renderer
from aih_gen.render.meshes import HandPair
from aih_gen.scenes import SceneSampler
from aih_gen.scenes.backgrounds import background_image
from aih_gen.scenes.fits import Fits
from aih_gen.scenes.scene import Hand, Scene
from aih_gen.typing import Float32, Mask, UInt8

HAND_TYPES = {(True, True): "interacting", (True, False): "right", (False, True): "left", (False, False): "none"}
"""``provenance["hand_type"]`` by whether there is a right and a left hand; the first three are InterHand2.6M's."""


class RenderedSource:
    """Samples of AIH_Render by index. Holds the hand models, the background library and the renderer.

    Raises:
        AIHError: the hand models, the library or recorded hands cannot be read or cannot serve.
    """

    def __init__(
        self, config: RenderConfig, fits: Mapping[int, Fits] | None = None, gl_device: int | None = None
    ) -> None:
        """``fits``: recorded hands, opened, as ``SceneSampler`` takes them; ``gl_device``: as ``generate`` takes it."""
        self.config = config
        self.hands = HandPair(config.hand_model)
        self.scenes = SceneSampler(config, self.hands.models, fits)
        self._gl_device = gl_device

    @functools.cached_property
    def renderer(self) -> Renderer:
        """The renderer, opened when it is first needed: most of what is asked of a source draws nothing.

        Raises:
            AIHError: no OpenGL starts.
        """
        config, textures = self.config, self.scenes.textures
        return make_renderer(config.renderer, self.hands, config.size, config.look, textures, self._gl_device)

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of these indices, in their order."""
        return self.compose_scenes([self.scenes.sample(index) for index in indices])

    def compose_scenes(self, scenes: Sequence[Scene]) -> list[Sample]:
        """Draw scenes and put their layers together."""
        layers = self.renderer.render(scenes)
        backgrounds = [background_image(s.background, self.scenes.library, self.config.size) for s in scenes]
        return [compose(*parts) for parts in zip(scenes, layers, backgrounds, strict=True)]

    def describe(self) -> dict[str, Any]:
        """Names and hashes of the outside files that the samples depend on, by the configuration's field."""
        model, library, textures = self.hands.models[0], self.scenes.library, self.scenes.textures
        inputs = {
            "hand_model": {"name": model.name, "sha256": model.sha256},
            "backgrounds": {"name": library.name, "sha256": library.digest()},
            "textures": {"name": textures.name, "sha256": textures.digest()},
        }
        for recorded in self.scenes.recorded.values():  # all of one file
            fits = recorded.fits
            inputs["poses"] = {"name": fits.name, "sha256": fits.sha256}
        return inputs


def compose(scene: Scene, layers: Layers, background: UInt8) -> Sample:
    """Put the layers together by depth.

    A pixel belongs to the nearer hand (with its arm) at the pixel's centre. Where one hand owns a pixel that the other
    does not reach, its edge is blended with the background; all images of the scene share that blend, so image and
    target differ only where the other hand owns the pixel, throws its shadow, or blurs over its edge.

    The target of a hand that is absent shows the background without the other one. Where the image shows nothing of
    the other hand and arm, nothing is removed, and the target is the image.
    """
    masks, removed = np.empty((6, *background.shape[:2]), np.bool_), np.empty(layers.part.shape, np.bool_)
    resolve_visibility(layers.part, layers.depth, masks, removed)
    amodal, visible, arm = masks.reshape(3, 2, *background.shape[:2])
    images = apply_sensor(_composite(layers, removed, background, scene.props_blur), removed, scene.sensor)
    shaded = np.empty(background.shape[:2], np.bool_)
    mark_shaded(images, removed, shaded)

    joints_2d = _project(layers.joints_3d, scene.camera.matrix)
    row, column, outside = joint_pixels(joints_2d, len(background))
    states, _ = layer_joint_states(layers, removed, (row, column), layers.joints_3d[..., 2])
    states[outside] = JOINT_OUTSIDE
    present = amodal.any((1, 2))
    shown = present[:, None, None]
    there = scene.hands[0] is not None, scene.hands[1] is not None
    return Sample(
        image=images[0],
        target_right=images[1],
        target_left=images[2],
        amodal_right=amodal[0],
        amodal_left=amodal[1],
        visible_right=visible[0],
        visible_left=visible[1],
        arm_right=arm[0],
        arm_left=arm[1],
        shaded=shaded,
        joints_3d=np.where(shown, layers.joints_3d, np.float32(np.nan)),
        joints_2d=np.where(shown, joints_2d, np.float32(np.nan)),
        joint_state=np.where(present[:, None], states, np.uint8(JOINT_UNKNOWN)),
        **_parameters(scene.hands, present),
        camera=scene.camera.matrix,
        present=present,
        occlusion=np.array([occlusion(amodal[s], visible[s]) for s in (0, 1)], np.float32),
        index=scene.index,
        provenance={
            "number_of_hands": sum(there),
            "hand_type": HAND_TYPES[there],
            "interaction": scene.interaction,
            "shows": list(scene.shows),
            "background": scene.background.kind,
            "tone": scene.skin.tone,
        },
        depth=torch.from_numpy(layers.depth).half().numpy(),  # vectorised, unlike NumPy's conversion
    )


def _parameters(hands: Sequence[Hand | None], present: Mask) -> dict[str, Float32]:
    """``pose`` (2,48), ``betas`` (2,10) and ``transl`` (2,3); NaN of hands that the image does not show."""
    found = {
        name: np.full((2, width), np.nan, np.float32) for name, width in (("pose", 48), ("betas", 10), ("transl", 3))
    }
    for side, hand in enumerate(hands):
        if hand is not None and present[side]:
            for name, array in found.items():
                array[side] = getattr(hand, name)
    return found


def _composite(layers: Layers, removed: Mask, background: UInt8, blur: float) -> UInt8:
    """(3,H,W,3) the image and each hand alone; props are blurred by a radius in image sides."""
    images = np.empty((3, *background.shape), np.uint8)
    behind = np.empty((0, *background.shape[:2], 4), np.uint8) if layers.behind is None else layers.behind
    blurry = len(behind) > 0 and blur * len(background) > 0.3
    if blurry:
        behind = np.stack([blurred(premultiply(layer), blur * len(background)) for layer in behind])
    composite(background, behind, blurry, layers.colour, layers.shaded_colour, layers.part, removed, images)
    for side in (0, 1):
        if not (removed[side].any() or (layers.part[1 - side] == HAND).any()):
            # The shadow of what is outside the image, or of an arm behind this hand, stays.
            images[1 + side] = images[0]
    return images


def _project(joints: Float32, matrix: Float32) -> Float32:
    projected = joints @ matrix.T
    return (projected[..., :2] / projected[..., 2:]).astype(np.float32)
