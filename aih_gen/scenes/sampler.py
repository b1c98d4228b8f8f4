"""The scenes of a configuration: poses, a view with the wanted occlusion, and the hands' surroundings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from aih_gen.config import RenderConfig, sample_rng
from aih_gen.errors import AIHError
from aih_gen.hands import HandModel
from aih_gen.kernels.compiled import check_cache
from aih_gen.scenes.backgrounds import Background, BackgroundLibrary, Backgrounds
from aih_gen.scenes.cameras import (
    Views,
    camera,
    closer,
    lone_views,
    sample_any_views,
    sample_close,
    sample_views,
    straight_view,
)
from aih_gen.scenes.clean_plates import CleanPlates
from aih_gen.scenes.dress import sample_dress
from aih_gen.scenes.fits import Fits, Photos
from aih_gen.scenes.hand_raster import Placed
from aih_gen.scenes.interactions import sample_tight
from aih_gen.scenes.lights import sample_lights
from aih_gen.scenes.objects import OBJECTS_SHARE, sample_objects
from aih_gen.scenes.pair import PairPose, surface
from aih_gen.scenes.people import FOREARM_END, Company, PeopleSampler
from aih_gen.scenes.poses import PairSampler
from aih_gen.scenes.recorded import RecordedPairs, own_camera
from aih_gen.scenes.scene import Camera, Dress, Hand, Lights, Prop, Scene, Sensor, Skin
from aih_gen.scenes.sensor import sample_grey, sample_sensor
from aih_gen.scenes.settings import dark_studio, daylight, sample_setting
from aih_gen.scenes.skin import sample_skin
from aih_gen.scenes.textures import TextureLibrary
from aih_gen.scenes.visibility import Visibility
from aih_gen.typing import Array, Setting

MAX_PENETRATION, MAX_GAP = 0.002, 0.005
"""Pairs with a greater depth or gap (m) are rejected."""
VIEWS = 24
"""Views tried for a pair."""
OCCLUSION_TOLERANCE, MORE_TOLERANCE = 0.14, 0.06
"""Allowed deviation from the wanted occlusion at the first try, and its increase with each further one."""
RASTER_BIAS = 0.08
"""Excess of the raster's hidden share over that of rendered pairs: cells round up."""
MAX_HIDDEN = 0.82
"""Views in which more of a hand is hidden are rejected: its pose could not be recognised."""
MAX_TRIES = 16
MIN_SHOWN = 0.45
"""Least share of a hand alone that the image holds, by points of its surface."""

Framed = tuple[tuple[Hand | None, Hand | None], Camera, str, Placed | None]
"""Hands before a camera, their interaction, and the place of their person if that is known."""

NO_HAND = "no hand"
"""The interaction of a scene without hands."""
NO_HANDS_POINT = np.array([[0.0, 0.0, 0.5]])
"""Place in camera space (m) of the hands that a scene lacks, above its table if it has one."""
APPEARANCE_STREAM, HANDS_STREAM = 1, 2
"""Streams of random numbers for everything but the hands and the camera, and for the number of hands."""
DRESS_STREAM, SETTING_STREAM, GREY_STREAM, FRAMING_STREAM, TIGHT_STREAM, OBJECTS_STREAM = range(21, 27)
PEOPLE_STREAM = 31
"""Streams for gloves and jewellery, studio and daylight, grey images, hands close to the camera, tight interactions,
objects, and people.
"""


BACKGROUNDS: dict[str, Callable[[RenderConfig, Photos | None], Backgrounds]] = {"recorded": CleanPlates}
"""Sources by ``RenderConfig.backgrounds``, opened with the photos of recorded poses; else a `BackgroundLibrary`."""


def open_backgrounds(config: RenderConfig, photos: Photos | None) -> Backgrounds:
    """The source of backgrounds that ``config.backgrounds`` names."""
    name = config.backgrounds
    return BACKGROUNDS[name](config, photos) if name in BACKGROUNDS else BackgroundLibrary(name)


