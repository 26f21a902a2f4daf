"""One way to run a thread: a `step()` that does one thing and returns the seconds to rest.

Every long-lived thread of the bot is a `Loop`. Its rest is one wait on one queue, so that a stop or a
wake-up ends it at once; nothing in the bot sleeps in any other way.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

_here = threading.local()


def beat() -> None:
    """The step that runs in this thread gets on: for steps that last, so that nobody takes them for stuck.

    Does nothing in a thread that is no Loop.
    """
    loop: Loop | None = getattr(_here, "loop", None)
    if loop is not None:
        loop.beat()


class KnownTrouble(Exception):
    """Trouble of which whoever raises it tells, when it begins and when it ends: a Loop only tries again."""


class Loop:
    """A thread that calls `step()` again and again and rests for the seconds each call returns.

    A step that raises is logged with its traceback and called again after `error_rest` seconds: a bug is
    visible and never ends the thread. Only a BaseException ends it; then `on_death(name)` is called, from
    the dying thread, so that the process can end with it.

    For a watchdog: `beats` counts the signs of life (a step ends, a rest ends, `beat()` in a step), `progress_at` is
    the monotonic time of the last one, `resting` the length of the present rest in seconds, 0 during a step.
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
        self.beats = 0
        self.resting = 0.0
        self._step = step
        self._on_death = on_death
        self._error_rest = error_rest
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = False
        # Daemon: a step hung in a foreign call must not keep the process alive past its stop deadline.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """End the present rest, or the next one if none is on. Never blocks; safe from any thread."""
        self._bell.put(None)

    def stop(self) -> None:
        """Ask the thread to end after the step it is in. Returns at once."""
        self._stopping = True
        self._bell.put(None)

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end; True when the thread has ended (or never began)."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def beat(self) -> None:
        """A sign of life. For the thread itself, which calls it through `beat()` of this module."""
        self.beats += 1
        self.progress_at = time.monotonic()

    def _run(self) -> None:
        _here.loop = self
        clean = False
        try:
            while not self._stopping:
                try:
                    rest = self._step()
                except KnownTrouble:
                    rest = self._error_rest
                except Exception:
                    log.exception("Thread %s: a step failed; it goes on in %g s", self.name, self._error_rest)
                    rest = self._error_rest
                self.resting = max(0.0, rest)
                self.beat()
                self._rest(rest)
                self.beat()  # before the next line: an hour's rest must not look like an hour's step
                self.resting = 0.0
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
