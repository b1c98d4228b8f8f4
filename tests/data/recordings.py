"""Files for the viewer rerun, read back."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = dict[int | None, Any]
"""Values by step of the timeline; None is for all of it."""


def read_recording(path: Path, timeline: str) -> dict[str, Column]:
    """The columns of a file, by entity and component: ``"/camera/image EncodedImage:blob"``."""
    from rerun.chunk import RrdReader

    columns: dict[str, Column] = defaultdict(dict)
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        steps = [None] * chunk.num_rows if chunk.is_static else batch.column(timeline).to_pylist()
        for name in batch.schema.names:
            if ":" in name:
                values = zip(steps, batch.column(name).to_pylist(), strict=True)
                columns[f"{chunk.entity_path} {name}"] |= {step: value for step, value in values if value is not None}
    return dict(columns)


def bytes_of(column: Column, step: int) -> bytes:
    """The blob or buffer of a step."""
    (values,) = column[step]
    return bytes(values)


def pixels(columns: dict[str, Column], entity: str, step: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """The array of a segmentation or depth image."""
    (column,) = (column for name, column in columns.items() if name.startswith(f"{entity} ") and "Image:buffer" in name)
    return np.frombuffer(bytes_of(column, step), dtype).reshape(shape)
