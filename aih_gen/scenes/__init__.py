"""(configuration, seed, index) -> Scene: plain data, no pixels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aih_gen.config import RenderConfig, sample_rng
from aih_gen.errors import AIHError
from aih_gen.hands import HandModel
from aih_gen.scenes.backgrounds import Background, BackgroundLibrary, sample_background
from aih_gen.scenes.cameras import Seen, Views, camera, sample_any_views, sample_views, straight_view
from aih_gen.scenes.clean_plates import CleanPlates
from aih_gen.scenes.lights import sample_lights
from aih_gen.scenes.pair import PairPose
from aih_gen.scenes.people import ARM_LENGTH, Company, PeopleSampler, Placed
from aih_gen.scenes.poses import PairSampler
from aih_gen.scenes.recorded import RecordedPairs, own_camera
from aih_gen.scenes.scene import Camera, Hand, Scene, Skin
from aih_gen.scenes.sensor import sample_sensor
from aih_gen.scenes.skin import sample_skin
from aih_gen.scenes.textures import TextureLibrary
from aih_gen.sources.fits import Frames, read_fits

MAX_PENETRATION, MAX_GAP = 0.002, 0.005
"""Pairs that stay deeper (m) inside each other, or do not touch as they should, are drawn again."""
VIEWS = 24
"""Views that are looked at for a pair."""
LEEWAY, MORE_LEEWAY = 0.14, 0.06
"""How far off the wanted occlusion may be at the first try, and what each further one allows in addition."""
COARSE = 0.08
"""By how much the share hidden is taken for more than it is, measured on rendered pairs: cells round up."""
MOST_HIDDEN = 0.82
"""Views in which more of a hand is hidden are refused whatever is wanted: nobody could say what it does."""
MAX_TRIES = 16
Framed = tuple[tuple[Hand, Hand], Camera, str, Placed | None]
"""Hands before a camera, what they do, and where their person is if that is known."""
LOOKS = 1
"""The stream of random numbers for everything but the hands and the camera."""
PEOPLE = 31
"""The stream of random numbers for people."""


class SceneSampler:
    """Scenes of one configuration by index."""

    def __init__(self, config: RenderConfig, models: tuple[HandModel, HandModel]) -> None:
        self.config = config
        self.textures = TextureLibrary(config.textures, models[0])
        self.pairs = PairSampler(models)
        self.people = PeopleSampler(models, self.pairs.room)
        self.most_hidden = min(config.occlusion[1], MOST_HIDDEN)
        self.least_hidden = min(config.occlusion[0], self.most_hidden)
        self.recorded = None
        if config.poses != "sampled":
            self.recorded = RecordedPairs(read_fits(Path(config.poses)), models, config.pose_noise, config.contact)
        self.library: BackgroundLibrary | CleanPlates
        if config.backgrounds == "recorded":
            self.library = CleanPlates(self._frames("backgrounds"))
        else:
            self.library = BackgroundLibrary(config.backgrounds)
        self.cameras = self._frames("cameras") if config.cameras == "recorded" else None
        self.rejected: Counter[str] = Counter()
        """How many pairs were drawn again, by the reason."""

    def sample(self, index: int) -> Scene:
        """Scene ``index``, a function of (configuration, seed, index) alone (law 1)."""
        rng = sample_rng(self.config.seed, index)
        hands, lens, interaction, placed = (
            self._framed_pair(rng) if self.recorded is None else self._framed_fit(rng, index, self.recorded)
        )
        looks = sample_rng(self.config.seed, index, LOOKS)
        background = self._background(looks, index)
        skin = sample_skin(looks, self.textures)
        reflectance = float(max(skin.back.max(), skin.palm.max()))
        company = self._company(index, placed, skin, lens)
        if company.joined:
            hands = replace(hands[0], arm_length=ARM_LENGTH), replace(hands[1], arm_length=ARM_LENGTH)
        return Scene(
            index=index,
            hands=hands,
            skin=skin,
            lights=sample_lights(looks, background, reflectance, self.config.shadows),
            camera=lens,
            background=background,
            sensor=sample_sensor(looks, self.config.size, self.config.look),
            interaction=interaction,
            props=company.props,
            props_blur=company.blur * background.blur,
        )

    def _company(self, index: int, placed: Placed | None, skin: Skin, lens: Camera) -> Company:
        """The people of a scene; none in the plain look, nor where cameras or backgrounds are recorded, as photos have
        their own.
        """
        rng, config = sample_rng(self.config.seed, index, PEOPLE), self.config
        lonely = config.look == "plain" or "recorded" in (config.cameras, config.backgrounds)
        if lonely or rng.random() >= config.people:
            return Company()
        return self.people.sample(rng, placed, skin, lens)

    def _framed_pair(self, rng: np.random.Generator) -> Framed:
        """A pair, and a view in which one hand is hidden about as much as wanted, with no forearm before the lens.

        Whatever comes back has been checked; pairs that fail are drawn again, and ``rejected`` counts why. After
        ``MAX_TRIES`` of them two hands are held apart, which needs no luck.
        """
        wanted = rng.uniform(self.least_hidden, self.most_hidden)
        for attempt, pair in zip(range(MAX_TRIES), self.pairs.proposals(rng), strict=False):
            plain = self.pairs.plain(pair)
            views = sample_views(rng, VIEWS, plain.middle())
            view, seen, error = self._best_view(plain, views, wanted)
            if error > LEEWAY + MORE_LEEWAY * attempt:
                self.rejected["occlusion"] += 1
                continue
            if self.config.contact:
                pair = self.pairs.free(pair)
                if pair.fit is not None and (pair.fit.depth > MAX_PENETRATION or pair.fit.gap > MAX_GAP):
                    self.rejected["contact"] += 1
                    continue
                plain = self.pairs.plain(pair)
                seen = plain.before(view)
            if not seen.blocked[0] and _hidden(seen)[0] <= self.most_hidden:
                return self._framed(plain, view, seen)
            self.rejected["view"] += 1
        self.rejected["all tries"] += 1
        plain, view = self.pairs.plain(self.pairs.apart(rng)), straight_view(rng)
        return self._framed(plain, view, plain.before(view))

    def _framed_fit(self, rng: np.random.Generator, index: int, recorded: RecordedPairs) -> Framed:
        """Recorded pair ``index`` before its own camera, or in a view from anywhere: what fits call up is not known."""
        if self.cameras is not None:
            return self._own_view(rng, index, recorded, self.cameras)
        wanted = rng.uniform(self.least_hidden, self.most_hidden)
        pair = recorded.pair(index, rng)
        for attempt in range(MAX_TRIES):
            view, seen, error = self._best_view(pair, sample_any_views(rng, VIEWS), wanted)
            if error <= LEEWAY + MORE_LEEWAY * attempt:
                return self._framed(pair, view, seen)
        # Some fits look alike from everywhere. From where the arms lead away, they are behind the hands.
        self.rejected["all tries"] += 1
        view = straight_view(rng, pair.elbows.sum(0))
        return self._framed(pair, view, pair.before(view))

    def _own_view(self, rng: np.random.Generator, index: int, recorded: RecordedPairs, frames: Frames) -> Framed:
        """Recorded pair ``index`` before its own camera, with forearms that leave the hands to be seen if there are."""
        lens = own_camera(frames, index, self.config.size)
        pair = recorded.pair(index, rng)
        for _ in range(MAX_TRIES):
            if not pair.arms_before(lens):
                break
            self.rejected["view"] += 1
            pair = recorded.pair(index, rng)
        return pair.hands(np.eye(3), np.zeros(3)), lens, pair.interaction, None

    def _background(self, rng: np.random.Generator, index: int) -> Background:
        """One of the library's; of recorded ones the fit's own, as it is."""
        if isinstance(self.library, BackgroundLibrary):
            return sample_background(rng, self.library)
        return self.library.background(index)

    def _frames(self, setting: str) -> Frames:
        if self.recorded is None or self.recorded.fits.frames is None:
            raise AIHError(
                f"{setting}: recorded ones need poses from shards that aih-gen annotate made, found {self.config.poses}"
            )
        return self.recorded.fits.frames

    def _best_view(self, pair: PairPose, views: Views, wanted: float) -> tuple[Views, Seen, float]:
        """The one of ``views`` that hides about ``wanted`` of a hand, what is seen there, and how far off it is."""
        seen = pair.before(views)
        hidden = _hidden(seen)
        error = np.abs(hidden - wanted) + 10 * (seen.blocked | (hidden > self.most_hidden))
        best = int(error.argmin())
        return views[best], seen[best], float(error[best])

    def _framed(self, pair: PairPose, view: Views, seen: Seen) -> Framed:
        turn, shift = view.turns[0], seen.shift[0]
        placed = Placed.of(pair, turn, shift, known=self.recorded is None)
        return pair.hands(turn, shift), camera(view, self.config.size), pair.interaction, placed


def _hidden(seen: Seen) -> NDArray[np.float64]:
    """(N,) the share hidden of the more hidden hand."""
    return seen.hidden.max(1) - COARSE
