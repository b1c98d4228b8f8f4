"""The device that draws: chosen by its number, named at the start, and doubted where a GPU stands idle."""

from __future__ import annotations

import gc
import hashlib
import time
from pathlib import Path
from typing import Any

import moderngl
import numpy as np
import pytest
import torch
from tqdm import tqdm

from aih_gen import engines
from aih_gen.cli import main
from aih_gen.compose.rendered import RenderedSource
from aih_gen.config import RenderConfig, SynConfig
from aih_gen.errors import AIHError
from aih_gen.factory import generate
from aih_gen.render import context
from aih_gen.render.context import Driver, count_devices, describe_driver, driver_lines, has_gpu, open_context

SOFT = Driver("Mesa", "llvmpipe (LLVM 15, 256 bits)", "4.5")
HARD = Driver("NVIDIA Corporation", "NVIDIA H100", "4.6")
PLAIN = RenderConfig(size=64, look="plain", people=0.0, contact=False)


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine without any GPU, to which the test may add one."""
    monkeypatch.setattr(context, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(context, "GRAPHICS", tmp_path / "drm")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "dev" / "dri").mkdir(parents=True)
    return tmp_path


def add_render_node(root: Path, name: str, maker: str) -> None:
    (root / "dev" / "dri" / name).touch()
    (root / "drm" / name / "device").mkdir(parents=True)
    (root / "drm" / name / "device" / "vendor").write_text(maker + "\n")


def test_the_first_device_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIH_EGL_DEVICE", raising=False)
    assert count_devices() >= 1
    assert describe_driver() == describe_driver(0)


@pytest.mark.parametrize("number", ["99", "0,99"])
def test_a_device_that_is_not_there_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    out = tmp_path / "out"
    assert main(["render", "--out", str(out), "--count", "1", "--gl-device", number]) == 2
    count = count_devices()
    has = "1 device, number 0" if count == 1 else f"{count} devices, numbers 0 to {count - 1}"
    sentence = f"gl_device: expected a device that is there (EGL has {has}), found 99"
    assert capsys.readouterr().err == f"aih-gen: error: {sentence}\n"
    assert not out.exists()


@pytest.mark.parametrize("given", ["card", "", "0,", "-1", "0 1", "1.5"])
def test_what_is_no_number_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str) -> None:
    assert main(["render", "--out", str(tmp_path / "out"), "--count", "1", f"--gl-device={given}"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "aih-gen: error: --gl-device: expected the number of a device, or several such as 0,1, "
        f"found {given or 'nothing'}\n"
    )


@pytest.mark.parametrize(
    ("config", "given", "sentence"),
    [
        (RenderConfig(), -1, "gl_device: expected a device that is there .*, found -1"),
        (RenderConfig(), [], "gl_device: expected 1 to 256 numbers, found 0"),
        (SynConfig(source="x"), 0, "gl_device: expected a RenderConfig, which OpenGL draws, found SynConfig"),
    ],
)
def test_python_says_it_too(tmp_path: Path, config: Any, given: Any, sentence: str) -> None:
    with pytest.raises(AIHError, match=sentence):
        generate(config, tmp_path / "out", 1, gl_device=given)
    assert not (tmp_path / "out").exists()


def test_the_environment_names_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIH_EGL_DEVICE", "99")
    with pytest.raises(AIHError, match=r"AIH_EGL_DEVICE: expected a device that is there .*, found 99"):
        open_context()
    open_context(0).release()
    monkeypatch.setenv("AIH_EGL_DEVICE", "first")
    with pytest.raises(AIHError, match="AIH_EGL_DEVICE: expected the number of a device, found 'first'"):
        open_context()


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_what_draws_is_named_once_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = RenderConfig(size=64, people=0.0, contact=False)
    generate(config, tmp_path / "default", 3)
    driver = describe_driver()
    assert capsys.readouterr().err.startswith(f"default: drawn by {driver.renderer}, {driver.vendor}\n")
    generate(config, tmp_path / "named", 3, gl_device=[0, 0], workers=2)
    assert capsys.readouterr().err.count("drawn by") == 1
    generate(config, tmp_path / "named", 3, gl_device=0)
    assert "drawn by" not in capsys.readouterr().err  # nothing is
    assert contents(tmp_path / "default") == contents(tmp_path / "named")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The devices on which this process opens contexts, one after the other."""
    create, numbers = context.moderngl.create_context, list[int]()

    def noted(**options: Any) -> Any:
        numbers.append(options["device_index"])
        return create(**options)

    monkeypatch.setattr(context.moderngl, "create_context", noted)
    return numbers


