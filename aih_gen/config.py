"""Everything a data set depends on, as frozen dataclasses.

Sample *i* is a function of (configuration, seed, *i*) alone: what does not change a sample (worker count, shard size,
codec, output folder) is not in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

RendererName = Literal["gl", "pyrender"]
Look = Literal["full", "plain"]
Side = Literal["right", "left"]

SIDES: tuple[Side, Side] = ("right", "left")
"""Hand 0 is right, hand 1 is left, everywhere."""


@dataclass(frozen=True)
class RenderConfig:
    """AIH_Render: textured hand pairs, rendered over backgrounds."""

    subset: ClassVar[str] = "AIH_Render"

    seed: int = 0
    size: int = 256
    """Image side in pixels."""
    hand_model: str = "free"
    """``free``, or the path of a MANO folder or file."""
    poses: str = "sampled"
    """``sampled``, or the path of recorded fits."""
    backgrounds: str = "shipped"
    """``shipped``, or a folder of photographs."""
    renderer: RendererName = "gl"
    look: Look = "full"
    """``plain`` draws without supersampling or sensor noise."""


@dataclass(frozen=True)
class SynConfig:
    """AIH_Syn: one single-hand crop pasted over another (paper, section "AIH"; the recipe's numbers are its defaults)."""

    subset: ClassVar[str] = "AIH_Syn"

    source: str = ""
    """Folder of AIH_Render shards whose hands, each alone, are the crops."""
    seed: int = 0
    size: int = 256
    min_occlusion: float = 0.05
    """The least share of the covered hand's amodal area that the pasted hand hides."""
    max_occlusion: float = 0.9
    left_in_front: float = 0.5
    """Probability that the left hand is the one pasted on top."""
    translation: float = 0.15
    """Largest shift of the covered hand, in image sides."""
    pasted_translation: float = 0.03
    """Largest shift of the pasted hand relative to the covered one's box centre, in image sides."""
    scale_deviation: float = 0.25
    """Standard deviation of the scale, which is clipped at one deviation."""
    rotation_deviation: float = 45.0
    """Standard deviation of the rotation in degrees, clipped at two deviations."""
    rotation_probability: float = 0.6
    colour_gain: float = 0.2
    """Each channel is multiplied by 1 +- this, the same for both hands."""
    max_tries: int = 100


DatasetConfig = RenderConfig | SynConfig


def sample_rng(seed: int, index: int, stream: int = 0) -> np.random.Generator:
    """The random numbers of sample ``index`` (law 1). ``stream`` separates independent uses within one sample."""
    return np.random.Generator(np.random.Philox(key=[seed, index], counter=[0, 0, 0, stream]))
