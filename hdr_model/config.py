"""The sizes of the three networks and the settings of their training, as frozen dataclasses with named presets.

``nano`` learns something on two CPU cores in minutes, ``light`` is what they train well in hours, ``base`` is for one
GPU, and ``paper`` is the architecture and schedule of *3D Interacting Hand Pose Estimation by Hand De-occlusion and
Removal* (ECCV 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, overload

from aih_gen.errors import AIHError

Task = Literal["hasm", "hdrm", "shpe"]
Preset = Literal["nano", "light", "base", "paper"]
Engine = Literal["torch", "onnxruntime"]
"""What computes the networks."""
Precision = Literal["auto", "float32", "bfloat16"]
"""``auto`` follows the preset where the device computes bfloat16 natively, and is float32 elsewhere."""
Schedule = Literal["constant", "polynomial", "cosine", "step"]
TASKS: tuple[Task, ...] = ("hasm", "hdrm", "shpe")


@dataclass(frozen=True)
class HASMConfig:
    """An encoder and a decoder with one head per mask. Input sides: multiples of the encoder's stride."""

    encoder: str = "mit_b5"
    """Of ``nets.encoders.ENCODERS``."""
    decoder: Literal["mlp", "pyramid"] = "mlp"
    """``mlp`` is SegFormer's, as in the paper; ``pyramid`` is lighter."""
    decoder_width: int = 256
    dropout: float = 0.1
    drop_path: float = 0.1
    arms: bool = False
    """Also predict the visible forearm or sleeve of each side."""
    presence: bool = False
    """Also predict which hands there are, in a branch of its own."""


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
    """Paint the background behind the other hand; otherwise that hand is no hole, and stays."""
    deocclusion: bool = True
    """Paint the hidden part of this hand; otherwise that part is no hole, and stays covered."""

    def __post_init__(self) -> None:
        if not (self.removal or self.deocclusion):
            raise AIHError("removal, deocclusion: expected at least one of them, found neither")
        if not self.widths or len(self.widths) != len(self.kernels):
            raise AIHError(f"kernels: expected one for each of {len(self.widths)} widths, found {len(self.kernels)}")


@dataclass(frozen=True)
class SHPEConfig:
    """An encoder, then heat, delta and location maps. Input sides: multiples of the encoder's stride."""

    encoder: str = "dilated_resnet"
    """Of ``nets.encoders.ENCODERS``."""
    decoder: Literal["cascade", "pyramid"] = "cascade"
    """``cascade`` is DetNet's, as in the paper; ``pyramid`` is lighter, and regresses the joints in a branch."""
    decoder_width: int = 256


NetworkConfig = HASMConfig | HDRMConfig | SHPEConfig

