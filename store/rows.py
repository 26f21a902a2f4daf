"""What the store holds of chats, users and alerts, as plain values; other rows are beside their parts.

What they decide (is it muted, is it above the threshold?) is pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING, NamedTuple

from base.typed import LONGEST

if TYPE_CHECKING:  # the first getUpdates does without it
    from base import zones

MONITORS = ("whales", "liquidations", "funding", "oi", "wallets", "prices")
MARKED = ("funding", "oi")  # kinds of which a chat sets how far a figure has to go, in percent, and no size
DIGEST = "digest"  # the command whose answer also brings what was held back
CHART_THEMES = ("dark", "light")
ANY_TOPIC = -1  # of an alert: whichever the chat chose
LEVELS = ("on", "loud", "silent", "off")  # on: silent below twice the threshold, loud from there on


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A chat that used /start at least once, with its settings. Amounts in US dollars, times in unix seconds.

    note: why alerts ended, "" when the chat stopped them. symbols: None means every coin. thresholds: by monitor and
    coin (`*` for all others), in percent for MARKED kinds. levels: monitor -> one of LEVELS, `on` by default. sides:
    monitor -> the only side that is wanted. quiet: `22:00-07:00` in `timezone` (an IANA name), "" for none.
    hourly_cap: messages with alerts an hour, 0 for no limit. paused_until: the bot may not write there and does not
    try before; 0 if that never was so. topics: kind of alert or coin -> the topic that its alerts go to instead of
    `thread_id`, 0 for the General topic. members: may every member of the group use the commands that only show
    something? chart_theme: one of CHART_THEMES. handle: a channel's @name without the @, "" if it has none.
    """

    chat_id: int
    kind: str = "private"
    title: str = ""
    thread_id: int | None = None
    added_by: int
    subscribed: bool = True
    since: float = 0.0
    note: str = ""
    symbols: frozenset[str] | None = None
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    muted_until: float = 0.0
    symbol_mutes: Mapping[str, float] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    quiet: str = ""
    hourly_cap: int = 0
    paused_until: float = 0.0
    topics: Mapping[str, int] = field(default_factory=dict)
    members: bool = False
    chart_theme: str = "dark"
    handle: str = ""

    @property
    def zone(self) -> tzinfo:
        from base import zones  # and the system's time zones, which few chats need

        return zones.zone(self.timezone)

    @property
    def address(self) -> str:
        """What people type in their private chat to mean this channel."""
        return f"@{self.handle}" if self.handle else str(self.chat_id)

    @property
    def quiet_hours(self) -> zones.Hours | None:
        """None also when what is stored cannot be read: alerts then come rather than vanish."""
        from base import zones

        try:
            return zones.hours(self.quiet) if self.quiet else None
        except ValueError:
            return None

    def topic(self, monitor: str, symbol: str, asked_in: int = ANY_TOPIC) -> int | None:
        """The topic for an alert (None: General, or a chat without topics): the coin's, the kind's, the one in which
        it was asked for, or the chat's."""
        found = self.topics.get(symbol, self.topics.get(monitor, asked_in))
        return self.thread_id if found == ANY_TOPIC else found or None

    def follows(self, symbol: str) -> bool:
        return self.symbols is None or symbol in self.symbols

    def muted(self, symbol: str, now: float) -> bool:
        """Is this coin, or everything, muted at that time?"""
        return bool(self.muted_for(now) or mute_left(self.symbol_mutes.get(symbol, 0.0), now))

    def muted_for(self, now: float) -> float:
        """Seconds for which everything is still muted, 0 when it is not."""
        return mute_left(self.muted_until, now)

    def paused(self, now: float) -> bool:
        """Is the bot not to try to write there at that time? Never for longer than a pause can be."""
        return 0 < self.paused_until - now < 2 * 86400

    def threshold(self, monitor: str, symbol: str, default: float) -> float:
        """The minimum size, or the mark: the chat's own for this coin, its own for all coins, or the default."""
        amounts = self.thresholds.get(monitor, {})
        return amounts.get(symbol, amounts.get("*", default))


def mute_left(until: float, now: float) -> float:
    """Seconds until a mute ends. 0 also for one longer than any can be: a clock that was ahead set it."""
    left = until - now
    return left if 0 < left < LONGEST + 86400 else 0.0


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that happened on a market, in the words that every chat gets.

    key: its identity, the same after a restart. side: `buy` or `sell` for orders, `long` or `short` for positions,
    "" where there is none. usd: the size that is compared with thresholds. headline, facts: plain text without
    times (each chat has its own zone). at_ms: when it happened, unix ms. price: in quote dollars, 0 for none.
    late: it was found long after it happened. topic: the one in which a chat asked for it, 0 for General, ANY_TOPIC
    for all other alerts. mark: the one that was reached, in percent, for an alert of chats with this mark only.
    """

    key: str
    monitor: str
    symbol: str
    side: str = ""
    usd: float = 0.0
    headline: str
    facts: str = ""
    at_ms: int
    venue: str
    url: str
    price: float = 0.0
    late: bool = False
    mark: float = 0.0
    topic: int = ANY_TOPIC

    @property
    def at(self) -> float:
        """When it happened, unix seconds."""
        return self.at_ms / 1000


class HistoryEntry(NamedTuple):
    """An alert in one chat. how: `sent`, `pending` or `buried` for a message; for a held one the store's `why`:
    `quiet` or `cap` while it waits, then `told`; `muted`, `paused`, or `dropped` when the chat stopped. at: when it
    came.
    """

    alert: Alert
    how: str
    at: float


class User(NamedTuple):
    """A person who wrote to the bot. state: `allowed`, `denied` or `stranger`."""

    user_id: int
    name: str = ""
    state: str = "stranger"
    at: float = 0.0
    answered_at: float = 0.0
    asked_at: float = 0.0


class StaleCommands(NamedTuple):
    """The commands of one chat that were too old to run: how many, and when the first and the last were sent."""

    chat_id: int
    thread_id: int | None
    commands: int
    first_at: float
    last_at: float