def test_a_run_opens_one_context_and_none_where_nothing_is_missing(
    tmp_path: Path, opened: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    generate(PLAIN, tmp_path / "out", 2, shard_size=1)
    assert opened == [0] and capsys.readouterr().err.count("drawn by") == 1
    for workers in (1, 2):
        generate(PLAIN, tmp_path / "out", 2, shard_size=1, workers=workers)
    assert opened == [0] and capsys.readouterr().err == ""


def test_workers_open_their_own_and_each_device_is_tried_once_before(tmp_path: Path, opened: list[int]) -> None:
    generate(PLAIN, tmp_path / "out", 2, workers=2, gl_device=[0, 0])
    assert opened == [0]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_where_nothing_can_draw_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    monkeypatch.setenv("AIH_EGL_DEVICE", "99")
    assert main(["render", "--out", str(tmp_path / "out"), "--count", "1", "--workers", workers]) == 2
    assert "AIH_EGL_DEVICE: expected a device that is there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_renderer_that_is_gone_has_let_its_context_go_and_others_draw_on() -> None:
    stays, goes = RenderedSource(PLAIN), RenderedSource(PLAIN)
    (before,), (same,) = stays.samples([0]), goes.samples([0])
    kept = goes.renderer.context
    assert kept.info and np.array_equal(before.image, same.image)
    del goes
    gc.collect()
    assert isinstance(kept.mglo, moderngl.InvalidObject)
    for _ in range(2):
        assert np.array_equal(stays.samples([0])[0].image, before.image)


def own_device() -> int | None:
    time.sleep(1)  # so that every worker gets one
    return engines._device


def test_workers_take_devices_in_turn() -> None:
    with engines.one_thread_each(), engines._Workers(4, 0, (5, None, 7), tqdm(disable=True)) as crew:
        devices = [future.result() for future in [crew.submit(own_device) for _ in range(4)]]
    assert sorted(map(str, devices)) == ["5", "5", "7", "None"]
    assert crew.turns.closed


@pytest.mark.parametrize("node", ["nvidia0", "nvidia3"])
def test_a_card_that_stands_idle_is_said_with_its_remedy(
    bare: Path, monkeypatch: pytest.MonkeyPatch, node: str
) -> None:
    monkeypatch.setattr(context, "describe_driver", lambda device: SOFT)
    assert driver_lines([SOFT]) == [f"drawn by {SOFT.renderer}, Mesa"]
    (bare / "dev" / node).touch()
    drawn, doubt = driver_lines([SOFT, SOFT])
    assert drawn == f"drawn by {SOFT.renderer}, Mesa"
    assert doubt.startswith("there is a GPU, but the processor draws: have NVIDIA's OpenGL, in a container by NVIDIA_")
    assert driver_lines([HARD]) == ["drawn by NVIDIA H100, NVIDIA Corporation"]


def test_another_device_is_the_remedy_where_there_is_one(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "dev" / "nvidia0").touch()
    monkeypatch.setattr(context, "count_devices", lambda: 3)

    def describe(device: int) -> Driver:
        if device == 1:
            raise AIHError("device 1: expected a driver, found none that starts")
        return HARD if device == 2 else SOFT

    monkeypatch.setattr(context, "describe_driver", describe)
    drawn, doubt = driver_lines([SOFT, HARD])
    assert drawn == f"drawn by {SOFT} and {HARD}"
    assert doubt == f"there is a GPU, but the processor draws: --gl-device 2 draws by {HARD}"


def test_a_render_node_is_a_gpu_where_a_maker_of_cards_made_it(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "dev" / "nvidiactl").touch()
    (bare / "dev" / "dri" / "renderD127").touch()  # such as vgem, which is no device of PCI
    add_render_node(bare, "renderD128", "0x1af4")  # of a virtual machine
    assert not has_gpu()
    add_render_node(bare, "renderD129", "0x1002")
    assert has_gpu()
    monkeypatch.setattr(context, "describe_driver", lambda device: SOFT)
    assert "/dev/dri (group render)" in driver_lines([SOFT])[1]


def test_torch_is_asked_where_it_is_loaded(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_gpu()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert has_gpu()
    monkeypatch.delitem(context.sys.modules, "torch")
    assert not has_gpu()
