"""HTTP connections that another thread can end, where they lead, and how late answers are on them.

urllib3 has no way to end a request from outside, so each connection registers a duplicate of its socket here, before
the TLS handshake; shutdown() acts on the connection, whichever object wraps it.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from base.answer import BoundedAdapter
from botapi.errors import NoAnswer

MARGIN = 0.3  # seconds an answer may take on a line without delay; then a new connection is tried
UNANSWERED = 1.0  # the same, for a call that must not be made twice
NAME_PATIENCE = 0.5  # seconds to look up the name of a server whose address is known
LATE_MOST = 1.5  # seconds of delay taken into account at most; twice that is added to MARGIN
_LINGER = "hh" if sys.platform == "win32" else "ii"  # struct linger: on, seconds


class _Times:
    """Monotonic times of a socket."""

    def __init__(self) -> None:
        self.opened = self.sent = time.monotonic()  # sent: the last bytes


class Connections:
    """The open sockets of one adapter, with their times, so that another thread can end them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: dict[socket.socket, _Times] = {}
        self._cut = False
        self.closed_at = 0.0  # monotonic time at which `close_older` ended one last

    def add(self, sock: socket.socket) -> socket.socket:
        """Register a socket; returns the duplicate to `drop` later (TLS wrapping detaches the original)."""
        # Close with RST, so that unsent data is dropped and cannot arrive after a second try.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))
        twin = sock.dup()
        with self._lock:
            self._sockets[twin] = _Times()
            cut = self._cut
        if cut:  # the cut raced with the connect
            _shut(twin)
        return twin

    def drop(self, twin: socket.socket) -> None:
        """Forget a duplicate and close it."""
        with self._lock:
            self._sockets.pop(twin, None)
        twin.close()

    def sends(self, twin: socket.socket) -> None:
        """Something is sent on it now."""
        with self._lock:
            self._sockets[twin].sent = time.monotonic()

    def cut(self) -> None:
        """End all connections at once, and every later one as soon as it is made."""
        with self._lock:
            self._cut = True
            for sock in self._sockets:
                _shut(sock)

    def close_older(self, *, opened_before: float, unanswered: float) -> None:
        """End the connections opened before that monotonic time; new ones can be made.

        One on which something was sent in the last `unanswered` seconds is left: its answer may be on the way.
        """
        now = time.monotonic()
        with self._lock:
            for sock, times in self._sockets.items():
                if times.opened < opened_before and now - times.sent >= unanswered:
                    self.closed_at = now
                    _shut(sock)


class Addresses:
    """Where servers were reached last: tried as long as a name is being looked up in vain.

    A look-up whose question or answer is lost is repeated by the resolver after 5 s and more, and nothing can end it.
    """

    def __init__(self) -> None:
        self.lost = False  # the network is lost: no look-up is waited for
        self._known: dict[str, str] = {}
        self._asking: dict[str, _LookUp] = {}

    def reached(self, host: str, address: str) -> None:
        """A connection was made."""
        self._known[host] = address
        self._asking.pop(host, None)

    def instead(self, host: str) -> str:
        """The name if it can be looked up or no address is known, else the address."""
        known = self._known.get(host, host)
        if known == host:
            return host
        asking = self._asking.get(host)
        if asking is None:
            asking = self._asking[host] = _LookUp(host)
            asking.start()
        asking.join(0.0 if self.lost else NAME_PATIENCE)
        if asking.is_alive():
            return known
        self._asking.pop(host, None)
        return host if asking.found else known


class _LookUp(threading.Thread):
    """One question for a name."""

    def __init__(self, host: str) -> None:
        super().__init__(name="name", daemon=True)
        self.found = False
        self._host = host

    def run(self) -> None:
        try:
            self.found = bool(socket.getaddrinfo(self._host, None))
        except (OSError, UnicodeError):
            pass


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # already closed


class CuttableAdapter(BoundedAdapter):
    """A requests adapter whose connections register in `connections` and lead to `addresses`."""

    def __init__(self, connections: Connections, addresses: Addresses) -> None:
        super().__init__(_cuttable(connections, addresses))


def _cuttable(connections: Connections, addresses: Addresses) -> type:
    class Cuttable:
        twin: socket.socket | None = None
        _dns_host: str

        def _new_conn(self) -> socket.socket:
            # urllib3's own hook for "make the TCP connection", and what it connects to; a test fails if they move.
            host = self._dns_host
            self._dns_host = addresses.instead(host)
            try:
                sock: socket.socket = super()._new_conn()  # type: ignore[misc]
            finally:
                self._dns_host = host
            addresses.reached(host, sock.getpeername()[0])
            self.twin = connections.add(sock)
            return sock

        def send(self, data: object) -> None:
            if self.twin is not None:
                connections.sends(self.twin)
            super().send(data)  # type: ignore[misc]

        def close(self) -> None:
            super().close()  # type: ignore[misc]
            if self.twin is not None:
                connections.drop(self.twin)
                self.twin = None

    return Cuttable


class Delay:
    """How late answers are on this line, measured as TCP does: a slow line must not look like a dead connection."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._late: float | None = None  # not known yet
        self._silent = False  # the last question got no answer
        self._monotonic = monotonic
        self._began = 0.0

    def allowed(self, margin: float | None = None) -> float:
        """Seconds to wait for an answer beyond its due time."""
        return (MARGIN if margin is None else margin) + 2 * (LATE_MOST if self._late is None else self._late)

    @contextmanager
    def measured(self) -> Iterator[Delay]:
        """Around one question: counts its NoAnswer."""
        self._began = self._monotonic()
        try:
            yield self
        except NoAnswer:
            if self._silent:  # twice in a row, on two connections: the line may be slower than assumed
                self._late = LATE_MOST
            self._silent = True
            raise
        self._silent = False

    def answered(self, *, after: float = 0.0) -> None:
        """The answer is here; without delay it would have come so many seconds after the question."""
        late = max(0.0, self._monotonic() - self._began - after)
        self._late = min(LATE_MOST, late if self._late is None else max(late, 0.6 * self._late))

    def answered_early(self) -> None:
        """The answer is here, and may have waited for something to tell: it is not later than it took."""
        if self._late is not None and self._monotonic() - self._began < self._late:
            self.answered()
