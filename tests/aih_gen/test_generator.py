"""Golden samples: what a configuration, a seed and an index make stays as it is for one GENERATOR_VERSION.

They are compared within what another driver or processor may round otherwise. A change that is meant raises
GENERATOR_VERSION, once for a release, and ``python -m tests.aih_gen.test_generator`` makes them again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from aih_gen.compose.sample import Sample
from aih_gen.config import GENERATOR_VERSION, RenderConfig
from aih_gen.sources import open_source

GOLDEN = Path(__file__).parent.parent / "data" / "generator.npz"
COUNT = 8
CONFIG = RenderConfig(size=64, seed=2026)


def samples() -> list[Sample]:
    return list(open_source(CONFIG).samples(range(COUNT)))


def choices_sha256(made: list[Sample]) -> str:
    return hashlib.sha256(json.dumps([dict(sample.provenance) for sample in made], sort_keys=True).encode()).hexdigest()


def arrays(made: list[Sample]) -> dict[str, np.ndarray]:
    return {
        "joints_2d": np.stack([sample.joints_2d for sample in made]),
        "joints_3d": np.stack([sample.joints_3d for sample in made]),
        "masks": np.stack([np.concatenate([s.amodal, s.visible, s.arm]) for s in made]).astype(bool),
        "images": np.stack([np.stack([s.image, *s.target]) for s in made]),
    }


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return dict(stored)


def test_golden_samples_are_made_again(golden: dict[str, np.ndarray]) -> None:
    assert str(golden["version"]) == GENERATOR_VERSION, "a new generator: make its golden samples"
    made = samples()
    assert choices_sha256(made) == str(golden["choices"])
    found = arrays(made)
    np.testing.assert_allclose(found["joints_3d"], golden["joints_3d"], atol=1e-4)  # m
    np.testing.assert_allclose(found["joints_2d"], golden["joints_2d"], atol=0.05)  # px
    overlaps = (found["masks"] & golden["masks"]).sum((2, 3)), (found["masks"] | golden["masks"]).sum((2, 3))
    assert (overlaps[0] + 4 >= 0.99 * overlaps[1]).all()  # a pixel or two of a small mask
    difference = np.abs(found["images"].astype(int) - golden["images"])
    assert difference.mean() < 0.2 and np.quantile(difference, 0.999) < 20


def test_another_seed_is_another_set(golden: dict[str, np.ndarray]) -> None:
    """So what is compared above tells sets apart."""
    (other,) = open_source(RenderConfig(size=64, seed=2027)).samples([0])
    assert np.abs(other.joints_2d - golden["joints_2d"][0]).max() > 1
    assert np.abs(other.image.astype(int) - golden["images"][0, 0]).mean() > 5


if __name__ == "__main__":
    made = samples()
    np.savez_compressed(GOLDEN, version=GENERATOR_VERSION, choices=choices_sha256(made), **arrays(made))
