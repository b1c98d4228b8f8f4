"""Training HASM: the masks of the whole picture, and the names of the hands in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aih_gen.config import SIDES
from aih_gen.shards.schema import MASK_BITS
from hdr_model.config import HASMConfig, HASMLossWeights, TrainConfig
from hdr_model.data.aih import Batch
from hdr_model.data.crops import Jitter, crop_affine, nearest_bits, rotate_to_crop, sample
from hdr_model.data.draws import Draws
from hdr_model.data.photometric import Photometric, change_colours, degrade
from hdr_model.data.targets import hand_axes
from hdr_model.losses import (
    Summed,
    Terms,
    fit_exchanged,
    hasm_losses,
    naming_losses,
    of_this_process,
    weighted_sum,
)
from hdr_model.nets.hasm import HASM, Logits, exchange, visible_probability
from hdr_model.nets.naming import Naming, close_looks
from hdr_model.nets.normalisation import normalise
from hdr_model.training.optimiser import adamw
from hdr_model.training.parallel import sum_over_processes
from hdr_model.training.picture import grid, tint

JITTER = Jitter(rotation=15.0, scale=0.2, translation=0.1)
"""Of the whole picture, whose hands come in all positions and sizes already."""
WINDOWS = Jitter(rotation=15.0, scale=0.6, translation=0.38)
"""Of a part of the picture, a quarter as wide on average: what HASM meets when it looks for hands all over a photo."""
WINDOW_SCALE = 0.25
COLOURS = Photometric(brightness=0.3, contrast=0.3, saturation=0.4, colour_gain=0.15, gamma=0.3, noise=0.04, blur=0.3)


LEAST_SEEN = 0.004
"""A hand of which less than this share of the picture is visible is not named."""


class HASMTask:
    """HASM and its optimiser."""

    fields = ("rgb", "masks", "joints_3d")

    def __init__(self, config: TrainConfig, network: HASMConfig, device: torch.device) -> None:
        assert isinstance(config.losses, HASMLossWeights)
        self.config, self.weights = config, config.losses
        self.hasm = HASM(network).to(device)
        self.networks = nn.ModuleDict({"hasm": self.hasm})
        decoder = nn.ModuleList([self.hasm.projections, self.hasm.fusion, self.hasm.classifier])
        trained: list[tuple[nn.Module, float]] = [(self.hasm.encoder, 1.0), (decoder, config.head_learning_rate)]
        if config.only_names:
            assert self.hasm.naming is not None
            trained = [(self.hasm.naming, config.head_learning_rate)]
        elif self.hasm.naming is not None:
            decoder.append(self.hasm.naming)
        self.optimisers = [adamw(trained, config)]

    def losses(self, batch: Batch, draws: Draws) -> Iterator[tuple[Tensor, Terms]]:
        """Cross entropy and overlap of each mask; with ``naming``, by whichever name, and the names of close looks."""
        config = self.config
        colours = COLOURS.scaled(config.colour_changes)
        scene = scenes(batch, config.size, draws, config.mask_stride, config.windows, colours)
        images = shown = normalise(scene.images)
        if draws.step <= config.coarse * config.steps:
            stride = self.hasm.stride
            shown = F.interpolate(images, (max(config.size // 2 // stride, 1) * stride,) * 2, mode="area")
        if config.only_names:
            terms = self._names(images, scene)
        else:
            terms = _terms(self.hasm(shown), self.hasm.naming, images, scene, sum_over_processes)
        yield weighted_sum(terms, self.weights), terms

    def _names(self, images: Tensor, scene: Scenes) -> Terms:
        """The names of close looks at true masks, and at those of HASM, which stays as it is."""
        hasm, naming = self.hasm.eval(), self.hasm.naming
        assert naming is not None
        with torch.no_grad():
            hands = _told_apart(hasm.separate(images), scene)
        naming.train()
        true, told = (_name_terms(naming, images, visible, hands) for visible in (hands.true, hands.told))
        return {name: (true[name] + told[name]) / 2 for name in true}

    def validation(self, network: nn.Module, batch: Batch, draws: Draws) -> Tensor:
        """The loss of pictures as they are."""
        assert isinstance(network, HASM)
        scene = scenes(batch, self.config.size, mask_stride=self.config.mask_stride)
        images = normalise(scene.images)
        return weighted_sum(_terms(network.separate(images), network.naming, images, scene), self.weights)

    def picture(self, network: nn.Module, batch: Batch, draws: Draws) -> Tensor:
        """Picture, predicted masks, true masks; what is hidden is bright."""
        images, masks, _ = scenes(batch, self.config.size)
        logits = network(normalise(images))
        predicted = {
            name: nn.functional.interpolate(pair.float(), (self.config.size,) * 2, mode="bilinear").argmax(1) == 1
            for name, pair in logits.items()
        }
        return grid([images, tint(images, predicted), tint(images, masks)])


class Scenes(NamedTuple):
    """Whole pictures as HASM sees them."""

    images: Tensor
    """(B,3,size,size) in [0, 1]"""
    masks: dict[str, Tensor]
    """(B,M,M) bool by HASM's names, M = size / mask_stride"""
    joints: Tensor
    """(B,2,21,3) m, of the right and the left hand, mirrored and turned as the picture is"""


