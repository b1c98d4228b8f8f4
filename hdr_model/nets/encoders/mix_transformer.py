"""Mix Transformer (Xie et al. 2021, *SegFormer*), as transformers implements it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from transformers import SegformerConfig, SegformerModel

MLP_RATIO = 4
REDUCTIONS = (8, 4, 2, 1)
"""By how much each stage's attention shrinks the keys and values, a side."""


class MixTransformer(SegformerModel):
    """Four stages of ``hidden_sizes`` channels and ``depths`` blocks, at strides 4, 8, 16 and 32."""

    stride = 32

    def __init__(
        self, hidden_sizes: Sequence[int], depths: Sequence[int], heads: Sequence[int], drop_path: float = 0.0
    ) -> None:
        super().__init__(
            SegformerConfig(
                hidden_sizes=list(hidden_sizes),
                depths=list(depths),
                num_attention_heads=list(heads),
                sr_ratios=list(REDUCTIONS),
                mlp_ratios=[MLP_RATIO] * len(depths),
                drop_path_rate=drop_path,
            )
        )
        self.channels = tuple(hidden_sizes)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps at H/4, H/8, H/16 and H/32."""
        maps = cast(Any, super().forward(image, output_hidden_states=True)).hidden_states
        return [m.contiguous(memory_format=torch.channels_last) for m in maps]  # convolutions of them are faster so

    def freeze(self, stages: int) -> None:
        """Keep the first ``stages`` stages as they are."""
        for stage in cast(Any, self).stages[:stages]:
            stage.requires_grad_(False)
