"""How far long work is: a log line every few seconds while it lasts and one at its end; short work says nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from base.text import duration

log = logging.getLogger(__name__)

EVERY = 4.0  # seconds


class Progress:
    """One kind of work, again and again, by one thread."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began: float | None = None
        self._said_at: float | None = None

    def note(self, words: str, *values: object) -> None:
        """The work goes on and stands there. To be called often: most calls log nothing."""
        now = self._monotonic()
        if self._began is None:
            self._began = now
        elif now - (self._said_at or self._began) >= EVERY:
            self._said_at = now
            log.info(words, *values)

    def end(self, words: str) -> None:
        """It is done; `words` has one %s for how long it took. Without work in progress nothing happens."""
        if self._began is not None and self._said_at is not None:
            log.info(words, duration(self._monotonic() - self._began))
        self._began = self._said_at = None
