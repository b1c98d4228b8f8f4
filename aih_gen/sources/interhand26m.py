"""InterHand2.6M (Moon et al. 2020): its annotations, joined and checked, and which of its images are whole.

    ROOT/images/SPLIT/Capture0/SEQUENCE/camID/imageFRAME.jpg
    ROOT/annotations/SPLIT/InterHand2.6M_SPLIT_data.json, ..._camera.json, ..._joint_3d.json, ..._MANO_NeuralAnnot.json

Older trees have ``human_annot``, ``machine_annot`` or ``all`` below ``annotations``, with or without the split's
folder. A tree without such folders is v1.0, which has one branch, ``all``. Lengths become metres, joints our 21.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from tqdm import tqdm

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from aih_gen.hands import load_hand_pair
from aih_gen.io.images import ONE_COLOUR, image_fault
from aih_gen.io.json_stream import JSONStream
from aih_gen.sources.interhand26m_files import (
    BROKEN_FIT,
    FAR_FIT,
    FITTED,
    NO_FIT,
    PRESENT,
    Annotation,
    FrameTable,
    Key,
    View,
    add_fits,
    read_annotations,
    read_frames,
    read_views,
)
from aih_gen.sources.records import ReadReport
from aih_gen.sources.shown import Fault, box_fault, hands_fault
from aih_gen.typing import Branch, Split

BRANCH_FOLDERS: dict[Branch, str] = {"all": "all", "human": "human_annot", "machine": "machine_annot"}
FITS_AT_ONCE = 512
NO_FRAME = "frame without joints"


@dataclass(frozen=True, eq=False)
class InterHand:
    """One split of one branch, joined; only usable annotations are kept, in the order of the file."""

    annotations: list[Annotation]
    views: dict[Key, View]
    frames: FrameTable
    report: ReadReport
    sha256: dict[str, str]
    """Of each annotation file, by its ending."""


def annotation_files(root: Path, split: Split, branch: Branch) -> str:
    """The beginning of the four files' paths.

    Raises:
        AIHError: no such split or branch in the tree.
    """
    base, folder = root / "annotations", BRANCH_FOLDERS[branch]
    places = [base / folder / split, base / split / folder, base / folder]
    if branch == "all" and not any((base / name).exists() for name in BRANCH_FOLDERS.values()):
        places.insert(0, base / split)  # v1.0
    for place in places:
        prefix = f"{place}/InterHand2.6M_{split}_"
        if Path(f"{prefix}data.json").is_file():
            return prefix
    raise AIHError(
        f"{root}: expected annotations/{split}/InterHand2.6M_{split}_data.json (v1.0, branch all), or the same below "
        f"annotations/{folder} for the branch {branch}; found neither"
    )


def read_interhand(
    root: Path, split: Split, branch: Branch, hand_model: str, max_fit_error: float, keep_unfitted: bool
) -> InterHand:
    """Join the four files and check every record.

    Args:
        root: the folder with ``annotations`` and ``images``.
        split: one of the three.
        branch: whose annotations: of ``all``, of ``human`` or of ``machine``.
        hand_model: the MANO files that the fits are for.
        max_fit_error: m, largest mean distance of a fit's joints from the annotated ones.
        keep_unfitted: keep images whose fit is missing or too far off.

    Raises:
        AIHError: a file is missing, or is no JSON from its start.
    """
    prefix = annotation_files(root, split, branch)
    streams = {name: JSONStream(Path(f"{prefix}{name}.json")) for name in ("data", "camera", "joint_3d")}
    streams["MANO_NeuralAnnot"] = JSONStream(Path(f"{prefix}MANO_NeuralAnnot.json"))
    report = ReadReport("annotations")
    read = read_annotations(streams["data"], report)
    views, broken_views = read_views(streams["camera"], report)
    frames = read_frames(streams["joint_3d"], {(annotation.capture, annotation.frame) for annotation in read}, report)
    add_fits(streams["MANO_NeuralAnnot"], frames, report)
    _compare_fits(frames, hand_model, max_fit_error)
    usable = list(
        _usable(read, views, broken_views, frames, root / "images" / split, report, keep_unfitted, max_fit_error)
    )
    report.used = len(usable)
    return InterHand(usable, views, frames, report, {name: stream.sha256 for name, stream in streams.items()})


def fit_fault(frames: FrameTable, annotation: Annotation, max_fit_error: float) -> str | None:
    """The fault of an annotation's fits; None where they have none."""
    states = frames.fit_state[frames.rows[annotation.capture, annotation.frame]][
        np.array(PRESENT[annotation.hand_type])
    ]
    if (states == BROKEN_FIT).any():
        return "broken fit"
    if (states == NO_FIT).any():
        return "no fit"
    return f"fit over {1000 * max_fit_error:g} mm off" if (states == FAR_FIT).any() else None


