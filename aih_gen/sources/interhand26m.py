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
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from aih_gen.hands import load_hand_pair
from aih_gen.hands.joints import FROM_INTERHAND
from aih_gen.io.images import ONE_COLOUR, image_fault
from aih_gen.io.json_stream import CutJSON, JSONStream
from aih_gen.sources.records import ReadReport
from aih_gen.sources.shown import Fault, box_fault, hands_fault
from aih_gen.typing import Array, Branch, Float32, Mask, Split, UInt8

BRANCH_FOLDERS: dict[Branch, str] = {"all": "all", "human": "human_annot", "machine": "machine_annot"}
PRESENT: dict[str, tuple[bool, bool]] = {"right": (True, False), "left": (False, True), "interacting": (True, True)}
"""Presence of right and left hand, by ``hand_type``."""
FIT_NUMBERS = {"pose": 48, "shape": 10, "trans": 3}
CAMERA_NUMBERS = {"camrot": 9, "campos": 3, "focal": 2, "princpt": 2}
NO_FIT, FITTED, BROKEN_FIT, FAR_FIT = range(4)
FITS_AT_ONCE = 512
MAX_NUMBER = 1e9
"""No length, angle or count of a file reaches this, in whatever unit."""
MAX_SKEW = 1e-2
"""Largest entry of R R^T - 1 of a camera's rotation R."""

NO_FRAME = "frame without joints"
Key = tuple[str, str]


class _Broken(Exception):
    """The reason why a record cannot be used."""


class Annotation(NamedTuple):
    """One image and its annotation. Captures, cameras and frames go by the names the files give them."""

    id: int
    file_name: str
    width: int
    height: int
    capture: str
    sequence: str
    camera: str
    frame: str
    hand_type: str
    hand_type_valid: bool
    box: tuple[float, float, float, float]
    """px, left, top, width, height of the hands."""
    valid: int
    """Bit 21 * side + joint (ours): the joint is annotated in this image."""

    @property
    def name(self) -> str:
        """The annotation's id, for lists."""
        return f"annotation {self.id}"

    def valid_joints(self) -> Mask:
        """(2,21) True for annotated joints."""
        return (self.valid >> np.arange(42) & 1).astype(bool).reshape(2, 21)


@dataclass(frozen=True, eq=False)
class View:
    """A camera of a capture: x = rotation (X - position), then ``matrix``."""

    rotation: Array  # (3,3)
    position: Array  # (3,) m, world
    matrix: Array  # (3,3) px


@dataclass(eq=False)
class FrameTable:
    """Frames of captures, in world space. F of them; hand 0 is right."""

    rows: dict[Key, int]
    """Of a capture's frame, by both names."""
    joints: Float32  # (F,2,21,3) m
    known: Mask  # (F,2,21)
    fits: Float32  # (F,2,61) pose, betas, transl in m
    fit_state: UInt8  # (F,2) NO_FIT, FITTED, BROKEN_FIT or FAR_FIT
    fit_joints: Float32  # (F,2,21,3) m, of the fits that serve, else zero
    faults: dict[Key, str]
    """Frames whose joints are broken."""

    def joints_to_show(self, annotation: Annotation) -> Array:
        """(N,3) m, world: joints of the fits where each hand has one that serves, else the annotated ones."""
        row, present = self.rows[annotation.capture, annotation.frame], np.array(PRESENT[annotation.hand_type])
        if (self.fit_state[row][present] == FITTED).all():
            return self.fit_joints[row][present].reshape(-1, 3)
        return self.joints[row][annotation.valid_joints() & self.known[row] & present[:, None]]


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
    read = _annotations(streams["data"], report)
    views, broken_views = _views(streams["camera"], report)
    frames = _frame_table(streams["joint_3d"], {(annotation.capture, annotation.frame) for annotation in read}, report)
    _add_fits(streams["MANO_NeuralAnnot"], frames, report)
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


def _whole_part(items: Iterator[Any], report: ReadReport) -> Iterator[Any]:
    """The items before a break in a file."""
    try:
        yield from items
    except CutJSON as error:
        if str(error) not in report.broken.get("cut JSON", []):
            report.add_broken("cut JSON", str(error))


def _annotations(stream: JSONStream, report: ReadReport) -> list[Annotation]:
    images: dict[Any, tuple[Any, ...]] = {}
    shared: dict[str, str] = {}  # few names, many images
    for item in _whole_part(stream.items("images"), report):
        try:
            names = [str(item[key]) for key in ("capture", "seq_name", "camera", "frame_idx")]
            names = [shared.setdefault(name, name) for name in names]
            images[item["id"]] = (str(item["file_name"]), int(item["width"]), int(item["height"]), *names)
        except (KeyError, TypeError, ValueError, OverflowError):
            continue  # its annotation then has no image record, and is counted
    read = []
    for count, item in enumerate(_whole_part(stream.items("annotations"), report)):
        name = f"annotation {item['id']}" if isinstance(item, dict) and "id" in item else f"annotations[{count}]"
        try:
            read.append(_annotation(item, images))
        except _Broken as error:
            report.add_broken(str(error), name)
        except (KeyError, TypeError, ValueError, OverflowError):
            report.add_broken("broken annotation", name)
    return read


