"""The demo page, in a real browser without a screen."""

import contextlib
import io
import json
import os
import re
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from hdr_model.config import preset
from hdr_model.inference.demo import server as server_module
from hdr_model.inference.demo.server import MAX_WAITING, example_photos, make_server
from hdr_model.inference.pipeline import HDR, _absent
from hdr_model.inference.result import Result
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.shpe import SHPE
from tests.waiting import until

ALTERNATIVES = [
    "The photo",
    "Visible parts of the hands, tinted over the photo",
    "Whole hands, hidden parts too, outlined over the photo",
    "The photo",
    "The right hand alone",
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    torch.manual_seed(0)
    hasm = HASM(preset("hasm", "nano"))
    # An untrained network that sees a right hand everywhere, and no left one.
    signs = [1 if name.startswith("right") else -1 for name in hasm.mask_names]
    hasm.decoder.classifier.bias.data = torch.tensor([[-9.0, 9.0]]).mul(torch.tensor(signs)[:, None]).flatten()
    networks = hasm, HDRM(preset("hdrm", "nano")), SHPE(preset("shpe", "nano"))
    with serving(HDR(*networks, segmentation_size=64, hand_size=64)) as address:
        yield address


def test_what_is_no_photo_is_answered_with_a_sentence(address: str) -> None:
    sent = urllib.request.Request(f"{address}/hdr", data=b"not a photo")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(sent)
    with caught.value as answer:
        assert answer.status == 400
        assert "the photo: expected an image (BMP, GIF, JPEG" in json.load(answer)["error"]


def talk(address: str, request: bytes) -> bytes:
    """The whole answer to raw bytes."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def request(line: str, *headers: str, body: bytes = b"", host: str | None = "localhost") -> bytes:
    lines = [f"{line} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers, "", ""]
    return "\r\n".join(lines).encode() + body


LENGTH = "Content-Length: 3"


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        (request("GET /?x=1"), 200, "<title>HDR</title>"),
        (request("GET /", host="localhost:99"), 200, "<title>HDR</title>"),
        (request("GET /page.css"), 200, "prefers-color-scheme"),
        (request("GET /examples/../page.html"), 404, "the page is at /"),
        (request("GET /examples/LICENSE.md"), 404, "the page is at /"),
        (request("GET /page.js", host="evil.example"), 403, "another host"),
        (request("GET /favicon.ico"), 404, "the page is at /"),
        (request("GET /", host="evil.example"), 403, "another host"),
        (request("GET /", host="127.0.0.1.evil.example:80"), 403, "another host"),
        (request("GET /", host="[::"), 403, "another host"),
        (request("GET /", host=None), 403, "another host"),
        (request("POST /hdr", LENGTH, "Origin: http://evil.example", body=b"abc"), 403, "another site"),
        (request("POST /hdr", LENGTH, "Origin: null", body=b"abc"), 403, "another site"),
        (request("POST /hdr", LENGTH, "Origin: http://localhost", body=b"abc"), 400, "the photo: expected an image"),
        (request("POST /", LENGTH, body=b"abc"), 404, "photos go to /hdr"),
        (request("POST /hdr", "Content-Length: abc", body=b"abc"), 411, "found no length"),
        (request("POST /hdr", "Content-Length: -3", body=b"abc"), 411, "found no length"),
        (request("POST /hdr", "Content-Length: 1_0", body=b"abc"), 411, "found no length"),
        (request("POST /hdr", "Content-Length: ²", body=b"abc"), 411, "found no length"),
        (request("POST /hdr", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 411, "found no length"),
        (request("POST /hdr", "Content-Length: 0"), 400, "found 0 bytes"),
        (request("POST /hdr", f"Content-Length: {10**30}", body=b"abc"), 413, "at most 64 MB and 64 million pixels"),
        (request("POST /hdr", LENGTH, "Content-Type: multipart/form-data; boundary=x", body=b"abc"), 415, "a form"),
        (request("PUT /hdr", LENGTH, body=b"abc"), 501, "Unsupported method"),
        (b"nonsense\r\n\r\n", 400, "Bad request"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, "URI Too Long"),
        (b"GET http://[/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "nothing here"),
    ],
)
def test_every_answer_is_a_sentence(
    address: str, sent: bytes, status: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = talk(address, sent).decode()
    assert answer.startswith(f"HTTP/1.0 {status} ") or b"nonsense" in sent
    assert said in answer and "Traceback" not in answer
    assert capfd.readouterr().err == ""


class SlowHDR:
    """Takes its time, and notes how many photos are worked on at once."""

    def __init__(self) -> None:
        self.now, self.most, self.going = 0, 0, threading.Event()

    def __call__(self, image: np.ndarray, mesh: bool) -> Result:
        self.now += 1
        self.most = max(self.most, self.now)
        self.going.wait(30)
        self.now -= 1
        raise AIHError("no result")


@contextlib.contextmanager
def serving(hdr: object) -> Iterator[str]:
    server = make_server(cast(HDR, hdr), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def upload() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "PNG")
    return request("POST /hdr", f"Content-Length: {len(file.getvalue())}", body=file.getvalue())


def test_of_many_uploads_one_is_worked_on_a_few_wait_and_the_others_hear_so() -> None:
    hdr = SlowHDR()
    with serving(hdr) as address, ThreadPoolExecutor(50) as clients:
        answers = [clients.submit(talk, address, upload()) for _ in range(50)]
        while sum(answer.done() for answer in answers) < 50 - MAX_WAITING:
            time.sleep(0.01)
        hdr.going.set()
        heard = [answer.result() for answer in answers]
    statuses = [int(answer.split()[1]) for answer in heard]
    assert statuses.count(503) == 50 - MAX_WAITING and statuses.count(400) == MAX_WAITING
    assert all(b"too many" in answer for answer in heard if b" 503 " in answer[:20])
    assert hdr.most == 1


def test_slow_clients_take_few_threads_and_are_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdr_model.inference.demo.pool.MAX_SECONDS", 0.5)
    before = threading.active_count()
    with serving(SlowHDR()) as address, contextlib.ExitStack() as stack:
        host, port = address.removeprefix("http://").split(":")
        slow = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(100)]
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert threading.active_count() < before + 30
        for connection in slow:
            connection.settimeout(10)
            while connection.recv(1 << 16):
                pass
        part = request("POST /hdr", "Content-Length: 9", body=b"abc")
        assert b"took too long to arrive" in talk(address, part)
        assert b"<title>HDR" in talk(address, request("GET /"))


def test_a_fault_of_ours_is_a_sentence_too(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(image: np.ndarray, mesh: bool) -> Result:
        raise RuntimeError("boom")

    with serving(broken) as address:
        answer = talk(address, upload())
    assert b" 500 " in answer[:20] and b"could not be worked on (RuntimeError)" in answer
    assert "Traceback" not in capfd.readouterr().err


def test_what_a_browser_loads_is_of_this_server_alone(address: str) -> None:
    folder = Path(server_module.__file__).parent
    page, *others = ((folder / name).read_text() for name in ("page.html", "page.css", "page.js", "hands.js"))
    assert not re.search(r"https?://|//cdn", page + "".join(others).replace("http://www.w3.org/2000/svg", ""))
    assert not re.search(r"<[^>]*\s(on\w+|style)=", page), "the policy below would stop it"
    shown = set(re.findall(r'"(/examples/[^"]+)"', page))
    assert shown == set(example_photos())
    for place in ("/", "/page.css", "/page.js", "/hands.js", *shown):
        with urllib.request.urlopen(f"{address}{place}") as answer:
            assert answer.read(), place
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


@contextlib.contextmanager
def browsing(address: str, width: int = 1280, flags: Sequence[str] = ()) -> Iterator[Any]:
    """A browser without a screen at the page."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip(f"{'needs root: ' if os.geteuid() else ''}chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(address)
        yield browser
        assert browser.get_log("browser") == []  # such as what the page's policy has stopped
    finally:
        browser.quit()


def hears(browser: Any, begin: str) -> str:
    """The page's message, once it begins so."""
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait(browser, 60)
    wait.until(lambda b: b.find_element("id", "said").text.startswith(begin))
    return str(browser.find_element("id", "said").text)


def changed(browser: Any, before: object, script: str) -> object:
    """The value of a script, once it has changed."""
    wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait(browser, 30)
    wait.until(lambda b: b.execute_script(script) != before)
    return browser.execute_script(script)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)).save(path)
    return path


