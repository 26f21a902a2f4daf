"""How a watcher asks its venues: one at a time, with pauses after failures; the owner is told when it matters.

A feed is one question to one venue, usually about one coin. `ask` never raises for a venue: the watcher continues
with the other feeds. A venue that refuses for good (the plan lacks it) is off for a day; no single answer decides.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from base import text
from base.config import Settings
from store import Store
from venues.availability import PATIENCE, TELL_EVERY, Health, SourceHealth, Use
from venues.coinglass import Refused
from venues.trades import SourceError, UnknownSymbol

log = logging.getLogger(__name__)

HUNG_PAUSE = 600.0  # seconds until a venue is asked again after a question to it hung
UNKNOWN_EVERY = 86400.0  # seconds until a venue is asked again for a coin that it did not know
REFUSED_EVERY = 86400.0  # and until one that refused for good


class Venue(Protocol):
    """What every venue has. name: its key in the settings. venue: its name for people. host: where it is asked."""

    name: str
    venue: str
    host: str

    def hurry(self) -> None:
        """Wait for nothing from now on."""


V = TypeVar("V", bound=Venue)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a watcher works with. now: unix seconds. notify_owner: sends a sentence; may be called in a transaction.
    published: called when an alert is committed that should not wait for the end of the tick.

    coins: those that are watched now, None for those of the settings. no_such_coin: gets one that no venue has,
    and says whether it stays on the list.
    """

    settings: Settings
    store: Store
    now: Callable[[], float] = time.time
    published: Callable[[], None] = lambda: None
    notify_owner: Callable[[str], None] = lambda words: None
    coins: Sequence[str] | None = None
    no_such_coin: Callable[[str], bool] = lambda coin: True

    def symbols(self) -> tuple[str, ...]:
        return tuple(self.settings.symbols if self.coins is None else self.coins)


