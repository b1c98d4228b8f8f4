"""``aih-gen doctor`` says what works and what does not, whatever is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aih_gen import doctor
from aih_gen.cli import main

ROOT = Path(__file__).parents[2]


def test_on_this_machine_all_that_is_needed_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = {one["name"]: one for one in document["findings"]}
    assert document["well"] and all(one["works"] for one in found.values() if one["needed"])
    assert "OpenGL" in found["opengl"]["found"] and "hdf5plugin" in found["codec zstd"]["found"]
    assert f"torch {found['torch']['found'].partition(',')[0]}" in found["packages"]["found"]


@pytest.mark.parametrize("as_json", [True, False])
def test_what_fails_is_named_with_the_line_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)  # so Python finds none
    monkeypatch.setenv("AIH_EGL_DEVICE", "99")
    monkeypatch.setattr(doctor, "MIN_ROOM", 1 << 80)
    assert main(["doctor", *["--json"] * as_json]) == 1
    said = capsys.readouterr().out
    if as_json:
        wrong = {one["name"]: one["mend"] for one in json.loads(said)["findings"] if one["needed"] and not one["works"]}
        assert set(wrong) == {"opengl", "codec zstd", "disk", "temporary files"}
        assert wrong["codec zstd"] == "pip install hdf5plugin" and wrong["opengl"].startswith("apt-get install")
    else:
        assert said.count("MISSING") == 4 and "mend: pip install hdf5plugin" in said and "Traceback" not in said


@pytest.mark.parametrize("module", ["numpy", "tyro", "torch", "h5py", "packaging"])
def test_it_runs_where_a_package_is_missing(tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text("raise ImportError('none here')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}

    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "aih_gen", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    code, said = run("doctor")
    assert code == 1 and "none here" in said, said
    if module in ("numpy", "tyro", "h5py"):  # the others are loaded when they are used
        code, said = run("render", "--out", str(tmp_path / "out"), "--count", "1")
        assert (code, said) == (2, "aih-gen: error: none here; aih-gen doctor says what is missing\n")