DRAWN = "return document.getElementById('hands').toDataURL()"


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_layers_hands_alone_and_meshes(address: str, photo: Path, width: int) -> None:
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    chains = pytest.importorskip("selenium.webdriver.common.action_chains").ActionChains
    with browsing(address, width) as browser:
        browser.find_element("id", "photo").send_keys(str(photo))
        assert hears(browser, "Found") == "Found: right hand."
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        images = browser.find_elements("css selector", "main img")
        assert [image.get_attribute("alt") for image in images] == ALTERNATIVES
        assert all(browser.execute_script("return arguments[0].naturalWidth", image) == 128 for image in images)

        layers = browser.find_elements("css selector", "#overlay > :not(:first-child)")
        for box, layer in zip(browser.find_elements("css selector", "#layers input"), layers, strict=True):
            assert layer.is_displayed()
            box.send_keys(keys.SPACE)
            assert not layer.is_displayed()

        (slider,) = browser.find_elements("css selector", "#wipes input")
        clip = "return getComputedStyle(document.querySelector('.after')).clipPath"
        assert browser.execute_script(clip) == "inset(0px 0px 0px 50%)"
        slider.send_keys(keys.END)
        assert browser.execute_script(clip) == "inset(0px 0px 0px 100%)"
        slider.send_keys(keys.ARROW_LEFT)
        assert slider.get_attribute("aria-valuetext") == "photo 99%, right hand alone 1%"

        canvas = browser.find_element("id", "hands")
        seen = changed(browser, browser.execute_script("return document.createElement('canvas').toDataURL()"), DRAWN)
        canvas.send_keys(keys.ARROW_RIGHT)
        turned = changed(browser, seen, DRAWN)
        chains(browser).drag_and_drop_by_offset(canvas, 40, 10).perform()
        dragged = changed(browser, turned, DRAWN)
        browser.find_element("id", "bones").send_keys(keys.SPACE)
        changed(browser, dragged, DRAWN)


