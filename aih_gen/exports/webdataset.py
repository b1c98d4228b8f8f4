"""Samples -> tar files as the package webdataset reads them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from aih_gen.compose.sample import IMAGES, MASK_BITS, Sample, pack_masks
from aih_gen.exports.common import each_sample
from aih_gen.io.images import encoded
from aih_gen.shards.reader import AIHShards
from aih_gen.typing import UInt8


def export_webdataset(shards: AIHShards, folder: Path) -> int:
    """Fill an empty folder with one tar a shard: each sample's images and ``masks`` as PNG, all else as JSON.

    ``masks`` holds the bits of schema 1 (``MASK_BITS``), NaN is null.

    Returns:
        The number of samples written.
    """
    samples = each_sample(shards)
    for number, shard in enumerate(shards.shards):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as archive:
            for _ in range(shard.samples):
                position, sample = next(samples)
                for name in IMAGES:
                    _add(archive, f"{position:08d}.{name}.png", _png(getattr(sample, name)))
                _add(archive, f"{position:08d}.masks.png", _png(pack_masks(sample)))
                _add(archive, f"{position:08d}.json", json.dumps(_numbers(sample), allow_nan=False).encode())
    return len(shards)


def _numbers(sample: Sample) -> dict[str, Any]:
    names = ("joints_3d", "joints_2d", "joint_state", "pose", "betas", "transl", "camera", "present", "occlusion")
    numbers = {name: _without_nan(getattr(sample, name).tolist()) for name in names}
    return numbers | {"index": sample.index, "provenance": sample.provenance, "mask_bits": MASK_BITS}


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _png(image: UInt8) -> bytes:
    return encoded(image, compress_level=1)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
