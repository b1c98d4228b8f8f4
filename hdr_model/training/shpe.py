"""Training SHPE: the joints of one right hand, as heat, delta and location maps."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from hdr_model.config import SHPEConfig, SHPETrainConfig
from hdr_model.data.batch import Batch
from hdr_model.data.crops import HandGeometry, Jitter, crop_hands, crop_pixels, hand_geometry
from hdr_model.data.photometric import Photometric, add_blur_and_noise, change_colours
from hdr_model.data.rng import SampleRng
from hdr_model.data.targets import HEAT_SIGMA, pose_targets
from hdr_model.losses import Summed, Terms, shpe_losses, weighted_sum
from hdr_model.nets.normalisation import denormalise, normalise
from hdr_model.nets.shpe import SHPE
from hdr_model.training.chain import FoundMasks, Painter
from hdr_model.training.hands import choose_hands
from hdr_model.training.image_grid import dots, grid
from hdr_model.training.optimiser import adamw
from hdr_model.training.parallel import sum_over_processes
from hdr_model.training.task import Loss

JITTER = Jitter(rotation=30.0, scale=0.2, translation=0.1)
COLOURS = Photometric(brightness=0.3, contrast=0.3, saturation=0.3, colour_gain=0.15, gamma=0.2, noise=0.03, blur=0.2)

HEAT_MEAN = 2 * math.pi * HEAT_SIGMA**2
"""Mean over a heat map of its Gaussian."""


class SHPETask:
    """SHPE and its optimiser.

    Args:
        both_hands: learn from the image as it is instead of from the one with this hand alone.
        chain: trained HASM and HDRM: the share ``config.painted`` of the crops is what HDRM paints, half of them with
            HASM's masks and in the place that HASM gives.
    """

    fields = ("rgb", "masks", "joints_2d", "joints_3d", "present", "occlusion", "target_valid")
    min_hands = 1

    def __init__(
        self,
        config: SHPETrainConfig,
        network: SHPEConfig,
        device: torch.device,
        both_hands: bool = False,
        chain: Path | None = None,
    ) -> None:
        self.size, self.weights, self.both_hands = config.size, config.losses, both_hands
        self.painted = config.painted if chain else 0.0
        if chain:
            self.found, self.painter = FoundMasks(chain, device), Painter(chain, device)
        self.shpe = SHPE(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.shpe.encoder.freeze(config.frozen_stages)
        # Heat maps are dark but for their peaks: starting at their mean saves the steps of learning that.
        nn.init.constant_(self.shpe.decoder.heat_bias, math.log(HEAT_MEAN / (1 - HEAT_MEAN)))
        self.networks = nn.ModuleDict({"shpe": self.shpe})
        self.optimisers = [adamw([(self.shpe, 1.0)], config)]

    def loss(self, batch: Batch, rng: SampleRng) -> Loss:
        """Heat, delta and location terms, and the joints'."""
        terms = self._terms(self.shpe, *self.crops(batch, rng, augment=True), summed=sum_over_processes)
        return Loss(weighted_sum(terms, self.weights), terms)

    def validation(self, network: nn.Module, batch: Batch, rng: SampleRng) -> Tensor:
        """The loss of crops that are not moved, in colours as they are."""
        return weighted_sum(self._terms(network, *self.crops(batch, rng, augment=False)), self.weights)

    def preview(self, network: nn.Module, batch: Batch, rng: SampleRng) -> Tensor:
        """Input, predicted joints, true joints, and all heat maps in one."""
        images, geometry = self.crops(batch, rng, augment=False)
        predicted = network(images)
        stride = self.size / predicted.heatmap.shape[-1]
        joints = (predicted.uv.flip(-1) + 0.5) * stride - 0.5
        heat = predicted.heatmap.float().amax(1, keepdim=True).expand(-1, 3, -1, -1)
        shown = denormalise(images)
        heat = nn.functional.interpolate(heat, (self.size, self.size), mode="nearest")
        return grid([shown, dots(shown, joints), dots(shown, geometry.joints_2d), heat])

    def _terms(self, network: nn.Module, images: Tensor, hands: HandGeometry, **summed: Summed) -> Terms:
        predicted = network(images)
        targets = pose_targets(hands.joints_2d, hands.joints_3d, self.size, predicted.heatmap.shape[-1])
        return shpe_losses(predicted, targets.heatmap, targets.delta, targets.location, targets.valid, **summed)

    def crops(self, batch: Batch, rng: SampleRng, augment: bool) -> tuple[Tensor, HandGeometry]:
        """Normalised crops, and the hands in them."""
        jitter = JITTER.draw(rng) if augment else None
        hand = choose_hands(batch, rng)
        if augment and self.painted:
            images, geometry = self._painted_crops(batch, hand, jitter, rng)
        else:
            geometry = hand_geometry(batch, hand, self.size, jitter)
            images = crop_pixels(batch, geometry, self.size, alone=not self.both_hands)
        if augment:
            images = add_blur_and_noise(change_colours(images, COLOURS, rng), COLOURS, rng)
        return normalise(images).contiguous(memory_format=torch.channels_last), geometry

    def _painted_crops(
        self, batch: Batch, hand: Tensor, jitter: Tensor | None, rng: SampleRng
    ) -> tuple[Tensor, HandGeometry]:
        """True targets, and in some samples what HDRM paints with true masks or HASM's."""
        lot = rng.uniform()
        batch = self.found.replace(batch, hand, (lot < self.painted / 2).to(hand.device))
        crops = crop_hands(batch, hand, self.size, jitter)
        rows = (lot < self.painted).nonzero()[:, 0].to(hand.device)
        images = crops.target.index_copy(0, rows, self.painter.paint(crops, rows)) if len(rows) else crops.target
        return images, HandGeometry(hand, crops.affine, crops.joints_2d, crops.joints_3d)
