"""Real photos of InterHand2.6M -> samples: crops, the annotated joints, and masks drawn from the fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from aih_gen.compose.sample import Sample
from aih_gen.config import SIDES, SourceConfig
from aih_gen.errors import AIHError
from aih_gen.io.images import read_image
from aih_gen.render.layers import Layers
from aih_gen.sources.crops import SquareCrop, crop_around
from aih_gen.sources.fit_masks import FitRenderer, FittedPair, fitted_masks, photo_joint_state, to_camera
from aih_gen.sources.image_only import image_only_sample
from aih_gen.sources.interhand26m import InterHand, fit_fault, read_interhand
from aih_gen.sources.interhand26m_files import PRESENT, Annotation
from aih_gen.sources.records import ReadReport
from aih_gen.typing import Branch, Crops, Float32, Split

PAIR = "pair"
DATASET = "InterHand2.6M"


@dataclass(frozen=True)
class AnnotateConfig(SourceConfig):
    """Photos of one split of one branch."""

    subset: ClassVar[str] = "InterHand26M"

    split: Split = "train"
    branch: Branch = "all"
    hand_model: str = ""
    """Folder of the MANO files that the fits are for."""
    crops: Crops = "pair"
    """``pair``: one image of all hands a photo; ``hand``: one around each hand; ``all``: both, where they differ."""
    pair_margin: float = 1.25
    """Side of a pair's image / longer side of the annotated box; InterNet's."""
    hand_margin: float = 2.0
    """Side of a hand's image / longer side of the box of its fit; HDR's (paper, section "HDRM")."""
    max_fit_error: float = 0.02
    """Metres, mean over joints, that a fit may be off the annotated joints."""
    keep_unfitted: bool = False
    """Keep photos without a fit that serves, as pairs without masks."""


@dataclass(frozen=True, eq=False)
class _Photo:
    """One crop of a photo before its masks are drawn."""

    annotation: Annotation
    crop: SquareCrop
    kind: str
    pair: FittedPair
    joints_3d: Float32  # (2,21,3)


class AnnotatedPhotos:
    """Crops of photos by position: photo after photo, the pair's image first, then the right and the left hand's."""

    def __init__(self, config: AnnotateConfig) -> None:
        if not config.hand_model:
            raise AIHError("hand_model: expected the folder of the MANO files that the fits are for, found nothing")
        for name in ("pair_margin", "hand_margin"):
            if not 1 <= getattr(config, name) <= 10:
                raise AIHError(f"{name}: expected 1 to 10, found {getattr(config, name)}")
        if not 0 < config.max_fit_error < 1:
            raise AIHError(f"max_fit_error: expected more than 0 and less than 1 m, found {config.max_fit_error}")
        self.config, self.root = config, Path(config.source)
        self.renderer = FitRenderer(config.hand_model, config.size)
        self.data: InterHand = read_interhand(
            self.root, config.split, config.branch, config.hand_model, config.max_fit_error, config.keep_unfitted
        )
        self.places = [
            (k, kind) for k, annotation in enumerate(self.data.annotations) for kind in self._kinds(annotation)
        ]

    @property
    def report(self) -> ReadReport:
        """Records that were used, broken and left out."""
        return self.data.report

    def __len__(self) -> int:
        return len(self.places)

    def samples(self, indices: Sequence[int]) -> list[Sample]:
        """The samples of these positions, in their order."""
        photos = [self._photo(*self.places[index]) for index in indices]
        layers = self.renderer.layers([photo.pair for photo in photos])
        return [self._sample(*parts) for parts in zip(indices, photos, layers, strict=True)]

    def describe(self) -> dict[str, Any]:
        """The annotation files and the hand model."""
        model = self.renderer.hands.models[0]
        return {"source": self.data.sha256, "hand_model": {"name": model.name, "sha256": model.sha256}}

    def _kinds(self, annotation: Annotation) -> list[str]:
        hands: list[str] = [name for name, there in zip(SIDES, PRESENT[annotation.hand_type], strict=True) if there]
        if self.config.crops == "pair" or self._unfitted(annotation):
            return [PAIR]
        return hands if self.config.crops == "hand" else [PAIR, *hands] if len(hands) > 1 else [PAIR]

    def _unfitted(self, annotation: Annotation) -> bool:
        return fit_fault(self.data.frames, annotation, self.config.max_fit_error) is not None

    def _photo(self, position: int, kind: str) -> _Photo:
        annotation, frames = self.data.annotations[position], self.data.frames
        view, row = (
            self.data.views[annotation.capture, annotation.camera],
            frames.rows[annotation.capture, annotation.frame],
        )
        present = np.array(PRESENT[annotation.hand_type])
        known = annotation.valid_joints() & frames.known[row] & present[:, None]
        joints = (frames.joints[row] - view.position) @ view.rotation.T
        joints = np.where(known[..., None], joints, np.nan).astype(np.float32)
        pose, betas, transl = np.split(frames.fits[row], [48, 58], 1)
        pose, transl = to_camera(pose, transl, self.renderer.rest_wrists(betas), view.rotation, view.position)
        drawn = PRESENT[annotation.hand_type] if not self._unfitted(annotation) else (False, False)
        pair = FittedPair(pose, betas, transl, view.matrix.astype(np.float32), drawn)
        if kind == PAIR:
            left, top, width, height = annotation.box
            corners = np.array([[left, top], [left + width - 1, top + height - 1]])
            crop = crop_around(corners, self.config.pair_margin, self.config.size)
        else:
            shape = self.renderer.vertices(pair, SIDES.index(kind)) @ view.matrix.T
            crop = crop_around(shape[:, :2] / shape[:, 2:], self.config.hand_margin, self.config.size)
        camera = (crop.matrix() @ view.matrix).astype(np.float32)
        return _Photo(annotation, crop, kind, FittedPair(pose, betas, transl, camera, drawn), joints)

    def _sample(self, index: int, photo: _Photo, layers: Layers) -> Sample:
        annotation, pair = photo.annotation, photo.pair
        path = self.root / "images" / self.config.split / annotation.file_name
        image = photo.crop.cut(read_image(path, "RGB"))
        shown = photo.crop.inside(annotation.width, annotation.height)
        amodal, visible = fitted_masks(layers, shown)
        projected = photo.joints_3d @ pair.camera.T
        joints_2d = (projected[..., :2] / projected[..., 2:]).astype(np.float32)
        fitted = np.array(pair.drawn)

        def known(array: Float32) -> Float32:
            return np.where(fitted.reshape(2, *[1] * (array.ndim - 1)), array, np.float32(np.nan))

        sample = image_only_sample(index, image, (image, image), amodal, visible, self._provenance(photo))
        return replace(
            sample,
            joints_3d=photo.joints_3d,
            joints_2d=joints_2d,
            joint_state=photo_joint_state(joints_2d, photo.joints_3d, layers, shown),
            pose=known(pair.pose),
            betas=known(pair.betas),
            transl=known(pair.transl),
            camera=pair.camera,
            present=np.array(PRESENT[annotation.hand_type]),
        )

    def _provenance(self, photo: _Photo) -> dict[str, Any]:
        annotation = photo.annotation
        return {
            "dataset": DATASET,
            "split": self.config.split,
            "branch": self.config.branch,
            "hand_type": annotation.hand_type,
            "hand_type_valid": annotation.hand_type_valid,
            "capture": annotation.capture,
            "sequence": annotation.sequence,
            "camera": annotation.camera,
            "frame": annotation.frame,
            "annotation": annotation.id,
            "file": annotation.file_name,
            "crop": photo.kind,
            "crop_centre": list(photo.crop.centre),
            "crop_side": photo.crop.side,
            "fitted": any(photo.pair.drawn),
            "interaction": annotation.hand_type,
        }
