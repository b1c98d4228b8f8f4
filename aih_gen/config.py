"""Everything a data set depends on, as frozen dataclasses.

Sample *i* is a function of (configuration, seed, *i*) alone: what does not change a sample (worker count, shard size,
codec, output folder) is not in here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from aih_gen.errors import AIHError
from aih_gen.typing import Cameras, Look, RendererName, Side

SIDES: tuple[Side, Side] = ("right", "left")
"""Hand 0 is right, hand 1 is left, everywhere."""

CONFIG_SUFFIX = ".json"
"""Of files of configurations (``aih_gen.sources.config_file``)."""

TWO_HANDS = (1.0, 0.0, 0.0)
"""``RenderConfig.hands`` where every scene shows two."""


@dataclass(frozen=True)
class RenderConfig:
    """AIH_Render: textured hands, mostly pairs, rendered over backgrounds. The texts are the command's too."""

    subset: ClassVar[str] = "AIH_Render"

    seed: int = 0
    """Another seed, other samples."""
    size: int = 256
    """Image side in pixels, a multiple of 32."""
    hand_model: str = "free"
    """free, or the path of a MANO folder or file."""
    poses: str = "sampled"
    """sampled, or the path of recorded fits: MANO_NeuralAnnot.json; an npz of pose (N,2,48) in radians, betas (N,2,10)
    and transl (N,2,3) in metres, right hands first; or shards of aih-gen annotate."""
    cameras: Cameras = "sampled"
    """recorded: those of the photos, where the poses are such shards; what hides what is then theirs too."""
    hands: tuple[float, float, float] = (0.75, 0.17, 0.08)
    """Shares of the scenes with two hands, with one (either side), and with none. Recorded fits of two hands need
    ``TWO_HANDS``; a share of one takes those frames in which one hand alone is fitted."""
    pose_noise: float = 0.0
    """Standard deviation in degrees by which recorded fingers are bent otherwise; 0 uses fits as they are."""
    occlusion: tuple[float, float] = (0.05, 0.9)
    """Least and greatest share of one hand that the other one and its arm are wanted to hide."""
    contact: bool = True
    """Hands, sampled or recorded, are moved until they touch without passing through each other; this takes most of the
    time. Without it recorded fits come exactly as they are."""
    backgrounds: str = "shipped"
    """shipped; a folder of photographs; or recorded: the photos of such shards, without their hands."""
    people: float = 0.5
    """Share of the scenes that show people beside the hands: the person they belong to, and others. In the plain look,
    and where cameras or backgrounds are recorded, there are none."""
    renderer: RendererName = "gl"
    """pyrender is the slow reference."""
    look: Look = "full"
    """plain draws smooth skin without shadows, supersampling or people, through a perfect sensor."""
    textures: str = "none"
    """none paints skin by rule; or a folder of images, each the whole skin of a right hand, and uv.obj, the mesh of the
    hand model with texture coordinates."""
    shadows: bool = True
    """A lamp throws shadows of each hand on itself and on the other; the latter's pixels are marked as shaded."""


@dataclass(frozen=True)
class SynRecipe:
    """Recipe of AIH_Syn (paper, section "AIH"); the defaults are the paper's where it gives them."""

    min_occlusion: float = 0.05
    """Least share of the covered hand's amodal area that the pasted hand hides, as a grid of points counts it."""
    max_occlusion: float = 0.9
    """That share stays below this."""
    left_in_front: float = 0.5
    """Probability that the left hand is the one pasted on top."""
    translation: float = 0.15
    """Largest shift of the covered hand, in image sides."""
    pasted_translation: float = 0.03
    """Largest shift of the pasted hand relative to the covered one's box centre, in image sides."""
    scale_deviation: float = 0.25
    """Standard deviation of the scale."""
    scale_limit: float = 1.0
    """Deviations at which the scale is clipped."""
    rotation_deviation: float = 45.0
    """Standard deviation of the rotation in degrees."""
    rotation_limit: float = 2.0
    """Deviations at which the rotation is clipped."""
    rotation_probability: float = 0.6
    """Probability that a hand is rotated."""
    colour_gain: float = 0.2
    """Each channel is multiplied by 1 +- this, the same for both hands."""
    colour_shift: float = 20.0
    """Then this many grey levels, more or less, are added to each channel."""
    colour_shift_probability: float = 0.5
    """Probability of changed channels."""
    contrast: float = 0.2
    """Then all channels are multiplied by 1 +- this."""
    brightness: float = 0.2
    """And +- this share of the range is added to them."""
    contrast_probability: float = 0.5
    """Probability of changed contrast and brightness."""
    smallest_hand: float = 0.04
    """Least area of a hand that is used, as a share of its image."""
    longest_cut: float = 0.0625
    """Most pixels of such a hand that may lie on the image border, in image sides."""
    max_tries: int = 100
    """Arrangements of two hands that are tried for an occlusion within the limits; then the closest one is taken."""