class _Hands(NamedTuple):
    """Both hands of each picture, in the order in which HASM tells them apart."""

    right: Tensor
    """(B,2) bool, which of them is the right one"""
    true: Tensor
    """(B,2,M,M) in [0, 1], where they are visible"""
    told: Tensor
    """(B,2,M,M) in [0, 1], where HASM sees them"""
    axes: Tensor
    """(B,2,9) as ``hand_axes`` gives them"""


def _told_apart(logits: Logits, scene: Scenes) -> _Hands:
    exchanged = fit_exchanged(logits, scene.masks)
    right = torch.stack([~exchanged, exchanged], 1)
    masks = exchange(scene.masks, exchanged)
    true = torch.stack([masks[f"{side}_visible"] for side in SIDES], 1).float()
    told = visible_probability(logits).detach()
    joints = torch.where(exchanged[:, None, None, None], scene.joints.flip(1), scene.joints)
    axes = hand_axes(joints.flatten(0, 1), right.flatten()).unflatten(0, (-1, 2))
    return _Hands(right, true, F.interpolate(told, true.shape[-2:], mode="bilinear"), axes)


def _name_terms(naming: Naming, images: Tensor, visible: Tensor, hands: _Hands) -> Terms:
    looks, found = close_looks(images, visible)
    seen = found & (hands.true.mean((2, 3)) > LEAST_SEEN)
    return naming_losses(naming(looks.flatten(0, 1)), hands.right.flatten(), hands.axes.flatten(0, 1), seen.flatten())


def _terms(
    logits: Logits, naming: Naming | None, images: Tensor, scene: Scenes, summed: Summed = of_this_process
) -> Terms:
    if naming is None:
        return hasm_losses(logits, scene.masks, summed)
    hands = _told_apart(logits, scene)
    # Half of the looks are at hands as HASM tells them apart, which is what it names in the end.
    every_second = (torch.arange(len(images), device=images.device) % 2 == 1)[:, None, None, None]
    named = _name_terms(naming, images, torch.where(every_second, hands.told, hands.true), hands)
    return hasm_losses(logits, exchange(scene.masks, hands.right[:, 1]), summed) | named


def scenes(
    batch: Batch,
    size: int,
    draws: Draws | None = None,
    mask_stride: int = 1,
    windows: float = 0.0,
    colours: Photometric = COLOURS,
) -> Scenes:
    """Whole pictures with their masks and joints.

    With ``draws``: moved, scaled, turned, mirrored (right and left then change places), and in other colours; the
    share ``windows`` of them shows a part of the picture only.
    """
    height, width = batch["masks"].shape[-2:]
    count, device = len(batch["masks"]), batch["masks"].device
    mirror = (draws.uniform() < 0.5 if draws else torch.zeros(count, dtype=torch.bool)).to(device)
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=device).expand(count, 2)
    side = torch.full((count,), float(max(height, width)), device=device)
    affine = crop_affine(centre, side, size, mirror, _moves(draws, windows) if draws else None, box_scale=1.0)
    images = sample(batch["rgb"][:, 0].permute(0, 3, 1, 2).float(), affine, size, "border") / 255
    if draws:
        images = degrade(change_colours(images, colours, draws), colours, draws)
    names = [f"{kind}_{side}" for kind in ("amodal", "visible", "arm") for side in SIDES]
    bits = torch.tensor([MASK_BITS[name] for name in names], dtype=torch.uint8, device=device)
    # A pixel of the masks covers mask_stride x mask_stride pixels of the picture: their middle, and that far apart.
    linear, origin = affine[..., :2], affine[..., 2]
    coarser = torch.cat([linear * mask_stride, (origin + linear.sum(-1) * (mask_stride - 1) / 2)[..., None]], -1)
    stacked = (nearest_bits(batch["masks"], coarser, size // mask_stride)[:, None] & bits[:, None, None]) != 0
    swapped = stacked.unflatten(1, (3, 2)).flip(2).flatten(1, 2)
    stacked = torch.where(mirror[:, None, None, None], swapped, stacked)
    turned = rotate_to_crop(batch["joints_3d"].flatten(1, 2), affine).unflatten(1, (2, -1))
    joints = torch.where(mirror[:, None, None, None], turned.flip(1), turned)
    by_name = {"_".join(name.split("_")[::-1]): stacked[:, k] for k, name in enumerate(names)}
    return Scenes(images, by_name, joints)


def _moves(draws: Draws, windows: float) -> Tensor:
    """(B,4) as ``Jitter.draw`` gives them: around the whole picture, or a part of it."""
    moves = JITTER.draw(draws)
    if not windows:
        return moves
    part = WINDOWS.draw(draws) + moves.new_tensor([0.0, math.log(WINDOW_SCALE), 0.0, 0.0])
    return torch.where((draws.uniform() < windows)[:, None], part, moves)
