"""``hdr demo``: a page on this machine that takes a photo and shows the six pictures and the joints in 3D.

Python's own server and one static page; it listens on this machine only, and keeps nothing.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aih_gen.config import SIDES
from aih_gen.errors import AIHError
from aih_gen.hands.joints import BONES
from hdr_model.device import choose_device
from hdr_model.inference.photos import read_photo
from hdr_model.inference.pipeline import HDR
from hdr_model.inference.result import Result
from hdr_model.visual import FINGER_COLOURS, HAND_COLOURS, RGB, draw_masks, overlay

PAGE = Path(__file__).parent / "page.html"
MOST_BYTES = 64 << 20
MOST_SHOWN = 900
"""Longest side of a picture on the page, px."""


def serve(weights: Path | None, port: int, device: str) -> None:
    """Serve until interrupted.

    Raises:
        AIHError: no weights, or the port cannot be had.
    """
    if not 0 < port < 65536:
        raise AIHError(f"--port should be 1 to 65535, found {port}")
    hdr = HDR.from_pretrained(weights, device=choose_device(device))
    with make_server(hdr, port) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


def make_server(hdr: HDR, port: int) -> ThreadingHTTPServer:
    """A server of the page, not yet running; port 0 takes a free one."""
    busy = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/":
                self._answer(404, "text/plain", b"nothing here")
                return
            self._answer(200, "text/html; charset=utf-8", PAGE.read_bytes())

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if self.path != "/hdr" or not 0 < length <= MOST_BYTES:
                self._answer(400, "application/json", b'{"error": "expected a photo of at most 64 MB"}')
                return
            uploaded = self.rfile.read(length)
            try:
                image = _decoded(uploaded)
                with busy:
                    answer = described(hdr(image))
                self._answer(200, "application/json", json.dumps(answer, allow_nan=False).encode())
            except AIHError as error:
                self._answer(400, "application/json", json.dumps({"error": str(error)}).encode())

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing of each request."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise AIHError(f"--port {port}: expected a free port ({error.strerror})") from error


def described(result: Result) -> dict[str, object]:
    """The six pictures (PNG, base64), and the joints as ``result.json`` has them."""
    whole = image = result.image
    for side in SIDES:
        whole = overlay(whole, result.masks[f"{side}_amodal"], HAND_COLOURS[side])
    visible = {name: mask for name, mask in result.masks.items() if not name.endswith("amodal")}
    pictures = {
        "photo": image,
        "visible hands": draw_masks(image, visible),
        "whole hands": whole,
        "right hand alone": result.right.image,
        "left hand alone": result.left.image,
        "joints": result.draw(),
    }
    encoded = [{"name": name, "png": _png(picture)} for name, picture in pictures.items()]
    return {"pictures": encoded, "bones": BONES, "colours": FINGER_COLOURS, "result": result.to_dict()}


def _decoded(uploaded: bytes) -> RGB:
    """The uploaded photo, through the door that every photo comes in by."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo"
        path.write_bytes(uploaded)
        try:
            return read_photo(path)
        except AIHError as error:
            raise AIHError(str(error).replace(str(path), "the photo")) from error


def _png(picture: RGB) -> str:
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((MOST_SHOWN, MOST_SHOWN))
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
