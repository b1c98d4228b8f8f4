"""The demo page, in a real browser without a screen."""

import contextlib
import io
import json
import os
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from aih_gen.errors import AIHError
from hdr_model.config import preset
from hdr_model.inference.demo.server import MAX_WAITING, make_server
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.result import Result
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.shpe import SHPE

IMAGES = ["photo", "visible hands", "whole hands", "right hand alone", "left hand alone", "joints"]


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

    def __call__(self, image: np.ndarray) -> Result:
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
    def broken(image: np.ndarray) -> Result:
        raise RuntimeError("boom")

    with serving(broken) as address:
        answer = talk(address, upload())
    assert b" 500 " in answer[:20] and b"could not be worked on (RuntimeError)" in answer
    assert "Traceback" not in capfd.readouterr().err


def test_a_browser_shows_six_images_and_a_hand_that_turns(address: str, tmp_path: Path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip(f"{'needs root: ' if os.geteuid() else ''}chromium and chromedriver are not installed")
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)).save(photo)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.get(address)
        browser.find_element("id", "photo").send_keys(str(photo))
        wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait(browser, 60)
        wait.until(lambda b: b.find_element("id", "said").text.startswith("Found"))
        assert browser.find_element("id", "said").text == "Found: right hand."
        images = browser.find_elements("css selector", "#pictures img")
        assert [image.get_attribute("alt") for image in images] == IMAGES
        assert all(browser.execute_script("return arguments[0].naturalWidth", image) == 128 for image in images)
        drawn = "return document.getElementById('right').toDataURL()"
        before = browser.execute_script(drawn)
        browser.execute_script("turn += 1; hands.forEach(draw)")
        assert browser.execute_script(drawn) != before
    finally:
        browser.quit()
