"""The choice of the hand of each sample that HDRM and SHPE learn from."""

from __future__ import annotations

import torch
from torch import Tensor

from hdr_model.data.batch import Batch
from hdr_model.data.rng import SampleRng


def choose_hands(batch: Batch, rng: SampleRng) -> Tensor:
    """For each sample a hand (B,), 0 right or 1 left, drawn from those that its target shows alone.

    Where both are, one that is partly hidden is three times as likely as one that is not. A sample without such a hand
    gives a present one, or the right.
    """
    hidden = batch["occlusion"].nan_to_num(0.0) > 0
    weight = torch.where(batch["target_valid"], torch.where(hidden, 3.0, 1.0), 0.0)
    fallback = batch["present"].float() + weight.new_tensor([1e-6, 0.0])
    weight = torch.where(weight.sum(1, keepdim=True) > 0, weight, fallback)
    return (rng.uniform().to(weight.device) * weight.sum(1) >= weight[:, 0]).long()
