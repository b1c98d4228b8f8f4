"""HDR, the whole way: photo -> masks of both hands -> each hand alone -> its joints in 3D."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from aih_gen.config import SIDES
from aih_gen.errors import AIHError, AssetError
from aih_gen.hands.joints import JOINT_NAMES
from aih_gen.typing import Side
from hdr_model.config import Engine
from hdr_model.device import choose_device
from hdr_model.geometry import (
    BOX_SCALE,
    crop_affine,
    from_crop,
    invert,
    mask_boxes,
    rotate_from_crop,
    sample,
    sample_masks,
)
from hdr_model.inference.detection import Window, check_box, find_hands, window_of
from hdr_model.inference.engine import open_networks
from hdr_model.inference.hands import HandEstimator
from hdr_model.inference.joint_states import joint_states
from hdr_model.inference.mesh import check_focal_length
from hdr_model.inference.photos import as_image
from hdr_model.inference.result import Box, HandResult, Result
from hdr_model.inference.views import ONE_VIEW, SEVERAL_VIEWS, Views
from hdr_model.masks import HandMasks
from hdr_model.nets.hasm import (
    HASM,
    MIN_HAND_AREA,
    HASMOutput,
    Margins,
    exclusive,
    margins,
    mean_of_mirrored,
    mean_of_sizes,
)
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.normalisation import normalise
from hdr_model.nets.onnx_network import ONNXHASM, ONNXHDRM, ONNXSHPE
from hdr_model.nets.shpe import SHPE
from hdr_model.painting import GROWTH, HandInput, Painting, cut_hands
from hdr_model.weights import trained_size

if TYPE_CHECKING:
    from hdr_model.fitting.hands import HandFitter

Photo = NDArray[np.uint8] | Image.Image | str | Path
"""An array (H,W,3), a Pillow image, or the path of a file."""

MEAN_BONE_LENGTH = 0.095
"""Metres from wrist to middle MCP of an average adult; SHPE tells shape, not size."""

WIDEST = 4.0
"""Side of the widest crop that is painted / side of the square around the hand."""
SPECKLE = 0.2
"""A part of a mask smaller than this share of its largest part is not a hand."""


class HDR(HandEstimator):
    """HASM, HDRM and SHPE, and the sizes they were trained at."""

    def __init__(
        self,
        hasm: HASM | ONNXHASM,
        hdrm: HDRM | ONNXHDRM,
        shpe: SHPE | ONNXSHPE,
        *,
        segmentation_size: int = 256,
        hand_size: int = 256,
        bone_length: float = MEAN_BONE_LENGTH,
        device: str | torch.device = "cpu",
        bfloat16: bool = False,
        views: Views = ONE_VIEW,
        hand_model: str | Path = "free",
    ) -> None:
        super().__init__(hdrm, shpe, hand_size, device, bfloat16, views)
        if not 0 < bone_length < math.inf:
            raise AIHError(f"bone_length: expected metres above 0, found {bone_length}")
        self.hasm = hasm.to(self.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.segmentation_size = segmentation_size
        self.bone_length = bone_length
        self.hand_model = hand_model

    @cached_property
    def fitter(self) -> HandFitter:
        """The fitter of meshes; loaded when first needed.

        Raises:
            AssetError: ``hand_model`` is not there, or no hand model.
        """
        from hdr_model.fitting.hands import HandFitter

        return HandFitter(self.hand_model)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path | None = None,
        *,
        bone_length: float = MEAN_BONE_LENGTH,
        device: str | torch.device = "cpu",
        bfloat16: bool = False,
        views: Views = SEVERAL_VIEWS,
        hand_model: str | Path = "free",
        engine: Engine = "torch",
    ) -> Self:
        """The networks in ``folder`` (by default the shipped ones): ``hasm``, ``hdrm``, ``shpe``, or runs of them.

        Args:
            bone_length: metres from wrist to middle MCP that ``joints_3d`` is scaled to.
            device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` is the GPU where there is one.
            bfloat16: compute in bfloat16 where that is as good: about twice as fast on hardware that has it.
            views: what HASM and SHPE see of each hand; the mean is taken. ``views.ONE_VIEW`` is the fastest.
            hand_model: of the meshes: ``free``, or the path of a MANO file or of the folder with them.
            engine: ``onnxruntime`` computes the networks by it, on the CPU in float32. ``folder`` is then one that
                ``hdr export`` made, or weights, which are exported first and kept in ``~/.cache/aih-hdr``.

        Raises:
            AssetError: a network is missing or damaged; or, with meshes, the hand model is.
            AIHError: the device cannot be used, ``bone_length`` is none, or onnxruntime is not installed, or is to
                compute in bfloat16.
        """
        path = None if folder is None else Path(folder)
        if engine == "onnxruntime":
            if bfloat16:
                raise AIHError("bfloat16: expected the engine torch, found onnxruntime, which computes in float32")
            device = "cpu" if str(device) == "auto" else device
        root, where, networks = open_networks(path, engine)
        whole, crop, crop_of_shpe = map(trained_size, where)
        if crop != crop_of_shpe:
            found = f"{crop} and {crop_of_shpe} pixels"
            raise AssetError(f"{root}: expected hdrm and shpe trained at one size of crop, found {found}")
        return cls(
            *networks,
            segmentation_size=whole,
            hand_size=crop,
            bone_length=bone_length,
            device=choose_device(str(device)),
            bfloat16=bfloat16,
            views=views,
            hand_model=hand_model,
        )

    def to(self, device: str | torch.device) -> Self:
        """Move to a device, as ``from_pretrained`` takes them.

        Raises:
            AIHError: it cannot be used.
        """
        chosen = choose_device(str(device))
        for network in (self.hasm, self.hdrm, self.shpe):
            network.to(chosen)
        self.device = chosen
        return self

    @overload
    def __call__(
        self, image: Photo, box: Box | None = None, *, mesh: bool = False, focal_length: float | None = None
    ) -> Result: ...
    @overload
    def __call__(
        self,
        image: list[Photo],
        box: Sequence[Box | None] | None = None,
        *,
        mesh: bool = False,
        focal_length: float | None = None,
    ) -> list[Result]: ...
    def __call__(
        self, image: Photo | list[Photo], box: Any = None, *, mesh: bool = False, focal_length: float | None = None
    ) -> Result | list[Result]:
        """Both hands of a photo, or of each in a list.

        Args:
            image: (H,W,3) uint8 of any size up to ``MAX_PIXELS``, a Pillow image, or a path.
            box: left, top, right, bottom of the hands in pixels, for a list of photos a list of those or of None;
                without it they are looked for all over the photo.
            mesh: also fit the hand model to the joints of each hand: ``result.right.pose``, ``betas``, ``transl``,
                ``vertices``, ``faces``.
            focal_length: of the camera in px of the photo, which meshes are placed before; by default a guess, the
                photo's diagonal.

        Raises:
            AIHError, TypeError: ``image``, ``box`` or ``focal_length`` is not that.
        """
        if isinstance(image, list | tuple):
            return self.batch(image, box, mesh=mesh, focal_length=focal_length)
        return self.batch([image], [box], mesh=mesh, focal_length=focal_length)[0]

    @torch.inference_mode()
    def batch(
        self,
        images: Sequence[Photo],
        boxes: Sequence[Box | None] | None = None,
        *,
        mesh: bool = False,
        focal_length: float | None = None,
    ) -> list[Result]:
        """Both hands of each photo; photos may differ in size. All hands are painted, measured and fitted together.

        Raises:
            AIHError, TypeError: an argument is not what ``__call__`` takes, or the numbers of ``images`` and ``boxes``
                differ.
        """
        check_focal_length(focal_length)
        if boxes is not None and len(boxes) != len(images):
            raise AIHError(f"boxes: expected one for each of {len(images)} photos, found {len(boxes)}")
        arrays = [as_image(image) for image in images]
        given = [None] * len(images) if boxes is None else boxes
        for array, box in zip(arrays, given, strict=True):
            if box is not None:
                check_box(box, *array.shape[:2])
        pixels = [self.pixels(array) for array in arrays]
        segmented = [
            self.segment_with_confidence(photo, find_hands(self, photo) if box is None else window_of(box))
            for photo, box in zip(pixels, given, strict=True)
        ]
        results = self.separate(arrays, [of for of, _ in segmented], [sure[0].tolist() for _, sure in segmented])
        if not mesh:
            return results
        from hdr_model.inference.mesh_fits import with_meshes  # with it comes much that other results do without

        return with_meshes(self.fitter, results, focal_length)

    @torch.inference_mode()
    def separate(
        self,
        images: Sequence[NDArray[np.uint8]],
        masks: Sequence[dict[str, Tensor]],
        confidence: Sequence[Sequence[float]] | None = None,
        alone: bool = True,
    ) -> list[Result]:
        """The results of ``__call__`` from photos (H,W,3) uint8 whose masks (1,H,W) bool are known.

        Args:
            confidence: of the right and the left hand of each photo, by default unknown (NaN).
            alone: give the photo with each hand alone, which is half of the work; else a hand's ``image`` is the photo.
        """
        named = [{name: mask[0].cpu().numpy() for name, mask in of.items()} for of in masks]
        photos = list(zip([self.pixels(image) for image in images], masks, strict=True))
        found = [(k, side) for k, (_, of) in enumerate(photos) for side in SIDES if bool(of[f"{side}_amodal"].any())]
        results: dict[tuple[int, Side], HandResult] = {}
        if found:
            near = _joined([self._cut(*photos[k], side, None) for k, side in found])
            painting = self.paint(near, dilate_hole=True)
            uv, xyz, peaks = self.estimate(painting.composite)
            wide = {place: _wide_affine(photos[place[0]][1], place[1], self.hand_size) for place in found if alone}
            around = {place: affine for place, affine in wide.items() if affine is not None}
            canvases = {place: images[place[0]] for place in found}
            if around:
                far = self.paint(
                    _joined([self._cut(*photos[k], s, a) for (k, s), a in around.items()]), dilate_hole=True
                )
                for row, ((k, side), affine) in enumerate(around.items()):
                    canvases[k, side] = _paste(images[k], images[k], far.row(row), affine)
            for row, (k, side) in enumerate(found):
                affine = near.affine[row : row + 1]
                corners = affine.new_tensor([[[-0.5, -0.5], [self.hand_size - 0.5] * 2]])
                box = from_crop(corners, affine)[0]
                metres = (rotate_from_crop(xyz[row : row + 1], affine)[0] * self.bone_length).cpu().numpy()
                joints = from_crop(uv[row : row + 1], affine)[0].cpu().numpy()
                results[k, side] = HandResult(
                    image=_paste(images[k], canvases[k, side], painting.row(row), affine) if alone else images[k],
                    joints_2d=joints,
                    joints_3d=metres,
                    crop=torch.cat([box.amin(0), box.amax(0)]).cpu().numpy(),
                    present=True,
                    confidence=confidence[k][SIDES.index(side)] if confidence else float("nan"),
                    joint_confidence=peaks[row].cpu().numpy(),
                    joint_state=joint_states(joints, metres, named[k], side),
                )
        return [
            Result(
                masks=named[k],
                right=results.get((k, "right")) or _absent(image),
                left=results.get((k, "left")) or _absent(image),
                image=image,
            )
            for k, image in enumerate(images)
        ]

    def segment(self, images: Tensor, window: Window | None = None) -> dict[str, Tensor]:
        """Masks (B,H,W) bool of images (B,3,H,W) in [0, 1], by the names of HASM's heads.

        Looks at one square of each image, by default the smallest that holds it all. Amodal masks lose their speckles,
        a visible mask lies inside its amodal mask, and of two visible masks that meet, the more confident one wins.
        """
        return self.segment_with_confidence(images, window)[0]

    def segment_with_confidence(self, images: Tensor, window: Window | None) -> tuple[dict[str, Tensor], Tensor]:
        """``segment``, and the confidence (B,2) in the right and the left hand."""
        height, width = images.shape[-2:]
        window = window or Window.whole(height, width)
        seen = self._closely(images, [window] * len(images))
        masks = exclusive({name: _spread(margin, window, height, width) for name, margin in seen.items()})
        return masks, seen.confidence

    def margins(self, images: Tensor, windows: Sequence[Window], size: int | None = None) -> Margins:
        """Logits of inside minus outside (N,h,w) by the names of HASM's heads, of a window of each image (N,3,H,W).

        Amodal masks have lost their speckles. One image may stand for all windows.

        Args:
            size: side in pixels at which HASM sees a window, by default the one it was trained at.
        """
        return _without_speckles(margins(self._look(images, windows, size or self.segmentation_size, mirrored=False)))

    def _closely(self, images: Tensor, windows: Sequence[Window]) -> Margins:
        """``margins``, but the mean over ``views``."""
        step = self.hasm.stride
        sizes = dict.fromkeys(
            step * max(1, round(self.segmentation_size * scale / step)) for scale in self.views.scales
        )
        outputs = [self._look(images, windows, size, self.views.mirrored) for size in sizes]
        return _without_speckles(margins(mean_of_sizes(outputs)))

    def _look(self, images: Tensor, windows: Sequence[Window], size: int, mirrored: bool) -> HASMOutput:
        """HASM's output for a window of each image, seen at ``size`` pixels a side."""
        centres = images.new_tensor([[w.left, w.top] for w in windows])
        sides = images.new_tensor([float(w.side) for w in windows])
        plain = torch.zeros(len(windows), dtype=torch.bool, device=images.device)
        middle = centres + (sides[:, None] - 1) / 2
        affine = crop_affine(middle, sides, size, plain, box_scale=1.0)
        seen = normalise(sample(images.expand(len(windows), -1, -1, -1), affine, size, "border"))
        seen = torch.cat([seen, seen.flip(-1)]) if mirrored else seen
        with self.autocast:
            output = self.hasm(seen.contiguous(memory_format=torch.channels_last))
        return mean_of_mirrored(output) if mirrored else output

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """A photo (H,W,3) uint8 as (1,3,H,W) in [0, 1] on the device."""
        return torch.from_numpy(image.copy()).to(self.device).permute(2, 0, 1)[None].float() / 255

    def _cut(self, pixels: Tensor, masks: Mapping[str, Tensor], side: Side, affine: Tensor | None) -> HandInput:
        hand = torch.tensor([SIDES.index(side)], device=self.device)
        return cut_hands(pixels, masks, hand, self.hand_size, affine)


def _without_speckles(seen: Margins) -> Margins:
    for side in SIDES:
        seen[f"{side}_amodal"] = without_speckles(seen[f"{side}_amodal"])
    return seen


def without_speckles(margins: Tensor) -> Tensor:
    """Margins (B,h,w) in which small parts of the mask ``margins > 0``, or all of a tiny one, are turned outside."""
    inside = np.zeros(margins.shape, bool)
    for k, mask in enumerate((margins > 0).cpu().numpy()):
        parts, _ = ndimage.label(mask, np.ones((3, 3)))
        areas = np.bincount(parts.ravel())
        areas[0] = 0
        if areas.max() >= MIN_HAND_AREA * mask.size:
            inside[k] = (areas >= SPECKLE * areas.max())[parts] & mask
    return torch.where(torch.from_numpy(inside).to(margins.device), margins, -margins.abs())


def _absent(image: NDArray[np.uint8]) -> HandResult:
    unknown = np.full((len(JOINT_NAMES), 3), np.nan, np.float32)
    return HandResult(image.copy(), unknown[:, :2], unknown, unknown[0, :1].repeat(4), present=False)


def _joined(hands: Sequence[HandInput]) -> HandInput:
    masks = HandMasks(**{f.name: torch.cat([getattr(hand.masks, f.name) for hand in hands]) for f in fields(HandMasks)})
    return HandInput(torch.cat([h.image for h in hands]), masks, torch.cat([h.affine for h in hands]))


def _spread(margin: Tensor, window: Window, height: int, width: int) -> Tensor:
    """Margins (B,h,w) of a window at the pixels of the whole image (B,height,width); -1 outside the window.

    The shorter side first: the whole square around a panorama would take thousands of times the photo's memory.
    """
    seen, starts, lengths = margin[:, None], (window.top, window.left), (height, width)
    if any(start >= length or start + window.side <= 0 for start, length in zip(starts, lengths, strict=True)):
        return margin.new_full((len(margin), height, width), -1.0)  # a window beside the image
    for axis in sorted((0, 1), key=lengths.__getitem__):
        sides = list(seen.shape[2:])
        sides[axis] = window.side
        seen = F.interpolate(seen, sides, mode="bilinear")
        beyond = (starts[axis], lengths[axis] - starts[axis] - window.side)
        seen = F.pad(seen, (0, 0, *beyond) if axis == 0 else beyond, value=-1.0)  # negative padding cuts
    return seen[:, 0]


def _wide_affine(masks: Mapping[str, Tensor], side: Side, size: int) -> Tensor | None:
    """A crop that also holds what of the other hand the usual one leaves out; None where that is nothing.

    SHPE needs only the usual crop, but "this hand alone" should not show half of the other one. The crop is at most
    ``WIDEST`` times as wide as the hand: beyond that HDRM has never seen so small a hand.
    """
    other = masks["left_visible" if side == "right" else "right_visible"]
    centre, hand_side = mask_boxes(masks[f"{side}_amodal"])
    if not bool(other.any()):
        return None
    other_centre, other_side = mask_boxes(other)
    reach = 2 * ((other_centre - centre).abs().amax(1) + other_side / 2) * (1 + 2 * GROWTH)
    scale = float(reach / hand_side)
    if scale <= BOX_SCALE:
        return None
    mirror = torch.tensor([side == "left"], device=other.device)
    return crop_affine(centre, hand_side, size, mirror, box_scale=min(scale, WIDEST))


def _paste(
    image: NDArray[np.uint8], canvas: NDArray[np.uint8], painting: Painting, affine: Tensor
) -> NDArray[np.uint8]:
    """``canvas`` with one crop of ``image`` on it whose hole is painted, everything else equal to the bit."""
    size = painting.filling.shape[-1]
    corners = from_crop(affine.new_tensor([[[-0.5, -0.5], [size - 0.5, size - 0.5]]]), affine)[0]
    limit = corners.new_tensor([image.shape[1], image.shape[0]])
    first = (corners.amin(0).floor() + 1).clamp_min(0).minimum(limit)
    last = corners.amax(0).ceil().clamp_min(0).minimum(limit)
    (left, top), (right, bottom) = first.int().tolist(), last.int().tolist()
    alone = canvas.copy()
    if right <= left or bottom <= top:
        return alone
    alone[top:bottom, left:right] = image[top:bottom, left:right]
    inverse = invert(affine)
    to_crop = torch.cat([inverse[:, :, :2], from_crop(first[None, None], inverse).mT], -1)
    side = max(right - left, bottom - top)
    filling = sample(painting.filling, to_crop, side, "border")[0, :, : bottom - top, : right - left]
    replaced = sample_masks(painting.holes, to_crop, side)[0, 0, : bottom - top, : right - left].cpu().numpy()
    colours = (filling * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    alone[top:bottom, left:right][replaced] = colours[replaced]
    return alone
