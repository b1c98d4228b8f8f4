"""Draw HDR's results on images of two hands, a row each: ``docs/before_after.jpg``, which the README shows.

python scripts/draw_before_after.py docs/before_after.jpg [IMAGE ...]
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from aih_gen.arguments import run_script
from aih_gen.assets import asset_path
from aih_gen.compose.rendered import RenderedSource
from aih_gen.config import SIDES, TWO_HANDS, RenderConfig
from aih_gen.typing import UInt8
from hdr_model import HDR
from hdr_model.inference.photos import read_photo
from hdr_model.visual import captioned_row, draw_joints, draw_masks, draw_skeletons, stack_rows

CAPTIONS = "image", "masks: outlines are whole hands", "right hand alone", "left hand alone", "joints", "in 3D"
CONFIG = RenderConfig(seed=2026, size=512, hands=TWO_HANDS)
"""Of the drawn images; no training has seen this seed."""
HEIGHT = 220


def main(out: Path, images: list[Path] | None = None, indices: tuple[int, ...] = (9, 10, 16)) -> None:
    """Run the shipped networks on images, or on drawn ones.

    Args:
        out: the image that is written.
        images: files to show in place of drawn images.
        indices: of the drawn images.
    """
    shown = [read_photo(path) for path in images or ()]
    shown = shown or [sample.image for sample in RenderedSource(CONFIG).samples(indices)]
    hdr = HDR.from_pretrained(asset_path("weights"))
    Image.fromarray(stack_rows([row(hdr, image) for image in shown])).save(out, quality=88)


def row(hdr: HDR, image: UInt8) -> UInt8:
    """An image and HDR's results on it, side by side."""
    result = hdr(image)
    hands = {side: getattr(result, side) for side in SIDES}
    joints = image
    for side in SIDES:
        joints = draw_joints(joints, hands[side].joints_2d)
    skeletons = draw_skeletons({side: hand.joints_3d for side, hand in hands.items() if hand.present}, 0)
    alone = [hands[side].image for side in SIDES]
    images = [image, draw_masks(image, result.masks), *alone, joints, skeletons]
    return captioned_row(images, CAPTIONS, HEIGHT)


if __name__ == "__main__":
    run_script(main)
