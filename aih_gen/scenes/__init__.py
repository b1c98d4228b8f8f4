"""(configuration, seed, index) -> Scene: plain data, no pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from aih_gen.config import RenderConfig, sample_rng
from aih_gen.hands import HandModel
from aih_gen.scenes.backgrounds import BackgroundLibrary, sample_background
from aih_gen.scenes.cameras import arm_in_the_way, frame, hidden_shares, sample_views
from aih_gen.scenes.lights import sample_lights
from aih_gen.scenes.pair import PairPose
from aih_gen.scenes.poses import PairSampler
from aih_gen.scenes.recorded import RecordedPairs
from aih_gen.scenes.scene import Camera, Hand, Scene
from aih_gen.scenes.sensor import sample_sensor
from aih_gen.scenes.skin import sample_skin
from aih_gen.scenes.textures import TextureLibrary
from aih_gen.sources.fits import read_fits

Array = NDArray[np.float64]

MAX_PENETRATION, MAX_GAP = 0.002, 0.005
"""Pairs that stay deeper (m) inside each other, or do not touch as they should, are drawn again."""
VIEWS = 14
"""Views that are looked at for a pair."""
LEEWAY = 0.08
"""How far off the wanted occlusion may be at the first try; each further one allows as much again."""
MAX_TRIES = 12
Framed = tuple[tuple[Hand, Hand], Camera, str]
"""Hands before a camera, and what they do."""
LOOKS = 1
"""The stream of random numbers for everything but the hands and the camera."""


class SceneSampler:
    """Scenes of one configuration by index."""

    def __init__(self, config: RenderConfig, models: tuple[HandModel, HandModel]) -> None:
        self.config = config
        self.library = BackgroundLibrary(config.backgrounds)
        self.textures = TextureLibrary(config.textures, models[0])
        self.pairs = PairSampler(models)
        self.recorded = None
        if config.poses != "sampled":
            self.recorded = RecordedPairs(read_fits(Path(config.poses)), models, config.pose_noise)
        self.has_arms = models[0].has_arm

    def sample(self, index: int) -> Scene:
        """Scene ``index``, a function of (configuration, seed, index) alone (law 1)."""
        rng = sample_rng(self.config.seed, index)
        hands, camera, interaction = (
            self._framed_pair(rng) if self.recorded is None else self._framed_fit(rng, index, self.recorded)
        )
        looks = sample_rng(self.config.seed, index, LOOKS)
        background = sample_background(looks, self.library)
        return Scene(
            index=index,
            hands=hands,
            skin=sample_skin(looks, self.textures),
            lights=sample_lights(looks, background, self.config.shadows),
            camera=camera,
            background=background,
            sensor=sample_sensor(looks, self.config.size, self.config.look),
            interaction=interaction,
        )

    def _framed_pair(self, rng: np.random.Generator) -> Framed:
        """A pair, and a view in which one hand is hidden about as much as wanted, with no forearm before the lens."""
        wanted, covered = rng.uniform(*self.config.occlusion), int(rng.integers(2))
        for attempt in range(MAX_TRIES):
            last = attempt == MAX_TRIES - 1
            pair = self.pairs.propose(rng)
            plain = self.pairs.plain(pair)
            views = sample_views(rng, VIEWS, np.concatenate(plain.hand_points()).mean(0))
            view, error = _best_view(plain, views, wanted, covered)
            if error > LEEWAY * (attempt + 1) and not last:
                continue
            if self.config.contact:
                pair = self.pairs.free(pair)
                plain = self.pairs.plain(pair)
                if pair.fit is not None and (pair.fit.depth > MAX_PENETRATION or pair.fit.gap > MAX_GAP) and not last:
                    continue
            framed, blocked = self._before_camera(rng, plain, view)
            if last or not blocked:
                break
        return framed

    def _framed_fit(self, rng: np.random.Generator, index: int, recorded: RecordedPairs) -> Framed:
        """Recorded pair ``index`` in one of some views from anywhere: what fits call up is not known."""
        wanted, covered = rng.uniform(*self.config.occlusion), int(rng.integers(2))
        pair = recorded.pair(index, rng)
        for attempt in range(MAX_TRIES):
            views = Rotation.random(VIEWS, rng=rng).as_matrix()
            view, error = _best_view(pair, views, wanted, covered)
            framed, blocked = self._before_camera(rng, pair, view)
            if not blocked and error <= LEEWAY * (attempt + 1):
                break
        return framed

    def _before_camera(self, rng: np.random.Generator, pair: PairPose, view: Array) -> tuple[Framed, bool]:
        """The pair as seen in ``view`` (3,3) by some camera, and whether a forearm hides it."""
        camera, shift = frame(np.concatenate(pair.hand_points()) @ view.T, self.config.size, rng)
        arms = zip(pair.wrists() @ view.T + shift, pair.elbow_directions @ view.T, strict=True)
        blocked = self.has_arms and any(arm_in_the_way(wrist, elbow, camera) for wrist, elbow in arms)
        return (pair.seen(view, shift), camera, pair.interaction), blocked


def _best_view(pair: PairPose, views: Array, wanted: float, covered: int) -> tuple[Array, float]:
    """The one of ``views`` (N,3,3) that hides about ``wanted`` of the hand ``covered``, and how far off it is."""
    shares = hidden_shares(pair.hand_points(), pair.arm_points(), views)
    # The hand in front should not be hidden more than the one behind.
    error = np.abs(shares[:, covered] - wanted) + np.maximum(shares[:, 1 - covered] - shares[:, covered], 0)
    best = int(error.argmin())
    return views[best], float(error[best])
