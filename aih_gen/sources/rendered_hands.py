"""Single hands out of shards that know each hand alone: AIH_Render, or photos of single hands."""

from __future__ import annotations

from typing import Any

import numpy as np

from aih_gen.compose.crops import HandCrop, is_fit
from aih_gen.compose.sample import mask
from aih_gen.config import SIDES, RenderConfig, SynConfig
from aih_gen.errors import AIHError
from aih_gen.shards.reader import AIHShards
from aih_gen.typing import Float32, Mask, UInt8

ARM_MARGIN = 2
"""Pixels: an arm this close to the other hand is taken to run on behind it."""
WRIST_REACH = 0.06
"""Image sides around the wrist: a hand whose arm is nowhere, and has the other hand there, has it hidden."""

_FIELDS = ("joints_3d", "joints_2d", "joint_state", "pose", "betas", "transl")


class RenderedHands:
    """The hands of ``config.source``: of each sample the right or the left one, from its target.

    Raises:
        AIHError: no shards there, AIH_Syn itself, photos of several branches, or images of another size.
    """

    def __init__(self, config: SynConfig) -> None:
        self.config, self.shards = config, AIHShards(config.source)
        made = self.shards.configurations().values()
        if SynConfig.subset in (configuration.get("subset") for configuration in made):
            raise AIHError(
                f"{config.source}: expected shards with true targets of both hands, found {SynConfig.subset}"
            )
        branches = {configuration.get("branch") for configuration in made}
        if len(branches) > 1:  # one person's hands would be lit and annotated in two ways
            raise AIHError(f"{config.source}: expected photos of one branch, found {', '.join(map(str, branches))}")
        if self.shards.size != (config.size, config.size):
            height, width = self.shards.size
            raise AIHError(f"{config.source}: expected images of {config.size}x{config.size}, found {width}x{height}")

    def count(self, side: int) -> int:
        """The samples."""
        return len(self.shards)

    def crop(self, side: int, position: int) -> HandCrop | None:
        """The hand of that side of a sample, unless it is absent, small, cut, or has an arm that runs on unseen."""
        looked = self.shards.read([position], ("masks", "present", "joints_2d"))
        bits, name = looked["masks"][0], SIDES[side]
        hand = mask(bits, f"amodal_{name}")
        if not (looked["present"][0, side] and is_fit(hand, self.config)):
            return None
        if looked["present"][0, 1 - side] and not self._shows_alone(position):
            return None
        if _loses_arm(bits, hand, looked["joints_2d"][0, side, 0], side):
            return None
        read = self.shards.read([position], (f"target_{name}", "camera", "index", *_FIELDS))
        return HandCrop(
            image=read[f"target_{name}"][0],
            hand=hand,
            skin=hand | mask(bits, f"arm_{name}"),
            origin={"source": int(read["index"][0]), "position": position},
            camera=read["camera"][0],
            **{field: read[field][0, side] for field in _FIELDS},
        )

    def _shows_alone(self, position: int) -> bool:
        """True for a sample of two hands whose targets show each of them alone."""
        shard, _ = self.shards.locate(position)
        return self.shards.shard(shard).header.subset == RenderConfig.subset

    def describe(self) -> dict[str, Any]:
        """The bytes of the shards, and whose hands they show."""
        return {
            "source": {"sha256": self.shards.digest(), "samples": len(self.shards)},
            "hand_model": {"name": self.shards.shard(0).header.hand_model},
        }


def _loses_arm(bits: UInt8, hand: Mask, wrist: Float32, side: int) -> bool:
    """True where the other hand hides some of this one's arm: the arm's mask holds only what is visible."""
    size, own, other = len(bits), SIDES[side], SIDES[1 - side]
    zone = _dilated(mask(bits, f"arm_{own}"), ARM_MARGIN)
    if not zone.any():
        zone = _disc(wrist, WRIST_REACH * size, size)
    over = mask(bits, f"visible_{other}") | mask(bits, f"arm_{other}")
    return bool((zone & over & ~hand).any())


def _dilated(grown: Mask, radius: int) -> Mask:
    """Everything within the square of that radius around a pixel of a mask."""
    for axis in (0, 1):
        source, grown = np.moveaxis(grown, axis, 0), np.moveaxis(grown.copy(), axis, 0)
        for shift in range(1, radius + 1):
            grown[shift:] |= source[:-shift]
            grown[:-shift] |= source[shift:]
        grown = np.moveaxis(grown, 0, axis)
    return grown


def _disc(centre: Float32, radius: float, size: int) -> Mask:
    steps = np.arange(size)
    return (steps[None] - centre[0]) ** 2 + (steps[:, None] - centre[1]) ** 2 <= radius**2
