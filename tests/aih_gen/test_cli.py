"""Output and exit codes of ``aih-gen``."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_gen.cli import main
from aih_gen.config import DatasetConfig, RenderConfig
from aih_gen.factory import generate
from aih_gen.shards.reader import AIHShards
from tests.data.samples import write_samples


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    write_samples(folder / "aih_render-00000.h5", 40)
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_syn_info_verify_and_preview(tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, page = tmp_path / "syn", tmp_path / "page.html"
    making = ("syn", "--source", source, "--out", out, "--count", 6, "--shard-size", 4, "--seed", 3)
    code, said, progress = run(capsys, *making)
    assert code == 0 and f"{out}: 6 samples; 6 made in" in said and "sample/s" in progress
    assert len(AIHShards(out)) == 6 and (out / "preview.jpg").exists()
    assert AIHShards(out).shards[0].header.seed == 3

    code, said, _ = run(capsys, *making)
    assert code == 0 and "6 samples; all were there already" in said

    tasks = tmp_path / "tasks"
    making_tasks = ("syn", "--source", source, "--out", tasks, "--count", 6, "--shard-size", 4, "--seed", 3)
    for index in (0, 1):
        assert run(capsys, *making_tasks, "--num-tasks", 2, "--task-index", index)[0] == 0
    assert run(capsys, *making_tasks)[0] == 0
    assert (tasks / "preview.jpg").read_bytes() == (out / "preview.jpg").read_bytes()  # not of the first task alone

    code, said, _ = run(capsys, "info", out)
    assert code == 0 and f"{out}: AIH_Syn, 6 samples of 64x64 in 2 shards" in said
    assert json.JSONDecoder().raw_decode(said[said.index("{") :])[0]["seed"] == 3

    code, said, _ = run(capsys, "preview", out, "--out", page, "--count", 2)
    assert code == 0 and said.strip() == str(page)
    assert page.read_text().count("<figure>") == 2

    assert run(capsys, "verify", out)[:2] == (0, f"{out}: all is well\n")
    shard = out / "aih_syn-00001.h5"
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    code, said, _ = run(capsys, "verify", out)
    assert code == 1 and "aih_syn-00001.h5, file: expected" in said and "problems" in said


def test_a_task_counts_its_own_samples_alone(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def beside_another(config: DatasetConfig, out: Path, count: int, **settings: Any) -> Path:
        generate(config, out, count, shard_size=settings["shard_size"], num_tasks=2, task_index=1)
        return generate(config, out, count, **settings)

    monkeypatch.setattr("aih_gen.cli.generate", beside_another)
    arguments = ("syn", "--source", source, "--out", tmp_path / "o", "--count", 6, "--shard-size", 4, "--num-tasks", 2)
    code, said, _ = run(capsys, *arguments)
    assert code == 0 and "6 samples; 4 made in" in said


def test_an_option_says_what_its_setting_says(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["render", "--help"])
    said = "".join(letter for letter in capsys.readouterr().out if letter.isalnum())
    source = inspect.getsource(RenderConfig)
    for field in fields(RenderConfig):
        text = re.search(rf'^    {field.name}: [^\n]*\n    """(.*?)"""', source, re.MULTILINE | re.DOTALL)
        assert text, field.name
        assert field.name == "hands" or "".join(filter(str.isalnum, text[1])) in said, field.name


def test_a_mistake_is_one_sentence_and_changes_nothing(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    syn = ("syn", "--source", source, "--out", out)
    for arguments, sentence in (
        ((), "Expected one of {render, syn, config, annotate,"),
        (("rendr",), "rendr"),
        (syn, "--count INT"),
        ((*syn, "--count", "many"), "Error parsing --count"),
        ((*syn, "--count", 0), "count: expected 1 to"),
        ((*syn, "--count", 3, "--size", 128), "expected images of 128x128, found 64x64"),
        ((*syn, "--count", 3, "--workers", 0), "workers: expected 1 to"),
        ((*syn, "--count", 3, "--num-tasks", 2, "--task-index", 2), "task_index: expected 0 to 1, found 2"),
        ((*syn, "--count", 3, "--codec", "jpeg"), "jpeg"),
        (("syn", "--source", tmp_path / "none", "--out", out, "--count", 3), "none: expected a shard or a folder"),
        (
            ("render", "--out", out, "--count", 3, "--size", 100),
            "size: expected a multiple of 32 from 64 to 1024, found 100",
        ),
        (("render", "--out", out, "--count", 3, "--look", "nice"), "--look"),
        (("render", "--out", out, "--count", 3, "--hand-model", tmp_path / "none"), "none"),
        (("info", tmp_path / "none"), "none: expected a shard or a folder of shards, found nothing"),
        (("verify", tmp_path), "expected a folder with shards"),
        (("preview", source, "--count", 0), "count: expected 1 or more, found 0"),
        (("preview", source, "--out", tmp_path / "none" / "page.html"), "expected a file that can be written"),
    ):
        code, said, error = run(capsys, *arguments)
        assert (code, said) == (2, ""), arguments
        lines = error.splitlines()
        assert lines[-1].startswith("aih-gen: error: "), arguments
        assert len(lines) == 1 or "as said above" in lines[-1], arguments  # tyro's own words before it
        assert sentence in error, arguments
    assert list(tmp_path.iterdir()) == []


def test_another_configuration_in_the_folder(tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    making = ("syn", "--source", source, "--out", tmp_path, "--count", 2)
    assert run(capsys, *making)[0] == 0
    code, _, error = run(capsys, *making, "--seed", 8)
    assert code == 2 and "manifest.json: another configuration; expected seed 8, found 0" in error


def test_render_makes_pictures_of_hands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = run(capsys, "render", "--out", tmp_path / "r", "--count", 2, "--size", 64, "--seed", 4, "--depth")
    assert code == 0 and "2 samples; 2 made" in said
    sample = AIHShards(tmp_path / "r")[1]
    assert sample.present.all() and sample.amodal_right.any() and np.isfinite(sample.joints_3d).all()
    assert sample.depth is not None and np.isfinite(sample.depth[1][sample.amodal_left]).all()
    assert run(capsys, "verify", tmp_path / "r")[0] == 0


def test_reading_shards_needs_neither_torch_nor_opengl(source: Path) -> None:
    program = (
        "import sys, aih_gen\n"
        f"aih_gen.AIHShards({str(source)!r})[0]\n"
        "import aih_gen.cli\n"
        "print([name for name in ('torch', 'moderngl', 'transformers') if name in sys.modules])\n"
        "print(sorted(aih_gen.__all__), aih_gen.generate, aih_gen.load_hand_model)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    assert first == "[]"
    assert second.startswith(
        "['AIHShards', 'Sample', 'ShardError', 'annotate', 'generate', 'load_hand_model'] <function generate"
    )
