"""Metrics: overlap of masks, similarity of images (whole and inside a region), error of joints.

Every ratio names its denominator and counts the cases in which it does not exist, so that no mean hides
what it left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from aih_gen.typing import Array, Floating
from hdr_model.geometry import place_on_rays

PSNR_LIMIT = 100.0
"""dB given to a region that is equal to the bit, whose PSNR is infinite."""
_SIGMA, _REACH, _C1, _C2 = 1.5, 5, 0.01**2, 0.03**2
"""SSIM's window and constants."""


@dataclass
class Overlap:
    """Intersection over union of the foreground, gathered over masks.

    A mask whose truth is empty has no IoU: it is counted in ``empty`` and left out of ``per_sample``; what was falsely
    predicted there still enters the union of ``pooled``.
    """

    intersection: list[int] = field(default_factory=list)
    union: list[int] = field(default_factory=list)
    truth: list[int] = field(default_factory=list)

    def add(self, predicted: Tensor, true: Tensor) -> None:
        """Take in masks (B,H,W) bool."""
        self.intersection += (predicted & true).sum((1, 2)).tolist()
        self.union += (predicted | true).sum((1, 2)).tolist()
        self.truth += true.sum((1, 2)).tolist()

    @property
    def empty(self) -> int:
        """Number of masks whose truth has no pixel."""
        return self.truth.count(0)

    @property
    def pooled(self) -> float:
        """Sum of intersections / sum of unions over the whole set; NaN where all unions are empty."""
        return sum(self.intersection) / sum(self.union) if sum(self.union) else float("nan")

    def of_each(self) -> list[float]:
        """Intersection / union of each mask; NaN where its truth is empty."""
        parts = zip(self.intersection, self.union, self.truth, strict=True)
        return [i / u if t else float("nan") for i, u, t in parts]

    @property
    def per_sample(self) -> float:
        """Mean over masks with some true pixel of intersection / union; NaN where there is none."""
        return _mean(self.of_each())


@dataclass
class RegionError:
    """Squared error of colours in [0, 1] inside a region of each image, gathered over images.

    An image whose region is empty is counted in ``empty`` and enters neither mean.
    """

    squared: list[float] = field(default_factory=list)  # summed over the region's pixels and the 3 channels
    values: list[int] = field(default_factory=list)  # pixels x 3
    similarity: list[float] = field(default_factory=list)  # SSIM map summed over the same values

    def add(self, predicted: Tensor, true: Tensor, region: Tensor, ssim: Tensor) -> None:
        """Take in images (B,3,H,W) in [0, 1], regions (B,H,W) bool and the images' ``ssim_map`` (B,3,H,W)."""
        weight = region[:, None].float()
        self.squared += ((predicted - true) ** 2 * weight).sum((1, 2, 3)).tolist()
        self.similarity += (ssim * weight).sum((1, 2, 3)).tolist()
        self.values += (3 * region.sum((1, 2))).tolist()

    @property
    def empty(self) -> int:
        """Number of images whose region has no pixel."""
        return self.values.count(0)

    def psnr_of_each(self) -> list[float]:
        """PSNR in dB of each image's region, NaN where the region is empty."""
        return [_psnr(e / n) if n else float("nan") for e, n in zip(self.squared, self.values, strict=True)]

    @property
    def psnr(self) -> float:
        """Mean over images of the PSNR inside their region, in dB."""
        return _mean(self.psnr_of_each())

    @property
    def pooled_psnr(self) -> float:
        """PSNR of the mean squared error over all regions' pixels together, in dB: large regions weigh more."""
        return _psnr(sum(self.squared) / sum(self.values)) if sum(self.values) else float("nan")

    @property
    def ssim(self) -> float:
        """Mean over images of the SSIM map's mean inside their region."""
        return _mean([s / n if n else float("nan") for s, n in zip(self.similarity, self.values, strict=True)])


def ssim_map(predicted: Tensor, true: Tensor) -> Tensor:
    """SSIM at each pixel and channel, (B,3,H,W), of images (B,3,H,W) in [0, 1] (Wang et al. 2004; sigma 1.5).

    The same numbers as torchmetrics', five times as fast on a CPU: blurring is two products with a band matrix.
    """
    rows, columns = (_blur_matrix(side, true) for side in true.shape[-2:])

    def blurred(image: Tensor) -> Tensor:
        return rows @ image @ columns.mT

    mean_p, mean_t = blurred(predicted), blurred(true)
    variances = blurred(predicted**2) - mean_p**2 + blurred(true**2) - mean_t**2
    covariance = blurred(predicted * true) - mean_p * mean_t
    likeness = (2 * mean_p * mean_t + _C1) * (2 * covariance + _C2)
    return likeness / ((mean_p**2 + mean_t**2 + _C1) * (variances + _C2))


def frechet_distance(features: Floating, others: Floating) -> float:
    """Fréchet distance of the normal distributions of two sets of features (N,D) and (M,D) (Heusel et al. 2017); NaN
    where a set has fewer than two.

    The trace of the root of the product of their covariances is the sum of the singular values of one set, centred and
    scaled, times the other: no root of a matrix is taken.
    """
    if min(len(features), len(others)) < 2:
        return float("nan")
    (mean, factor), (other_mean, other_factor) = (_mean_and_factor(values) for values in (features, others))
    shared = np.linalg.svd(factor @ other_factor.T, compute_uv=False).sum()
    variances = (factor**2).sum() + (other_factor**2).sum()
    return float(((mean - other_mean) ** 2).sum() + variances - 2 * shared)


