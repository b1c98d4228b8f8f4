"""The sizes of the three networks and the settings of their training, as frozen dataclasses with named presets.

``nano`` learns something on two CPU cores in minutes, ``tiny`` in an hour, ``base`` is for one GPU, and ``paper`` is
the architecture and schedule of *3D Interacting Hand Pose Estimation by Hand De-occlusion and Removal* (ECCV 2022).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, overload

from aih_gen.errors import AIHError

Task = Literal["hasm", "hdrm", "shpe"]
Preset = Literal["nano", "tiny", "base", "paper"]
Schedule = Literal["constant", "polynomial", "step"]

TASKS: tuple[Task, ...] = ("hasm", "hdrm", "shpe")
PRESETS: tuple[Preset, ...] = ("nano", "tiny", "base", "paper")


@dataclass(frozen=True)
class HASMConfig:
    """A Mix Transformer encoder (SegFormer) and a decoder with one head per mask. Input sides: multiples of 32."""

    hidden_sizes: tuple[int, ...] = (64, 128, 320, 512)
    depths: tuple[int, ...] = (3, 6, 40, 3)
    heads: tuple[int, ...] = (1, 2, 5, 8)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    """By how much each stage's attention shrinks the keys and values, a side."""
    mlp_ratio: int = 4
    decoder_width: int = 256
    dropout: float = 0.1
    drop_path: float = 0.1
    arms: bool = False
    """Also predict the visible forearm or sleeve of each side."""
    naming: bool = False
    """Tell two hands apart first, and name them after a close look at each (``nets.naming``); the paper does not."""

    def __post_init__(self) -> None:
        stages = {len(values) for values in (self.hidden_sizes, self.depths, self.heads, self.reductions)}
        if stages != {4}:
            raise AIHError(f"HASM's hidden_sizes, depths, heads and reductions need four values each, found {self}.")
        if any(size % heads for size, heads in zip(self.hidden_sizes, self.heads, strict=True)):
            raise AIHError(f"HASM's hidden_sizes {self.hidden_sizes} must be multiples of its heads {self.heads}.")