SETTLED = """const c = document.getElementById('hands');
return c.width === 2 * c.clientWidth ? c.toDataURL() : null"""
"""The drawing as it is a moment after the hands were turned, of double density."""


def touch(browser: Any, element: Any, *ways: tuple[int, int]) -> None:
    """Drag fingers from the middle of an element at once, each by (x, y) pixels of the page."""
    middle = """arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' });
    const b = arguments[0].getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]"""
    x0, y0 = browser.execute_script(middle, element)
    for kind, shares in (("touchStart", [0.0]), ("touchMove", [0.3, 0.6, 1.0])):
        for share in shares:
            points = [{"x": x0 + share * x, "y": y0 + share * y, "id": k} for k, (x, y) in enumerate(ways)]
            browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")  # it is drawn


def test_a_finger_turns_the_hands_and_wipes_and_a_second_one_changes_nothing(address: str, photo: Path) -> None:
    with browsing(address, 390) as browser:
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
        browser.find_element("id", "photo").send_keys(str(photo))
        hears(browser, "Found")
        canvas = browser.find_element("id", "hands")
        seen = changed(browser, None, SETTLED)
        touch(browser, canvas, (60, 30))
        place, turned = browser.execute_script("return scrollY"), changed(browser, None, SETTLED)
        assert turned != seen
        browser.find_element("id", "reset").click()
        until(lambda: browser.execute_script(SETTLED) == seen)
        touch(browser, canvas, (60, 30), (-20, 50))
        until(lambda: browser.execute_script(SETTLED) == turned, 60)
        assert browser.execute_script("return scrollY") == place
        (slider,) = browser.find_elements("css selector", "#wipes input")
        touch(browser, slider, (80, 0))
        until(lambda: int(slider.get_property("value")) > 60, 60)


