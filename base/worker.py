"""Every long-lived thread of the bot: a `step()` that does one thing and returns the seconds to rest.

The rest is a wait on a queue, so a stop or a wake-up ends it at once. Nothing in the bot sleeps in any other way.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

_here = threading.local()


def heartbeat() -> None:
    """Called from a long step: shows that this thread makes progress and is not stuck. No effect outside a Worker."""
    if hasattr(_here, "worker"):
        _here.worker.heartbeat()


class AlreadyReported(Exception):
    """Trouble that is already logged where it begins and ends. A Worker tries again, without a traceback."""


class GivenUp(BaseException):
    """Ends a thread that was given up, at its next heartbeat."""


class Worker:
    """A thread that calls `step()` again and again and rests for the seconds that each call returns.

    If a step raises, its traceback is logged and it is called again after `error_rest` seconds. Only a BaseException
    ends the thread; then it calls `on_death(name)`, so that the process can end too.
    For a watchdog: `heartbeats` counts (the end of a step, the end of a rest, `heartbeat()` in a step), `progress_at`
    is the monotonic time of the last one, `resting` the length of the present rest in seconds, 0 during a step.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float],
        *,
        on_death: Callable[[str], None] | None = None,
        error_rest: float = 1.0,
    ) -> None:
        self.name = name
        self.progress_at = time.monotonic()
        self.heartbeats = 0
        self.resting = 0.0
        self._step = step
        self._on_death = on_death
        self._error_rest = error_rest
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = self._given_up = False
        # Daemon: a step that hangs in a foreign call must not keep the process alive past its stop deadline.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread. Call it once."""
        self._thread.start()

    def wake(self) -> None:
        """End the present rest, or the next one if none is on. Never blocks; safe from any thread."""
        self._bell.put(None)

    def stop(self) -> None:
        """Ask the thread to end after the step it is in. Returns at once."""
        self._stopping = True
        self._bell.put(None)

    def give_up(self) -> None:
        """The thread is stuck: nobody waits for it any more, and it ends at its next heartbeat, if one ever comes."""
        self._stopping = self._given_up = True

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end. True when the thread has ended or was never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def heartbeat(self) -> None:
        """Count one heartbeat. Only the thread itself calls it, through `heartbeat()` of this module."""
        if self._given_up:
            raise GivenUp
        self.heartbeats += 1
        self.progress_at = time.monotonic()

    def _run(self) -> None:
        _here.worker = self
        clean = False
        try:
            while not self._stopping:
                try:
                    rest = self._step()
                except AlreadyReported:
                    rest = self._error_rest
                except Exception:  # a bug in one step must not end the thread
                    log.exception("Thread %s: a step failed; next try in %g s", self.name, self._error_rest)
                    rest = self._error_rest
                self.resting = max(0.0, rest)
                self.heartbeat()
                self._rest(rest)
                self.heartbeat()  # before the next line: an hour's rest must not look like an hour's step
                self.resting = 0.0
            clean = True
        except GivenUp:
            clean = True
        finally:
            if not clean and self._on_death is not None:
                self._on_death(self.name)

    def _rest(self, seconds: float) -> None:
        try:
            if seconds > 0:
                self._bell.get(timeout=seconds)
            while True:  # several wake-ups during one step are one wake-up
                self._bell.get_nowait()
        except queue.Empty:
            pass
