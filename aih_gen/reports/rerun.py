"""Recordings for the viewer rerun: a photo with its masks and joints, and hands in 3D before the camera, over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from aih_gen.compose.masks import hidden
from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES
from aih_gen.extras import import_extra
from aih_gen.hands import load_hand_pair
from aih_gen.hands.joints import BONES, JOINT_NAMES
from aih_gen.hands.model import HandModel
from aih_gen.hands.normals import vertex_normals
from aih_gen.io.images import encoded
from aih_gen.reports.paint import ARM_COLOURS, HAND_COLOURS, SHADED_COLOUR
from aih_gen.typing import Floating, Integer, Mask, UInt8

RIGHT_HAND, LEFT_HAND, RIGHT_ARM, LEFT_ARM, SHADED = range(1, 6)
"""Labels of masks and joints, as the viewer colours and names them; a hand's is its side + 1."""
LABELS = {
    RIGHT_HAND: ("right hand", HAND_COLOURS[0]),
    LEFT_HAND: ("left hand", HAND_COLOURS[1]),
    RIGHT_ARM: ("right arm", ARM_COLOURS[0]),
    LEFT_ARM: ("left arm", ARM_COLOURS[1]),
    SHADED: ("shadow or blur of the other hand", SHADED_COLOUR),
}
SAME_HAND = 1e-3
"""Metres by which joints of a hand model may differ from a sample's that it was posed for."""


class Recording:
    """Content of a file for rerun, step by step along one timeline; entities are named by paths.

    It stays in memory: rerun's own writer does not say when a disk is full.
    """

    def __init__(self, where: str, application: str, timeline: str) -> None:
        """``where`` names the use in errors; the viewer shows the names of the application and of the timeline.

        Raises:
            AIHError: rerun is not installed.
        """
        self.rerun = import_extra("rerun", "rerun", where, "rerun-sdk")
        self.timeline = timeline
        self.stream = self.rerun.RecordingStream(application)
        self.memory = self.stream.binary_stream()
        self.axes("/")
        self._log("/", self.rerun.AnnotationContext([self._label(number) for number in LABELS]), static=True)

    def _label(self, number: int) -> Any:
        info, hand = (number, *LABELS[number]), number in (RIGHT_HAND, LEFT_HAND)
        joints = list(enumerate(JOINT_NAMES)) if hand else []
        return self.rerun.ClassDescription(
            info=info, keypoint_annotations=joints, keypoint_connections=BONES if hand else []
        )

    def step(self, number: int) -> None:
        """Begin a step: what follows is shown from there on."""
        self.stream.set_time(self.timeline, sequence=number)

    def axes(self, entity: str) -> None:
        """Declare a space of its own: x right, y down, z away, metres."""
        self._log(entity, self.rerun.ViewCoordinates.RDF, static=True)

    def text(self, entity: str, text: str) -> None:
        """Show words."""
        self._log(entity, self.rerun.TextDocument(text))

    def image(self, entity: str, image: UInt8, lossless: bool = True) -> None:
        """Show an image (H,W,3), as PNG or, where it need not be ``lossless``, as JPEG."""
        data = encoded(image) if lossless else encoded(image, "JPEG", quality=95)
        media_type = "image/png" if lossless else "image/jpeg"
        self._log(entity, self.rerun.EncodedImage(contents=data, media_type=media_type))

    def masks(self, entity: str, masks: Mapping[int, Mask]) -> None:
        """Show masks (H,W) by label; where several hold, the last one."""
        labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
        for label, mask in masks.items():
            labels[mask] = label
        self._log(entity, self.rerun.SegmentationImage(labels))

    def depth(self, entity: str, depth: Floating) -> None:
        """Show depths (H,W) m; what is infinite becomes 0, which the viewer takes for unknown."""
        self._log(entity, self.rerun.DepthImage(np.where(np.isfinite(depth), depth, 0), meter=1.0))

    def camera(self, entity: str, matrix: Floating, width: int, height: int) -> None:
        """Show a camera at the origin, by its intrinsics (3,3) px; what is below its path lies in its image."""
        self._log(
            entity,
            self.rerun.Pinhole(
                image_from_camera=_from_corner(matrix),
                resolution=[width, height],
                camera_xyz=self.rerun.ViewCoordinates.RDF,
            ),
        )

    def joints_2d(self, entity: str, side: int, joints: Floating) -> None:
        """Show joints (21,2) px of an image with its skeleton; NaN ones are left out."""
        self._joints(entity, side, joints + 0.5, self.rerun.Points2D, radii=-2.5)  # pixels of the screen

    def joints_3d(self, entity: str, side: int, joints: Floating) -> None:
        """Show joints (21,3) m with their skeleton; NaN ones are left out."""
        self._joints(entity, side, joints, self.rerun.Points3D, radii=0.003)

    def _joints(self, entity: str, side: int, joints: Floating, points: Any, radii: float) -> None:
        known = np.flatnonzero(np.isfinite(joints).all(-1))
        label = RIGHT_HAND + side
        shown = points(joints[known], class_ids=label, keypoint_ids=known, radii=radii, show_labels=False)
        self._log(entity, shown if len(known) else None)

    def mesh(self, entity: str, side: int, vertices: Floating | None, faces: Integer) -> None:
        """Show a hand's mesh, (V,3) m and (F,3); None shows none."""
        if vertices is None:
            self._log(entity, None)
            return
        normals = vertex_normals(vertices, faces)
        self._log(
            entity,
            self.rerun.Mesh3D(
                vertex_positions=vertices,
                vertex_normals=normals,
                triangle_indices=faces,
                albedo_factor=[*HAND_COLOURS[side], 255],
            ),
        )

    def _log(self, entity: str, shown: Any, static: bool = False) -> None:
        """Show a thing of rerun's; None ends what an earlier step showed there."""
        self.stream.log(entity, shown if shown is not None else self.rerun.Clear(recursive=False), static=static)

    def data(self) -> bytes:
        """The file's content; nothing can be added then."""
        return self.memory.read()


