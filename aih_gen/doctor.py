"""A check of this machine for all that the toolkit needs: each part is used once, and a failure names its remedy.

Nothing but the standard library is imported before the check that is about it.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from aih_gen.errors import one_line

PACKAGE = "aih-hdr"
INSTALL = f"pip install {PACKAGE}"
PYTHON = (3, 11)
NEWER_PYTHON = "install Python 3.11 or later"
MIN_ROOM = 1 << 30
"""Bytes: what a thousand samples and a training's checkpoints take."""
OPTIONAL = {"ray": "ray", "av": "video", "pyrender": "pyrender", "rerun": "rerun"}
"""Modules that only some commands need, and the extra that installs each."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    works: bool
    found: str
    mend: str = ""
    """The line that mends or betters it."""
    needed: bool = True


def examine() -> list[Finding]:
    """Look at everything. Whatever is missing or broken is a finding, never an exception."""
    looks: dict[str, tuple[Callable[[], Finding], str]] = {
        "python": (_python, NEWER_PYTHON),
        "packages": (_packages, INSTALL),
        "torch": (_torch, "pip install torch"),
        "opengl": (_opengl, "apt-get install libegl1 libgl1-mesa-dri"),
        "codec zstd": (_zstd, "pip install hdf5plugin"),
        "shipped files": (_shipped, f"pip install --force-reinstall {PACKAGE}"),
        "disk": (_disk, "run in a folder that can be written to"),
        "temporary files": (_temporary, "set TMPDIR to a folder that can be written to"),
        "cores": (_cores, ""),
    }
    return [*(_guarded(name, look, mend) for name, (look, mend) in looks.items()), *map(_optional, OPTIONAL)]


def _guarded(name: str, look: Callable[[], Finding], mend: str) -> Finding:
    try:
        return look()
    except (Exception, SystemExit) as error:  # a broken library may raise anything when it is loaded
        return Finding(name, False, one_line(str(error) or type(error).__name__), mend)


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.platform()}"
    works = sys.version_info >= PYTHON
    return Finding("python", works, found, "" if works else NEWER_PYTHON)


def _packages() -> Finding:
    """The versions of those that are needed; that they can be loaded is seen where they are used."""
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in requires(PACKAGE) or ()]
    needed = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    versions, wrong = [], []
    for one in needed:
        try:
            found = version(one.name)
        except PackageNotFoundError:
            wrong.append(str(one))
            continue
        versions.append(f"{one.name} {found}")
        if not one.specifier.contains(found, prereleases=True):
            wrong.append(str(one))
    mend = "pip install " + " ".join(f"'{text}'" for text in wrong)
    missing = f"; missing or too old: {', '.join(wrong)}" if wrong else ""
    return Finding("packages", not wrong, ", ".join(versions) + missing, mend if wrong else "")


def _torch() -> Finding:
    import torch

    torch.zeros(2, 2).mm(torch.zeros(2, 2))
    devices = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    if not devices:
        return Finding("torch", True, f"{torch.__version__}, no GPU: networks run on the processor")
    torch.zeros(1, device="cuda").item()
    return Finding("torch", True, f"{torch.__version__}, {', '.join(devices)}")


def _opengl() -> Finding:
    from aih_gen.render.context import describe_driver, faster_drawing

    driver = describe_driver()
    found = f"{driver.renderer} ({driver.vendor}, OpenGL {driver.version})"
    mend = faster_drawing(driver)
    return Finding("opengl", True, found + ": there is a GPU, but the processor draws" * bool(mend), mend)


def _zstd() -> Finding:
    import h5py

    from aih_gen.shards.writer import zstd_works

    works = zstd_works()
    found = f"hdf5plugin {version('hdf5plugin')}, h5py {h5py.__version__}, HDF5 {h5py.version.hdf5_version}"
    return Finding("codec zstd", works, found, "" if works else "pip install --force-reinstall hdf5plugin h5py")


def _shipped() -> Finding:
    from aih_gen.assets import asset_path
    from aih_gen.hands import load_hand_model

    hand = load_hand_model("free", side="right")
    return Finding("shipped files", True, f"{asset_path('.')}: the free hand has {hand.num_vertices} vertices")


def _disk() -> Finding:
    return _room("disk", Path.cwd())


def _temporary() -> Finding:
    return _room("temporary files", Path(tempfile.gettempdir()))


def _room(name: str, folder: Path) -> Finding:
    with tempfile.TemporaryFile(dir=folder):
        free = shutil.disk_usage(folder).free
    mend = "" if free >= MIN_ROOM else f"free a gigabyte on the disk of {folder}"
    return Finding(name, not mend, f"{free / 1e9:.1f} GB free in {folder}", mend)


def _cores() -> Finding:
    cores, memory = len(os.sched_getaffinity(0)), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding("cores", True, f"{cores}, {memory / 1e9:.0f} GB of memory: --workers {cores} uses them")


def _optional(module: str) -> Finding:
    mend = f"pip install '{PACKAGE}[{OPTIONAL[module]}]'"
    try:
        import_module(module)
    except Exception as error:  # absent, or broken in its own way
        return Finding(module, False, one_line(str(error) or type(error).__name__), mend, needed=False)
    return Finding(module, True, "installed", needed=False)


def diagnose(as_json: bool, known: Sequence[Finding] = ()) -> int:
    """Print what was found, after what is ``known``; returns 0, or 1 when something that is needed does not work."""
    findings = [*known, *examine()]
    well = all(one.works for one in findings if one.needed)
    if as_json:
        print(json.dumps({"well": well, "findings": [asdict(one) for one in findings]}, indent=1))
        return not well
    width = max(len(one.name) for one in findings)
    for one in findings:
        print(f"{_word(one):8} {one.name:{width}}  {one.found}")
        if one.mend:
            print(f"{'':8} {'':{width}}  mend: {one.mend}")
    print("all that is needed works" if well else "something that is needed does not work: see the lines above")
    return not well


def _word(finding: Finding) -> str:
    return "ok" if finding.works else "MISSING" if finding.needed else "without"
