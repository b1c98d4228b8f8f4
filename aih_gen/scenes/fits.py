"""Recorded hands as scenes take them: the fits, and the photos that they were fitted to where those are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aih_gen.typing import AnyArray, Array, Int64, Mask


class Photos(Protocol):
    """Annotated photos by position, as ``AIHShards`` gives them."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    def read(self, indices: Iterable[int], fields: Sequence[str]) -> dict[str, AnyArray]:
        """Stacked arrays of ``Sample`` by name."""
        ...

    def digest(self) -> str:
        """SHA-256 of all of them."""
        ...


@dataclass(frozen=True, eq=False)
class Frames:
    """The photos of N fits; the hands are in the cameras' space."""

    photos: Photos
    rows: Int64  # (N,) positions of the photos
    camera: Array  # (N,3,3) intrinsics, px of the photo


@dataclass(frozen=True, eq=False)
class Fits:
    """The hands of N frames, in the order of the file: two in each, or one in each. Second axis: right, left."""

    pose: Array  # (N,2,48) axis-angle, radians, zero = flat hand; 0 where there is no hand, like the next two
    betas: Array  # (N,2,10)
    transl: Array  # (N,2,3) m
    present: Mask  # (N,2)
    skipped: int
    """Frames of the file with another number of hands."""
    name: str
    sha256: str
    frames: Frames | None = None
    """The place of the photos."""

    def __len__(self) -> int:
        return len(self.pose)
