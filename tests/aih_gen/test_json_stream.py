"""JSON that is read in pieces."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from tqdm import tqdm

from aih_gen.io.json_stream import HashedFile, JSONStream

ROW = [float("nan"), 1.5, float("-inf"), "a text without any comma", {"b": float("inf"), "c": [float("nan")]}]


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_python_s_words_become_null_wherever_the_file_is_cut(tmp_path: Path, separators: tuple[str, str]) -> None:
    path = tmp_path / "a.json"
    text = json.dumps({"rows": [ROW] * 3}, separators=separators)
    path.write_text(text)
    expected = text.replace("NaN", "null").replace("-Infinity", "null").replace("Infinity", "null").encode()
    for size in range(1, len(text) + 1):
        file = HashedFile(path, tqdm(file=io.StringIO()))
        pieces = []
        while piece := file.read(size):
            assert file.read(0) == b""
            pieces.append(piece)
        assert b"".join(pieces) == expected, size
        assert file.finish() == hashlib.sha256(text.encode()).hexdigest()
        file.close()


def test_numbers_that_are_none_do_not_end_a_long_compact_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    count = 1 << 16
    path.write_text(json.dumps({"rows": [float("nan")] * count}, separators=(",", ":")))
    assert list(JSONStream(path).items("rows")) == [None] * count
