"""HTTP connections that another thread can end, and how late answers are on them.

urllib3 has no way to end a request from outside, so each connection registers a duplicate of its socket here, before
the TLS handshake; shutdown() acts on the connection, whichever object wraps it.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from base.answer import BoundedAdapter
from botapi.errors import NoAnswer

MARGIN = 1.0  # seconds an answer may take on a line without delay
LATE_MOST = 1.5  # seconds of delay taken into account at most; twice that is added to MARGIN
_LINGER = "hh" if sys.platform == "win32" else "ii"  # struct linger: on, seconds


class Connections:
    """The open sockets of one adapter, each with the time it was opened, so that another thread can end them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: dict[socket.socket, float] = {}
        self._cut = False
        self.closed_at = 0.0  # monotonic time of the last `close_older`

    def add(self, sock: socket.socket) -> socket.socket:
        """Register a socket; returns the duplicate to `drop` later (TLS wrapping detaches the original)."""
        # Close with RST, so that unsent data is dropped and cannot arrive after a second try.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))
        twin = sock.dup()
        with self._lock:
            self._sockets[twin] = time.monotonic()
            cut = self._cut
        if cut:  # the cut raced with the connect
            _shut(twin)
        return twin

    def drop(self, twin: socket.socket) -> None:
        """Forget a duplicate and close it."""
        with self._lock:
            self._sockets.pop(twin, None)
        twin.close()

    def cut(self) -> None:
        """End all connections at once, and every later one as soon as it is made."""
        with self._lock:
            self._cut = True
            for sock in self._sockets:
                _shut(sock)

    def close_older(self, *, opened_before: float) -> None:
        """End the connections opened before that monotonic time; new ones can be made."""
        self.closed_at = time.monotonic()
        with self._lock:
            for sock, opened in self._sockets.items():
                if opened < opened_before:
                    _shut(sock)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # already closed


class CuttableAdapter(BoundedAdapter):
    """A requests adapter whose connections register in `connections`."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(_cuttable(connections))


def _cuttable(connections: Connections) -> type:
    class Cuttable:
        twin: socket.socket | None = None

        def _new_conn(self) -> socket.socket:
            # urllib3's own hook for "make the TCP connection"; a test fails if it moves.
            sock: socket.socket = super()._new_conn()  # type: ignore[misc]
            self.twin = connections.add(sock)
            return sock

        def close(self) -> None:
            super().close()  # type: ignore[misc]
            if self.twin is not None:
                connections.drop(self.twin)
                self.twin = None

    return Cuttable


class Delay:
    """How late answers are on this line, measured as TCP does: a slow line must not look like a dead connection."""

    def __init__(self) -> None:
        self._late = LATE_MOST
        self._silent = False  # the last question got no answer
        self._began = 0.0

    def allowed(self) -> float:
        """Seconds to wait for an answer beyond its due time."""
        return MARGIN + 2 * self._late

    @contextmanager
    def measured(self) -> Iterator[Delay]:
        """Around one question: counts its NoAnswer."""
        self._began = time.monotonic()
        try:
            yield self
        except NoAnswer:
            if self._silent:  # twice in a row, on two connections: the line may be slower than assumed
                self._late = min(LATE_MOST, max(0.5, 2 * self._late))
            self._silent = True
            raise
        self._silent = False

    def answered(self, *, after: float = 0.0) -> None:
        """The answer is here; without delay it would have come so many seconds after the question."""
        self._late = min(LATE_MOST, max(time.monotonic() - self._began - after, 0.6 * self._late))
