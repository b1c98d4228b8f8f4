"""``hdr demo``: a page on this machine that takes a photo and shows masks, each hand alone, joints and meshes.

Python's own server and a few static files; it listens on this machine only, answers only its own page, and keeps
nothing. One photo is decoded and worked on at a time.
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import re
import tempfile
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from aih_gen.assets import asset_path
from aih_gen.errors import AIHError
from hdr_model.config import Engine
from hdr_model.inference.demo.answer import described
from hdr_model.inference.demo.pool import Deadline, PooledServer
from hdr_model.inference.photos import MAX_PIXELS, read_photo
from hdr_model.inference.pipeline import HDR
from hdr_model.visual import RGB

_FOLDER = Path(__file__).parent
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_FILES = {f"/{name}": _FOLDER / name for name in ("page.css", "page.js", "hands.js")} | {"/": _FOLDER / "page.html"}
_EXAMPLES = "/examples/"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every answer: a browser loads nothing from elsewhere for this page, and shows it to no other site."""
MAX_BYTES = 64 << 20
"""Of an upload; of pixels, ``MAX_PIXELS``."""
MAX_WAITING = 4
"""Photos that are worked on or wait for it; the next is answered with 503."""
_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
_EXPECTED = f"expected a photo of at most {MAX_BYTES >> 20} MB and {MAX_PIXELS / 1e6:.0f} million pixels"


def serve(weights: Path | None, port: int, device: str, engine: Engine = "torch") -> None:
    """Serve until interrupted; the arguments are those of ``HDR.from_pretrained``.

    Raises:
        AIHError: no weights, the device or the engine cannot be used, or the port cannot be had.
    """
    if not 0 < port < 65536:
        raise AIHError(f"--port: expected 1 to 65535, found {port}")
    hdr = HDR.from_pretrained(weights, device=device, engine=engine)
    with make_server(hdr, port) as server, contextlib.suppress(KeyboardInterrupt):
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


class _Refusal(Exception):
    """A status and a sentence to answer with."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def make_server(hdr: HDR, port: int) -> PooledServer:
    """A server of the page, not yet running; port 0 takes a free one.

    Raises:
        AIHError: the port cannot be had.
    """
    busy, waiting = threading.Lock(), threading.BoundedSemaphore(MAX_WAITING)

    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            super().setup()
            self.rfile.close()
            self.rfile = io.BufferedReader(Deadline(self.connection))

        def do_GET(self) -> None:
            self._answer_or_refuse(self._get)

        def do_POST(self) -> None:
            self._answer_or_refuse(self._post)

        def _get(self) -> None:
            self._check_host()
            place = self._place()
            if place in _FILES:
                file = _FILES[place]
                self._answer(200, f"{_KINDS[file.suffix]}; charset=utf-8", file.read_bytes())
            elif place in (examples := example_photos()):
                self._answer(200, "image/png", examples[place].read_bytes())
            else:
                raise _Refusal(404, "nothing here; the page is at /")

        def _post(self) -> None:
            self._check_host()
            origin = self.headers.get("Origin")
            if origin is not None and origin != f"http://{self.headers['Host']}":
                raise _Refusal(403, "expected a request of this page, found one of another site")
            if self._place() != "/hdr":
                raise _Refusal(404, "nothing here; photos go to /hdr")
            if not waiting.acquire(blocking=False):
                raise _Refusal(503, "too many photos at once; try again in a moment")
            try:
                with tempfile.TemporaryDirectory() as folder:
                    photo = Path(folder) / "photo"
                    self._receive(photo)
                    with busy:
                        answer = described(hdr(_decoded(photo), mesh=True))
            finally:
                waiting.release()
            self._answer(200, "application/json", json.dumps(answer, allow_nan=False).encode())

        def _check_host(self) -> None:
            """A page of another site that leads a name of its own to this machine says that name here."""
            if not _HOST.fullmatch(self.headers.get("Host", "")):
                raise _Refusal(403, "expected a request for 127.0.0.1, found one for another host")

        def _place(self) -> str:
            """The path without its query; empty where the request has not been understood that far."""
            return str(getattr(self, "path", "")).partition("?")[0]

        def _receive(self, path: Path) -> None:
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdecimal()):
                raise _Refusal(411, f"{_EXPECTED}, found no length in bytes")
            if self.headers.get_content_maintype() == "multipart":
                raise _Refusal(415, "expected the bytes of a photo and nothing else, found a form")
            left = int(length[:18])
            if not 0 < left <= MAX_BYTES:
                raise _Refusal(413 if left else 400, f"{_EXPECTED}, found {left} bytes")
            with open(path, "wb") as file:
                while left:
                    received = self.rfile.read(min(left, 1 << 20))
                    if not received:
                        raise _Refusal(400, f"{_EXPECTED}, found the first part of one")
                    file.write(received)
                    left -= len(received)

        def _answer_or_refuse(self, answer: Any) -> None:
            try:
                answer()
            except _Refusal as refusal:
                self.send_error(refusal.status, str(refusal))
            except AIHError as error:
                self.send_error(400, str(error))
            except TimeoutError:
                self.send_error(408, "the request took too long to arrive")
            except ConnectionError:
                raise
            except (RuntimeError, MemoryError, OSError, ValueError) as error:
                self.send_error(500, f"this photo could not be worked on ({type(error).__name__})")

        def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
            """One sentence: in JSON where the page's script reads it, else as a small page."""
            sentence = message or self.responses[code][0]
            if self._place() == "/hdr":
                self._answer(code, "application/json", json.dumps({"error": sentence}).encode())
            else:
                page = f"<!doctype html><title>HDR</title><p>{html.escape(sentence)}</p>\n"
                self._answer(code, "text/html; charset=utf-8", page.encode())

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.close_connection = True
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing of each request."""

    return PooledServer(port, Handler)


def example_photos() -> dict[str, Path]:
    """The shipped photos by their places on the page's server."""
    return {f"{_EXAMPLES}{file.name}": file for file in sorted(asset_path("demo").glob("*.png"))}


def _decoded(path: Path) -> RGB:
    """An uploaded photo, through the door that every photo comes in by."""
    try:
        return read_photo(path)
    except AIHError as error:
        raise AIHError(str(error).replace(str(path), "the photo")) from error
