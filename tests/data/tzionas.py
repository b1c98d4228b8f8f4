"""A small Tzionas set in the files' exact layout, and where the real frame is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

REAL = Path(__file__).parents[3] / "shared" / "real"


def write_frames(root: Path) -> np.ndarray:
    """One frame with a white dot at each annotated joint (28,2), and four whose files are broken; all of a sequence."""
    rng = np.random.default_rng(1)
    spots = np.stack([rng.permutation(np.arange(200, 452, 9))[:28], rng.permutation(np.arange(100, 352, 9))[:28]], 1)
    image = np.zeros((480, 640, 3), np.uint8)
    for x, y in spots:
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
    spots[[2, 15]] = 0
    table = [f"{k}\t{x}\t{y}" for k, (x, y) in enumerate(spots.tolist())]
    texts = {
        "0001": table,
        "0002": table[:-1],
        "0003": [*table[:5], "5\tx\ty", *table[6:]],
        "0004": [f"{k} 0 0" for k in range(28)],
        "0005": table,
    }
    for folder in ("rgb", "joints_2D_GT"):
        (root / "01" / folder).mkdir(parents=True)
    for name, lines in texts.items():
        (root / "01" / "joints_2D_GT" / f"{name}.txt").write_text("\n".join(lines))
        if name != "0005":
            Image.fromarray(image).save(root / "01" / "rgb" / f"{name}.png")
    return spots
