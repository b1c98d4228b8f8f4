"""Make assets/backgrounds/, views and their light, from CC0 environments of the npm package ``@pmndrs/assets``.

Run by hand, in a throw-away virtual environment; the project itself needs neither npm nor OpenEXR:

    npm pack @pmndrs/assets@1.7.0
    python -m venv throwaway && throwaway/bin/pip install OpenEXR numpy scipy pillow
    throwaway/bin/python scripts/build_backgrounds.py pmndrs-assets-1.7.0.tgz

The environments are 512x256 equirectangular panoramas, 81 pixels a radian: a view of 110 degrees holds about 233
pixels' worth of detail across, which is why the views are wide and stored no larger than 320x320.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import OpenEXR
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter, median_filter

from aih_gen.typing import Array, Float32

PACKAGE_SHA512 = "zHmKNS+3Jvu9K3zJBQfYQKT9Pn9IQt8s0q/eJC3CXKpWpyg6IBa+ivN9NgDn+fDT2AVjUh2YRZ//GXUueuAdCg=="
SIDE = 320
PITCHES = (4.0, -14.0, -42.0)  # degrees, up is positive: a level view, one of the middle ground, one of the floor
FIELDS_OF_VIEW = (112.0, 104.0, 94.0)  # degrees, across
SEED = 20
WEBP_QUALITY = 90
LAMP_CONE = np.radians(15.0)
"""Around the brightest direction: what shines from there is a lamp that casts shadows, the rest is soft light."""


def read_environments(package: Path) -> dict[str, Float32]:
    """Name -> (256,512,3) linear radiance, finite. Refuses a package that is not the one named above."""
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if digest != PACKAGE_SHA512:
        raise SystemExit(f"{package}: expected @pmndrs/assets 1.7.0, found a file with sha512 {digest}")
    environments = {}
    with tarfile.open(package) as archive, tempfile.TemporaryDirectory() as folder:
        for member in sorted(archive.getnames()):
            if not (member.startswith("package/hdri/") and member.endswith(".exr.js")):
                continue
            stream = archive.extractfile(member)
            assert stream is not None
            name = Path(member).name.removesuffix(".exr.js")
            exr = Path(folder) / f"{name}.exr"
            exr.write_bytes(base64.b64decode(stream.read().decode().split("base64,")[1].split("'")[0]))
            with OpenEXR.File(str(exr)) as image:
                pixels = image.channels()["RGB"].pixels.astype(np.float32)
            environments[name] = without_ringing(np.nan_to_num(pixels, posinf=6e4))
    return environments


def without_ringing(radiance: Float32) -> Float32:
    """The package's resizing left negative radiance around lamps and the sun; take the neighbourhood's median there."""
    around = np.stack([median_filter(radiance[..., c], 9, mode="wrap") for c in range(3)], axis=-1)
    typical = np.maximum(around.mean(axis=-1), 1e-4)
    darkest = radiance.min(axis=-1)
    beside_highlight = maximum_filter(radiance.max(axis=-1), 9, mode="wrap") > 8 * typical
    rings = (darkest <= 0) | (beside_highlight & (radiance.mean(axis=-1) < 0.6 * typical))
    return np.maximum(np.where(rings[..., None], around, radiance), 1e-4).astype(np.float32)


def tone_map(radiance: Float32, exposure: float) -> Array:
    """Linear radiance -> display values in [0, 1]: Reinhard's extended curve on luminance, then the sRGB gamma."""
    luminance = radiance @ np.array([0.2126, 0.7152, 0.0722])
    scaled = luminance * exposure
    mapped = scaled * (1 + scaled / 16.0) / (1 + scaled)
    linear = radiance * (mapped / np.maximum(luminance, 1e-8))[..., None]
    return np.asarray(np.clip(linear, 0, 1) ** (1 / 2.2), dtype=np.float64)


def perspective_coordinates(yaw: float, pitch: float, field_of_view: float) -> Array:
    """(2,SIDE,SIDE) fractional row and column in the panorama of each pixel of an upright view; angles in radians."""
    offsets = (np.arange(SIDE) + 0.5 - SIDE / 2) / (SIDE / 2) * np.tan(field_of_view / 2)
    x, y = np.meshgrid(offsets, -offsets)
    forward = np.cos(pitch) - y * np.sin(pitch)
    up = np.sin(pitch) + y * np.cos(pitch)
    longitude = np.arctan2(x, forward) + yaw
    latitude = np.arctan2(up, np.hypot(x, forward))
    return np.stack([(0.5 - latitude / np.pi) * 256 - 0.5, (longitude / (2 * np.pi)) % 1 * 512 - 0.5])