@dataclass(frozen=True)
class HDRMConfig:
    """A U-Net of partial convolutions. Input sides: multiples of 2 to the number of ``widths``."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512, 512, 512)
    """Channels of each encoder level, at half the resolution of the level before."""
    kernels: tuple[int, ...] = (7, 5, 5, 3, 3, 3, 3, 3)
    transformer: bool = True
    """Attention after levels 3 and 5 of encoder and decoder (those that exist)."""
    discriminator_width: int = 64
    removal: bool = True
    """Whether it paints the background behind the other hand; otherwise that hand is no hole, and stays."""
    deocclusion: bool = True
    """Whether it paints the hidden part of this hand; otherwise that part is no hole, and stays covered."""

    def __post_init__(self) -> None:
        if not (self.removal or self.deocclusion):
            raise AIHError("HDRM without removal and without de-occlusion has nothing to paint.")
        if not self.widths or len(self.widths) != len(self.kernels):
            raise AIHError(f"HDRM needs one kernel for each width, found {len(self.kernels)} for {len(self.widths)}.")


@dataclass(frozen=True)
class SHPEConfig:
    """A dilated residual trunk at a quarter of the resolution, then heat, delta and location maps."""

    width: int = 64
    """Channels of the first convolution; the residual stages have 4, 8 and 16 times as many."""
    layers: tuple[int, int, int] = (2, 4, 6)
    """Residual blocks in each stage."""
    head_width: int = 256

    def __post_init__(self) -> None:
        if len(self.layers) != 3:
            raise AIHError(f"SHPE's layers need three values, found {self.layers}.")


Encoder = Literal["b0", "b1", "b2", "b3", "b4", "b5"]
_MIX_TRANSFORMERS: dict[Encoder, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2)),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3)),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3)),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3)),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3)),
}


def with_encoder(config: HASMConfig, name: Encoder) -> HASMConfig:
    """The same HASM with the encoder MiT-B0 ... B5 (Xie et al. 2021, table 6)."""
    hidden_sizes, depths = _MIX_TRANSFORMERS[name]
    return replace(config, hidden_sizes=hidden_sizes, depths=depths, heads=(1, 2, 5, 8))


NetworkConfig = HASMConfig | HDRMConfig | SHPEConfig

_NETWORKS: dict[Task, dict[Preset, NetworkConfig]] = {
    "hasm": {
        "nano": HASMConfig((16, 32, 64, 128), (1, 1, 2, 1), (1, 2, 4, 8), decoder_width=32, drop_path=0.0, arms=True),
        "tiny": HASMConfig(
            (32, 64, 160, 256), (2, 2, 2, 2), (1, 2, 5, 8), decoder_width=32, drop_path=0.0, arms=True, naming=True
        ),
        "base": HASMConfig((64, 128, 320, 512), (3, 4, 6, 3), arms=True, naming=True),
        "paper": HASMConfig(),
    },
    "hdrm": {
        "nano": HDRMConfig((16, 32, 64, 128, 128), (7, 5, 5, 3, 3), discriminator_width=16),
        "tiny": HDRMConfig((24, 48, 96, 192, 192, 192), (7, 5, 5, 3, 3, 3), discriminator_width=24),
        "base": HDRMConfig((64, 128, 256, 512, 512, 512, 512), (7, 5, 5, 3, 3, 3, 3)),
        "paper": HDRMConfig(),
    },
    "shpe": {
        "nano": SHPEConfig(width=12, layers=(1, 2, 2), head_width=48),
        "tiny": SHPEConfig(width=16, layers=(2, 3, 4), head_width=64),
        "base": SHPEConfig(width=48, layers=(2, 4, 6), head_width=192),
        "paper": SHPEConfig(),
    },
}


@overload
def preset(task: Literal["hasm"], name: Preset) -> HASMConfig: ...
@overload
def preset(task: Literal["hdrm"], name: Preset) -> HDRMConfig: ...
@overload
def preset(task: Literal["shpe"], name: Preset) -> SHPEConfig: ...


def preset(task: Task, name: Preset) -> NetworkConfig:
    """The architecture of one network, by name."""
    return _NETWORKS[task][name]


@dataclass(frozen=True)
class HASMLossWeights:
    """Cross entropy of each mask of a hand and of an arm; and what the paper lacks: 1 - soft Dice of every mask, and,
    with ``naming``, the cross entropy of each hand's name and the distance of its axes.
    """

    hand: float = 1.0
    arm: float = 0.5
    overlap: float = 0.0
    name: float = 1.0
    axes: float = 3.0


@dataclass(frozen=True)
class HDRMLossWeights:
    """The paper's weights; perceptual and style terms need a feature extractor and are off where theirs is zero."""

    valid: float = 1.0
    hole: float = 6.0
    total_variation: float = 0.1
    perceptual: float = 0.1
    style: float = 250.0
    adversarial: float = 0.1


@dataclass(frozen=True)
class SHPELossWeights:
    """Heat, delta and location maps (Zhou et al. 2020)."""

    heat: float = 1.0
    delta: float = 1.0
    location: float = 5.0


LossWeights = HASMLossWeights | HDRMLossWeights | SHPELossWeights


@dataclass(frozen=True)
class TrainConfig:
    """How one network is trained. The network's own sizes are ``preset(task, preset)``."""

    task: Task
    preset: Preset
    losses: LossWeights
    size: int = 256
    """Side of the network's input, in pixels."""
    mask_stride: int = 1
    """HASM's masks are compared at ``size`` / this; the logits, a quarter of ``size`` a side, know no finer."""
    coarse: float = 0.0
    """Share of HASM's steps, from the first, that see pictures at half the ``size``: at a quarter of the cost."""
    windows: float = 0.0
    """Share of HASM's pictures that are a small part of the photo, with or without hands."""
    only_names: bool = False
    """HASM stays as it is but for ``naming``, which so sees about twice as many hands a second."""
    colour_changes: float = 1.0
    """Factor on how strongly HASM's pictures change their colours, lose detail and get noise."""
    batch_size: int = 16
    steps: int = 1000
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    schedule: Schedule = "polynomial"
    """``polynomial`` falls linearly to zero at ``steps``; ``step`` multiplies by 0.1 at each milestone."""
    milestones: tuple[float, ...] = ()
    """Fractions of ``steps``, for the schedule ``step``."""
    head_learning_rate: float = 1.0
    """Factor on the learning rate of HASM's decoder."""
    discriminator_learning_rate: float = 0.1
    """Factor on the learning rate of HDRM's discriminator, whose betas are (0, 0.9)."""
    gradient_clip: float = 0.0
    """Largest norm of the gradient; 0 does not clip."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is saved and shown; 0 keeps none."""
    bfloat16: bool = False
    """Autocast to bfloat16."""
    seed: int = 0
    log_every: int = 20
    picture_every: int = 250
    checkpoint_every: int = 500
    validate_every: int = 500


