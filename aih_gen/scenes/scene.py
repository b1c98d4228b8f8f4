"""A scene: everything an image of two hands is made from, as plain data. Camera space: x right, y down, z forward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aih_gen.scenes.backgrounds import Background
from aih_gen.typing import Float32, Int32, UInt8


@dataclass(frozen=True, eq=False)
class Hand:
    """One hand's parameters, as ``HandModel`` takes them."""

    pose: Float32  # (48,) axis-angle, radians
    betas: Float32  # (10,)
    transl: Float32  # (3,) m
    arm_pose: Float32  # (3,) axis-angle of the forearm relative to the hand
    arm_length: float = np.inf  # m from the wrist to where a person's upper arm takes over, if there is one


@dataclass(frozen=True, eq=False)
class Sleeve:
    """Cloth over the forearms. Colours are linear reflectances in [0, 1]."""

    colour: Float32  # (3,)
    stripe: Float32  # (3,) of every second band
    stripe_width: float  # m, 0 for plain cloth
    start: float  # m from the wrist


@dataclass(frozen=True, eq=False)
class Glove:
    """A pair of gloves."""

    colour: Float32  # (3,)
    knitted: bool  # of wool, else of rubber
    cuff: float  # m from the wrist, along the forearm


@dataclass(frozen=True, eq=False)
class Ring:
    """A metal ring around the first bone of a finger."""

    side: int  # hand
    finger: int  # of ``joints.FINGERS``
    place: float  # share of the bone from the knuckle
    width: float  # m
    colour: Float32  # (3,) reflectance of the metal
    gem: Float32 | None  # (3,) stone on the back of the finger


@dataclass(frozen=True, eq=False)
class Band:
    """A bracelet, or the strap of a watch."""

    side: int
    start: float  # m from the wrist to its middle
    width: float  # m
    colour: Float32  # (3,)
    metal: bool  # else cloth, leather or plastic
    beads: int  # around the wrist, 0 for a smooth band


@dataclass(frozen=True, eq=False)
class Watch:
    """The case of a wristwatch, on the back of a forearm; its strap is a band."""

    side: int
    start: float  # m from the wrist to its middle
    radius: float  # m
    metal: Float32  # (3,)
    dial: Float32  # (3,)
    square: bool


@dataclass(frozen=True, eq=False)
class Dress:
    """Gloves, jewellery and nail polish. Colours are linear reflectances in [0, 1]."""

    glove: Glove | None = None
    polish: Float32 | None = None  # (3,) of the nails
    rings: tuple[Ring, ...] = ()
    bands: tuple[Band, ...] = ()
    watch: Watch | None = None


@dataclass(frozen=True, eq=False)
class Skin:
    """One person's skin and clothes. Colours are linear reflectances in [0, 1], amplitudes of order one."""

    back: Float32  # (3,) back of the hand and forearm
    palm: Float32  # (3,)
    nail: Float32  # (3,)
    roughness: float  # 0.3 moist .. 0.8 dry
    mottle: float  # of the fine unevenness
    crease: float  # of knuckle and palm creases
    vein: float
    flush: float  # of redder knuckles, finger tips and heels of the palm
    seed: float  # where in the noise this person's skin lies
    tone: str  # class of the back's colour, ``skin.TONES``
    sleeve: Sleeve | None  # None for bare arms
    texture: str | None = None  # name in the texture library, instead of ``back`` and ``palm``
    dress: Dress = Dress()


@dataclass(frozen=True, eq=False)
class Lights:
    """Soft light from all around plus a few lamps. Radiances are linear and of order one."""

    harmonics: Float32  # (9,3) soft light reflected by white skin of normal n: 1, x, y, z, xy, yz, 3z^2-1, xz, x^2-y^2
    directions: Float32  # (L,3) unit vectors towards the lamps
    colours: Float32  # (L,3)
    shadows: bool  # the first lamp casts them


@dataclass(frozen=True, eq=False)
class Prop:
    """A mesh behind the hands, part of the background: the image and both targets show it, no mask does.

    Lit as the hands are, from both sides; ``scenes.props.prop`` makes one with defaults.
    """

    vertices: Float32  # (V,3) m, camera space, farther away than the hands before it
    normals: Float32  # (V,3) unit, outwards
    faces: Int32  # (F,3) counter-clockwise seen from outside
    albedo: Float32  # (V,3) linear reflectance
    roughness: Float32  # (V,) 0.2 polished .. 0.9 and more cloth, which is woven and creased
    scatter: Float32  # (V,) 0 light stops at the surface .. 1 it bleeds past the terminator, as in skin
    texture: UInt8 | None = None  # (H,W,3) tiles, multiplies ``albedo``; v is a factor of (v / 255)^2
    texture_coordinates: Float32 | None = None  # (V,2) column and row, in sides of the texture
    closed: bool = False  # its inside is never seen, so need not be drawn


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera at the origin; (0, 0) is the centre of the first pixel."""

    matrix: Float32  # (3,3) intrinsics, px
    size: int  # image side, px


@dataclass(frozen=True)
class Sensor:
    """The camera's effects on all images of a scene alike, in this order."""

    motion: tuple[float, float]  # px, motion of the image during the exposure, right and down
    defocus: float  # px, standard deviation
    gain: tuple[float, float, float]  # exposure and white balance of the displayed values
    gamma: float  # of the tone curve
    shot_noise: float  # variance a grey level, in squared grey levels
    read_noise: float  # standard deviation, grey levels
    jpeg: int | None  # quality, None for no compression
    seed: int
    grey: bool = False  # stored without colour
    contrast: float = 0.0  # 0 leaves the tone curve, 1 bends it to an S


SHOWS = (
    "own person", "face", "other person", "other hand", "objects", "gloves", "rings", "watch", "bracelets",
    "nail polish", "dark studio", "daylight", "grey",
)  # fmt: skip
"""Special contents of a scene: people and things beside the hands, gloves and jewellery, the light, the image."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Hands of one person before a camera, and their background.

    ``hands`` is (right, left), None where there is none.
    """

    index: int
    hands: tuple[Hand | None, Hand | None]
    skin: Skin
    lights: Lights
    camera: Camera
    background: Background
    sensor: Sensor
    interaction: str
    shows: tuple[str, ...] = ()
    """Its special contents, of ``SHOWS``."""
    props: tuple[Prop, ...] = ()
    """Drawn over the background and behind the hands, which throw shadows on them."""
    props_blur: float = 0.0  # radius in image sides: how far they are out of focus
