"""What the store holds, as plain values. What they decide (is it muted, is it above the threshold?) is pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import TYPE_CHECKING, NamedTuple

from base.typed import LONGEST

if TYPE_CHECKING:  # the first getUpdates does without them
    from base import zones
    from venues.perpetuals import Position

MONITORS = ("whales", "liquidations", "funding", "oi", "wallets", "prices")
MARKED = ("funding", "oi")  # kinds of which a chat sets how far a figure has to go, in percent, and no size
CHART_THEMES = ("dark", "light")
BEGINS = {"move": "on", "volume": "calm"}  # the state of a `Level` that waits, by its kind
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


@dataclass(frozen=True)
class HistoryEntry:
    """An alert in one chat. how: `sent`, `pending` or `buried` for a message; for a held one the store's `why`:
    `quiet` or `cap` while it waits, then `told`; `muted`, `paused`, or `dropped` when the chat stopped. at: when it
    came.
    """

    alert: Alert
    how: str
    at: float


@dataclass(frozen=True, kw_only=True)
class User:
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


class Cursor(NamedTuple):
    """Where reading a feed continues. text: in the venue's own terms. at: up to when it was read."""

    text: str
    at: float


class Gap(NamedTuple):
    """A time in which trades of a coin were not seen. missed: how many, None when that is not known."""

    venue: str
    symbol: str
    missed: int | None
    start: float
    end: float


@dataclass(frozen=True)
class TrackedPosition:
    """A position as it was last seen. alerted: its size at the last alert. near: there was an alert that it is near
    its liquidation price."""

    position: Position
    alerted: float
    near: bool = False


class WalletSnapshot(NamedTuple):
    """What is known of a wallet, by coin, since it was last read."""

    positions: dict[str, TrackedPosition]
    at: float


@dataclass(frozen=True, kw_only=True)
class Level:
    """What a chat wants an alert for: a price of a coin, a move of it, or its volume.

    kind: `price`, `move` or `volume`. price: of a move, where it was last told, 0 for nowhere. size, span: a move is
    a trade at least this share (0.05 for 5 %) above or below another one of so many seconds before; a volume is of so
    many seconds and at least this many times the usual one. direction: `above` when the price is to come to it from
    below, or to rise; `below`, or `either`. state: `above` while it waits for the price to rise to it, `below` to
    fall to it; `away` until the price is far enough from it; `rest` until `since_ms`, then it waits again from
    wherever the price is; `done`. A move is `on` or `done`, a volume `calm`, `busy` from when it was told until there
    is less of it, or `done`. repeat: it waits again after it was told. cooldown: seconds that it rests then; without
    any the price has to go away from it first. expires: unix seconds, 0 for never. since_ms: trades from before do
    not count, touched_ms: when it was last told, 0 for never; unix ms. topic: as in `Alert`.
    """

    id: int = 0
    chat_id: int
    symbol: str
    kind: str = "price"
    price: float = 0.0
    size: float = 0.0
    span: int = 0
    direction: str = "either"
    state: str = "away"
    repeat: bool = False
    cooldown: float = 0.0
    expires: float = 0.0
    note: str = ""
    since_ms: int = 0
    touched_ms: int = 0
    topic: int = ANY_TOPIC

    def waits(self, now: float) -> bool:
        """Is it still to be told at that time, or later?"""
        return self.state != "done" and not 0 < self.expires <= now

    def rests(self, now: float) -> float:
        """Until when it rests, unix seconds; 0 when it does not."""
        return self.since_ms / 1000 if self.waits(now) and self.since_ms > now * 1000 else 0.0

    def waiting(self, price: float | None, *, now: float) -> Level:
        """The level as it waits from now on. price: where the market is, None when that is not known."""
        if self.kind != "price":
            return replace(self, state=BEGINS[self.kind], price=0.0, since_ms=int(now * 1000))
        side = "away" if price is None or price == self.price else "above" if price < self.price else "below"
        state = side if self.direction in ("either", side) else "away"
        return replace(self, state=state, since_ms=int(now * 1000))

    def resting(self, until: float) -> Level:
        """The level as it waits from that time on; nothing that is traded until then is told."""
        if self.kind != "price":
            return self.waiting(None, now=until)
        return replace(self, state="rest", since_ms=int(until * 1000))

    def alert_key(self, venue: str, number: int) -> str:
        """The key of its alert about one trade; `level_of` reads it."""
        return f"level:{self.id}:{venue}:{number}"


def level_of(alert: Alert) -> str:
    """The number of the level whose alert it is, "" for other alerts."""
    kind, _, rest = alert.key.partition(":")
    return rest.partition(":")[0] if kind == "level" else ""


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    """A command that a chat wants answered at times of its choice.

    rule: the times, as base/schedules.py keeps them. command: without its slash. thread_id: the topic for the
    answers. user_id: who asked for it. at: the next time, unix seconds, None while it is paused. delivery: the id of
    its last message, 0 for none.
    """

    id: int = 0
    chat_id: int
    thread_id: int | None = None
    user_id: int
    rule: str
    command: str
    at: float | None
    delivery: int = 0


class WatchedWallet(NamedTuple):
    """A wallet that a chat watches, by the name the chat gave it."""

    chat_id: int
    address: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """Somewhere other than Telegram to which alerts go.

    chat_id: the private chat of the owner, whose settings choose the alerts. url, secret: never shown. state: `on`,
    or `off` once it was given up. problem: why the last try failed, "" when it did not. failing_since, next_at (not
    tried before), sent_at: unix seconds, 0 for never. tries: failures in a row. told: 1 once the owner knows of them.
    sent: alerts that it took.
    """

    id: int = 0
    chat_id: int
    url: str
    secret: str = ""
    state: str = "on"
    problem: str = ""
    failing_since: float = 0.0
    tries: int = 0
    next_at: float = 0.0
    told: int = 0
    sent: int = 0
    sent_at: float = 0.0


class Volume(NamedTuple):
    """What was traded of a coin in the last hour, and usually in this hour of the day.

    usd, usual: US dollars. bought: the share of it that takers bought. open, close: the price then and now. days: of
    how many days the usual one is the median.
    """

    usd: float
    usual: float
    bought: float
    open: float
    close: float
    days: int

    @property
    def times(self) -> float:
        """How many times the usual one it is."""
        return self.usd / self.usual