def take_view(environment: Float32, yaw: float, pitch: float, field_of_view: float) -> Image.Image:
    coordinates = perspective_coordinates(yaw, pitch, field_of_view)
    seen = map_coordinates(environment @ np.full(3, 1 / 3), coordinates, order=1, mode="grid-wrap")
    # Exposed for what the view shows, as a camera would; resampled after tone mapping, where highlights do not ring.
    exposure = 0.20 / float(np.exp(np.log(np.maximum(seen, 1e-4)).mean()))
    display = tone_map(environment, exposure)
    channels = [map_coordinates(display[..., c], coordinates, order=3, mode="grid-wrap") for c in range(3)]
    pixels = np.clip(np.stack(channels, axis=-1) * 255 + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).filter(ImageFilter.UnsharpMask(radius=1.5, percent=60, threshold=2))


def measure_light(environment: Float32, yaw: float, pitch: float) -> Array:
    """(11,3) the light on a hand before this view, in its camera's axes (x right, y down, z forward).

    Rows 0 to 8: what a white diffuse surface of normal n reflects, as factors of 1, x, y, z, xy, yz, 3z^2-1, xz and
    x^2-y^2 of n (Ramamoorthi and Hanrahan 2001); row 9: direction of the lamp; row 10: its colour. The mean over all
    normals and colours is 1.
    """
    rows, columns = np.indices(environment.shape[:2]) + 0.5
    latitude, longitude = (0.5 - rows / 256) * np.pi, columns / 512 * 2 * np.pi - yaw
    level = np.stack([np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)])
    up = level[1] * np.cos(pitch) - level[2] * np.sin(pitch)
    forward = level[1] * np.sin(pitch) + level[2] * np.cos(pitch)
    x, y, z = level[0], -up, forward
    solid_angle = np.cos(latitude) * (np.pi / 256) * (2 * np.pi / 512)

    radiance = np.minimum(environment, np.float32(2000.0)).astype(np.float64)
    brightest = np.unravel_index(gaussian_filter(radiance.mean(-1), 4, mode="wrap").argmax(), x.shape)
    towards = np.array([axis[brightest] for axis in (x, y, z)])
    cone = np.stack([x, y, z], -1) @ towards > np.cos(LAMP_CONE)
    soft = radiance.copy()
    soft[cone] = np.minimum(soft[cone], np.median(radiance, axis=(0, 1)))
    lamp = np.einsum("ijc,ij->c", radiance - soft, solid_angle) / np.pi

    basis = np.stack([np.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y])
    norms = np.array([0.282095, *[0.488603] * 3, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274])
    spread = np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])  # of a cosine lobe, degree by degree, divided by pi
    harmonics = (norms**2 * spread)[:, None] * np.einsum("kij,ijc,ij->kc", basis, soft, solid_angle)
    total = float((harmonics[0] + lamp / 4).mean())
    return np.concatenate([harmonics / total, towards[None], lamp[None] / total])


def main() -> None:
    parser = argparse.ArgumentParser(description="Make assets/backgrounds/ from @pmndrs/assets 1.7.0.")
    parser.add_argument("package", type=Path, help="pmndrs-assets-1.7.0.tgz, as `npm pack` leaves it")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "assets" / "backgrounds")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    lights = {}
    for name, environment in read_environments(arguments.package).items():
        first = rng.uniform(0, 2 * np.pi)
        for view, (pitch, field_of_view) in enumerate(zip(PITCHES, FIELDS_OF_VIEW, strict=True)):
            yaw = first + view * 2 * np.pi / len(PITCHES)
            image = take_view(environment, yaw, np.radians(pitch), np.radians(field_of_view))
            image.save(arguments.out / f"{name}_{view}.webp", quality=WEBP_QUALITY, method=6)
            measured = measure_light(environment, yaw, np.radians(pitch))
            lights[f"{name}_{view}.webp"] = measured.round(4).tolist()
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in lights.items())
    (arguments.out / "lights.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
