"""The losses of the three networks, as named terms, and their weighted sum.

A term's name is ``WEIGHT`` or ``WEIGHT/PART``, where WEIGHT is a field of the loss weights in ``hdr_model.config``:
``hole/removal`` is weighted by ``HDRMLossWeights.hole``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from aih_gen.config import SIDES
from hdr_model.config import LossWeights
from hdr_model.geometry import exact_product
from hdr_model.nets.hasm import ARM_MASKS, HASM, LEFT, MIN_HAND_AREA, RIGHT, MaskName, presence_of, probability
from hdr_model.nets.shpe import SHPE, SHPEOutput

Terms = dict[str, Tensor]
Summed = Callable[[Tensor], Tensor]
"""A sum over this process's samples -> over those of all processes that share the batch."""
FeatureExtractor = Callable[[Tensor], Sequence[Tensor]]
"""Normalised images (B, 3, H, W) -> feature maps (B, C, h, w), three in the paper (VGG16, pools 1 to 3)."""


def weighted_sum(terms: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    """The total loss: every term times the weight that its name begins with."""
    weighted = [getattr(weights, name.partition("/")[0]) * value for name, value in terms.items()]
    return torch.stack(weighted).sum()


def of_this_process(total: Tensor) -> Tensor:
    return total


def hasm_losses(
    output: Mapping[MaskName, Tensor], masks: Mapping[str, Tensor], summed: Summed = of_this_process
) -> Terms:
    """Cross entropy and overlap of each mask that both arguments hold, at the masks' resolution.

    Args:
        output: of HASM.
        masks: for each mask (B, H, W), 0 or 1.

    Returns:
        ``hand/NAME`` or ``arm/NAME`` -> mean over pixels and batch; ``overlap/NAME`` -> 1 - soft Dice over the batch;
        ``presence`` -> cross entropy of which hands there are, of a network that says so.
    """
    terms = {}
    for name in sorted(output.keys() & masks.keys()):  # one order in all processes, which sum in turn
        mask = masks[name]
        resized = F.interpolate(output[name].float(), mask.shape[-2:], mode="bilinear")
        terms[f"{'arm' if name in ARM_MASKS else 'hand'}/{name}"] = F.cross_entropy(resized, mask.long())
        terms[f"overlap/{name}"] = 1 - _soft_dice(probability(resized), mask.to(resized.dtype), summed)
    presence = presence_of(output)
    if presence is not None:
        shares = [masks[f"{side}_amodal"].flatten(1).float().mean(1) for side in SIDES]
        right, left = (share >= MIN_HAND_AREA for share in shares)
        terms["presence"] = F.cross_entropy(presence.float(), RIGHT * right + LEFT * left)
    return terms


def _soft_dice(probability: Tensor, mask: Tensor, summed: Summed) -> Tensor:
    """2 |A B| / (|A| + |B|) of a soft and a true mask (B, H, W), over the whole batch; 1 where both are empty."""
    common, both = summed(torch.stack([(probability * mask).sum(), probability.sum() + mask.sum()]))
    return (2 * common + 1) / (both + 1)


def hdrm_losses(
    output: Tensor,
    image: Tensor,
    target: Tensor,
    hidden: Tensor,
    removal: Tensor,
    extract: FeatureExtractor | None = None,
) -> Terms:
    """Reconstruction terms of HDRM (Liu et al. 2018, with the hole in two regions).

    Args:
        output, image, target: (B, 3, H, W) normalised: what HDRM painted, what it was given, this hand alone.
        hidden, removal: (B, 1, H, W), 0 or 1: the regions D to de-occlude and R to remove.
        extract: features for the perceptual and style terms; without it there are none.

    Returns:
        ``valid``, ``hole/de_occlusion``, ``hole/removal``, ``total_variation``, and with ``extract``
        ``perceptual/...`` and ``style/...`` of both regions. Means over the whole image, not over the region.
    """
    output = output.float()
    regions = {"de_occlusion": hidden.to(output.dtype), "removal": removal.to(output.dtype)}
    hole = torch.maximum(*regions.values())
    terms = {"valid": F.l1_loss((1 - hole) * output, (1 - hole) * target)}
    for name, region in regions.items():
        terms[f"hole/{name}"] = F.l1_loss(region * output, region * target)
    terms["total_variation"] = total_variation(composite(output, image, hole))
    if extract is not None:
        for name, region in regions.items():
            painted, true = ([maps.float() for maps in extract(region * shown)] for shown in (output, target))
            terms[f"perceptual/{name}"] = _sum_of(F.l1_loss, painted, true)
            terms[f"style/{name}"] = _sum_of(_style_distance, painted, true)
    return terms


def composite(output: Tensor, image: Tensor, hole: Tensor) -> Tensor:
    """``output`` inside the hole, ``image`` elsewhere; (B, 3, H, W), and ``hole`` (B, 1, H, W), 0 or 1."""
    return torch.where(hole > 0, output, image)


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbours along rows, plus that along columns; (B, C, H, W) -> ()."""
    return image.diff(dim=-1).abs().mean() + image.diff(dim=-2).abs().mean()


def gram(features: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, C), the channels' inner products / (C H W) (Gatys et al. 2016)."""
    flat = features.flatten(2).float()  # bfloat16 has no more than the difference of two of these
    return exact_product(flat, flat.mT) / (flat.shape[1] * flat.shape[2])


def frozen_encoder_features(network: HASM | SHPE) -> FeatureExtractor:
    """Three encoder maps of a trained HASM or SHPE, frozen: a free stand-in for VGG16."""
    frozen = copy.deepcopy(network).eval().requires_grad_(False)
    return lambda image: frozen.features(image)[:3]


def generator_adversarial_loss(fake: Tensor) -> Tensor:
    """Non-saturating: the discriminator's logits of painted images, (B, 1, h, w), should say "real"."""
    return F.binary_cross_entropy_with_logits(fake.float(), torch.ones_like(fake, dtype=torch.float32))


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logits of targets should say "real", those of (detached) painted images "painted"; the mean of both."""
    painted = F.binary_cross_entropy_with_logits(fake.float(), torch.zeros_like(fake, dtype=torch.float32))
    return (generator_adversarial_loss(real) + painted) / 2


def shpe_losses(
    predicted: SHPEOutput,
    heatmap: Tensor,
    delta: Tensor,
    location: Tensor,
    valid: Tensor,
    summed: Summed = of_this_process,
) -> Terms:
    """The terms of DetNet (Zhou et al. 2020): Frobenius norms over the batch / number of valid joints.

    Args:
        predicted: what SHPE returned.
        heatmap: (B, 21, h, w) target, a Gaussian at each joint.
        delta, location: (B, 21, 3) joint minus parent and joint minus wrist, in bone units.
        valid: (B, 21), 0 or 1: which joints count.

    Returns:
        ``heat``, ``delta``, ``location``, of which the last two are compared where the target heat map is high; and
        ``joints``, the mean absolute error of the joints that come out, in bone units.
    """
    mask = valid.to(heatmap.dtype)[..., None, None]
    # Unknown values are NaN, and NaN times a zero mask is still NaN.
    heatmap = torch.where(mask > 0, heatmap, 0)
    delta, location = (torch.where(mask[:, :, 0] > 0, t, 0) for t in (delta, location))
    joints = (mask[:, :, 0] * (predicted.xyz.float() - location)).abs().mean(-1)
    delta, location = delta[..., None, None], location[..., None, None]
    weight = (mask * heatmap)[:, :, None]
    errors = {
        "heat": mask * (predicted.heatmap.float() - heatmap),
        "delta": weight * (predicted.delta_map.float() - delta),
        "location": weight * (predicted.location_map.float() - location),
    }
    sums = [*(error.square().sum() for error in errors.values()), joints.sum(), mask.sum()]
    *squares, absolute, count = summed(torch.stack(sums))
    terms = {name: _root(square) / count.clamp(min=1) for name, square in zip(errors, squares, strict=True)}
    return terms | {"joints": absolute / count.clamp(min=1)}


def _root(square: Tensor) -> Tensor:
    """The square root, whose gradient at 0 is 0. That of NaN is NaN."""
    zero = square == 0
    return torch.where(zero, 0, torch.where(zero, 1, square).sqrt())


def _sum_of(distance: Callable[[Tensor, Tensor], Tensor], first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    return torch.stack([distance(a, b) for a, b in zip(first, second, strict=True)]).sum()


def _style_distance(first: Tensor, second: Tensor) -> Tensor:
    return F.l1_loss(gram(first), gram(second))
