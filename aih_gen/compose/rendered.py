"""AIH_Render: a scene's layers over its background, and each hand alone over the same background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from aih_gen.compose.joint_states import joint_pixels, layer_joint_states
from aih_gen.compose.masks import occlusion
from aih_gen.compose.packed_rgb import OPAQUE, PackedRGB, channels, from_pil, pack, unpack
from aih_gen.compose.sample import JOINT_OUTSIDE, JOINT_UNKNOWN, Sample
from aih_gen.compose.sensor import apply_sensor
from aih_gen.config import RenderConfig
from aih_gen.hands import HandModel
from aih_gen.render import make_renderer
from aih_gen.render.layers import ARM, HAND, NOTHING, Layers
from aih_gen.render.meshes import HandPair
from aih_gen.scenes import SceneSampler
from aih_gen.scenes.backgrounds import background_image
from aih_gen.scenes.fits import Fits
from aih_gen.scenes.scene import Hand, Scene
from aih_gen.typing import Float32, Int8, Mask, UInt8, UInt32

NO_HAND = -1
HAND_TYPES = {(True, True): "interacting", (True, False): "right", (False, True): "left", (False, False): "none"}
"""``provenance["hand_type"]`` by whether there is a right and a left hand; the first three are InterHand2.6M's."""


class RenderedSource:
    """Samples of AIH_Render by index. Holds the hand models, the background library and the renderer."""

    def __init__(self, config: RenderConfig, fits: Mapping[int, Fits] | None = None) -> None:
        """``fits``: recorded hands, opened, as ``SceneSampler`` takes them."""
        self.config = config
        self.hands = HandPair(config.hand_model)
        self.scenes = SceneSampler(config, self.hands.models, fits)
        self.renderer = make_renderer(config.renderer, self.hands, config.size, config.look, self.scenes.textures)

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of these indices, in their order."""
        return self.compose_scenes([self.scenes.sample(index) for index in indices])

    def compose_scenes(self, scenes: Sequence[Scene]) -> list[Sample]:
        """Draw scenes and put their layers together."""
        layers = self.renderer.render(scenes)
        backgrounds = [background_image(s.background, self.scenes.library, self.config.size) for s in scenes]
        return [compose(*parts) for parts in zip(scenes, layers, backgrounds, strict=True)]

    def describe(self) -> dict[str, Any]:
        """The outside files that the samples depend on."""
        return describe_inputs(self.hands.models, self.scenes)


def describe_inputs(models: Sequence[HandModel], scenes: SceneSampler) -> dict[str, Any]:
    """Names and hashes of the outside files that scenes of these hands depend on, by the configuration's field."""
    model, library, textures = models[0], scenes.library, scenes.textures
    inputs = {
        "hand_model": {"name": model.name, "sha256": model.sha256},
        "backgrounds": {"name": library.name, "sha256": library.digest()},
        "textures": {"name": textures.name, "sha256": textures.digest()},
    }
    for recorded in scenes.recorded.values():  # all of one file
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
    owner = _owner(layers)
    removed = [owner == 1 - side for side in (0, 1)]
    behind = _behind(layers, background, scene.props_blur)
    image, targets = apply_sensor(*_layered(layers, owner, behind), removed, scene.sensor)
    shaded = [(target != image) & ~hole for target, hole in zip(targets, removed, strict=True)]

    amodal = layers.part == HAND
    visible = np.stack([(owner == side) & amodal[side] for side in (0, 1)])
    arm = np.stack([(owner == side) & (layers.part[side] == ARM) for side in (0, 1)])
    joints_2d = _project(layers.joints_3d, scene.camera.matrix)
    row, column, outside = joint_pixels(joints_2d, len(owner))
    states, _ = layer_joint_states(layers, np.stack(removed), (row, column), layers.joints_3d[..., 2])
    states[outside] = JOINT_OUTSIDE
    present = amodal.any((1, 2))
    shown = present[:, None, None]
    there = scene.hands[0] is not None, scene.hands[1] is not None
    return Sample(
        image=unpack(image),
        target_right=unpack(targets[0]),
        target_left=unpack(targets[1]),
        amodal_right=amodal[0],
        amodal_left=amodal[1],
        visible_right=visible[0],
        visible_left=visible[1],
        arm_right=arm[0],
        arm_left=arm[1],
        shaded=shaded[0] | shaded[1],
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


def _layered(layers: Layers, owner: Int8, behind: list[PackedRGB]) -> tuple[PackedRGB, list[PackedRGB]]:
    """The image, and each hand alone, over what is ``behind`` them. Touches the covered pixels only."""
    image, *alone = behind
    covered = (layers.part != NOTHING).reshape(2, -1)
    for side in (0, 1):
        place = np.flatnonzero(covered[side])
        own = owner.ravel()[place] == side
        solid = own & covered[1 - side][place]
        target = alone[side].ravel()
        under, in_image = target[place], image.ravel()[place]
        target[place] = shown = _over(_pixels_at(layers.colour[side], place), under, solid)
        if layers.shaded_colour is not layers.colour or (layers.behind is not None and len(layers.behind) == 3):
            shown = _over(_pixels_at(layers.shaded_colour[side], place), in_image, solid)
        image.ravel()[place[own]] = shown[own]
        if not ((layers.part[1 - side] == HAND).any() or (owner == 1 - side).any()):
            alone[side] = image  # the shadow of what is outside the image, or of an arm behind this hand, stays
    return image, alone


def _behind(layers: Layers, background: UInt8, blur: float) -> list[PackedRGB]:
    """The background with the scene's props, blurred by a radius in image sides: behind both hands, and behind each."""
    if layers.behind is None:
        behind = pack(background)
        return [behind, behind.copy(), behind.copy()]
    images = []
    for colour in layers.behind:
        drawn = Image.fromarray(colour)
        if blur * len(colour) > 0.3:
            drawn = drawn.convert("RGBa").filter(ImageFilter.BoxBlur(blur * len(colour))).convert("RGBA")
        image = Image.fromarray(background)
        image.paste(drawn.convert("RGB"), mask=drawn.getchannel("A"))
        images.append(from_pil(image))
    return images if len(images) == 3 else [images[0], images[0].copy(), images[0].copy()]


def _owner(layers: Layers) -> Int8:
    """(H,W) the hand that a pixel belongs to: 0 right, 1 left, NO_HAND."""
    owner = (layers.depth[1] < layers.depth[0]).astype(np.int8)
    owner[(layers.part == NOTHING).all(0)] = NO_HAND
    return owner


def _pixels_at(colour: UInt8, place: NDArray[np.intp]) -> UInt32:
    """(N,) the pixels at ``place`` of an image (H,W,4), whose last channel is the share covered."""
    return colour.view(np.uint32).ravel()[place]


def _over(colour: UInt32, behind: PackedRGB, solid: Mask) -> PackedRGB:
    """Pixels (N,) of one hand over the background's; its edges are not blended where ``solid``."""
    edge = np.flatnonzero((channels(colour)[:, 3] < 255) & ~solid)
    front, back = (channels(pixels[edge]).astype(np.uint16) for pixels in (colour, behind))
    share = front[:, 3:]
    blended = (front * share + back * (255 - share) + 127) // 255
    colour[edge] = blended.astype(np.uint8).view(np.uint32)[:, 0]
    return colour | OPAQUE


def _project(joints: Float32, matrix: Float32) -> Float32:
    projected = joints @ matrix.T
    return (projected[..., :2] / projected[..., 2:]).astype(np.float32)
