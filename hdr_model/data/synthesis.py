"""AIH_Syn composed while training: no disk, and never the same sample twice.

Processes that read data decode two hands and draw a recipe's numbers, as for a stored sample; the pixels are composed
where the batch is (``aih_gen.compose.paste``), and are those that ``aih-gen syn`` would have stored, to the bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from aih_gen.compose.copy_paste import transformed_hands
from aih_gen.compose.masks import hidden
from aih_gen.compose.paste import paste, paste_inputs
from aih_gen.config import SIDES, SynConfig, canonical_json, check_config
from aih_gen.errors import AIHError
from aih_gen.sources import open_source
from aih_gen.sources.folder import is_hand_folder
from hdr_model.data.aih import AIHDataset
from hdr_model.data.batch import Batch, with_target_valid
from hdr_model.data.crops import unpack_masks
from hdr_model.data.order import MixedOrder, Order, SampleOrder

RAW = "raw."
"""Before the names of what is not composed yet."""


class SynthesisDataset(Dataset[Batch]):
    """Stored samples, and behind them those composed while training, whose numbers never end.

    Args:
        stored: the samples that are stored, or None where all are composed.
        hands: AIH_Render shards, or a folder of images and masks (``aih_gen.sources.folder``).
        fields: what a batch holds in the end; of composed samples ``rgb``, ``masks``, ``joints_2d``, ``joints_3d``,
            ``pose``, ``betas``, ``transl``, ``present``, ``occlusion`` and ``target_valid`` are known.
        share: of each batch that is composed, above 0, to 1.
        seed: of the composed samples.

    Raises:
        AIHError: a share out of range, or hands that cannot serve.
    """

    def __init__(
        self, stored: AIHDataset | None, hands: Path, fields: Sequence[str], share: float, seed: int = 0
    ) -> None:
        if not 0 < share <= 1 or (stored is None) != (share == 1):
            raise AIHError(f"--synthesise: expected a share from 0 to 1, found {share}")
        size = None if stored is None else stored.shards.size[0]
        config = SynConfig(source=str(hands), seed=seed, size=size or _own_size(hands))
        check_config(config)
        self.stored, self.fields, self.share = stored, tuple(fields), share
        self.source = open_source(config)
        self.first = 0 if stored is None else len(stored)

    def __len__(self) -> int:
        """Number of stored samples; without any, of the hands of the side that has more."""
        return self.first or max(self.source.hands.count(side) for side in (0, 1))

    def __getitem__(self, indices: Sequence[int]) -> Batch:
        """A batch for ``compose``. Number ``first`` + k is sample k of AIH_Syn."""
        kept = [k for k in indices if k < self.first]
        batch = dict(self.stored[kept]) if self.stored is not None and kept else {}
        raw = [self._raw(k - self.first) for k in indices if k >= self.first]
        return batch | {RAW + name: torch.stack([arrays[name] for arrays in raw]) for name in (raw[0] if raw else ())}

    def compose(self, batch: Batch) -> Batch:
        """The batch with its composed samples behind its stored ones; runs where its tensors are."""
        raw = {name.removeprefix(RAW): value for name, value in batch.items() if name.startswith(RAW)}
        if not raw:
            return batch
        rgb, bits = paste(*(raw.pop(name) for name in ("crops", "affines", "colours", "front")))
        made = with_target_valid(raw | {"rgb": rgb, "masks": bits} | _measured(bits), self.fields)
        return {name: torch.cat([batch[name], made[name]]) if name in batch else made[name] for name in self.fields}

    def digest(self) -> str:
        """SHA-256 over the stored samples' digest and the hands' description."""
        parts = {"stored": None if self.stored is None else self.stored.digest(), "hands": self.source.describe()}
        return hashlib.sha256(canonical_json(parts).encode()).hexdigest()

    def order(self, batch_size: int, seed: int, start: int, steps: int, rank: int, world: int) -> Order:
        """The samples of each step, as ``SampleOrder`` has them.

        Raises:
            AIHError: a batch is too small for the share.
        """
        composed = round(batch_size * self.share)
        if not composed or (composed == batch_size and self.stored is not None):
            raise AIHError(
                "--synthesise: expected at least one stored and one composed sample a batch, found a share of "
                f"{self.share:g} in batches of {batch_size}"
            )
        kept = batch_size - composed
        if self.stored is not None:
            stored = self.stored.order(kept, seed, start, steps, rank, world)
        else:
            stored = SampleOrder(0, 0, seed, start, steps, rank, world)
        return MixedOrder(stored, self.first, composed)

    def _raw(self, index: int) -> dict[str, Tensor]:
        crops, arrangement = self.source.arrangement(index)
        hands = {name: torch.from_numpy(value) for name, value in transformed_hands(crops, arrangement).items()}
        return paste_inputs(crops, arrangement) | hands


def _measured(bits: Tensor) -> Batch:
    """``present`` and ``occlusion``, each (B,2), of masks (B,S,S)."""
    masks = unpack_masks(bits)
    amodal, visible = (torch.stack([masks[f"{k}_{side}"] for side in SIDES], 1) for k in ("amodal", "visible"))
    area = amodal.sum((2, 3))
    occlusion = hidden(amodal, visible).sum((2, 3)) / area  # NaN where there is no hand
    return {"present": area > 0, "occlusion": occlusion}


def _own_size(hands: Path) -> int:
    return SynConfig.size if is_hand_folder(hands) else AIHDataset(hands).shards.size[0]