@dataclass(frozen=True)
class SynConfig(SynRecipe):
    """AIH_Syn: one single hand pasted over another."""

    subset: ClassVar[str] = "AIH_Syn"

    source: str = ""
    """Folder of AIH_Render shards, whose hands are taken one by one; or of images and masks of single hands (see
    ``aih_gen.sources.folder``)."""
    seed: int = 0
    size: int = 256


@dataclass(frozen=True)
class SourceConfig:
    """Samples that are read, not made: each reader in ``aih_gen.sources`` has a configuration of its own beside it."""

    subset: ClassVar[str]

    source: str = ""
    """File or folder of other people's data."""
    seed: int = 0
    """Nothing is drawn; shards have a seed."""
    size: int = 256
    """Image side in pixels."""


DatasetConfig = RenderConfig | SynConfig | SourceConfig


def sample_rng(seed: int, index: int, stream: int = 0) -> np.random.Generator:
    """The random numbers of sample ``index`` (law 1). ``stream`` separates independent uses within one sample."""
    return np.random.Generator(np.random.Philox(key=[seed, index], counter=[0, 0, 0, stream]))


GENERATOR_VERSION = "10"
"""Goes up when any sample of any configuration changes, so that old and new samples never meet in one folder."""


def config_document(config: DatasetConfig, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the samples depend on, ready for JSON.

    ``inputs`` describes the outside files by field name; a description stands in for the path, which may differ
    between machines that hold the same file.
    """
    return {"subset": config.subset, "generator_version": GENERATOR_VERSION, **asdict(config), **inputs}


def canonical_json(document: Mapping[str, Any]) -> str:
    """The one spelling of a document, fit for hashing."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def document_sha256(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document in its one spelling."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def check_config(config: DatasetConfig) -> None:
    """Raise AIHError for a number that no data set can be made with."""
    _expect("seed", config.seed, 0 <= config.seed < 2**63, "0 to 2^63 - 1")
    multiple = config.size % 32 == 0 and 64 <= config.size <= 1024
    _expect("size", config.size, multiple, "a multiple of 32 from 64 to 1024")
    if isinstance(config, RenderConfig):
        least, most = config.occlusion
        _expect("occlusion", least, 0 <= least <= most, "0 to the greatest occlusion")
        _expect("occlusion", most, most <= 1, "at most 1")
        hands, sampled = " ".join(f"{share:g}" for share in config.hands), config.poses == RenderConfig.poses
        _expect("hands", hands, _are_shares(config.hands), "three shares from 0 to 1 that sum to 1")
        _expect("hands", hands, sampled or not config.hands[2], "no share of none where poses are recorded")
        _expect("people", config.people, 0 <= config.people <= 1, "0 to 1")
        _expect("pose_noise", config.pose_noise, 0 <= config.pose_noise <= 30, "0 to 30 degrees")
    if isinstance(config, SynConfig):
        _expect(
            "min_occlusion",
            config.min_occlusion,
            0 <= config.min_occlusion < config.max_occlusion,
            "0 to max_occlusion",
        )
        _expect("max_occlusion", config.max_occlusion, config.max_occlusion <= 1, "at most 1")
        shares = ("left_in_front", "rotation_probability", "colour_shift_probability", "contrast_probability")
        for name in (*shares, "translation", "pasted_translation", "brightness", "smallest_hand", "longest_cut"):
            _expect(name, getattr(config, name), 0 <= getattr(config, name) <= 1, "0 to 1")
        for name in ("scale_limit", "rotation_deviation", "rotation_limit", "colour_shift"):
            _expect(name, getattr(config, name), 0 <= getattr(config, name) < float("inf"), "0 or more")
        for name in ("scale_deviation", "colour_gain", "contrast"):
            _expect(name, getattr(config, name), 0 <= getattr(config, name) < 1, "0 or more and below 1")
        largest = config.scale_deviation * config.scale_limit
        _expect("scale_deviation * scale_limit", largest, largest < 1, "below 1")
        _expect("max_tries", config.max_tries, config.max_tries >= 1, "1 or more")


def _are_shares(shares: tuple[float, ...]) -> bool:
    return len(shares) == 3 and all(0 <= share <= 1 for share in shares) and abs(sum(shares) - 1) < 1e-6


def _expect(name: str, value: float | str, holds: bool, expected: str) -> None:
    if not holds:
        raise AIHError(f"{name}: expected {expected}, found {value}")
