"""Draw named gestures with the free hand from three sides: ``python scripts/draw_gestures.py OUT.png``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial.transform import Rotation

from aih_gen.hands.anatomy import GESTURES, FingerJoints, Gesture, clamp_to_joint_limits
from aih_gen.render.gl import GLRenderer
from aih_gen.render.layers import NOTHING
from aih_gen.render.meshes import HandPair
from aih_gen.scenes.backgrounds import Background
from aih_gen.scenes.lights import sample_lights
from aih_gen.scenes.scene import Camera, Hand, Scene
from aih_gen.scenes.sensor import PERFECT
from aih_gen.scenes.skin import sample_skin

SIZE = 256
SHOWN = list(GESTURES)
VIEWS = {"back": 0.0, "palm": 180.0, "side": 80.0}


def scene(gesture: Gesture, hands: HandPair, angle: float) -> Scene:
    """A right hand, fingers up, turned about the vertical; its left mirror image stands behind it unseen."""
    upright = Rotation.from_euler("y", angle, degrees=True) * Rotation.from_euler("zy", [90, -90], degrees=True)
    posed = []
    for model in hands.models:
        fingers = FingerJoints(model).pose(clamp_to_joint_limits(gesture.angles()))
        pose = np.concatenate([upright.as_rotvec(), fingers.ravel()]).astype(np.float32)
        posed.append(
            Hand(pose, np.zeros(10, np.float32), np.array([0, 0.08, 0.5], np.float32), np.zeros(3, np.float32))
        )
    camera = Camera(np.array([[500, 0, 127.5], [0, 500, 127.5], [0, 0, 1]], np.float32), SIZE)
    rng = np.random.default_rng(3)
    background = Background("black")
    skin = sample_skin(rng)
    lights = sample_lights(rng, background, float(skin.palm.max()))
    return Scene(0, (posed[0], posed[1]), skin, lights, camera, background, PERFECT, "none")


def main() -> None:
    out = Path(sys.argv[1])
    hands = HandPair("free")
    scenes = [scene(GESTURES[name], hands, angle) for angle in VIEWS.values() for name in SHOWN]
    layers = GLRenderer(hands, SIZE).render(scenes)
    sheet = Image.new("RGB", (SIZE * len(SHOWN), SIZE * len(VIEWS)), (235, 235, 235))
    for k, layer in enumerate(layers):
        x, y = k % len(SHOWN) * SIZE, k // len(SHOWN) * SIZE
        mask = Image.fromarray(np.where(layer.part[0] != NOTHING, layer.colour[0, ..., 3], 0).astype(np.uint8))
        sheet.paste(Image.fromarray(np.ascontiguousarray(layer.colour[0, ..., :3])), (x, y), mask)
    pen = ImageDraw.Draw(sheet)
    for k, name in enumerate(SHOWN):
        pen.text((k * SIZE + 10, 8), name, fill=(0, 0, 0), font_size=22)
    sheet.resize((sheet.width // 2, sheet.height // 2), Image.Resampling.LANCZOS).save(out)


if __name__ == "__main__":
    main()