# Small networks learn for minutes: unless the heat maps weigh more than in DetNet, they are still flat at the end.
_EAGER_HEAT = SHPELossWeights(heat=30.0)
# A network that cannot yet tell right from left gives neither mask half a chance; Dice lets it show what it knows.
_EAGER_MASKS = HASMLossWeights(overlap=1.0)
_NANO_HDRM = HDRMLossWeights(perceptual=0.0, style=0.0, adversarial=0.0)

_TRAINING: dict[Task, dict[Preset, TrainConfig]] = {
    "hasm": {
        "nano": TrainConfig(
            "hasm", "nano", _EAGER_MASKS, size=128, mask_stride=2, coarse=0.625, colour_changes=0.3, steps=2400,
            learning_rate=3e-3, weight_decay=0.01, warmup=50, gradient_clip=1.0, ema=0.99, bfloat16=True,
        ),
        "tiny": TrainConfig(
            "hasm", "tiny", _EAGER_MASKS, size=128, mask_stride=2, coarse=0.45, windows=0.2, steps=5600,
            learning_rate=2e-3, weight_decay=0.01, warmup=200, gradient_clip=1.0, ema=0.995, bfloat16=True,
        ),
        "base": TrainConfig(
            "hasm", "base", HASMLossWeights(), batch_size=32, steps=60_000, learning_rate=2e-4, weight_decay=0.01,
            warmup=1500, head_learning_rate=10.0, ema=0.999, bfloat16=True, checkpoint_every=2000,
        ),
        "paper": TrainConfig(
            "hasm", "paper", HASMLossWeights(), batch_size=48, steps=500_000, learning_rate=6e-5 * 48,
            weight_decay=0.01, warmup=1500, head_learning_rate=10.0, checkpoint_every=5000,
        ),
    },
    "hdrm": {
        "nano": TrainConfig(
            "hdrm", "nano", _NANO_HDRM, size=128, steps=130, learning_rate=2e-3, warmup=50, ema=0.99, bfloat16=True,
            picture_every=100,
        ),
        "tiny": TrainConfig(
            "hdrm", "tiny", _NANO_HDRM, size=128, steps=1000, learning_rate=2e-3, warmup=100, ema=0.99, bfloat16=True,
        ),
        "base": TrainConfig(
            "hdrm", "base", HDRMLossWeights(perceptual=0.0, style=0.0), batch_size=32, steps=60_000, learning_rate=8e-4,
            warmup=500, ema=0.999, bfloat16=True, checkpoint_every=2000,
        ),
        "paper": TrainConfig(
            "hdrm", "paper", HDRMLossWeights(), batch_size=48, steps=138_000, learning_rate=8e-4, schedule="constant",
            checkpoint_every=5000,
        ),
    },
    "shpe": {
        "nano": TrainConfig(
            "shpe", "nano", _EAGER_HEAT, size=128, steps=150, learning_rate=3e-3, warmup=50, gradient_clip=1.0,
            ema=0.99, bfloat16=True, picture_every=100,
        ),
        "tiny": TrainConfig(
            "shpe", "tiny", _EAGER_HEAT, size=128, steps=900, learning_rate=2e-3, warmup=100, gradient_clip=1.0,
            ema=0.99, bfloat16=True,
        ),
        "base": TrainConfig(
            "shpe", "base", SHPELossWeights(), batch_size=32, steps=60_000, learning_rate=5e-4, warmup=500, ema=0.999,
            bfloat16=True, checkpoint_every=2000,
        ),
        "paper": TrainConfig(
            "shpe", "paper", SHPELossWeights(), steps=600_000, learning_rate=1e-4, schedule="step",
            milestones=(500 / 600, 550 / 600), checkpoint_every=5000,
        ),
    },
}  # fmt: skip


def training_preset(task: Task, name: Preset) -> TrainConfig:
    """How one network is trained, by name; override fields with ``dataclasses.replace``."""
    return _TRAINING[task][name]
