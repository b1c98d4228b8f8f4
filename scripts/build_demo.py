"""Render ``assets/demo/two_hands.png``, the image that quickstart shows HDR on where there is no photo at hand.

python scripts/build_demo.py
"""

from __future__ import annotations

from PIL import Image

from aih_gen.assets import asset_path
from aih_gen.compose.rendered import RenderedSource
from aih_gen.config import TWO_HANDS, RenderConfig

CONFIG = RenderConfig(seed=2026, size=512, hands=TWO_HANDS)
INDEX = 8


def main() -> None:
    sample = RenderedSource(CONFIG).samples([INDEX])[0]
    Image.fromarray(sample.image).save(asset_path("demo") / "two_hands.png", optimize=True)


if __name__ == "__main__":
    main()