def _from_corner(matrix: Floating) -> Floating:
    """Intrinsics for rerun, whose pixel centres are not at integers, but at halves."""
    moved = np.array(matrix, np.float64)
    moved[:2, 2] += 0.5
    return moved


def add_samples(recording: Recording, samples: Iterable[tuple[int, Sample]], hand_model: str) -> None:
    """Show samples by position: camera, image, masks, joints, depths where known, each hand alone, hands in 3D.

    A hand is a mesh too where ``hand_model``, the shards', is the free hand, and its joints lie where the sample's do.
    """
    models = load_hand_pair() if hand_model == "free" else None
    for position, sample in samples:
        recording.step(position)
        recording.text("sample", repr(sample))
        _add_image(recording, sample)
        for side, name in enumerate(SIDES):
            recording.image(f"alone/{name}", sample.target[side])
            recording.joints_2d(f"camera/joints/{name}", side, sample.joints_2d[side])
            recording.joints_3d(f"hands/{name}/joints", side, sample.joints_3d[side])
            if models is not None:
                vertices = _posed(models[side], sample, side)
                recording.mesh(f"hands/{name}/mesh", side, vertices, models[side].faces.numpy())


def _add_image(recording: Recording, sample: Sample) -> None:
    height, width = sample.shaded.shape
    recording.camera("camera", sample.camera, width, height)
    recording.image("camera/image", sample.image)
    recording.masks("camera/visible", {SHADED: sample.shaded} | by_label(sample.visible, sample.arm))
    recording.masks("camera/hidden", by_label(hidden(sample.amodal, sample.visible)))
    for side, name in enumerate(SIDES):
        if sample.depth is not None:
            recording.depth(f"camera/depth/{name}", sample.depth[side])


def by_label(hands: Iterable[Mask], arms: Iterable[Mask] = ()) -> dict[int, Mask]:
    """Masks of both hands, and of both arms below them, by their labels."""
    return dict(zip((RIGHT_ARM, LEFT_ARM), arms, strict=False)) | dict(zip((RIGHT_HAND, LEFT_HAND), hands, strict=True))


def _posed(model: HandModel, sample: Sample, side: int) -> Floating | None:
    """Vertices (V,3) m of the hand model in the sample's pose, or None where that is not the sample's hand."""
    pose, betas, transl = (torch.from_numpy(getattr(sample, name)[side, None]) for name in ("pose", "betas", "transl"))
    posed = model(pose, betas, transl)
    away = np.linalg.norm(posed.joints[0].numpy() - sample.joints_3d[side], axis=-1).max()
    return posed.vertices[0].numpy() if away < SAME_HAND else None  # not so for NaN
