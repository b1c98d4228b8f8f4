"""Command lines: hints for typing mistakes, pipes that end, versions, colours."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aih_gen.cli import main
from hdr_model.cli import main as hdr
from tests.data.samples import write_samples


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def words(text: str) -> str:
    """Text without the frames that tyro draws around it."""
    return " ".join(re.sub(r"[^\x20-\x7e]|[|+]", " ", text).split())


@pytest.mark.parametrize(
    ("arguments", "hints"),
    [
        ("syn --source x --out y --cuont 3", ["--count INT", "Number of samples.", "Unrecognized options: --cuont"]),
        ("infr", ["infr", "render", "syn", "preview"]),
        ("import x --from npz --out o --sizee 3", ["Unrecognized options: --sizee", "Perhaps you meant: --size INT"]),
        ("syn --source x --out y --count many", ["Error parsing --count", "'many'"]),
        ("render --out x --count 3 --look nice", ["'nice'", "'full', 'plain'"]),
        ("", ["{render,", "doctor}"]),
    ],
)
def test_a_typing_mistake_keeps_tyros_hint(
    arguments: str, hints: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err
    for hint in hints:
        assert hint in words(error)
    assert error.splitlines()[-1].startswith("aih-gen: error: arguments: expected those that the command takes")
    assert "\x1b" not in error


@pytest.mark.parametrize(
    ("command", "required", "groups"),
    [
        ("aih-gen render", ["--out", "--count"], ["scenes", "work"]),
        ("aih-gen syn", ["--out", "--count", "--source"], ["recipe", "work"]),
        ("aih-gen annotate", ["--out", "--dataset", "--root"], ["photos", "reading", "work"]),
        ("aih-gen import", ["--out", "--from"], ["authors", "reading", "work"]),
        ("aih-gen export", ["--to", "--out"], []),
        ("hdr train hasm", ["--data", "--out"], ["schedule", "reports", "synthesis", "machine"]),
        ("hdr train hdrm", ["--data", "--out"], ["schedule", "reports", "synthesis", "machine"]),
        ("hdr train shpe", ["--data", "--out"], ["schedule", "reports", "synthesis", "machine"]),
        ("hdr eval", ["--out"], []),
        ("hdr infer", ["--out"], []),
        ("hdr ablate", ["--data", "--held-out", "--out"], []),
        ("hdr export", ["--out"], []),
        ("hdr import-reference", ["--hasm", "--hdrm", "--shpe", "--out"], []),
    ],
)
def test_help_has_groups_and_required_options_first_and_names_no_file_that_is_not_installed(
    command: str,
    required: list[str],
    groups: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    name, *arguments = command.split()
    with pytest.raises(SystemExit, match="0"):
        {"aih-gen": main, "hdr": hdr}[name]([*arguments, "--help"])
    help_text = capsys.readouterr().out
    options = re.findall(r"^\W*?(--[a-z][a-z0-9-]+)", help_text, re.MULTILINE)
    assert options[: len(required)] == required
    assert re.findall(r"(\w+) options \W", help_text) == groups
    for place in ("docs/", "scripts/", "assets/", ".py", ".sh"):
        assert place not in help_text


COMMANDS = {
    "aih-gen": "render, syn, config, annotate, import, export, info, verify, merge, split, preview, doctor",
    "hdr": "train hasm, train hdrm, train shpe, eval, ablate, infer, bench, demo, export, import-reference",
}


@pytest.fixture(scope="module")
def help_texts() -> dict[str, str]:
    """The help of every command, without frames, as wide as it wants to be."""
    texts = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "1000")
        for name, commands in COMMANDS.items():
            for command in commands.split(", "):
                with pytest.raises(SystemExit, match="0"), contextlib.redirect_stdout(io.StringIO()) as said:
                    {"aih-gen": main, "hdr": hdr}[name]([*command.split(), "--help"])
                texts[f"{name} {command}"] = re.sub(r"[^\x20-\x7e\n]|[|]", " ", said.getvalue())
    return texts


def test_every_option_says_what_it_is(help_texts: dict[str, str]) -> None:
    for command, text in help_texts.items():
        said = re.findall(r"^ *(--\S.*?(?:\n(?! *--| *\n).*?)*)\((?:default:|required)", text, re.MULTILINE)
        assert len(said) > 0 or "--help" in text
        for option in said:
            metavars = r"--[a-z-]+|,|\{[^}]*\}|\[[^\]]*\]+|\b[A-Z]+\b"
            assert re.sub(metavars, "", option).strip(), f"{command}: {option.strip()}"


def test_every_option_in_the_docs_is_there(help_texts: dict[str, str]) -> None:
    root = Path(__file__).parents[2]
    scripts = [path.read_text() for path in (root / "scripts").iterdir() if path.is_file()]
    known = set(re.findall(r"--[a-z][a-z-]+", "\n".join([*help_texts.values(), *scripts])))
    fields = re.findall(r"^def main\(.*?^\) ->|^def main\(.*\) ->", "\n".join(scripts), re.MULTILINE | re.DOTALL)
    known |= {f"--{name.replace('_', '-')}" for text in fields for name in re.findall(r"(\w+):", text)}
    others = {"--array", "--cpus-per-task", "--nproc-per-node"}  # of sbatch and torchrun
    for page in (*root.glob("*.md"), *(root / "docs").glob("*.md"), *(root / "assets").glob("*/*.md")):
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text()))
        assert named - known - others == set(), page


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
    assert done.returncode == 2 and f"\n{name}: error: " in done.stderr


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


def test_training_options_say_their_units_and_every_presets_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit, match="0"):
        hdr(["train", "hasm", "--help"])
    said = words(capsys.readouterr().out)
    for text in (
        "Steps of the optimiser; by default the preset's (nano light base paper): hasm 2400 6000 20000 500000,",
        "Samples in a step of each process; by default the preset's (nano light base paper): hasm 16 32 64 48,",
        "Highest learning rate of the schedule; by default the preset's (nano light base paper): hasm 0.003 0.002",
    ):
        assert text in said
