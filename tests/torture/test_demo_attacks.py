"""The demo under lies, slow clients, crowds and other sites: every answer is a small one, and the page stays there."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.torture.children import Child, start_command
from tests.torture.conftest import Tally, times
from tests.torture.workshop import Workshop

SECONDS = 90.0


@pytest.fixture(scope="module")
def port(workshop: Workshop) -> Iterator[int]:
    """A demo in a child."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
    weights = str(workshop.folder / "weights")
    demo: Child = start_command(["hdr", "demo", "--weights", weights, "--port", str(number), "--device", "cpu"])
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", number), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield number
    assert demo.process.is_alive(), str(demo.outcome())
    demo.process.kill()


def said(port: int, request: bytes) -> bytes:
    """The whole answer to some bytes, or to a part of a request after which the client says no more."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
        try:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while part := client.recv(65536):
                answer += part
        except ConnectionResetError:
            return b"reset"
        return answer


def status(answer: bytes) -> int:
    """The code of an answer, 0 where it is none."""
    words = answer.split(b"\r\n", 1)[0].split()
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else 0


def alive(port: int) -> bool:
    return status(said(port, f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())) == 200


def post(port: int, body: bytes, length: str | None = None, **headers: str) -> bytes:
    """A request with a photo."""
    known = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(body)) if length is None else length} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in known.items())
    return f"POST /hdr HTTP/1.1\r\n{head}\r\n".encode() + body


def test_lies_to_the_demo(port: int, workshop: Workshop, tally: Tally) -> None:
    photo = (workshop.folder / "photo.png").read_bytes()
    lies = {
        "no length": (411, post(port, photo, "")),
        "a word for a length": (411, post(port, photo, "abc")),
        "a negative length": (411, post(port, photo, "-5")),
        "a huge length": (413, post(port, photo, "9" * 40)),
        "a length of zero": (400, post(port, b"")),
        "more than there is": (400, post(port, photo, str(len(photo) + 9))),
        "a foreign origin": (403, post(port, photo, Origin="http://example.org")),
        "a foreign host": (403, post(port, photo, Host="example.org")),
        "a form": (415, post(port, photo, Content_Type="multipart/form-data; boundary=x")),
        "no photo": (400, post(port, b"hello")),
        "another place": (404, f"GET /etc/passwd HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()),
        "a way up": (404, f"GET /../../page.html HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()),
    }
    for name, (expected, request) in lies.items():
        answer = said(port, request)
        tally.expect(status(answer) == expected and len(answer) < 2000, f"{name}: {answer[:200]!r}")
    answer = said(port, post(port, photo))
    tally.expect(status(answer) == 200, f"an honest photo: {answer[:200]!r}")


def test_garbage_to_the_demo(port: int, workshop: Workshop, tally: Tally) -> None:
    rng = np.random.default_rng(3)
    honest = post(port, (workshop.folder / "photo.png").read_bytes())
    for number in range(times(2000)):
        request = bytearray(honest)
        for place in rng.integers(0, 160, int(rng.integers(1, 6))).tolist():
            request[place] = int(rng.integers(256))
        answer = said(port, bytes(request))
        tally.expect(b"Traceback" not in answer and len(answer) < 2**20, f"request {number}: {answer[:200]!r}")
    tally.expect(alive(port), "the page is gone")


def test_slow_clients_of_the_demo(port: int, tally: Tally) -> None:
    clients = [socket.create_connection(("127.0.0.1", port), SECONDS) for _ in range(times(300))]
    try:
        for client in clients:
            client.sendall(post(port, b"", "1000000"))
        deadline = time.monotonic() + SECONDS
        while not (answers := _page(port)) and time.monotonic() < deadline:
            for client in clients:
                try:
                    client.sendall(b"x")
                except OSError:
                    continue
            time.sleep(0.5)
        tally.expect(answers, f"the page has not answered {len(clients)} slow clients later")
    finally:
        for client in clients:
            client.close()


def _page(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_fifty_photos_at_once(port: int, workshop: Workshop, tally: Tally) -> None:
    request = post(port, (workshop.folder / "photo.png").read_bytes())
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(said(port, request))) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        tally.expect(status(answer) in (200, 503), answer[:200].decode("latin-1"))
    tally.expect(sum(status(answer) == 200 for answer in answers) > 0, "none was worked on")