def _mean_and_factor(features: Floating) -> tuple[Array, Array]:
    """Of features (N,D): the mean (D,), and F with at most D rows, of which F^T F is the covariance."""
    values = np.asarray(features, np.float64)
    mean = values.mean(0)
    scaled = (values - mean) / np.sqrt(len(values) - 1)
    return mean, np.asarray(np.linalg.qr(scaled, mode="r"))


def joint_errors(predicted: Floating, true: Floating) -> Array:
    """Distance of each joint, (N,21), between joints (N,21,3), in their unit; NaN where the truth is unknown."""
    offsets = np.asarray(predicted, np.float64) - np.asarray(true, np.float64)
    return np.asarray(np.linalg.norm(offsets, axis=-1))


def mpjpe(errors: Array) -> float:
    """Mean over joints of the per-joint means of errors (N,J), as in InterNet's protocol; NaN entries are left out.

    The root joint, whose error is 0 by construction, is one of them: the field's tables include it.
    """
    known = np.isfinite(errors)
    counts = known.sum(0)
    sums = np.where(known, errors, 0.0).sum(0)
    return float((sums[counts > 0] / counts[counts > 0]).mean()) if counts.any() else float("nan")


def aligned_errors(predicted: Floating, true: Floating) -> Array:
    """Distance of each joint, (N,21), after each hand's best similarity transform (Procrustes), in the true unit.

    Rotation, scale and translation are fitted to the known joints of a hand; NaN where a joint, or more than all but
    two joints of its hand, are unknown. Mirroring is not allowed.
    """
    known = np.isfinite(true).all(-1) & np.isfinite(predicted).all(-1)
    known &= known.sum(1, keepdims=True) >= 3
    weight = known[..., None] / np.maximum(known.sum(1), 1)[:, None, None]
    p, t = (np.where(known[..., None], joints, 0.0).astype(np.float64) for joints in (predicted, true))
    p, t = (joints - (weight * joints).sum(1, keepdims=True) for joints in (p, t))
    u, singular, vt = np.linalg.svd((weight * p).swapaxes(1, 2) @ t)
    signs = np.ones_like(singular)
    signs[:, 2] = np.sign(np.linalg.det(u @ vt))
    spread = (weight * p**2).sum((1, 2))
    scale = (singular * signs).sum(1) / np.where(spread > 0, spread, 1.0)
    fitted = scale[:, None, None] * p @ (u * signs[:, None] @ vt)
    return np.where(known, np.linalg.norm(fitted - t, axis=-1), np.nan)


def correct_share(errors: Array, thresholds: Array) -> Array:
    """PCK: for each threshold, the known joints of errors (N,21) that are at most so far off / the known joints."""
    known = np.sort(errors[np.isfinite(errors)])
    if not known.size:
        return np.full(thresholds.shape, np.nan)
    return np.searchsorted(known, thresholds, side="right") / known.size


def area_under(curve: Array, thresholds: Array) -> float:
    """AUC: area under a PCK curve (trapezoids) / the width of its thresholds, from 0 to 1."""
    return float(np.trapezoid(curve, thresholds) / (thresholds[-1] - thresholds[0]))


def place_hands(joints_2d: Floating, relative: Floating, camera: Floating) -> Array:
    """Positions (N,3) of the hands' wrists in the camera's axes, by linear least squares over the joints.

    Args:
        joints_2d: (N,21,2) px of the image the camera belongs to.
        relative: (N,21,3) relative to the wrist; the result is in its unit.
        camera: (N,3,3) intrinsics, px. A hand with anything unknown, or all joints at one pixel, gives NaN.
    """
    arrays = (torch.from_numpy(np.asarray(array, np.float64)) for array in (joints_2d, relative, camera))
    places = place_on_rays(*arrays).numpy()
    one_pixel = np.ptp(joints_2d, axis=1).max(1, initial=0) == 0
    return np.where(one_pixel[:, None], np.nan, places)


def best_threshold(mean_mask: Floating) -> float:
    """The level t at which ``mean_mask >= t`` has the greatest pooled IoU with the masks it is the mean of.

    Of N masks with mean m (H,W): the sum of intersections is N * sum of m over the kept pixels, the sum of unions is
    N * (sum of m + number of kept pixels) minus that, so the mean alone decides.
    """
    levels = np.sort(np.asarray(mean_mask, np.float64).ravel())[::-1]
    intersection = np.cumsum(levels)
    union = intersection[-1] + np.arange(1, levels.size + 1) - intersection
    return float(levels[np.argmax(intersection / np.maximum(union, 1e-12))])


def _blur_matrix(side: int, like: Tensor) -> Tensor:
    """(side,side) matrix that blurs a line of pixels, mirrored at its ends, with the Gaussian of SSIM."""
    offsets = torch.arange(-_REACH, _REACH + 1, device=like.device, dtype=like.dtype)
    weights = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    lines = F.pad(torch.eye(side, device=like.device, dtype=like.dtype)[:, None], (_REACH, _REACH), mode="reflect")
    return F.conv1d(lines, (weights / weights.sum()).view(1, 1, -1))[:, 0].mT


def _psnr(mean_squared: float) -> float:
    return min(-10 * float(np.log10(mean_squared)), PSNR_LIMIT) if mean_squared > 0 else PSNR_LIMIT


def _mean(values: list[float]) -> float:
    """Mean of the values that are not NaN; NaN where there are none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
