"""Detection of hands in large photos: AIH's hands pasted, at several sizes, into one of the shipped backgrounds.

python scripts/bench_finding.py DATA WEIGHTS --count 20
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor
from tqdm import tqdm

from aih_gen.arguments import run_script
from aih_gen.assets import asset_path
from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES, sample_rng
from aih_gen.shards.reader import AIHShards
from aih_gen.typing import Mask, UInt8
from hdr_model.evaluation.table import Grid, Line
from hdr_model.geometry import mask_boxes
from hdr_model.inference.detection import MARGIN, Window, find_hands
from hdr_model.inference.pipeline import HDR

PHOTO = 1024
SHARES = (1.0, 0.5, 0.25, 0.15)
"""Side of what is pasted / side of the photo."""
FOUND_FROM = 0.5
Masks = dict[str, Tensor]


def main(data: Path, weights: Path, count: int = 20, device: str = "cpu") -> None:
    """Print, for each size and way of looking, how many pairs are found (IoU of both whole hands) and the mean IoU."""
    shards, hdr = AIHShards(data), HDR.from_pretrained(weights, device=device)
    ways: dict[str, Callable[[Tensor], Masks]] = {
        "one look at the whole photo": lambda photo: hdr.segment(photo),
        "a look at the whole photo, then closer": lambda photo: hdr.segment(photo, find_hands(hdr, photo)),
        "box known": lambda photo: hdr.segment(photo),
    }
    ious: dict[tuple[str, float], list[float]] = {(name, share): [] for name in ways for share in SHARES}
    pairs = np.flatnonzero(shards.column("present").all(1)).tolist()
    for k in tqdm(pairs[:count], unit="sample"):
        for share in SHARES:
            photo, truth = pasted(shards[k], share, k)
            pixels = torch.from_numpy(photo.copy()).to(hdr.device).permute(2, 0, 1)[None].float() / 255
            centre, side = mask_boxes(torch.from_numpy(truth)[None])
            known = Window.around(float(centre[0, 0]), float(centre[0, 1]), round(float(side[0]) * MARGIN))
            ways["box known"] = lambda p, known=known: hdr.segment(p, known)  # type: ignore[misc]
            for name, way in ways.items():
                with torch.inference_mode():
                    masks = way(pixels)
                both = torch.stack([masks[f"{side}_amodal"] for side in SIDES]).any(0)[0].cpu().numpy()
                ious[name, share].append(float((both & truth).sum() / (both | truth).sum()))
    lines = [
        Line(name, tuple(f(ious[name, share]) for share in SHARES for f in (_found, lambda v: float(np.mean(v)))))
        for name in ways
    ]
    columns = tuple(f"{share:.0%}, {what}" for share in SHARES for what in ("found", "mean IoU"))
    note = f"Found: IoU of both whole hands together at least {FOUND_FROM}. {PHOTO} x {PHOTO} pixels."
    Grid("Hands in large photos, by side of what is pasted", columns, tuple(lines), note).print(Console())


def pasted(sample: Sample, share: float, k: int) -> tuple[UInt8, Mask]:
    """A photo with a sample's hands and arms somewhere in it, and the mask of both whole hands."""
    rng = sample_rng(0, k)
    backgrounds = sorted(asset_path("backgrounds").glob("*.webp"))
    with Image.open(backgrounds[int(rng.integers(len(backgrounds)))]) as opened:
        photo = opened.convert("RGB").resize((PHOTO, PHOTO), Image.Resampling.BICUBIC)
    side = round(PHOTO * share)
    left, top = (int(x) for x in rng.integers(0, PHOTO - side + 1, 2))
    shown = sample.visible_right | sample.visible_left | sample.arm_right | sample.arm_left
    photo.paste(Image.fromarray(sample.image).resize((side, side)), (left, top), _resized(shown, side))
    truth = np.zeros((PHOTO, PHOTO), bool)
    whole = np.asarray(_resized(sample.amodal_right | sample.amodal_left, side)) > 127
    truth[top : top + side, left : left + side] = whole
    return np.asarray(photo), truth


def _found(ious: list[float]) -> float:
    return float(np.mean(np.asarray(ious) >= FOUND_FROM))


def _resized(mask: Mask, side: int) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255).resize((side, side), Image.Resampling.BILINEAR)


if __name__ == "__main__":
    run_script(main)
