"""(configuration, seed, index) -> Scene: plain data, no pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aih_gen.config import RenderConfig, sample_rng
from aih_gen.hands import HandModel
from aih_gen.scenes.backgrounds import BackgroundLibrary, sample_background
from aih_gen.scenes.cameras import arm_in_the_way, frame, overlap, sample_view
from aih_gen.scenes.lights import sample_lights
from aih_gen.scenes.poses import PairPose, PairSampler
from aih_gen.scenes.scene import Camera, Hand, Scene
from aih_gen.scenes.sensor import sample_sensor
from aih_gen.scenes.skin import sample_skin
from aih_gen.scenes.textures import TextureLibrary

MAX_PENETRATION = 0.003
"""Pairs that stay deeper (m) inside each other than this are drawn again."""
LEAST_OVERLAP = (0.0, 0.6)
"""Range of the least overlap that a scene's hands must have in the picture."""
MAX_TRIES = 20
LOOKS = 1
"""The stream of random numbers for everything but the hands and the camera."""


class SceneSampler:
    """Scenes of one configuration by index."""

    def __init__(self, config: RenderConfig, models: tuple[HandModel, HandModel]) -> None:
        self.config = config
        self.library = BackgroundLibrary(config.backgrounds)
        self.textures = TextureLibrary(config.textures, models[0])
        self.pairs = PairSampler(models)
        self.has_arms = models[0].has_arm

    def sample(self, index: int) -> Scene:
        """Scene ``index``, a function of (configuration, seed, index) alone (law 1)."""
        rng = sample_rng(self.config.seed, index)
        pair, camera, shift = self._framed_pair(rng)
        hands = [
            Hand(pair.pose[k], pair.betas[k], (pair.transl[k] + shift).astype(np.float32), pair.arm_pose[k])
            for k in (0, 1)
        ]
        looks = sample_rng(self.config.seed, index, LOOKS)
        background = sample_background(looks, self.library)
        return Scene(
            index=index,
            hands=(hands[0], hands[1]),
            skin=sample_skin(looks, self.textures),
            lights=sample_lights(looks, background, self.config.shadows),
            camera=camera,
            background=background,
            sensor=sample_sensor(looks, self.config.size, self.config.look),
            interaction=pair.interaction,
        )

    def _framed_pair(self, rng: np.random.Generator) -> tuple[PairPose, Camera, NDArray[np.float64]]:
        """A pair that overlaps as seen by the camera, free of deep intersections, with no forearm before the lens."""
        wanted = rng.uniform(*LEAST_OVERLAP)
        for attempt in range(MAX_TRIES):
            last = attempt == MAX_TRIES - 1
            pair = self.pairs.propose(rng, sample_view(rng))
            if overlap(pair.hands()) < wanted and not last:
                continue
            pair, penetration = self.pairs.free(pair)
            camera, shift = frame(np.concatenate(pair.hands()), self.config.size, rng)
            arms = zip(pair.transl + shift, pair.elbow_directions, strict=True)
            blocked = self.has_arms and any(arm_in_the_way(wrist, elbow, camera) for wrist, elbow in arms)
            if last or (penetration <= MAX_PENETRATION and not blocked):
                break
        return pair, camera, shift