def test_what_is_downloaded_are_the_files_of_a_result(address: str, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    with browsing(address) as browser:
        browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
        browser.find_element("id", "photo").send_keys(str(photo))
        hears(browser, "Found")
        links = browser.find_elements("css selector", "#downloads a")
        assert [link.text for link in links] == ["overlay.png", "right_alone.png", "result.json", "hands.glb"]
        for link in links:
            link.click()
            until(lambda name=link.text: (folder / name).exists())
    for name in ("overlay.png", "right_alone.png"):
        with Image.open(folder / name) as image:
            assert image.size == (128, 96)
    assert json.loads((folder / "result.json").read_text())["right"]["present"] is True
    scene = trimesh.load(folder / "hands.glb")
    assert isinstance(scene, trimesh.Scene) and list(scene.geometry) == ["right"]


def test_photos_are_dropped_pasted_and_chosen_among_examples(address: str) -> None:
    bring = """const kind = arguments[0], type = arguments[1], data = new DataTransfer();
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = 40;
    canvas.toBlob(blob => {
      data.items.add(new File([blob], 'a', { type }));
      const event = kind === 'drop' ? new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent(kind, { clipboardData: data, bubbles: true });
      document.body.dispatchEvent(event);
    })"""
    with browsing(address) as browser:
        for kind, name in (("drop", "dropped"), ("paste", "pasted")):
            browser.execute_script(bring, kind, "image/png")
            hears(browser, "Found")
            browser.execute_script(bring, kind, "text/plain")
            assert hears(browser, "Expected") == f"Expected a photo, found that what was {name} is none."
        browser.find_element("css selector", ".example").click()
        hears(browser, "Found")


def test_without_a_camera_there_is_a_sentence(address: str) -> None:
    with browsing(address) as browser:
        browser.find_element("id", "camera").click()
        assert hears(browser, "No camera") == "No camera was found."
        assert not browser.find_element("id", "viewfinder").is_displayed()


def test_a_camera_takes_a_photo(address: str) -> None:
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with browsing(address, 390, flags) as browser:
        browser.find_element("id", "camera").click()
        until(lambda: browser.execute_script("return document.querySelector('video').videoWidth > 0"))
        browser.find_element("id", "take").click()
        hears(browser, "Found")
        assert not browser.find_element("id", "viewfinder").is_displayed()


def test_a_photo_without_hands_and_a_server_that_has_gone_have_a_sentence_each(photo: Path) -> None:
    def nothing(image: np.ndarray, mesh: bool) -> Result:
        masks = {f"{side}_{kind}": np.zeros((96, 128), bool) for side in SIDES for kind in ("amodal", "visible")}
        return Result(masks, _absent(image), _absent(image), image)

    with contextlib.ExitStack() as stack:
        with serving(nothing) as address:
            browser = stack.enter_context(browsing(address))
            browser.find_element("id", "photo").send_keys(str(photo))
            assert hears(browser, "No hand") == "No hand found in this photo."
            assert not browser.find_element("id", "hands").is_displayed()
            assert browser.find_elements("css selector", "#wipes *") == []
        browser.find_element("id", "photo").send_keys(str(photo))
        hears(browser, "The program that serves this page does not answer.")
        browser.get_log("browser")  # in which the browser says so too


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_as_dark_as_its_reader_likes(address: str, scheme: str) -> None:
    with browsing(address, 390) as browser:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        colours = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
        paper, ink = (sum(map(int, re.findall(r"\d+", text)[:3])) for text in browser.execute_script(colours))
        assert (paper > ink) == (scheme == "light") and abs(paper - ink) > 400
