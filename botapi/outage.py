"""While Telegram gives no good answer: since when, how long to rest, and when a refused token is final."""

from __future__ import annotations

import logging
from collections.abc import Callable

from base import text
from botapi.errors import NoAnswer, TelegramError, TokenRefused, Unreachable
from botapi.failing import backoff

log = logging.getLogger(__name__)

LOST_REST = 2.0  # seconds between the beginnings of two tries while there is no network
FAILED_REST = 60.0  # at most, while the server answers with errors
REFUSED_REST = 3.0  # seconds between two questions whether the token is refused
REFUSALS = 3  # of the token by getMe in a row that end a start,
REFUSED_FOR = 180.0  # and seconds of them that end a bot that has worked


class Outage:
    """The outage that is on, if any. For one thread; others may read `since`: unix seconds, None without one."""

    def __init__(
        self, *, now: Callable[[], float], monotonic: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self.since: float | None = None
        self.doubts_token = False  # the token was refused, and getMe has not been asked about it yet
        self._now, self._monotonic, self._jitter = now, monotonic, jitter
        self._failures = 0
        self._refusals = 0  # by getMe in a row
        self._refused_since = 0.0

    def begins(self, error: TelegramError) -> None:
        """Log the first error of an outage."""
        if self.since is None:
            self.since = self._now()
            what = error.says if isinstance(error, TokenRefused) else error
            log.warning("Polling: %s. Trying again; nothing is lost", what)

    def failed(self, error: TelegramError) -> float:
        """Network, 5xx, garbage: a growing rest in seconds."""
        self._failures += 1
        self._refusals = 0
        if isinstance(error, NoAnswer) and self._failures == 1:
            return 0.0  # one silent connection is not an outage: try a new one
        self.begins(error)
        rest = self._failures - 1, self._jitter()
        if isinstance(error, Unreachable) and error.status is None:
            return max(0.0, backoff(*rest, most=LOST_REST) - error.took)
        return backoff(*rest, most=FAILED_REST)

    def refused(self, error: TokenRefused, *, worked: bool) -> float | None:
        """401 or 404: seconds to rest, None if it is final. worked: getMe has answered well since the start.

        Any answer may be a stray one: only getMe decides, by saying it again and again.
        """
        if worked and not self.doubts_token:
            self.doubts_token = True
            return self.failed(error)
        self.begins(error)
        now = self._monotonic()
        self._refusals += 1
        if self._refusals == 1:
            self._refused_since = now
        final = now - self._refused_since >= REFUSED_FOR if worked else self._refusals >= REFUSALS
        return None if final else REFUSED_REST

    def token_is_good(self) -> None:
        """getMe answered well."""
        self.doubts_token, self._refusals = False, 0

    def over(self) -> bool:
        """A good answer; True if an outage or a single failure is over."""
        since, self.since = self.since, None
        if since is not None:
            log.info("Polling: Telegram answers again after %s", text.duration(max(0.0, self._now() - since)))
        failures, self._failures = self._failures, 0
        return failures > 0
