"""Recorded fits of hands, read from other people's files, or from shards of annotated photos.

Three layouts are read. ``MANO_NeuralAnnot.json`` of InterHand2.6M: {capture: {frame: {right, left: {pose (48), shape
(10), trans (3)} or null}}}. An npz: ``pose`` (N,2,48) axis-angle in radians, ``betas`` (N,2,10), ``transl`` (N,2,3)
in metres, and optionally ``valid`` (N,2), which fits count. Or shards, as ``aih-gen annotate`` makes them, which know
each frame's camera and show its image. In all, hand 0 is right, zero pose is the flat hand, and
both hands of a frame are in one frame of reference. The free hand and MANO share a pose's meaning only approximately:
their joints lie a few millimetres apart and their resting fingers point a few degrees apart, so hands that just touch
in MANO may part or meet by millimetres in the free hand.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from aih_gen.config import SIDES, RenderConfig
from aih_gen.errors import AssetError
from aih_gen.io.archives import is_of_numpy, read_npz
from aih_gen.io.json_stream import JSONStream
from aih_gen.scenes.fits import Fits, Frames
from aih_gen.shards.reader import AIHShards
from aih_gen.sources.poses_npz import MAX_NUMBERS, within_reach
from aih_gen.typing import Array, Mask

WIDTHS = {"pose": 48, "betas": 10, "transl": 3}
JSON_NAMES = {"pose": "pose", "betas": "shape", "transl": "trans"}


def open_fits(config: RenderConfig) -> dict[int, Fits]:
    """The recorded hands that a configuration names, by how many are in a frame; none where poses are sampled.

    Raises:
        AIHError: as ``read_fits`` does.
    """
    if config.poses == RenderConfig.poses:
        return {}
    return {
        number: read_fits(Path(config.poses), number)
        for number, share in zip((2, 1), config.hands, strict=False)
        if share
    }


def read_fits(path: Path, hands: int = 2) -> Fits:
    """The frames of a file, or of a shard or a folder of shards, in which both hands are fitted, or one alone.

    Args:
        path: the file or folder.
        hands: 2 or 1; frames with another number are skipped.

    Raises:
        AIHError: no such file, not of these layouts, an array of another shape, numbers that no hand has, or no frame
            with as many hands.
        ShardError: shards that cannot be trusted.
    """
    if path.is_dir() or path.suffix == ".h5":
        return _from_shards(path, hands)
    try:
        arrays, valid, sha256 = _from_npz(path) if is_of_numpy(path) else _from_json(path)
    except OSError as error:
        raise AssetError(f"{path}: expected recorded fits, found no readable file ({error.strerror})") from error
    for name, array in arrays.items():
        bad = np.argwhere(valid & ~within_reach(name, array))
        if len(bad):
            row, side = bad[0]
            most = f"finite numbers up to {MAX_NUMBERS[name]:g}"
            raise AssetError(f"{path}: {name}: expected {most}, found others in fit {row}, {SIDES[side]}")
    return _chosen(path, hands, arrays, valid, "frames", sha256)


def _chosen(
    path: Path,
    hands: int,
    arrays: dict[str, Array],
    valid: Mask,
    what: str,
    sha256: str,
    of_shards: tuple[AIHShards, Array] | None = None,
) -> Fits:
    """The rows of ``arrays`` (N,2,...) of which as many hands are ``valid`` (N,2); ``of_shards``: with cameras (N,3,3).

    Raises:
        AssetError: there is none.
    """
    rows = np.flatnonzero(valid.sum(1) == hands)
    if not len(rows):
        fits = "fits of both hands" if hands == 2 else "a fit of one hand alone, which --hands has a share of"
        raise AssetError(f"{path}: expected {what} with {fits}, found none among {len(valid)}")
    present = valid[rows]
    pose, betas, transl = (np.where(present[..., None], arrays[name][rows], 0.0) for name in WIDTHS)
    frames = Frames(of_shards[0], rows, of_shards[1][rows]) if of_shards else None
    return Fits(pose, betas, transl, present, len(valid) - len(rows), path.name, sha256, frames)


def _from_shards(path: Path, hands: int) -> Fits:
    shards = AIHShards(path)
    stored = {name: shards.column(name) for name in (*WIDTHS, "camera", "present")}
    arrays = {name: stored[name].astype(np.float64) for name in WIDTHS}
    camera = stored["camera"].astype(np.float64)
    fitted = np.logical_and.reduce([within_reach(name, array) for name, array in arrays.items()])
    # A hand that is there and not fitted could not be drawn over.
    whole = (fitted | ~stored["present"]).all(1) & np.isfinite(camera).all((1, 2))
    valid = stored["present"] & whole[:, None]
    return _chosen(path, hands, arrays, valid, "samples", shards.digest(), (shards, camera))


def _from_npz(path: Path) -> tuple[dict[str, Array], Mask, str]:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    stored = read_npz(path, (*WIDTHS, "valid"))
    count = len(stored["pose"]) if stored.get("pose", np.zeros(())).ndim else 0
    for name, width in WIDTHS.items():
        _check(path, name, stored.get(name), (count, 2, width), "fiu")
    valid = stored.get("valid", np.ones((count, 2), bool))
    _check(path, "valid", valid, (count, 2), "biu")
    return {name: stored[name].astype(np.float64) for name in WIDTHS}, valid.astype(bool), sha256


def _check(path: Path, name: str, array: Any, shape: tuple[int, ...], kinds: str) -> None:
    if array is None or array.shape != shape or array.dtype.kind not in kinds:
        found = "nothing" if array is None else f"{array.dtype} {array.shape}"
        raise AssetError(f"{path}: {name}: expected numbers of shape {shape}, found {found}")


def _from_json(path: Path) -> tuple[dict[str, Array], Mask, str]:
    stream = JSONStream(path)  # the file of a whole training split does not fit in memory
    rows: dict[str, list[Array]] = {name: [] for name in WIDTHS}
    valid: list[list[bool]] = []
    for capture, frame, hands in stream.pairs():
        place = f"capture {capture}, frame {frame}"
        fits = [_mapping(path, place, hands).get(side) for side in SIDES]
        valid.append([fit is not None for fit in fits])
        for name, width in WIDTHS.items():
            row = np.zeros((2, width))
            for side, fit in enumerate(fits):
                if fit is not None:
                    where, theirs = f"{place}, {SIDES[side]}", JSON_NAMES[name]
                    row[side] = _numbers(path, f"{where}, {theirs}", _mapping(path, where, fit).get(theirs), width)
            rows[name].append(row)
    arrays = {name: np.array(rows[name]).reshape(-1, 2, width) for name, width in WIDTHS.items()}
    return arrays, np.array(valid, bool).reshape(-1, 2), stream.sha256


def _mapping(path: Path, place: str, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise AssetError(f"{path}: {place}: expected an object, found {type(found).__name__}")
    return found


def _numbers(path: Path, place: str, found: Any, width: int) -> Array:
    try:
        numbers = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AssetError(f"{path}: {place}: expected {width} numbers, found {str(found)[:40]}") from error
    if numbers.shape != (width,):
        raise AssetError(f"{path}: {place}: expected {width} numbers, found shape {numbers.shape}")
    return numbers
