"""Counts of a data set, and its samples in groups. Nothing here decodes an image."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aih_gen.shards.reader import AIHShards
from aih_gen.typing import Int64

MAX_READ = 20_000
"""Samples that a survey of a data set looks at."""
BLOCK = 1_000
"""Samples whose provenance is in memory at a time."""
OCCLUSION_BINS = np.linspace(0, 1, 11)

OCCLUSION_STEPS = (0.05, 0.3, 0.6, 0.9)
OCCLUSION_NAMES = ("up to 5%", "5 to 30%", "30 to 60%", "60 to 90%", "over 90%")
HAND_NAMES = ("two", "right alone", "left alone", "none")
UNKNOWN, OTHERS = "unknown", "others"
MAX_GROUPS = 8
"""Names beyond the most frequent ones are counted together."""
MAX_NAME = 40


@dataclass(frozen=True, eq=False)
class Survey:
    """Counts of a data set."""

    samples: int
    looked_at: int
    """Fewer than ``samples`` in a large set: the same random ones each time."""
    shards: int
    bytes: int
    present: Int64  # (2,) hands among those looked at
    occlusion: Int64  # (2, len(OCCLUSION_BINS) - 1) hands by hidden share


@dataclass(frozen=True)
class Group:
    """Samples that have something in common."""

    name: str
    positions: tuple[int, ...]
    """Rising, among those looked at."""


@dataclass(frozen=True)
class Facet:
    """One way to divide a data set: every surveyed sample is in exactly one of the groups."""

    title: str
    groups: tuple[Group, ...]


def survey(shards: AIHShards) -> Survey:
    """Count hands by side and by how much of them is hidden."""
    positions = _surveyed(len(shards))
    read = shards.read(positions, ("present", "occlusion"))
    shares = [share[np.isfinite(share)] for share in read["occlusion"].T]
    return Survey(
        samples=len(shards),
        looked_at=len(positions),
        shards=len(shards.shards),
        bytes=sum(shard.path.stat().st_size for shard in shards.shards),
        present=read["present"].sum(0),
        occlusion=np.stack([np.histogram(share, OCCLUSION_BINS)[0] for share in shares]),
    )


def facets(shards: AIHShards) -> tuple[Facet, ...]:
    """The samples by their hands, interaction, skin tone, occlusion (of the more hidden hand) and background.

    Hands go from two to none, tones from light to dark and occlusion from little to much, empty groups included; the
    others begin with what is frequent. Samples whose value is unknown are the last group,
    ``unknown``; a facet that is unknown for all samples is left out, and so are the hands where all samples show two.
    """
    from aih_gen.scenes.skin import TONES  # its package loads PyTorch, which nothing else here needs

    positions = _surveyed(len(shards))
    hands, interactions, tones, occlusions, backgrounds = [], [], [], [], []
    for start in range(0, len(positions), BLOCK):
        read = shards.read(positions[start : start + BLOCK], ("provenance", "occlusion", "present"))
        hands += [HAND_NAMES[3 - 2 * right - left] for right, left in read["present"].astype(int).tolist()]
        interactions += [_name(provenance.get("interaction")) for provenance in read["provenance"]]
        tones += [_name(provenance.get("tone")) for provenance in read["provenance"]]
        backgrounds += [_name(provenance.get("background")) for provenance in read["provenance"]]
        occlusions += [_occlusion_name(share) for share in np.fmax(*read["occlusion"].T)]
    named = (
        ("hands", hands, HAND_NAMES),
        ("interaction", interactions, ()),
        ("skin tone", tones, TONES),
        ("occlusion", occlusions, OCCLUSION_NAMES),
        ("background", backgrounds, ()),
    )
    plain = ({UNKNOWN}, {HAND_NAMES[0]})
    return tuple(
        Facet(title, _groups(positions, names, order)) for title, names, order in named if set(names) not in plain
    )


def _surveyed(samples: int) -> list[int]:
    """All positions, or random ones: evenly spaced ones could keep step with a pattern in the data."""
    if samples <= MAX_READ:
        return list(range(samples))
    return sorted(np.random.default_rng(0).choice(samples, MAX_READ, replace=False, shuffle=False).tolist())


def _name(value: object) -> str:
    return value[:MAX_NAME] if value and isinstance(value, str) else UNKNOWN


def _occlusion_name(share: float) -> str:
    return OCCLUSION_NAMES[bisect.bisect_left(OCCLUSION_STEPS, share)] if np.isfinite(share) else UNKNOWN


def _groups(positions: Sequence[int], names: Sequence[str], order: Sequence[str]) -> tuple[Group, ...]:
    """The names in ``order`` first, then by frequency, then the rest together and the unknown."""
    members: dict[str, list[int]] = {name: [] for name in order}
    counts = Counter(names)
    ranked = sorted(counts.keys() - {*order, UNKNOWN}, key=lambda name: (-counts[name], name))
    rare = {*ranked[MAX_GROUPS:]}
    members |= {name: [] for name in (*ranked[:MAX_GROUPS], OTHERS, UNKNOWN)}
    for position, name in zip(positions, names, strict=True):
        members[OTHERS if name in rare else name].append(position)
    return tuple(Group(name, tuple(found)) for name, found in members.items() if found or name in order)
