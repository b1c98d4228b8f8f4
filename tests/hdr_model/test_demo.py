"""The demo page, in a real browser without a screen."""

import json
import os
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hdr_model.config import preset
from hdr_model.inference.demo.server import make_server
from hdr_model.inference.pipeline import HDR
from hdr_model.nets.hasm import HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.shpe import SHPE

PICTURES = ["photo", "visible hands", "whole hands", "right hand alone", "left hand alone", "joints"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    torch.manual_seed(0)
    hasm = HASM(preset("hasm", "nano"))
    # An untrained network that sees a right hand everywhere, and no left one.
    signs = [1 if name.startswith("right") else -1 for name in hasm.mask_names]
    hasm.decoder.classifier.bias.data = torch.tensor([[-9.0, 9.0]]).mul(torch.tensor(signs)[:, None]).flatten()
    networks = hasm, HDRM(preset("hdrm", "nano")), SHPE(preset("shpe", "nano"))
    server = make_server(HDR(*networks, segmentation_size=64, hand_size=64), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_is_no_photo_is_answered_with_a_sentence(address: str) -> None:
    request = urllib.request.Request(f"{address}/hdr", data=b"not a photo")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as answer:
        assert answer.status == 400
        assert "the photo: expected an image (BMP, GIF, JPEG" in json.load(answer)["error"]


def test_a_browser_shows_six_pictures_and_a_hand_that_turns(address: str, tmp_path: Path) -> None:
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
        assert [image.get_attribute("alt") for image in images] == PICTURES
        assert all(browser.execute_script("return arguments[0].naturalWidth", image) == 128 for image in images)
        drawn = "return document.getElementById('right').toDataURL()"
        before = browser.execute_script(drawn)
        browser.execute_script("turn += 1; hands.forEach(draw)")
        assert browser.execute_script(drawn) != before
    finally:
        browser.quit()
