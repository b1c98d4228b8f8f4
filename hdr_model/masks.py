"""The masks around one hand, and the regions derived from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from torch import Tensor

from aih_gen.compose import masks


@dataclass(frozen=True, eq=False)
class HandMasks:
    """Masks (N,1,S,S) bool in crops around N hands, each of which is a right hand in its crop."""

    amodal: Tensor  # this hand
    visible: Tensor
    other_visible: Tensor
    other_arm: Tensor

    @property
    def hidden(self) -> Tensor:
        """The region to de-occlude."""
        return masks.hidden(self.amodal, self.visible)

    @property
    def removal(self) -> Tensor:
        """The region to remove: the other hand and its arm outside this hand."""
        return masks.removal(self.amodal, self.other_visible, self.other_arm)

    @property
    def hole(self) -> Tensor:
        """The region that HDRM paints."""
        return masks.hole(self.amodal, self.visible, self.other_visible, self.other_arm)

    @property
    def background(self) -> Tensor:
        """The visible background, which neither hand nor the other arm covers."""
        return masks.visible_background(self.visible, self.other_visible, self.other_arm)

    def map(self, change: Callable[[Tensor], Tensor]) -> HandMasks:
        """All four masks, changed alike."""
        return HandMasks(*(change(getattr(self, field.name)) for field in fields(self)))
