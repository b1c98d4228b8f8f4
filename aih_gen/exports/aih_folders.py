"""AIH_Render samples -> the authors' folders, for programs that read those."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aih_gen.config import RenderConfig
from aih_gen.errors import AIHError
from aih_gen.exports.common import each_sample
from aih_gen.io.images import encoded
from aih_gen.shards.reader import AIHShards
from aih_gen.sources.aih_folders import VISIBLE_VALUES, render_files
from aih_gen.typing import UInt8

QUALITY = 95


def export_aih_folders(shards: AIHShards, folder: Path) -> int:
    """Fill an empty ``render_folder``: every sample once for each hand that is present, so those of no hand not at all.

    The format has no joints, arms or shadows: images (JPEG, quality 95, full colour) and masks are exported. Masks are
    0 and 1, ``rl_visible`` 0, 1 and 2, as the authors' loader wants them.

    Returns:
        The number of samples written.

    Raises:
        AIHError: the shards are not AIH_Render's.
    """
    for shard in shards.shards:
        if shard.header.subset != RenderConfig.subset:
            raise AIHError(f"{shard.path}: expected {RenderConfig.subset} to export, found {shard.header.subset}")
    for side in (0, 1):
        files = render_files(folder, side, "x")
        for path in (files.image, files.target, files.amodal, files.visible):
            path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    for position, sample in each_sample(shards):
        written += bool(sample.present.any())
        visible = sum(mask * np.uint8(value) for mask, value in zip(sample.visible, VISIBLE_VALUES, strict=True))
        for side in np.flatnonzero(sample.present).tolist():
            files = render_files(folder, side, f"{position:08d}")
            _jpeg(files.image, sample.image)
            _jpeg(files.target, sample.target[side])
            files.amodal.write_bytes(encoded(sample.amodal[side].astype(np.uint8)))
            files.visible.write_bytes(encoded(np.asarray(visible, np.uint8)))
    return written


def _jpeg(path: Path, image: UInt8) -> None:
    path.write_bytes(encoded(image, "JPEG", quality=QUALITY, subsampling=0))
