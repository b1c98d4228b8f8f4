"""Command lines: hints for typing mistakes, pipes that end, versions, colours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aih_gen.cli import main
from tests.data.samples import write_samples


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


@pytest.mark.parametrize(
    ("arguments", "hints"),
    [
        (
            "syn --source x --out y --cuont 3",
            ["Missing from aih-gen syn: --count INT", "Unrecognized options: --cuont 3"],
        ),
        ("infr", ["Unrecognized options: infr", "Available subcommands: render, syn", "preview"]),
        ("import x --from npz --out o --sizee 3", ["Unrecognized options: --sizee", "Perhaps you meant: --size INT"]),
        ("syn --source x --out y --count many", ["Error parsing --count", "'many'"]),
        ("render --out x --count 3 --look nice", ["'nice'", "'full', 'plain'"]),
        ("", ["Expected one of {render, syn,"]),
    ],
)
def test_a_typing_mistake_keeps_its_hint_on_one_line(
    arguments: str, hints: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("aih-gen: error: ") and error.count("\n") == 1 and "helptext" not in error
    assert not set(error) & set("\u2502\u256d\u256e\u2570\u256f\u2500\x1b")
    for hint in hints:
        assert hint in error


def test_a_pipe_that_ends_is_no_fault(tmp_path: Path) -> None:
    write_samples(tmp_path / "aih_render-00000.h5", 2)
    for arguments in (["info", str(tmp_path)], ["render", "--help"]):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, "-m", "aih_gen", *arguments], stdout=writing, stderr=subprocess.PIPE, check=False
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(("module", "name"), [("aih_gen", "aih-gen"), ("hdr_model", "hdr")])
def test_a_package_is_its_command_and_says_its_version(module: str, name: str) -> None:
    done = run(module, "--version")
    assert done.returncode == 0 and done.stdout.startswith(f"{name} ") and len(done.stdout.split()) == 2
    done = run(module, "nothing")
    assert done.returncode == 2 and done.stderr.startswith(f"{name}: error: ")


def test_help_has_colours_on_a_terminal_but_not_with_no_color(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    for value, coloured in ((None, True), ("1", False)):
        monkeypatch.delenv("NO_COLOR", raising=False)
        if value:
            monkeypatch.setenv("NO_COLOR", value)
        with pytest.raises(SystemExit):
            main(["info", "--help"])
        assert ("\x1b[" in capsys.readouterr().out) == coloured
        assert os.environ["TERM"] == "xterm"


def test_training_options_say_their_units_and_every_presets_number() -> None:
    said = " ".join(run("hdr_model", "train", "hasm", "--help", COLUMNS="400").stdout.replace("\u2502", " ").split())
    for text in (
        "Steps of the optimiser; by default the preset's (nano light base paper): hasm 2400 6000 20000 500000,",
        "Samples in a step of each process; by default the preset's (nano light base paper): hasm 16 32 64 48,",
        "Highest learning rate of the schedule; by default the preset's (nano light base paper): hasm 0.003 0.002",
    ):
        assert text in said