class SceneSampler:
    """Scenes of one configuration by index."""

    def __init__(
        self, config: RenderConfig, models: tuple[HandModel, HandModel], fits: Mapping[int, Fits] | None = None
    ) -> None:
        """``fits``: what ``config.poses`` names, opened, by the number of hands in a frame (``sources.open_source``).

        Raises:
            AIHError: recorded cameras or backgrounds are required, and the fits have no photos; or what is compiled
                cannot be kept where ``NUMBA_CACHE_DIR`` says.
        """
        check_cache()
        if bool(fits) != (config.poses != RenderConfig.poses):
            raise ValueError(f"fits: expected those of poses {config.poses}, opened, found {fits}")
        self.config = config
        self.textures = TextureLibrary(config.textures, models[0])
        self.pairs = PairSampler(models)
        self.people = PeopleSampler(models, self.pairs.finger_solver)
        self.max_hidden = min(config.occlusion[1], MAX_HIDDEN)
        self.min_hidden = min(config.occlusion[0], self.max_hidden)
        self.recorded = {
            number: RecordedPairs(frames, models, config.pose_noise, config.contact)
            for number, frames in (fits or {}).items()
        }
        """By the number of hands in a frame."""
        photos = next((pairs.fits.frames.photos for pairs in self.recorded.values() if pairs.fits.frames), None)
        if config.cameras == "recorded" and photos is None:
            raise AIHError(f"cameras: expected poses from shards of aih-gen annotate, found {config.poses}")
        self.library = open_backgrounds(config, photos)
        self.rejected: Counter[str] = Counter()
        """Number of rejected poses, by the reason."""

    def sample(self, index: int) -> Scene:
        """Scene ``index``, a function of (configuration, seed, index) alone (law 1)."""
        sides = self._sides(index)
        recorded = self.recorded.get(len(sides))
        hands, lens, interaction, placed = self._framed_hands(index, sides, recorded)
        rng = sample_rng(self.config.seed, index, APPEARANCE_STREAM)
        background = self._background(rng, index, recorded)
        skin = self._dressed(sample_skin(rng, self.textures), index)
        glove = skin.dress.glove
        reflectance = float(max(skin.back.max(), skin.palm.max()) if glove is None else glove.colour.max())
        lights = sample_lights(rng, background, reflectance, self.config.shadows)
        setting, background, lights = self._set(background, lights, reflectance, index)
        company = self._company(index, placed, skin, lens)
        objects = () if company.props else self._objects(hands, lens, lights, index)
        sensor = self._sensor(rng, index)
        if company.joined:
            right, left = (hand and replace(hand, arm_length=FOREARM_END) for hand in hands)
            hands = right, left
        return Scene(
            index=index,
            hands=hands,
            skin=skin,
            lights=lights,
            camera=lens,
            background=background,
            sensor=sensor,
            interaction=interaction,
            shows=_shows(company, skin.dress, setting, bool(objects), sensor.grey),
            props=company.props or objects,
            props_blur=company.blur * background.blur,
        )

    def _sides(self, index: int) -> tuple[int, ...]:
        """The hands that scene ``index`` shows: 0 right, 1 left."""
        rng = sample_rng(self.config.seed, index, HANDS_STREAM)
        two, one, _ = self.config.hands
        share, side = rng.random(), int(rng.integers(2))
        return (0, 1) if share < two else (side,) if share < two + one else ()

    def _framed_hands(self, index: int, sides: tuple[int, ...], recorded: RecordedPairs | None) -> Framed:
        rng = sample_rng(self.config.seed, index)
        if not sides:
            return (None, None), camera(straight_view(rng), self.config.size), NO_HAND, None
        if recorded is not None:
            return self._framed_fit(rng, index, recorded)
        return self._framed_pair(rng, index) if len(sides) == 2 else self._framed_lone(rng, sides[0])

    def _framed_lone(self, rng: np.random.Generator, side: int) -> Framed:
        """One hand in a view with no forearm before the lens, which holds enough of the hand."""
        for _ in range(MAX_TRIES):
            hand = self.pairs.lone(rng, side)
            views = lone_views(rng, sample_views(rng, VIEWS, hand.middle()), hand.elbows[side])
            visibility = hand.visibility(views)
            clear = np.flatnonzero(~visibility.blocked & (hand.shown(views, visibility) > MIN_SHOWN))
            if len(clear):
                return self._framed(hand, views[int(clear[0])], visibility[int(clear[0])])
            self.rejected["view"] += 1
        self.rejected["all tries"] += 1
        hand, view = self.pairs.plain(self.pairs.apart(rng)).alone(side), straight_view(rng)
        return self._framed(hand, view, hand.visibility(view))

    def _objects(
        self, hands: tuple[Hand | None, Hand | None], lens: Camera, lights: Lights, index: int
    ) -> tuple[Prop, ...]:
        """In a share of scenes a table with objects behind the hands; recorded backgrounds stay as they are."""
        rng = sample_rng(self.config.seed, index, OBJECTS_STREAM)
        if rng.random() >= OBJECTS_SHARE or self.library.fixed:
            return ()
        shown = [(outline, hand) for outline, hand in zip(self.pairs.outlines, hands, strict=True) if hand is not None]
        points, arms = NO_HANDS_POINT, np.empty((0, 3))
        if shown:
            surfaces = (surface(*both) for both in shown)
            points, arms = (np.concatenate(part) for part in zip(*surfaces, strict=True))
        return sample_objects(rng, points, arms, lens, lights)

    def _set(
        self, background: Background, lights: Lights, reflectance: float, index: int
    ) -> tuple[Setting, Background, Lights]:
        """Another place and light, where the scene's setting has its own; recorded backgrounds stay."""
        rng = sample_rng(self.config.seed, index, SETTING_STREAM)
        setting = sample_setting(rng)
        if setting == "ordinary" or self.library.fixed:
            return "ordinary", background, lights
        if setting == "dark studio":
            return setting, *dark_studio(rng, reflectance, self.config.shadows)
        return setting, *daylight(rng, self.library, reflectance, self.config.shadows)

    def _sensor(self, rng: np.random.Generator, index: int) -> Sensor:
        sensor = sample_sensor(rng, self.config.size, self.config.look)
        if self.config.look == "plain":
            return sensor
        return sample_grey(sample_rng(self.config.seed, index, GREY_STREAM), sensor)

    def _company(self, index: int, placed: Placed | None, skin: Skin, lens: Camera) -> Company:
        """The people of a scene; none in the plain look, nor where cameras or backgrounds are recorded, as photos have
        their own.
        """
        rng, config = sample_rng(self.config.seed, index, PEOPLE_STREAM), self.config
        none = config.look == "plain" or config.cameras == "recorded" or self.library.fixed
        if none or rng.random() >= config.people:
            return Company()
        return self.people.sample(rng, placed, skin, lens)

    def _framed_pair(self, rng: np.random.Generator, index: int) -> Framed:
        """A pair, and a view with about the wanted occlusion and no forearm before the lens.

        Every pair has passed all checks; ``rejected`` counts those that fail. After ``MAX_TRIES`` of them, two hands
        well apart, which never fail.
        """
        wanted = rng.uniform(self.min_hidden, self.max_hidden)
        framing = sample_rng(self.config.seed, index, FRAMING_STREAM)
        close = sample_close(framing)
        tight = sample_tight(sample_rng(self.config.seed, index, TIGHT_STREAM))
        for attempt, pair in zip(range(MAX_TRIES), self.pairs.proposals(rng, tight), strict=False):
            plain = self.pairs.plain(pair)
            views = sample_views(rng, VIEWS, plain.middle())
            if close:
                views = closer(framing, views)
            view, visibility, error = self._best_view(plain, views, wanted)
            if error > OCCLUSION_TOLERANCE + MORE_TOLERANCE * attempt:
                self.rejected["occlusion"] += 1
                continue
            if self.config.contact:
                pair = self.pairs.resolve_contact(pair)
                if pair.quality is not None and (pair.quality.depth > MAX_PENETRATION or pair.quality.gap > MAX_GAP):
                    self.rejected["contact"] += 1
                    continue
                plain = self.pairs.plain(pair)
                visibility = plain.visibility(view)
            if not visibility.blocked[0] and _hidden(visibility)[0] <= self.max_hidden:
                return self._framed(plain, view, visibility)
            self.rejected["view"] += 1
        self.rejected["all tries"] += 1
        plain, view = self.pairs.plain(self.pairs.apart(rng)), straight_view(rng)
        return self._framed(plain, view, plain.visibility(view))

    def _framed_fit(self, rng: np.random.Generator, index: int, recorded: RecordedPairs) -> Framed:
        """Recorded hands before their own camera, or in a view from anywhere: the upright of fits is unknown."""
        if self.config.cameras == "recorded":
            return self._own_view(rng, index, recorded)
        wanted = rng.uniform(self.min_hidden, self.max_hidden)
        pair = recorded.pair(index, rng)
        for attempt in range(MAX_TRIES):
            view, visibility, error = self._best_view(pair, sample_any_views(rng, VIEWS), wanted)
            if error <= OCCLUSION_TOLERANCE + MORE_TOLERANCE * attempt:
                return self._framed(pair, view, visibility)
        # Some fits have no such view. Seen along the arms, the arms are behind the hands.
        self.rejected["all tries"] += 1
        view = straight_view(rng, pair.elbows.sum(0))
        return self._framed(pair, view, pair.visibility(view))

    def _own_view(self, rng: np.random.Generator, index: int, recorded: RecordedPairs) -> Framed:
        """Recorded hands before their own camera, with forearms that leave the hands visible."""
        assert recorded.fits.frames is not None
        lens = own_camera(recorded.fits.frames, index, self.config.size)
        pair = recorded.pair(index, rng)
        for _ in range(MAX_TRIES):
            if not pair.arms_before(lens):
                break
            self.rejected["view"] += 1
            pair = recorded.pair(index, rng)
        return pair.hands(np.eye(3), np.zeros(3)), lens, pair.interaction, None

    def _dressed(self, skin: Skin, index: int) -> Skin:
        """The person with gloves, rings and the like, which the plain look leaves out."""
        if self.config.look == "plain":
            return skin
        return replace(skin, dress=sample_dress(sample_rng(self.config.seed, index, DRESS_STREAM), skin))

    def _background(self, rng: np.random.Generator, index: int, recorded: RecordedPairs | None) -> Background:
        frames = recorded.fits.frames if recorded else None
        return self.library.sample(rng, int(frames.rows[index % len(frames.rows)]) if frames else None)

    def _best_view(self, pair: PairPose, views: Views, wanted: float) -> tuple[Views, Visibility, float]:
        """The one of ``views`` whose occlusion is nearest to ``wanted``, its visibility, and the deviation.

        A hand that is alone has none.
        """
        visibility = pair.visibility(views)
        hidden = _hidden(visibility)
        error = np.abs(hidden - wanted) * (len(pair.sides) == 2) + 10 * (
            visibility.blocked | (hidden > self.max_hidden)
        )
        best = int(error.argmin())
        return views[best], visibility[best], float(error[best])

    def _framed(self, pair: PairPose, view: Views, visibility: Visibility) -> Framed:
        rotation, shift = view.rotations[0], visibility.shift[0]
        placed = Placed.of(pair, rotation, shift, known=not self.recorded)
        return pair.hands(rotation, shift), camera(view, self.config.size), pair.interaction, placed


def _shows(company: Company, dress: Dress, setting: Setting, objects: bool, grey: bool) -> tuple[str, ...]:
    special = {
        "objects": objects,
        "gloves": dress.glove is not None,
        "rings": bool(dress.rings),
        "watch": dress.watch is not None,
        "bracelets": len(dress.bands) > (dress.watch is not None),
        "nail polish": dress.polish is not None,
        "dark studio": setting == "dark studio",
        "daylight": setting == "daylight",
        "grey": grey,
    }
    return *company.names, *(name for name, there in special.items() if there)


def _hidden(visibility: Visibility) -> Array:
    """(N,) the share hidden of the more hidden hand."""
    return visibility.hidden.max(1) - RASTER_BIAS
