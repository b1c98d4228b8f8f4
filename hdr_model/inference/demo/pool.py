"""Python's HTTP server with bounds: threads, connections, and the time that a request may take to arrive."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from aih_gen.errors import AIHError

MAX_CONNECTIONS = 16
"""At once, each on a thread of a pool; the next are answered with 503."""
_MAX_REFUSED = 128
"""Connections that this is being sent to; the next are closed."""
MAX_SECONDS = 20.0
"""For a whole request to arrive, and for each wait while the answer is sent."""
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 64 << 20
"""Limits of reading on after an answer, so that a client whose request was refused unread can read it."""
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\n\r\ntoo many connections\n"


class PooledServer(HTTPServer):
    """A server whose threads are few, however many clients there are; it listens on this machine only."""

    request_queue_size = 128

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        """Bind; port 0 takes a free one.

        Raises:
            AIHError: the port cannot be had.
        """
        try:
            super().__init__(("127.0.0.1", port), handler)
        except OSError as error:
            raise AIHError(f"--port {port}: expected a free port, found {error.strerror}") from error
        self._pool = ThreadPoolExecutor(MAX_CONNECTIONS, "demo")
        self._refusals = ThreadPoolExecutor(4, "demo-busy")
        self._open: set[socket.socket] = set()
        self._refused: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a connection to the pool, or refuse it."""
        with self._lock:
            served, refused = len(self._open), len(self._refused)
            if served < MAX_CONNECTIONS:
                self._open.add(request)
            elif refused < _MAX_REFUSED:
                self._refused.add(request)
        if served < MAX_CONNECTIONS:
            self._pool.submit(self._work, request, client_address)
        elif refused < _MAX_REFUSED:
            self._refusals.submit(self._refuse, request)
        else:
            self.shutdown_request(request)

    def server_close(self) -> None:
        """Stop, and hang up on those who are connected."""
        super().server_close()
        with self._lock:
            for request in self._open | self._refused:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)
        for pool in (self._pool, self._refusals):
            pool.shutdown(cancel_futures=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line what went wrong, unless a client closed its connection."""
        error = sys.exception()
        if not isinstance(error, OSError):
            print(f"hdr demo: {type(error).__name__}: {error}", file=sys.stderr)

    def _work(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self._hang_up(request)

    def _refuse(self, request: socket.socket) -> None:
        with contextlib.suppress(OSError):
            request.settimeout(1)
            request.sendall(_BUSY)
        self._hang_up(request)

    def _hang_up(self, request: socket.socket) -> None:
        _linger(request)
        with self._lock:
            self._open.discard(request)
            self._refused.discard(request)
        self.shutdown_request(request)


class Deadline(io.RawIOBase):
    """The bytes that arrive at a socket until ``MAX_SECONDS`` from now; reading later raises TimeoutError."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._end = time.monotonic() + MAX_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(MAX_SECONDS)


def _linger(request: socket.socket) -> None:
    """Closing a socket with unread bytes would destroy the answer on its way."""
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_WR)
        end, left = time.monotonic() + _LINGER_SECONDS, _LINGER_BYTES
        while left > 0 and (seconds := end - time.monotonic()) > 0:
            request.settimeout(seconds)
            received = len(request.recv(1 << 16))
            if not received:
                return
            left -= received
