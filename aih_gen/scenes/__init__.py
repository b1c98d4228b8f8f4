"""(configuration, seed, index) -> Scene: plain data, no pixels."""

from __future__ import annotations

from aih_gen.scenes.sampler import SceneSampler
from aih_gen.scenes.scene import Scene

__all__ = ["Scene", "SceneSampler"]
