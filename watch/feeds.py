"""The feeds of one monitor: asks them, keeps how each one is, and tells the owner what needs one.

A failure never leaves `ask`: the monitor goes on with what the other feeds gave. A feed that refuses for good (a plan
that lacks it) is switched off until the next start; the owner hears of that once, also over restarts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from store import Store
from venues.availability import Health, SourceHealth
from venues.coinglass import Refused
from venues.trades import SourceError, UnknownSymbol

log = logging.getLogger(__name__)

T = TypeVar("T")

SILENT_AFTER = 1800.0  # seconds without any feed after which the owner hears of it; whales tell of a dead network
UNKNOWN_EVERY = 86400.0  # seconds until a venue that did not know something is asked for it again


class Feed(Protocol):
    """A source of any kind."""

    name: str
    venue: str
    host: str


class Feeds:
    """`what`: what is read, `liquidations`. now: unix seconds. notify_owner: called with a sentence."""

    def __init__(
        self,
        what: str,
        feeds: Sequence[Feed],
        store: Store,
        *,
        now: Callable[[], float],
        jitter: Callable[[], float],
        notify_owner: Callable[[str], None],
    ) -> None:
        self._what = what
        self._feeds = tuple(feeds)
        self._store = store
        self._now = now
        self._notify_owner = notify_owner
        self._health = {
            feed.name: Health(f"{feed.name}_{what}", f"{feed.venue} {what}", feed.host, jitter) for feed in feeds
        }
        self._unknown: dict[tuple[str, str], float] = {}
        self._poison: dict[tuple[str, str], frozenset[int]] = {}
        self._covers: dict[str, str] = {}
        self._told_silent = False

    def begin_tick(self) -> None:
        for health in self._health.values():
            health.begin_tick()

    def may_ask(self, feed: Feed) -> bool:
        return self._health[feed.name].may_be_asked(self._now())

    def ask(self, feed: Feed, question: Callable[[], T], *, about: str = "", cached: bool = False) -> T | None:
        """The answer; None when the feed rests, fails, is off, or does not know what it is asked `about`.

        cached: the answer may have come without the host, so it is no proof that the host is well.
        """
        health, now = self._health[feed.name], self._now()
        if not health.may_be_asked(now) or now < self._unknown.get((feed.name, about), 0.0):
            return None
        try:
            answer = question()
        except UnknownSymbol as error:
            log.info("%s", error)
            self._unknown[feed.name, about] = now + UNKNOWN_EVERY
            health.succeeded(self._now())
            return None
        except Refused as error:
            self._switch_off(feed, error)
            return None
        except SourceError as error:
            health.failed(error, self._now())
            return None
        if cached:
            return answer
        health.succeeded(self._now())
        for bad_key in (False, True):
            if self._store.value(self._refusal(feed, bad_key)):
                self._store.set_value(self._refusal(feed, bad_key), "")
        return answer

    def count_poison(self, feed: Feed, about: str, poison: frozenset[int]) -> None:
        """Count rows that could not be read; the same row, shown again at the next look, only once."""
        new = poison - self._poison.get((feed.name, about), frozenset())
        self._poison[feed.name, about] = poison
        if new and not self._health[feed.name].skipped:
            log.warning("%s: an unreadable row (%s) was skipped; further ones are counted", feed.host, self._what)
        self._health[feed.name].skipped += len(new)

    def end_tick(self, covers: Mapping[str, str]) -> None:
        """covers: feed name to what it was read for, `10 coins`; a feed without words is not needed."""
        now = self._now()
        self._covers = dict(covers)
        for health in self._health.values():
            health.end_tick(now)
        failing = [health for health in self._health.values() if health.failing_for(now) > 0]
        needed = [self._health[feed.name] for feed in self._feeds if covers.get(feed.name)]
        needed = [health for health in needed if not health.off]
        for feed in self._feeds:
            health = self._health[feed.name]
            # When every one fails, our own network is the likelier reason.
            if len(failing) < len(self._feeds) and health.owner_should_know(now):
                self._notify_owner(
                    f"{feed.venue} ({feed.host}) cannot be read from here for {self._what}: {health.reason}. It is "
                    f"asked again from time to time. See /status."
                )
        silent = bool(needed) and all(health.failing_for(now) >= SILENT_AFTER for health in needed)
        if silent and not self._told_silent:
            reasons = "; ".join(f"{health.host}: {health.reason}" for health in needed)
            self._notify_owner(f"No source answers for {self._what}: no such alerts come now. {reasons}.")
        elif not silent and self._told_silent:
            self._notify_owner(f"Sources answer again for {self._what}.")
        self._told_silent = silent

    def health(self) -> list[SourceHealth]:
        """For /status; for any thread."""
        now, covers = self._now(), self._covers
        views = []
        for feed in self._feeds:
            health = self._health[feed.name]
            views.append(health.view(now, (), lag=now - (health.last_ok or now), covers=covers.get(feed.name, "")))
        return views

    def _switch_off(self, feed: Feed, error: Refused) -> None:
        health = self._health[feed.name]
        health.switch_off(error.reason)
        log.warning("%s gives no %s: %s. It is off until the next start.", feed.host, self._what, error.reason)
        told = self._refusal(feed, error.bad_key)
        if self._store.value(told) == error.reason:
            return
        self._store.set_value(told, error.reason)
        what = f"refuses your COINGLASS_API_KEY: {error.reason}. All that it would tell"
        if not error.bad_key:
            what = f"gives no {self._what} to your COINGLASS_API_KEY: {error.reason}. That source"
        self._notify_owner(
            f"{feed.venue} {what} is off now, all other sources go on. After a change of the plan or the key, "
            f"restart the bot."
        )

    def _refusal(self, feed: Feed, bad_key: bool) -> str:
        """The fact of the store that says what the owner was told. One bad key is one notice for all monitors."""
        return f"refused:{feed.name}:{'key' if bad_key else self._what}"
