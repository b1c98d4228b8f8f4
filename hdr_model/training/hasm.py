"""Training HASM: the masks of the whole image."""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from aih_gen.compose.sample import MASK_BITS
from aih_gen.config import SIDES
from hdr_model.config import HASMConfig, HASMTrainConfig
from hdr_model.data.batch import Batch
from hdr_model.data.crops import Jitter
from hdr_model.data.distant import Distant, distant_jitter
from hdr_model.data.photometric import Photometric, add_blur_and_noise, change_colours
from hdr_model.data.rng import SampleRng
from hdr_model.geometry import crop_affine, nearest_bits, sample
from hdr_model.losses import hasm_losses, weighted_sum
from hdr_model.nets.hasm import HASM, margins
from hdr_model.nets.normalisation import normalise
from hdr_model.training.image_grid import grid, tint
from hdr_model.training.optimiser import adamw
from hdr_model.training.parallel import sum_over_processes
from hdr_model.training.task import Loss

JITTER = Jitter(rotation=15.0, scale=0.2, translation=0.1)
"""Of the whole image, whose hands come in all positions and sizes already."""
WINDOWS = Jitter(rotation=15.0, scale=0.6, translation=0.38)
"""Of a part of the image, a quarter as wide on average: what HASM meets when it looks for hands all over a photo."""
WINDOW_SCALE = 0.25
COLOURS = Photometric(brightness=0.3, contrast=0.3, saturation=0.4, colour_gain=0.15, gamma=0.3, noise=0.04, blur=0.3)


class HASMTask:
    """HASM and its optimiser."""

    fields = ("rgb", "masks")
    min_hands = 0

    def __init__(self, config: HASMTrainConfig, network: HASMConfig, device: torch.device) -> None:
        self.config, self.weights = config, config.losses
        self.hasm = HASM(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.hasm.encoder.freeze(config.frozen_stages)
        self.networks = nn.ModuleDict({"hasm": self.hasm})
        encoder = cast(nn.Module, self.hasm.encoder)
        heads = nn.ModuleList(part for part in (self.hasm.decoder, self.hasm.presence) if part is not None)
        self.optimisers = [adamw([(encoder, 1.0), (heads, config.head_learning_rate)], config)]

    def loss(self, batch: Batch, rng: SampleRng) -> Loss:
        """Cross entropy and overlap of each mask, and cross entropy of presence."""
        scene = self.scenes(batch, rng)
        terms = hasm_losses(self.hasm(_network_input(scene.images)), scene.masks, sum_over_processes)
        return Loss(weighted_sum(terms, self.weights), terms)

    def scenes(self, batch: Batch, rng: SampleRng) -> Scenes:
        """Augmented images with their masks, as HASM learns from them."""
        config = self.config
        colours = COLOURS.scaled(config.colour_changes)
        return scenes(batch, config.size, rng, config.mask_stride, config.windows, config.distant, colours)

    def validation(self, network: nn.Module, batch: Batch, rng: SampleRng) -> Tensor:
        """The loss of images as they are."""
        scene = scenes(batch, self.config.size, mask_stride=self.config.mask_stride)
        return weighted_sum(hasm_losses(network(_network_input(scene.images)), scene.masks), self.weights)

    def preview(self, network: nn.Module, batch: Batch, rng: SampleRng) -> Tensor:
        """Image, predicted masks, true masks; what is hidden is bright."""
        images, masks = scenes(batch, self.config.size)
        predicted = {
            name: nn.functional.interpolate(margin[:, None], (self.config.size,) * 2, mode="bilinear")[:, 0] > 0
            for name, margin in margins(network(_network_input(images))).items()
        }
        return grid([images, tint(images, predicted), tint(images, masks)])


class Scenes(NamedTuple):
    """Whole images as HASM sees them."""

    images: Tensor
    """(B,3,size,size) in [0, 1]"""
    masks: dict[str, Tensor]
    """(B,M,M) bool by HASM's names, M = size / mask_stride"""


def scenes(
    batch: Batch,
    size: int,
    rng: SampleRng | None = None,
    mask_stride: int = 1,
    windows: float = 0.0,
    distant: float = 0.0,
    colours: Photometric = COLOURS,
) -> Scenes:
    """Whole images with their masks.

    With ``rng``: moved, scaled, rotated, mirrored (right and left then change places), and in other colours. The
    share ``windows`` of them shows a part of the image only; in the share ``distant`` the hands are smaller, over the
    background of another sample of the batch, where there is one without hands.
    """
    height, width = batch["masks"].shape[-2:]
    count, device = len(batch["masks"]), batch["masks"].device
    mirror = (rng.uniform() < 0.5 if rng else torch.zeros(count, dtype=torch.bool)).to(device)
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=device).expand(count, 2)
    side = torch.full((count,), float(max(height, width)), device=device)
    affine = crop_affine(centre, side, size, mirror, _jitter(rng, windows) if rng else None, box_scale=1.0)
    plan = None
    if rng and distant:
        far = crop_affine(centre, side, size, mirror, distant_jitter(rng), box_scale=1.0)
        plan = Distant.drawn(batch, affine, far, distant, rng)
        affine = plan.affine
    images = sample(batch["rgb"][:, 0].permute(0, 3, 1, 2).float(), affine, size, "border") / 255
    images = images if plan is None else plan.over_backgrounds(images, batch["masks"])
    if rng:
        images = add_blur_and_noise(change_colours(images, colours, rng), colours, rng)
    names = [f"{kind}_{side}" for kind in ("amodal", "visible", "arm") for side in SIDES]
    bits = torch.tensor([MASK_BITS[name] for name in names], dtype=torch.uint8, device=device)
    # A pixel of the masks covers mask_stride x mask_stride pixels of the image: their middle, and that far apart.
    linear, origin = affine[..., :2], affine[..., 2]
    coarser = torch.cat([linear * mask_stride, (origin + linear.sum(-1) * (mask_stride - 1) / 2)[..., None]], -1)
    seen = nearest_bits(batch["masks"], coarser, size // mask_stride)
    seen = seen if plan is None else plan.without_repeats(seen, coarser)
    stacked = (seen[:, None] & bits[:, None, None]) != 0
    swapped = stacked.unflatten(1, (3, 2)).flip(2).flatten(1, 2)
    stacked = torch.where(mirror[:, None, None, None], swapped, stacked)
    by_name = {"_".join(name.split("_")[::-1]): stacked[:, k] for k, name in enumerate(names)}
    return Scenes(images, by_name)


def _jitter(rng: SampleRng, windows: float) -> Tensor:
    """(B,4) as ``Jitter.draw`` gives them: around the whole image, or a part of it."""
    jitter = JITTER.draw(rng)
    if not windows:
        return jitter
    part = WINDOWS.draw(rng) + jitter.new_tensor([0.0, math.log(WINDOW_SCALE), 0.0, 0.0])
    return torch.where((rng.uniform() < windows)[:, None], part, jitter)


def _network_input(images: Tensor) -> Tensor:
    return normalise(images).contiguous(memory_format=torch.channels_last)