def _compare_fits(frames: FrameTable, hand_model: str, max_fit_error: float) -> None:
    """Mark fits whose joints are farther from the annotated ones than allowed, or cannot be compared."""
    for side, model in enumerate(load_hand_pair(hand_model, tips="smplx")):
        chosen = np.flatnonzero(frames.fit_state[:, side] == FITTED)
        starts = range(0, len(chosen), FITS_AT_ONCE)
        for start in tqdm(starts, desc=f"{SIDES[side]} fits against joints", unit="batch", leave=False, mininterval=1):
            rows = chosen[start : start + FITS_AT_ONCE]
            pose, betas, transl = torch.from_numpy(frames.fits[rows, side]).split((48, 10, 3), 1)
            with torch.no_grad():
                joints = model(pose, betas, transl).joints.numpy()
            known = frames.known[rows, side]
            error = np.linalg.norm(joints - frames.joints[rows, side], axis=-1)
            mean = np.where(known, error, 0).sum(1) / np.maximum(known.sum(1), 1)
            frames.fit_joints[rows, side] = joints
            frames.fit_state[rows[~(mean <= max_fit_error) | ~known.any(1)], side] = FAR_FIT


def _usable(
    read: list[Annotation],
    views: dict[Key, View],
    broken_views: set[Key],
    frames: FrameTable,
    images: Path,
    report: ReadReport,
    keep_unfitted: bool,
    max_fit_error: float,
) -> Iterator[Annotation]:
    for annotation in tqdm(read, desc="images", unit="image", leave=False, mininterval=1):
        frame, camera = (annotation.capture, annotation.frame), (annotation.capture, annotation.camera)
        fault = None if frame in frames.rows else frames.faults.get(frame, NO_FRAME)
        if camera not in views:
            fault = fault or ("broken camera" if camera in broken_views else "camera absent")
        fit = None if fault else fit_fault(frames, annotation, max_fit_error)
        if fit == "broken fit":
            fault = fit
        elif fit and not keep_unfitted:
            report.leave_out(fit, annotation.name)
            continue
        hidden = None if fault else _hands_fault(frames, annotation, views[camera])
        fault = fault or (hidden.reason if hidden else _image_fault(images, annotation))
        if fault and (fault == ONE_COLOUR or (hidden and not hidden.broken)):
            report.leave_out(fault, annotation.name)
        elif fault:
            report.add_broken(fault, annotation.name)
        else:
            yield annotation


def _hands_fault(frames: FrameTable, annotation: Annotation, view: View) -> Fault | None:
    size = annotation.width, annotation.height
    world = frames.joints_to_show(annotation)
    joints = (world - view.position) @ view.rotation.T
    fault = box_fault(annotation.box, *size)
    return fault or (hands_fault(joints, view.matrix, annotation.box, *size) if len(joints) else None)


def _image_fault(images: Path, annotation: Annotation) -> str | None:
    place = PurePosixPath(annotation.file_name)
    if place.is_absolute() or ".." in place.parts:
        return "image outside the tree"
    left, top, width, height = annotation.box
    box = left, top, left + width, top + height
    return image_fault(images / place, (annotation.width, annotation.height), box)