_NETWORKS: dict[Task, dict[Preset, NetworkConfig]] = {
    "hasm": {
        "nano": HASMConfig("mit_nano", decoder_width=32, drop_path=0.0, arms=True),
        "light": HASMConfig("efficientnet_lite0", "pyramid", decoder_width=64, drop_path=0.0, arms=True, presence=True),
        "base": HASMConfig("efficientnet_lite2", "pyramid", decoder_width=128, arms=True, presence=True),
        "paper": HASMConfig(),
    },
    "hdrm": {
        "nano": HDRMConfig((16, 32, 64, 128, 128), (7, 5, 5, 3, 3), discriminator_width=16),
        "light": HDRMConfig((24, 48, 96, 192, 192, 192), (7, 5, 5, 3, 3, 3), discriminator_width=24),
        "base": HDRMConfig((32, 64, 128, 256, 256, 256), (7, 5, 5, 3, 3, 3)),
        "paper": HDRMConfig(),
    },
    "shpe": {
        "nano": SHPEConfig("dilated_resnet_nano", decoder_width=48),
        "light": SHPEConfig("efficientnet_lite0", "pyramid", decoder_width=64),
        "base": SHPEConfig("efficientnet_lite2", "pyramid", decoder_width=128),
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
    """Cross entropy of each mask of a hand and of an arm; beyond the paper, 1 - soft Dice of every mask, and
    the cross entropy of which hands there are.
    """

    hand: float = 1.0
    arm: float = 0.5
    overlap: float = 0.0
    presence: float = 0.0


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
    """Heat, delta and location maps (Zhou et al. 2020); beyond the paper, the resulting joints."""

    heat: float = 1.0
    delta: float = 1.0
    location: float = 5.0
    joints: float = 0.0


LossWeights = HASMLossWeights | HDRMLossWeights | SHPELossWeights


@dataclass(frozen=True)
class TrainConfig:
    """The settings that the training of all networks has; each network's own adds to them. The network's sizes are
    ``preset(task, preset)``.
    """

    task: ClassVar[Task]

    preset: Preset
    losses: LossWeights
    size: int = 256
    """Side of the network's input, in pixels."""
    batch_size: int = 16
    steps: int = 1000
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: int = 0
    """Steps over which the learning rate rises linearly from zero."""
    schedule: Schedule = "polynomial"
    """``polynomial`` falls linearly to zero at ``steps``, ``cosine`` along half a wave to 2 %; ``step`` multiplies by
    0.1 at each milestone."""
    milestones: tuple[float, ...] = ()
    """Fractions of ``steps``, for the schedule ``step``."""
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


@dataclass(frozen=True)
class HASMTrainConfig(TrainConfig):
    """The training of HASM."""

    task: ClassVar[Task] = "hasm"

    losses: HASMLossWeights
    mask_stride: int = 1
    """Masks are compared at ``size`` / this; the logits, a quarter of ``size`` a side, know no finer."""
    windows: float = 0.0
    """Share of images that are a small part of the photo, with or without hands."""
    distant: float = 0.0
    """Share of images in which the hands are up to four times smaller, over another background."""
    colour_changes: float = 1.0
    """Factor on how strongly images change their colours, lose detail and get noise."""
    head_learning_rate: float = 1.0
    """Factor on the learning rate of the decoder."""
    frozen_stages: int = 0
    """Stages of the encoder, from the first, that stay as they are."""


@dataclass(frozen=True)
class HDRMTrainConfig(TrainConfig):
    """The training of HDRM."""

    task: ClassVar[Task] = "hdrm"

    losses: HDRMLossWeights
    found: float = 0.35
    """Share of crops with HASM's masks, where a chain is given."""
    discriminator_learning_rate: float = 0.1
    """Factor on the learning rate of the discriminator, whose betas are (0, 0.9)."""


@dataclass(frozen=True)
class SHPETrainConfig(TrainConfig):
    """The training of SHPE."""

    task: ClassVar[Task] = "shpe"

    losses: SHPELossWeights
    painted: float = 0.5
    """Share of crops that HDRM paints, where a chain is given; half of them with HASM's masks."""
    frozen_stages: int = 0
    """Stages of the encoder, from the first, that stay as they are."""


# Small networks learn for minutes: unless the heat maps weigh more than in DetNet, they are still flat at the end.
_EAGER_HEAT = SHPELossWeights(heat=30.0)
_EAGER_JOINTS = SHPELossWeights(heat=30.0, joints=2.0)
# Cross entropy alone leaves both masks of an undecided handedness below one half; Dice does not.
_EAGER_MASKS = HASMLossWeights(overlap=1.0, presence=0.3)
_NANO_HDRM = HDRMLossWeights(perceptual=0.0, style=0.0, adversarial=0.0)

_TRAINING: dict[Task, dict[Preset, TrainConfig]] = {
    "hasm": {
        "nano": HASMTrainConfig(
            "nano", _EAGER_MASKS, size=128, mask_stride=2, colour_changes=0.3, steps=2400,
            learning_rate=3e-3, weight_decay=0.01, warmup=50, gradient_clip=1.0, ema=0.99, bfloat16=True,
        ),
        "light": HASMTrainConfig(
            "light", _EAGER_MASKS, size=128, mask_stride=2, windows=0.15, distant=0.1, batch_size=32,
            steps=6000, learning_rate=2e-3, weight_decay=0.01, warmup=200, schedule="cosine", frozen_stages=2,
            gradient_clip=1.0, ema=0.998, bfloat16=True,
        ),
        "base": HASMTrainConfig(
            "base", _EAGER_MASKS, mask_stride=2, windows=0.15, distant=0.1, batch_size=64,
            steps=20_000, learning_rate=2e-3, weight_decay=0.01, warmup=500, schedule="cosine", gradient_clip=1.0,
            ema=0.999, bfloat16=True, checkpoint_every=2000,
        ),
        "paper": HASMTrainConfig(
            "paper", HASMLossWeights(), batch_size=48, steps=500_000, learning_rate=6e-5 * 48,
            weight_decay=0.01, warmup=1500, head_learning_rate=10.0, checkpoint_every=5000,
        ),
    },
    "hdrm": {
        "nano": HDRMTrainConfig(
            "nano", _NANO_HDRM, size=128, steps=130, learning_rate=2e-3, warmup=50, ema=0.99, bfloat16=True,
            picture_every=100,
        ),
        "light": HDRMTrainConfig(
            "light", _NANO_HDRM, size=128, steps=1000, learning_rate=2e-3, warmup=100, ema=0.99, bfloat16=True,
        ),
        "base": HDRMTrainConfig(
            "base", HDRMLossWeights(perceptual=0.0, style=0.0), batch_size=32, steps=60_000, learning_rate=8e-4,
            warmup=500, ema=0.999, bfloat16=True, checkpoint_every=2000,
        ),
        "paper": HDRMTrainConfig(
            "paper", HDRMLossWeights(), batch_size=48, steps=138_000, learning_rate=8e-4, schedule="constant",
            checkpoint_every=5000,
        ),
    },
    "shpe": {
        "nano": SHPETrainConfig(
            "nano", _EAGER_HEAT, size=128, steps=150, learning_rate=3e-3, warmup=50, gradient_clip=1.0,
            ema=0.99, bfloat16=True, picture_every=100,
        ),
        "light": SHPETrainConfig(
            "light", _EAGER_JOINTS, size=128, batch_size=32, steps=4000, learning_rate=2e-3, weight_decay=0.01,
            warmup=200, schedule="cosine", frozen_stages=2, gradient_clip=5.0, ema=0.998, bfloat16=True,
        ),
        "base": SHPETrainConfig(
            "base", _EAGER_JOINTS, batch_size=64, steps=20_000, learning_rate=2e-3, weight_decay=0.01,
            warmup=500, schedule="cosine", gradient_clip=5.0, ema=0.999, bfloat16=True, checkpoint_every=2000,
        ),
        "paper": SHPETrainConfig(
            "paper", SHPELossWeights(), steps=600_000, learning_rate=1e-4, schedule="step",
            milestones=(500 / 600, 550 / 600), checkpoint_every=5000,
        ),
    },
}  # fmt: skip


@overload
def training_preset(task: Literal["hasm"], name: Preset) -> HASMTrainConfig: ...
@overload
def training_preset(task: Literal["hdrm"], name: Preset) -> HDRMTrainConfig: ...
@overload
def training_preset(task: Literal["shpe"], name: Preset) -> SHPETrainConfig: ...
@overload
def training_preset(task: Task, name: Preset) -> TrainConfig: ...


def training_preset(task: Task, name: Preset) -> TrainConfig:
    """The training of one network, by name; override fields with ``dataclasses.replace``."""
    return _TRAINING[task][name]
