"""OpenGL contexts through EGL, on a device that is chosen by its number; and a word about what draws there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import moderngl

from aih_gen.errors import AIHError

DEVICE_VARIABLE = "AIH_EGL_DEVICE"
"""Environment variable with the number of the device that draws where none is named."""
SOFTWARE = ("llvmpipe", "softpipe", "swrast")
"""Renderers of Mesa that draw on the processor."""
CARD_MAKERS = ("0x10de", "0x1002", "0x8086")
"""NVIDIA, AMD and Intel among the makers of PCI's devices; the displays of virtual machines have others."""
DEVICES, GRAPHICS = Path("/dev"), Path("/sys/class/drm")


@dataclass(frozen=True)
class Driver:
    """The OpenGL of a device, as it names itself."""

    vendor: str
    renderer: str
    version: str

    @property
    def in_software(self) -> bool:
        """True if the processor draws."""
        return self.renderer.lower().startswith(SOFTWARE)

    def __str__(self) -> str:
        return f"{self.renderer}, {self.vendor}"


def open_context(device: int | None = None) -> moderngl.Context:
    """A new context of OpenGL 3.3 on the device of that number; by default ``AIH_EGL_DEVICE``'s, else the first.

    Raises:
        AIHError: there is no such device, or no driver starts.
    """
    number = _default_device() if device is None else device
    check_device(number, DEVICE_VARIABLE if device is None else "gl_device")
    # Images are too small for llvmpipe's threads to pay, and a process that waits for them has been seen to crash.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    options: dict[str, Any] = {"backend": "egl", "device_index": number}
    try:
        return moderngl.create_context(standalone=True, require=330, **options)
    except Exception as error:  # drivers fail in many ways, all of which mean the same to the user
        raise AIHError(
            f"OpenGL through EGL (device {number}): expected a driver, found none that starts ({error}); "
            "on Debian or Ubuntu: apt-get install libegl1 libgl1-mesa-dri"
        ) from error


def _default_device() -> int:
    text = os.environ.get(DEVICE_VARIABLE, "0")
    if not text.isdecimal():
        raise AIHError(f"{DEVICE_VARIABLE}: expected the number of a device, found {text!r}")
    return int(text)


def check_device(number: int, where: str = "gl_device") -> None:
    """Raise AIHError if EGL has devices, but none of that number."""
    count = count_devices()
    if count and not 0 <= number < count:
        has = "1 device, number 0" if count == 1 else f"{count} devices, numbers 0 to {count - 1}"
        raise AIHError(f"{where}: expected a device that is there (EGL has {has}), found {number}")


def count_devices() -> int:
    """Devices on which EGL can draw, of which Mesa's processor is one; 0 where there is no EGL or it does not say."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return 0
    egl.eglGetProcAddress.restype, egl.eglGetProcAddress.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    if not address:
        return 0
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(address)
    number = ctypes.c_int()
    return number.value if query(0, None, ctypes.addressof(number)) else 0


def describe_driver(device: int | None = None) -> Driver:
    """The OpenGL that would draw on the device of that number.

    Raises:
        AIHError: none starts.
    """
    context = open_context(device)
    try:
        return driver_of(context)
    finally:
        context.release()


def driver_of(context: moderngl.Context) -> Driver:
    """The OpenGL behind a context."""
    info = context.info
    return Driver(info["GL_VENDOR"], info["GL_RENDERER"], info["GL_VERSION"])


def driver_lines(drivers: Sequence[Driver]) -> list[str]:
    """A line that names the drivers that draw; and a second one if it is the processor, although there is a GPU."""
    drawing = "drawn by " + " and ".join(map(str, dict.fromkeys(drivers)))
    remedies = dict.fromkeys(remedy for driver in drivers if (remedy := faster_drawing(driver)))
    return [drawing, *(f"there is a GPU, but the processor draws: {remedy}" for remedy in remedies)]


def faster_drawing(driver: Driver) -> str:
    """The remedy where a driver draws on the processor although there is a GPU; "" where none is needed."""
    if not driver.in_software or not has_gpu():
        return ""
    for number in range(count_devices()):
        with contextlib.suppress(AIHError):
            other = describe_driver(number)
            if not other.in_software:
                return f"--gl-device {number} draws by {other}"
    if _has_nvidia():
        return (
            "have NVIDIA's OpenGL, in a container by NVIDIA_DRIVER_CAPABILITIES=all, else by its package libnvidia-gl"
        )
    return "have Mesa's drivers (apt-get install libgl1-mesa-dri) and the right to open /dev/dri (group render)"


def has_gpu() -> bool:
    """True if this machine, or what a container shows of it, has a GPU, whether OpenGL can use it or not."""
    torch = sys.modules.get("torch")  # loading it for this would take seconds
    return _has_nvidia() or _has_render_node() or (torch is not None and torch.cuda.is_available())


def _has_nvidia() -> bool:
    return any(DEVICES.glob("nvidia[0-9]*"))


def _has_render_node() -> bool:
    makers = [GRAPHICS / node.name / "device" / "vendor" for node in (DEVICES / "dri").glob("renderD*")]
    return any(maker.is_file() and maker.read_text().strip() in CARD_MAKERS for maker in makers)