def _annotation(item: dict[str, Any], images: dict[Any, tuple[Any, ...]]) -> Annotation:
    image = images.get(item["image_id"])
    if image is None:
        raise _Broken("no image record")
    if item["hand_type"] not in PRESENT:
        raise _Broken("unknown hand type")
    box = _floats(item["bbox"], 4, "broken box")
    left, top, width, height = box.tolist()
    if min(width, height) <= 0:
        raise _Broken("box of zero size")
    fault = box_fault((left, top, width, height), *image[1:3])
    if fault and fault.broken:
        raise _Broken(fault.reason)
    valid = _floats(item["joint_valid"], 42, "wrong count of joints").reshape(2, 21)[:, FROM_INTERHAND] > 0
    bits = sum(1 << k for k in np.flatnonzero(valid).tolist())
    trusted = bool(item.get("hand_type_valid", 1))
    name, columns, rows, capture, sequence, camera, frame = image
    kind, corners = item["hand_type"], (left, top, width, height)
    return Annotation(
        int(item["id"]), name, columns, rows, capture, sequence, camera, frame, kind, trusted, corners, bits
    )


def _floats(found: Any, count: int, fault: str) -> Array:
    try:
        numbers = np.asarray(found, np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise _Broken(fault) from None
    if len(numbers) != count or not (np.abs(numbers) < MAX_NUMBER).all():
        raise _Broken(fault)
    return numbers


def _views(stream: JSONStream, report: ReadReport) -> tuple[dict[Key, View], set[Key]]:
    """Whole cameras, and the names of broken ones."""
    parts: dict[Key, dict[str, Any]] = {}
    for capture, quantity, by_camera in _whole_part(stream.pairs(), report):
        for camera, value in by_camera.items() if isinstance(by_camera, dict) else ():
            parts.setdefault((capture, camera), {})[quantity] = value
    views, broken = dict[Key, View](), set[Key]()
    for key, part in parts.items():
        if not part.keys() >= CAMERA_NUMBERS.keys():
            continue
        try:
            rotation, position, focal, point = (_floats(part[name], n, name) for name, n in CAMERA_NUMBERS.items())
            views[key] = _view(rotation.reshape(3, 3), position, focal, point)
        except _Broken:
            broken.add(key)
    return views, broken


def _view(rotation: Array, position: Array, focal: Array, point: Array) -> View:
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > MAX_SKEW or np.linalg.det(rotation) < 0 or focal.min() <= 0:
        raise _Broken("camrot or focal")
    return View(rotation, position / 1000, np.array([[focal[0], 0, point[0]], [0, focal[1], point[1]], [0, 0, 1]]))


def _frame_table(stream: JSONStream, wanted: set[Key], report: ReadReport) -> FrameTable:
    rows: dict[Key, int] = {}
    faults: dict[Key, str] = {}
    joints = np.zeros((len(wanted), 2, 21, 3), np.float32)
    known = np.zeros((len(wanted), 2, 21), bool)
    for capture, frame, value in _whole_part(stream.pairs(), report):
        key = capture, frame
        if key not in wanted or key in rows:
            continue
        try:
            valid, world = _world_joints(value)
        except _Broken as error:
            faults[key] = str(error)
            continue
        known[len(rows)], joints[len(rows)] = valid, world / 1000
        rows[key] = len(rows)
    fits = np.zeros((len(rows), 2, sum(FIT_NUMBERS.values())), np.float32)
    states, fit_joints = np.zeros((len(rows), 2), np.uint8), np.zeros((len(rows), 2, 21, 3), np.float32)
    return FrameTable(rows, joints[: len(rows)], known[: len(rows)], fits, states, fit_joints, faults)


def _world_joints(value: Any) -> tuple[Mask, Array]:
    """Known joints (2,21) and all positions (2,21,3) in the file's unit."""
    try:
        valid = np.asarray(value["joint_valid"], np.float64).reshape(2, 21)[:, FROM_INTERHAND] > 0
        world = np.asarray(value["world_coord"], np.float64).reshape(2, 21, 3)[:, FROM_INTERHAND]
    except (KeyError, TypeError, ValueError):
        raise _Broken("wrong count of joints") from None
    if not (np.abs(world[valid]) < MAX_NUMBER).all():
        raise _Broken("joints that are no numbers")
    return valid, np.where(valid[..., None], world, 0)


def _add_fits(stream: JSONStream, frames: FrameTable, report: ReadReport) -> None:
    for capture, frame, hands in _whole_part(stream.pairs(), report):
        row = frames.rows.get((capture, frame))
        if row is None:
            continue
        for side, name in enumerate(SIDES):
            fit = hands.get(name) if isinstance(hands, dict) else None
            if fit is None:
                continue
            try:
                numbers = [_floats(fit[part], count, part) for part, count in FIT_NUMBERS.items()]
            except (_Broken, KeyError, TypeError):
                frames.fit_state[row, side] = BROKEN_FIT
                continue
            frames.fits[row, side], frames.fit_state[row, side] = np.concatenate(numbers), FITTED


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
