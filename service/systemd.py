"""Reports to systemd: ready, status, heartbeat, stopping. Source: sd_notify(3), systemd.service(5) (`WatchdogSec=`).

Each is one datagram to the socket that $NOTIFY_SOCKET names; without that variable nothing is sent. A message that
cannot be sent is dropped.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from botapi.polling_state import PollingState

log = logging.getLogger(__name__)

CONNECTING = 20.0  # seconds; after that the start counts as done, because waiting for Telegram is normal work
SEND_TIMEOUT = 1.0  # seconds: a service manager that does not read must not hold the bot up


class Notifier:
    """The connection to the service manager. watchdog: seconds allowed between two heartbeats, None for no limit."""

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        environ = os.environ if environ is None else environ
        name = environ.get("NOTIFY_SOCKET", "")
        # "@name" is an abstract socket, which begins with a 0 byte. Other forms (vsock:) do not occur here.
        self._address = f"\0{name[1:]}" if name.startswith("@") else name if name.startswith("/") else ""
        self._monotonic = monotonic
        self._status = ""
        self._ready = False
        self._began = monotonic()
        self._alive_at: float | None = None
        self.watchdog = _watchdog(environ)

    def report(self, polling: PollingState, *, well: bool) -> None:
        """Report the state; call it twice a second. well: no thread is stuck. Otherwise there is no heartbeat."""
        starting = polling is PollingState.CONNECTING and self._monotonic() - self._began < CONNECTING
        self.status(polling.words, ready=not starting)
        if well:
            self.alive()

    def status(self, status: str, *, ready: bool = False) -> None:
        """Set the line of `systemctl status`, when it changes. ready: the start is done: it polls or stands by."""
        if status != self._status or (ready and not self._ready):
            line = f"STATUS={' '.join(status.split())}"  # a line end would begin a new assignment
            self._send(line if self._ready or not ready else f"READY=1\n{line}")
            self._status, self._ready = status, self._ready or ready

    def alive(self) -> None:
        """Send a heartbeat. Call it often, and only while the bot works: without heartbeats systemd restarts it."""
        if self.watchdog is None:
            return
        now = self._monotonic()
        # Half the limit is sd_watchdog_enabled(3)'s advice; a third lets one message get lost.
        if self._alive_at is None or now - self._alive_at >= self.watchdog / 3:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The bot stops on purpose: from now on systemd's time limit for a stop counts."""
        self._send("STOPPING=1\nSTATUS=Stopping")

    def _send(self, message: str) -> None:
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.settimeout(SEND_TIMEOUT)
                manager.sendto(message.encode(), self._address)
        except OSError as error:
            log.debug("%r could not be sent to the service manager: %s", message, error)


def _watchdog(environ: Mapping[str, str]) -> float | None:
    try:
        limit = int(environ.get("WATCHDOG_USEC", "")) / 1e6
        meant = int(environ.get("WATCHDOG_PID", os.getpid()))  # set for one process, inherited by its children
    except ValueError:
        return None
    return limit if limit > 0 and meant == os.getpid() else None
