"""The simulator's connections: a small threaded HTTP/1.1 server on loopback, and the lock that its parts share.

One thread per connection, keep-alive, TCP_NODELAY, a `Date` header unless the answer says not. Bodies need a
Content-Length (no chunked requests, no TLS). It can also act like a bad network: refuse, reset, swallow everything.
Standard library only; with `http.server`, benchmarks would measure the server instead of the bot.
"""

from __future__ import annotations

import json
import re
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple

from simulation.request import Request, read

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:\s*close", re.IGNORECASE)
_HEAD_LIMIT = 1 << 20
BACKLOG = 256
PATIENCE = 60.0  # seconds that a wait for something lasts at most; a busy machine is slow
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_encode = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would build an encoder each time


class Answer(NamedTuple):
    """A response. dated: with a `Date` header. raw: the bytes that are sent instead of all this, up to the end."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    dated: bool = True
    raw: Iterator[bytes] | None = None


class Drop(Exception):
    """Raised by a handler to end the connection without an answer; `reset` sends RST instead of FIN."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("no answer")
        self.reset = reset


def json_text(value: object) -> bytes:
    """Compact JSON."""
    return _encode(value).encode()


def json_answer(value: object, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """A response with a JSON body."""
    return Answer(status, json_text(value), headers=headers)


def html_answer(status: int) -> Answer:
    """The page a proxy in front of a service shows."""
    title = f"{status} {_reason(status)}"
    page = f"<html><head><title>{title}</title></head>\r\n<body><center><h1>{title}</h1></center></body></html>\r\n"
    return Answer(status, page.encode(), "text/html")


class Hub:
    """One lock for all state of a simulator, a condition that is notified of every change, and the closing flag."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.closing = threading.Event()
        self.version = 0

    def touch(self) -> None:
        """Notify of a change. Call it with the lock held."""
        self.version += 1
        self.changed.notify_all()

    def rest(self, seconds: float) -> None:
        """Delay an answer. Raises Drop when the simulator closes meanwhile. Call it without the lock."""
        if self.closing.wait(max(0.0, seconds)):
            raise Drop

    def wait(self, predicate: Callable[[], Any], *, timeout: float, what: str) -> Any:
        """The first true value of `predicate`. Raises AssertionError, naming `what`, after `timeout` seconds.

        The predicate is called without the lock, at every change and every 50 ms, so it may look at processes and
        files.
        """
        deadline = time.monotonic() + timeout
        while True:
            with self.lock:
                seen = self.version
            value = predicate()
            if value:
                return value
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {timeout:g} s: {what}")
            with self.lock:
                if self.version == seen:
                    self.changed.wait(min(left, 0.05))


class HttpServer:
    """Serves `handler` on 127.0.0.1. The handler runs in the connection's own thread and may block."""

    def __init__(self, handler: Callable[[Request], Answer], *, hub: Hub, port: int = 0) -> None:
        self._handler = handler
        self._hub = hub
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, int] = {}
        self._listener: socket.socket | None = None
        self._network = threading.Event()  # cleared: no byte arrives
        self._fillers: list[socket.socket] = []
        self._network.set()
        self._severed = 0  # connections with a lower number stay dead for good
        self._number = 0
        self._date = (0, "")
        self.port = port
        self.online()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def online(self) -> None:
        """Listen (again), on the same port as before."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: SO_REUSEADDR would let a stranger share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(BACKLOG)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="simulator-accept", daemon=True).start()

    def offline(self) -> None:
        """Refuse new connections and reset the open ones, as a server that is down does."""
        listener, self._listener = self._listener, None
        if listener is not None:
            try:  # close() does not wake a blocked accept() on every system; a connection does
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                pass
            listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _hang_up(connection, reset=True)

    def cut(self, *, sever: bool) -> None:
        """Lose the network without a reset: nothing is answered until `restore`.

        With `sever`, the connections open now stay dead for good (another Wi-Fi, a NAT that forgot them). On Linux
        connecting hangs too, as when a SYN is lost: the kernel repeats it after 1, 3, 7 s. Elsewhere, connections
        made meanwhile are answered late.
        """
        with self._lock:
            if sever:
                self._severed = self._number + 1
            self._network.clear()
        if sys.platform == "linux" and self._listener is not None:
            # Linux drops a SYN when the listener's queue is full. One connection goes to the accept() that waits, one
            # fills the queue; when two in a row hang, both are there.
            self._listener.listen(0)
            hanging = 0
            while hanging < 2:
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", self.port))
                self._fillers.append(filler)
                hanging = 0 if select.select([], [filler], [], 0.02)[1] else hanging + 1

    def restore(self) -> None:
        """End `cut`."""
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        if self._listener is not None:
            self._listener.listen(BACKLOG)
        self._network.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, (_, port) = listener.accept()
            except OSError:
                return
            if self._listener is not listener:
                connection.close()
                return
            while not self._network.wait(0.1):
                if self._hub.closing.is_set():
                    return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._number += 1
                self._connections[connection] = self._number
            threading.Thread(
                target=self._converse, args=(connection, port), name="simulator-http", daemon=True
            ).start()

    def _converse(self, connection: socket.socket, port: int) -> None:
        reset = False
        try:
            self._serve(connection, port)
        except Drop as drop:
            reset = drop.reset
        except OSError:
            pass  # the client hung up
        finally:
            with self._lock:
                self._connections.pop(connection, None)
            _hang_up(connection, reset=reset)
            connection.close()

    def _serve(self, connection: socket.socket, port: int) -> None:
        buffer = b""
        while True:
            while (end := buffer.find(b"\r\n\r\n")) < 0:
                chunk = connection.recv(65536)
                if not chunk or len(buffer) > _HEAD_LIMIT:
                    return
                buffer += chunk
            head, buffer = buffer[: end + 2], buffer[end + 4 :]
            length = int(match[1]) if (match := _LENGTH.search(head)) else 0
            if len(buffer) < length:
                parts = [buffer]
                missing = length - len(buffer)
                while missing > 0:
                    chunk = connection.recv(min(missing, 1 << 20))
                    if not chunk:
                        return
                    parts.append(chunk)
                    missing -= len(chunk)
                buffer = b"".join(parts)
            body, buffer = buffer[:length], buffer[length:]
            if not self._network.is_set():
                self._blocked(connection)
                if _was_reset(connection):
                    return  # the client's kernel dropped what it had not sent
            request = read(head, body, port)
            if request is None:
                return
            try:
                answer = self._handler(request)
            except Drop:
                if self._severed or not self._network.is_set():
                    self._blocked(connection)  # neither FIN nor RST arrives
                raise
            if answer.raw is not None:
                for piece in answer.raw:
                    connection.sendall(piece)
                return
            head_out = self._head(answer)  # dated now, however late it arrives
            if self._severed or not self._network.is_set():
                self._blocked(connection)
            connection.sendall(head_out + answer.body)
            if _CLOSE.search(head):
                return

    def _blocked(self, connection: socket.socket) -> None:
        """Wait until the network is back; a severed connection waits until the simulator closes. Raises Drop then."""
        with self._lock:
            severed = self._connections.get(connection, 0) < self._severed
        if severed:
            self._hub.closing.wait()
            raise Drop
        while not self._network.wait(0.1):
            if self._hub.closing.is_set():
                raise Drop

    def _head(self, answer: Answer) -> bytes:
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True))
        extra = "".join([f"\r\n{name}: {value}" for name, value in answer.headers])
        date = f"Date: {self._date[1]}\r\n" if answer.dated else ""
        return (
            f"HTTP/1.1 {answer.status} {_reason(answer.status)}\r\n{date}"
            f"Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}{extra}\r\n\r\n"
        ).encode("latin-1")


def _reason(status: int) -> str:
    return _REASONS.get(status, "Unknown")


def _was_reset(connection: socket.socket) -> bool:
    """Whether the client has reset the connection (RST), not only closed it (FIN)."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        connection.setblocking(True)
    return False


def _hang_up(connection: socket.socket, *, reset: bool) -> None:
    try:
        if reset:
            linger = struct.pack("hh" if hasattr(socket, "SO_EXCLUSIVEADDRUSE") else "ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # Only the reading half: this wakes a recv() in another thread, and sends no FIN before the RST.
            connection.shutdown(socket.SHUT_RD)
            connection.close()
        else:
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
