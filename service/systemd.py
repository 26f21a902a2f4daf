"""What systemd is told about the bot: that it runs, how it is, that it lives, that it stops.

One datagram each to the socket that $NOTIFY_SOCKET names; without that variable every method does nothing. A
message that cannot be sent costs nothing but itself. Source: sd_notify(3), systemd.service(5) (`WatchdogSec=`).
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from botapi.polling_state import PollingState

log = logging.getLogger(__name__)

CONNECTING = (
    20.0  # seconds a start may take to reach Telegram before it counts as over: waiting is the bot's own work
)
SEND_TIMEOUT = 1.0  # seconds; systemd reads at once, a service manager that does not must not hold the bot up


class Notifier:
    """The line to the service manager. `watchdog` is its limit between two signs of life in seconds; None: none."""

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        environ = os.environ if environ is None else environ
        name = environ.get("NOTIFY_SOCKET", "")
        # "@name" is an abstract socket; its first byte is 0. Other forms (vsock:) are not for a process like this.
        self._address = f"\0{name[1:]}" if name.startswith("@") else name if name.startswith("/") else ""
        self._monotonic = monotonic
        self._status = ""
        self._ready = False
        self._began = monotonic()
        self._alive_at: float | None = None
        self.watchdog = _watchdog(environ)

    def report(self, polling: PollingState, *, well: bool) -> None:
        """How it is now; to be called twice a second. `well`: no thread is stuck; without it, no sign of life."""
        if polling is PollingState.CONNECTING and self._monotonic() - self._began < CONNECTING:
            self.status(polling.words)
        else:
            self.ready(polling.words)
        if well:
            self.alive()

    def ready(self, status: str) -> None:
        """The start is over: the bot polls, or stands by. Only the first call says so, each may change the status."""
        if self._ready:
            self.status(status)
            return
        self._ready, self._status = True, status
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`; sent when it differs from the last one."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={_line(status)}")

    def alive(self) -> None:
        """A sign of life. To be called often, and only while the bot makes progress: silence is what restarts it."""
        if self.watchdog is None:
            return
        now = self._monotonic()
        # Half the limit is sd_watchdog_enabled(3)'s advice; a third lets one message get lost.
        if self._alive_at is None or now - self._alive_at >= self.watchdog / 3:
            self._alive_at = now
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The bot ends on purpose: from here on the stop's time limit counts."""
        self._send("STOPPING=1\nSTATUS=Stopping")

    def _send(self, message: str) -> None:
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.settimeout(SEND_TIMEOUT)
                line.sendto(message.encode(), self._address)
        except OSError as error:
            log.debug("The service manager was not told %r: %s", message, error)


def _line(status: str) -> str:
    return " ".join(status.split())  # a line end would begin a new assignment


def _watchdog(environ: Mapping[str, str]) -> float | None:
    try:
        limit = int(environ.get("WATCHDOG_USEC", "")) / 1e6
        meant = int(environ.get("WATCHDOG_PID", os.getpid()))  # set for one process, inherited by its children
    except ValueError:
        return None
    return limit if limit > 0 and meant == os.getpid() else None
