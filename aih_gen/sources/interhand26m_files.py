"""InterHand2.6M's four annotation files: their records, checked one at a time.

A record that contradicts the format is counted in a `ReadReport`, or marked where it is used; reading goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from aih_gen.config import SIDES
from aih_gen.hands.joints import FROM_INTERHAND
from aih_gen.io.json_stream import CutJSON, JSONStream
from aih_gen.sources.records import ReadReport
from aih_gen.sources.shown import box_fault
from aih_gen.typing import Array, Float32, Mask, UInt8

PRESENT: dict[str, tuple[bool, bool]] = {"right": (True, False), "left": (False, True), "interacting": (True, True)}
"""Presence of right and left hand, by ``hand_type``."""
FIT_NUMBERS = {"pose": 48, "shape": 10, "trans": 3}
CAMERA_NUMBERS = {"camrot": 9, "campos": 3, "focal": 2, "princpt": 2}
NO_FIT, FITTED, BROKEN_FIT, FAR_FIT = range(4)
MAX_NUMBER = 1e9
"""No length, angle or count of a file reaches this, in whatever unit."""
MAX_SKEW = 1e-2
"""Largest entry of R R^T - 1 of a camera's rotation R."""


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


def _whole_part(items: Iterator[Any], report: ReadReport) -> Iterator[Any]:
    """The items before a break in a file."""
    try:
        yield from items
    except CutJSON as error:
        if str(error) not in report.broken.get("cut JSON", []):
            report.add_broken("cut JSON", str(error))


def read_annotations(stream: JSONStream, report: ReadReport) -> list[Annotation]:
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


def read_views(stream: JSONStream, report: ReadReport) -> tuple[dict[Key, View], set[Key]]:
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


def read_frames(stream: JSONStream, wanted: set[Key], report: ReadReport) -> FrameTable:
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


def add_fits(stream: JSONStream, frames: FrameTable, report: ReadReport) -> None:
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
