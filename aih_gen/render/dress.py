"""Gloves, rings and bands as the shading program takes them: around bones of the resting hand."""

from __future__ import annotations

import moderngl
import numpy as np
from scipy.spatial.transform import Rotation

from aih_gen.hands.anatomy import FINGER_BONES, back_directions
from aih_gen.hands.joints import WRIST
from aih_gen.hands.model import HandModel
from aih_gen.render.watch import forearm_axes
from aih_gen.scenes.dress import MAX_BANDS, MAX_RINGS
from aih_gen.scenes.scene import Dress, Hand, Ring, Scene

GEM = 0.0028
"""Radius (m) of a stone on a ring."""
BINDING = 3
DRESS = np.dtype(
    [
        ("glove", "3f4"),
        ("glove_cuff", "f4"),
        ("counts", "(2,2)i4"),  # of rings and of bands, right and left
        ("watch_metal", "4f4"),
        ("watch_dial", "3f4"),
        ("knitted", "f4"),
        ("arm_axes", "(2,3,4)f4"),
        ("ring_place", f"(2,{MAX_RINGS},4)f4"),
        ("ring_along", f"(2,{MAX_RINGS},4)f4"),
        ("ring_axis", f"(2,{MAX_RINGS},4)f4"),
        ("ring_colour", f"(2,{MAX_RINGS},4)f4"),
        ("gem_place", f"(2,{MAX_RINGS},4)f4"),
        ("gem_out", f"(2,{MAX_RINGS},4)f4"),
        ("gem_colour", f"(2,{MAX_RINGS},4)f4"),
        ("band", f"(2,{MAX_BANDS},4)f4"),
        ("band_colour", f"(2,{MAX_BANDS},4)f4"),
    ]
)
"""The uniform block of ``shaders/dress.glsl``."""


def dress_needs(dress: Dress) -> dict[str, bool]:
    """The parts of the shading program that a scene's dress needs."""
    parts = {
        "GLOVED": dress.glove is not None,
        "POLISHED": dress.polish is not None,
        "RINGED": bool(dress.rings),
        "BANDED": bool(dress.bands),
    }
    return {"DRESSED": any(parts.values()), **parts}


class DressBlock:
    """The uniform block, filled anew for every scene in which something is worn."""

    def __init__(self, context: moderngl.Context, model: HandModel) -> None:
        self.values = np.zeros((), DRESS)
        self.block = context.buffer(reserve=DRESS.itemsize, dynamic=True)
        self.block.bind_to_uniform_block(BINDING)
        joints = model.joint_template.numpy().astype(np.float64)
        self.vertices = model.v_template.numpy()[: model.num_vertices] - joints[WRIST]
        self.dominant_bone = model.weights[: model.num_vertices].numpy().argmax(1)
        self.joints, self.backs = joints - joints[WRIST], back_directions(model)

    def fill(self, scene: Scene) -> None:
        """Take what a scene's hands wear."""
        dress, values = scene.skin.dress, self.values
        if not dress_needs(dress)["DRESSED"]:
            return
        values["counts"] = 0
        if dress.glove is not None:
            values["glove"], values["glove_cuff"] = dress.glove.colour, dress.glove.cuff
            values["knitted"] = dress.glove.knitted
        for side, hand in enumerate(scene.hands):
            if hand is not None:
                values["arm_axes"][side, :, :3] = forearm_axes(hand, side)
        if dress.watch is not None:
            values["watch_metal"] = *dress.watch.metal, dress.watch.square
            values["watch_dial"] = dress.watch.dial
        for band in dress.bands:
            k = values["counts"][1, band.side]
            values["band"][band.side, k] = band.start, band.width / 2, band.beads, band.metal
            values["band_colour"][band.side, k, :3] = band.colour
            values["counts"][1, band.side] += 1
        for ring in dress.rings:
            if (hand := scene.hands[ring.side]) is not None:
                self._add_ring(ring, hand)
        self.block.write(values)

    def _add_ring(self, ring: Ring, hand: Hand) -> None:
        values, at = self.values, (ring.side, int(self.values["counts"][0, ring.side]))
        level = 1 if ring.finger == 0 else 0  # the thumb's first bone lies in the palm
        chain = FINGER_BONES[ring.finger]
        bone, outer = chain[level], chain[level + 1]
        along = self.joints[outer] - self.joints[bone]
        centre = self.joints[bone] + ring.place * along
        along /= np.linalg.norm(along)
        back = self.backs[bone] - (self.backs[bone] @ along) * along
        back /= np.linalg.norm(back)
        around = self.vertices[self.dominant_bone == bone] - centre
        around = around[np.abs(around @ along) < 0.006]
        middle = around.mean(0) if len(around) else np.zeros(3)  # the flesh lies more below a bone than above it
        centre = centre + middle - (middle @ along) * along
        rotation = Rotation.identity()
        for k in (0, *chain[: level + 1]):
            rotation *= Rotation.from_rotvec(hand.pose[3 * k : 3 * k + 3].astype(np.float64))
        mirror = np.array([1 - 2 * ring.side, 1, 1])
        values["ring_place"][at] = *centre, ring.width / 2
        values["ring_along"][at][:3] = along
        values["ring_axis"][at][:3] = rotation.apply(along * mirror)
        values["ring_colour"][at][:3] = ring.colour
        height = float(((around - middle) @ back).max(initial=0.008))
        values["gem_place"][at] = *(centre + height * back), GEM if ring.gem is not None else 0
        values["gem_out"][at][:3] = rotation.apply(back * mirror)
        if ring.gem is not None:
            values["gem_colour"][at][:3] = ring.gem
        values["counts"][0, ring.side] += 1
