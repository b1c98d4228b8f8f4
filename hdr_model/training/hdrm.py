"""Training HDRM: it paints each hand's hole, and a discriminator learns to distinguish its images from real ones."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from aih_gen.errors import AIHError
from hdr_model.config import HDRMConfig, HDRMTrainConfig
from hdr_model.data.batch import Batch
from hdr_model.data.crops import HandCrops, Jitter, crop_hands
from hdr_model.data.photometric import Photometric, change_colours
from hdr_model.data.rng import SampleRng
from hdr_model.losses import (
    FeatureExtractor,
    Terms,
    composite,
    discriminator_loss,
    generator_adversarial_loss,
    hdrm_losses,
    weighted_sum,
)
from hdr_model.nets.discriminator import Discriminator
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.normalisation import denormalise, normalise
from hdr_model.painting import hdrm_input, masks_for
from hdr_model.training.chain import FoundMasks
from hdr_model.training.hands import choose_hands
from hdr_model.training.image_grid import grid
from hdr_model.training.optimiser import adamw
from hdr_model.training.task import Loss

JITTER = Jitter(rotation=30.0, scale=0.2, translation=0.1)
COLOURS = Photometric(brightness=0.2, contrast=0.2, saturation=0.2, colour_gain=0.1, gamma=0.15)


class HDRMTask:
    """HDRM, its discriminator (where the adversarial loss has a weight), and their optimisers.

    Args:
        extract: features for the perceptual and style losses.
        chain: a trained HASM: the share ``config.found`` of the crops has its masks, and lies where it gives.

    Raises:
        AIHError: those losses have a weight, and there is no ``extract``.
    """

    fields = ("rgb", "masks", "joints_2d", "joints_3d", "present", "occlusion", "target_valid")
    min_hands = 2

    def __init__(
        self,
        config: HDRMTrainConfig,
        network: HDRMConfig,
        device: torch.device,
        extract: FeatureExtractor | None = None,
        chain: Path | None = None,
    ) -> None:
        self.size, self.weights = config.size, config.losses
        self.extract = extract
        self.found = FoundMasks(chain, device) if chain else None
        self.found_share = config.found
        if extract is None and (self.weights.perceptual or self.weights.style):
            raise AIHError(
                f"--features: expected VGG16 or a run, for the losses on features of preset {config.preset}, found none"
            )
        self.hdrm = HDRM(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.networks = nn.ModuleDict({"hdrm": self.hdrm})
        self.optimisers = [adamw([(self.hdrm, 1.0)], config)]
        if self.weights.adversarial:
            self.discriminator = Discriminator(network.discriminator_width).to(device)
            self.networks["discriminator"] = self.discriminator
            rate = config.discriminator_learning_rate
            self.optimisers.append(adamw([(self.discriminator, rate)], config, betas=(0.0, 0.9)))

    def loss(self, batch: Batch, rng: SampleRng) -> Loss:
        """Reconstruction and, where it has a weight, the adversarial term."""
        crops = self.crops(batch, rng, augment=True)
        terms, painted = self._paint(self.hdrm, crops)
        if not self.weights.adversarial:
            return Loss(weighted_sum(terms, self.weights), terms)
        logits = self.discriminator(painted, crops.masks.visible, crops.masks.background)
        terms["adversarial"] = generator_adversarial_loss(logits)
        against = partial(self.discriminator_loss, crops, painted.detach())
        return Loss(weighted_sum(terms, self.weights), terms, against)

    def discriminator_loss(self, crops: HandCrops, painted: Tensor) -> Loss:
        """The discriminator's loss on targets and on what was painted, (B,3,S,S) normalised."""
        known = crops.masks.visible, crops.masks.background
        real = self.discriminator(normalise(crops.target), *known)
        loss = discriminator_loss(real, self.discriminator(painted, *known))
        return Loss(loss, {"discriminator": loss})

    def validation(self, network: nn.Module, batch: Batch, rng: SampleRng) -> Tensor:
        """The loss, without the discriminator's share, of crops that are not moved, in colours as they are."""
        return weighted_sum(self._paint(network, self.crops(batch, rng, augment=False))[0], self.weights)

    def preview(self, network: nn.Module, batch: Batch, rng: SampleRng) -> Tensor:
        """Input, hole, painted, true; two hands of each sample would be too many: one."""
        crops = self.crops(batch, rng, augment=False)
        painted = denormalise(self._paint(network, crops)[1])
        return grid([crops.image, crops.image.masked_fill(crops.masks.hole, 0.5), painted, crops.target])

    def _paint(self, network: nn.Module, crops: HandCrops) -> tuple[Terms, Tensor]:
        """The terms that need no discriminator, and the hand alone, normalised."""
        image, target = normalise(crops.image), normalise(crops.target)
        output = network(*_channels_last(hdrm_input(image, crops.masks))).float()
        terms = hdrm_losses(output, image, target, crops.masks.hidden, crops.masks.removal, self.extract)
        return terms, composite(output, image, crops.masks.hole)

    def crops(self, batch: Batch, rng: SampleRng, augment: bool) -> HandCrops:
        """Crops of one hand of each sample, as HDRM learns from them."""
        hands = choose_hands(batch, rng)
        if augment and self.found:
            batch = self.found.replace(batch, hands, (rng.uniform() < self.found_share).to(hands.device))
        crops = crop_hands(batch, hands, self.size, JITTER.draw(rng) if augment else None)
        if augment:
            both = change_colours(torch.cat([crops.image, crops.target], 1), COLOURS, rng)
            crops = replace(crops, image=both[:, :3], target=both[:, 3:])
        return teach(crops, self.hdrm.config)


def teach(crops: HandCrops, config: HDRMConfig) -> HandCrops:
    """The crops for an HDRM of ``config``: what it does not paint stays in the target as it is in the image."""
    masks = masks_for(config, crops.masks)
    left_out = crops.masks.hole & ~masks.hole
    return replace(crops, masks=masks, target=torch.where(left_out, crops.image, crops.target))


def _channels_last(tensors: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    first, second = (tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors)
    return first, second
