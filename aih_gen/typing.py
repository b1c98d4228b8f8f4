"""Array types and closed choices, each once: configurations, commands and signatures share them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

AnyArray = NDArray[Any]
Array = NDArray[np.float64]
Float32 = NDArray[np.float32]
Floating = NDArray[np.floating[Any]]
Integer = NDArray[np.integer[Any]]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Mask = NDArray[np.bool_]  # one flag a pixel, a vertex or a hand
UInt8 = NDArray[np.uint8]

Side = Literal["right", "left"]
RendererName = Literal["gl", "pyrender"]
Look = Literal["full", "plain"]
Cameras = Literal["sampled", "recorded"]
Setting = Literal["ordinary", "dark studio", "daylight"]
DrawnKind = Literal["clutter", "gradient", "plain", "black"]
BackgroundKind = Literal["photo", DrawnKind]
Engine = Literal["local", "ray"]
Codec = Literal["zstd", "gzip"]
Split = Literal["train", "val", "test"]
Branch = Literal["all", "human", "machine"]
"""Annotations of InterHand2.6M: all, people's, or a network's."""
AIHBranch = Literal["human", "machine"]
Crops = Literal["pair", "hand", "all"]
"""Crops of a photo: one around both hands, one around each, or all three."""
TipConvention = Literal["manopth", "smplx"]