class Feeds(Generic[V]):
    """The venues of one watcher, in order of preference. `health` and `stop` are for any thread.

    what: what is read, in words: `liquidations`. venues: None for one without its key. fallbacks: they stand in for
    each other, and no other watcher uses them; else each is read for itself. silent_after: seconds without an answer
    after which the owner is told.
    """

    def __init__(
        self,
        what: str,
        venues: Sequence[V | None],
        context: Context,
        *,
        fallbacks: bool = False,
        silent_after: float = 1800.0,
    ) -> None:
        self._what = what
        self.venues = tuple(venue for venue in venues if venue is not None)
        self._store, self._now, self._notify_owner = context.store, context.now, context.notify_owner
        self._silent_after, self._fallbacks = silent_after, fallbacks
        key, words = ("", "") if fallbacks else (f"_{what}", f" {what}")
        self._health = {
            venue.name: Health(venue.name + key, venue.venue + words, venue.host) for venue in self.venues
        }
        self._unknown: dict[tuple[str, str], float] = {}  # (venue, feed) -> when it may be asked again
        self._told_unknown: set[tuple[str, str]] = set()
        self._ended_at: dict[str, str] = {}  # venue -> the feed at which it ended its part of a tick
        self._unreadable: dict[tuple[str, str], frozenset[int]] = {}
        self._uses: dict[str, Use] = {}
        self._welcome: set[str] = set()  # venues that answered since the start, or since they refused
        self._unserved: dict[str, float] = {}  # what nobody answers for -> since when
        self._silent_since: float | None = None  # set once the owner was told
        self._ticked_at = 0.0
        self._asking: tuple[V, str] | None = None  # the question in progress
        self._told_hung: dict[str, float] = {}  # venues that hung -> when the owner was told
        self.stopping = False

    def stop(self) -> None:
        """End the tick in progress before its next request. What was read is still committed."""
        self.stopping = True
        for venue in self.venues:
            venue.hurry()

    def may_retry(self) -> bool:
        """Does a venue fail that may be asked again now?"""
        now, known = self._now(), self._health.values()
        return any(one.may_be_asked(now) and (one.seen.failing or one.failing_feeds()) for one in known)

    def slowness(self, venue: V) -> float:
        """How many times as rarely as usual this venue wants to be asked."""
        return self._health[venue.name].slowness(self._now())

    def rests(self, venue: V) -> bool:
        """Does this venue fail, or is it not to be asked now? For any thread."""
        seen = self._health[venue.name].seen
        return seen.failing or self._now() < seen.retry_at

    def health(self) -> list[SourceHealth]:
        """Every venue in order of preference, for /status."""
        now, uses = self._now(), self._uses
        views = []
        for venue in self.venues:
            seen, use = self._health[venue.name].view(), uses.get(venue.name)
            if use is not None:
                lag = now - (use.read_at or seen.last_ok or now)
                traded_at, coin = use.quietest or (now, "")
                seen = replace(seen, symbols=use.symbols, covers=use.words, lag=lag, every=use.every)
                seen = replace(seen, quietest=coin, silent=max(0.0, now - traded_at))
            elif seen.state == "ok":
                seen = replace(seen, state="unused", since=None)
            views.append(seen)
        return views

    # Asking

    def begin_tick(self) -> None:
        """Let every venue that failed in the last tick be asked again when its rest is over."""
        last, self._ticked_at = self._ticked_at, self._now()
        if self._ticked_at < last:
            self._unknown.clear()
            self._unserved.clear()
        for health in self._health.values():
            health.begin_tick()
            if self._ticked_at < last:
                health.clock_set_back(self._ticked_at)

    def in_turn(self, feeds: Iterable[str]) -> list[str]:
        """The feeds in the order in which to ask for them: after a tick that a venue ended, the next one comes first.

        So a host that answers only so many questions at a time never starves the same feeds. What hangs comes last.
        """
        order = list(feeds)
        for ended in self._ended_at.values():
            if ended in order:
                after = order.index(ended) + 1
                order = order[after:] + order[:after]
        return sorted(order, key=lambda feed: any(feed in health.hung for health in self._health.values()))

    def knowing(self, feed: str) -> list[V]:
        """The venues that are not known to lack this feed, in order of preference."""
        now = self._now()
        return [venue for venue in self.venues if now >= self._unknown.get((venue.name, feed), 0.0)]

    def ask_again(self, feed: str) -> None:
        """Ask every venue for this feed again, also those that did not know it."""
        for venue in self.venues:
            self._unknown.pop((venue.name, feed), None)

    def choose(self, feed: str) -> V | None:
        """The first venue that knows the feed and may be asked now; None while waiting for the preferred one.

        The next venue is taken only after two minutes of failure, or at once where a venue refuses requests from
        here, because another venue's orders are other orders.
        """
        now = self._now()
        patience_over = False
        for venue in self.knowing(feed):
            health = self._health[venue.name]
            if health.may_be_asked(now, feed):
                return None if self.stopping else venue
            patience_over = patience_over or health.failing_for(now, feed) >= PATIENCE
            if not (patience_over or health.seen.state == "blocked"):
                return None
        return None

    def ask(self, venue: V, question: Callable[[], T], *, feed: str = "", cached: bool = False) -> T | None:
        """The answer; None when the venue rests, fails, is off or lacks this feed, and while the bot stops.

        A venue that lacks a feed is asked for it again after a day. Where no feed was asked for, that is a failure.
        cached: the answer may come from memory, so it does not show that the host is well.
        """
        health, now = self._health[venue.name], self._now()
        unknown = now < self._unknown.get((venue.name, feed), 0.0)
        if self.stopping or unknown or not health.may_be_asked(now, feed):
            return None
        self._asking = asking = (venue, feed)
        try:
            try:
                answer = question()
            except (UnknownSymbol, Refused):
                answer = question()  # one stray answer must not switch anything off
        except Refused as error:
            self._switch_off(venue, error)
            return None
        except SourceError as error:
            if isinstance(error, UnknownSymbol) and feed:
                log.info("%s", error)
                self._unknown[venue.name, feed] = now + UNKNOWN_EVERY
                health.succeeded(self._now(), feed)
                return None
            health.failed(error, self._now(), feed)
            if error.retry_after is not None:
                self._ended_at.pop(venue.name, None)  # the newest is the last
                self._ended_at[venue.name] = feed
            return None
        finally:
            if self._asking is asking:  # else this thread was given up, and another one asks
                self._asking = None
        if cached:
            return answer
        health.succeeded(self._now(), feed)
        if venue.name not in self._welcome:
            self._welcome.add(venue.name)
            for bad_key in (False, True):
                if self._store.value(self._refusal(venue, bad_key)):
                    self._store.set_value(self._refusal(venue, bad_key), "")
        return answer

    def give_up(self) -> None:
        """The question in progress hangs and its thread was given up: its venue rests, and the owner is told."""
        if self._asking is None:
            return
        (venue, feed), self._asking = self._asking, None
        now, rests = self._now(), text.duration(HUNG_PAUSE)
        error = SourceError(venue.host, "a question to it hung", retry_after=HUNG_PAUSE)
        self._health[venue.name].failed(error, now, feed)
        if now - self._told_hung.get(venue.name, -math.inf) >= TELL_EVERY:
            self._told_hung[venue.name] = now
            self._notify_owner(
                f"{venue.venue} ({venue.host}) hung when asked for {self._what}. The bot gave that up, goes on with "
                f"its other sources and asks {venue.host} again in {rests}."
            )

    def count_unreadable(self, venue: V, marks: frozenset[int], *, feed: str = "") -> None:
        """Count rows that could not be read; a row that is shown again at the next look counts once."""
        new = marks - self._unreadable.get((venue.name, feed), frozenset())
        self._unreadable[venue.name, feed] = marks
        self.count_flaws(venue, skipped=len(new))

    def count_flaws(self, venue: V, *, skipped: int = 0, missed: int = 0) -> None:
        """Count rows that could not be read and trades that are missing by their ids, for /status."""
        health = self._health[venue.name]
        seen = health.seen
        if skipped and not seen.skipped:
            log.warning("%s: skipped an unreadable row (%s); more are only counted", venue.host, self._what)
        if skipped or missed:
            health.seen = replace(seen, skipped=seen.skipped + skipped, missed=seen.missed + missed)

    # After a tick

    def end_tick(self, uses: Mapping[str, Use], *, unserved: Collection[str] | None = None) -> None:
        """Note how the tick went; tell the owner of an outage once when it begins and once when it is over.

        uses: by venue name; a venue without one is not needed. unserved: coins that no venue answered for; None: what
        fails at a venue that is needed, or "" when all of them fail.
        """
        now = self._now()
        self._uses = dict(uses)
        for health in self._health.values():
            health.end_tick(now)
        self._tell_blocked(now)
        if unserved is None:
            self._tell_unknown()
            needed = {venue.venue: self._health[venue.name] for venue in self.venues if venue.name in uses}
            needed = {name: health for name, health in needed.items() if health.seen.state != "off"}
            unserved = [f"{name} {feed}" for name, health in needed.items() for feed in health.failing_feeds()]
            if needed and all(health.seen.failing for health in needed.values()):
                unserved = [""]
        self._tell_silence(unserved, now)

    def _tell_unknown(self) -> None:
        """Tell the owner once of what a venue does not have, where no other one stands in for it."""
        for venue in self.venues:
            new = {feed for name, feed in self._unknown.keys() - self._told_unknown if name == venue.name}
            if new:
                self._told_unknown |= {(venue.name, feed) for feed in new}
                self._notify_owner(
                    f"{venue.venue} ({venue.host}) has no {self._what} of {', '.join(sorted(new))}. The bot asks for "
                    f"them again once a day; everything else continues."
                )

    def _tell_blocked(self, now: float) -> None:
        if not any(health.answered for health in self._health.values()):
            return  # our own network is the likelier reason
        for venue in self.venues:
            health = self._health[venue.name]
            if health.owner_should_know(now):
                self._notify_owner(
                    f"{venue.venue} ({venue.host}) cannot be reached from the bot's location for {self._what}: "
                    f"{health.seen.reason}. The bot uses its other sources and keeps trying. Details: /status"
                )

    def _tell_silence(self, unserved: Collection[str], now: float) -> None:
        self._unserved = {feed: self._unserved.get(feed, now) for feed in unserved}
        silent = sorted(feed for feed, since in self._unserved.items() if now - since >= self._silent_after)
        if silent and self._silent_since is None:
            self._silent_since = min(self._unserved[feed] for feed in silent)
            of = f" of {', '.join(silent)}" if silent != [""] else ""
            views = [health.view() for health in self._health.values()]
            wrong = [(view.host, view.reason if view.failing else view.except_for) for view in views]
            reasons = "; ".join(f"{host}: {reason}" for host, reason in wrong if reason)
            self._notify_owner(
                f"No source answers for {self._what}{of}, so there are no such alerts now. The bot keeps trying. "
                f"{reasons}."
            )
        elif not silent and self._silent_since is not None:
            took = text.duration(now - self._silent_since)
            self._silent_since = None
            self._notify_owner(f"Sources for {self._what} answer again, after {took}.")

    def _switch_off(self, venue: V, error: Refused) -> None:
        self._health[venue.name].switch_off(error.reason, self._now() + REFUSED_EVERY)
        self._welcome.discard(venue.name)
        log.warning("%s refuses %s: %s. It is asked again in a day.", venue.host, self._what, error.reason)
        fact = self._refusal(venue, error.bad_key)
        refused, off = f"refuses {self._what} with your COINGLASS_API_KEY", f"Its {self._what} are"
        if error.bad_key:
            refused, off = "refuses your COINGLASS_API_KEY", "Everything from it is"
        words = (
            f"{venue.venue} {refused}: {error.reason}. {off} off now; all other sources continue. Restart the bot "
            f"after you change the plan or the key; without that it is asked again once a day."
        )
        with self._store.transaction():  # the watchers share a key, each in a thread of its own
            if self._store.value(fact) != error.reason:
                self._store.set_value(fact, error.reason)
                self._notify_owner(words)

    def _refusal(self, venue: V, bad_key: bool) -> str:
        """The fact in the store that says what the owner was told. A bad key is told once for all watchers."""
        return f"refused:{venue.name}:{'key' if bad_key else self._what}"
