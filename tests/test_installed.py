"""Wheel and sdist hold every file, and what pip installs from them works elsewhere, where HOME cannot be written.

Dependencies come from the environment of the tests: `scripts/test.sh --lowest` makes one of the lowest versions.
"""

from __future__ import annotations

import email.message
import email.parser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILD_SDIST = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
IMPORT_ALL = """
import importlib, pkgutil, aih_gen, hdr_model
from aih_gen.errors import AIHError
for package in (aih_gen, hdr_model):
    print(package.__file__)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except AIHError as error:
            if "expected the extra" not in str(error):
                raise
"""


def project_files() -> dict[str, bytes]:
    """All files of the repository by path; of an unpacked sdist, those that its own list names."""
    if (ROOT / ".git").exists():
        command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    else:
        listed = (ROOT / "aih_hdr.egg-info" / "SOURCES.txt").read_text().splitlines()
    return {name: (ROOT / name).read_bytes() for name in listed if (ROOT / name).is_file()}


def bare_environment() -> dict[str, str]:
    """The environment without what leads Python to a checkout, where an editable install may have left its metadata."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_"))}


def pip(*arguments: str | Path) -> None:
    # The dependencies are there already; an index could only bring other ones.
    command = [sys.executable, "-P", "-m", "pip", *arguments, "--quiet", "--no-deps", "--no-index"]
    done = subprocess.run([*map(str, command)], env=bare_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def copy(files: dict[str, bytes], folder: Path) -> Path:
    """The project without what earlier builds left in the checkout, which would come along."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return project_files()


@pytest.fixture(scope="module")
def sdist(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, out = copy(files, tmp_path_factory.mktemp("source")), tmp_path_factory.mktemp("sdist")
    subprocess.run([sys.executable, "-c", BUILD_SDIST, out], cwd=source, capture_output=True, check=True)
    (found,) = out.iterdir()
    return found


@pytest.fixture(scope="module", params=["checkout", "sdist"])
def wheel(
    request: pytest.FixtureRequest, files: dict[str, bytes], sdist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The wheel that pip makes of either before it installs."""
    source = sdist if request.param == "sdist" else copy(files, tmp_path_factory.mktemp("source"))
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", out, source)
    (found,) = out.iterdir()
    return found


def test_the_sdist_holds_every_file(files: dict[str, bytes], sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        found = {
            member.name.partition("/")[2]: opened.read()
            for member in archive
            if (opened := archive.extractfile(member)) is not None
        }
    made = {name for name in found if name in ("PKG-INFO", "setup.cfg") or name.startswith("aih_hdr.egg-info/")}
    assert found.keys() - made == {name for name in files if not name.startswith(".")} - made
    assert all(found[name] == files[name] for name in found.keys() - made)


def test_the_wheel_holds_every_file_of_the_packages(files: dict[str, bytes], wheel: Path) -> None:
    places = {"aih_gen": "aih_gen", "hdr_model": "hdr_model", "assets": "aih_gen/shipped"}
    expected = {
        f"{places[top]}/{rest}": content
        for name, content in files.items()
        for top, _, rest in [name.partition("/")]
        if top in places
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert found.keys() == expected.keys()
    assert found == expected


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.parser.BytesParser().parsebytes(archive.read(name))


def test_the_licences_of_all_assets_are_declared(files: dict[str, bytes], metadata: email.message.Message) -> None:
    declared = metadata["License-Expression"].split(" AND ")
    assert declared[0] == "MIT"
    texts = {name: content.decode() for name, content in files.items() if fnmatch(name, "assets/*/LICENSE*")}
    assert set(metadata.get_all("License-File", [])) == {"LICENSE", *texts}
    for name, text in texts.items():
        identifiers = re.sub(r"( License)?,?( Version)? (?=\d\.\d)", "-", text)  # Apache License 2.0 is Apache-2.0
        assert any(licence in identifiers for licence in declared), f"{name} names none of {declared}"


def test_the_long_description_points_to_nothing_that_is_not_there(metadata: email.message.Message) -> None:
    description = metadata.get_payload()
    assert isinstance(description, str) and description.startswith("# aih-hdr\n")
    links = [link.partition(")")[0] for link in description.split("](")[1:]]
    assert [link for link in links if not link.startswith("https:")] == []


@pytest.fixture(scope="module")
def room(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of the wheel and the dependencies, without the checkout."""
    folder = tmp_path_factory.mktemp("room")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip("--python", python, "install", "--no-compile", wheel)
    (site,) = folder.glob("lib/python*/site-packages")
    # Paths are all that is read there: an editable install of the checkout beside them stays without effect.
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return folder


def run(room: Path, place: Path, *command: str | Path) -> str:
    """Standard output of a command of the room, run in ``place`` with a HOME that cannot be written."""
    environment = bare_environment() | {"HOME": "/proc", "PATH": f"{room / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [*map(str, command)], cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_imported_or_names_the_extra_it_lacks(room: Path, tmp_path: Path) -> None:
    printed = run(room, tmp_path, room / "bin" / "python", "-c", IMPORT_ALL).splitlines()
    assert [Path(line).is_relative_to(room) for line in printed] == [True, True], printed


def test_it_draws_and_runs_hdr_on_the_demo_photo(room: Path, tmp_path: Path) -> None:
    run(room, tmp_path, room / "bin" / "aih-gen", "render", "--out", "aih", "--count", "4")
    assert (tmp_path / "aih" / "aih_render-00000.h5").is_file()
    (photo,) = room.glob("lib/python*/site-packages/aih_gen/shipped/demo/two_hands.png")
    shutil.copy(photo, tmp_path / "photo.png")
    run(room, tmp_path, room / "bin" / "hdr", "infer", "photo.png", "--out", "out")
    assert (tmp_path / "out" / "photo" / "result.json").is_file()
