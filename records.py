"""What the store holds, as plain values: chats, users, cursors, deliveries. No behaviour beyond looking things up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ANSWERS, ALERTS = 0, 1  # lanes of the outbox: answers to commands go first
MONITORS = ("whales", "liquidations", "funding", "wallets")
LEVELS = ("on", "loud", "silent", "off")  # on: silent below twice the threshold, loud from there on


@dataclass(frozen=True, kw_only=True)
class Chat:
    """A chat that was started once, with its settings. Amounts in US dollars, times unix seconds.

    symbols: None means every symbol. thresholds: monitor -> symbol (`*` for every other one) -> amount.
    levels: monitor -> one of LEVELS, `on` where none stands. sides: monitor -> the one side that is heard.
    quiet: `22:00-07:00` in `timezone` (an IANA name), "" for none. hourly_cap: alerts an hour that make a
    message, 0 for no cap. digest: when digests come, as it was typed; digest_at: the next one, None for never.
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
    digest: str = ""
    digest_at: float | None = None

    def follows(self, symbol: str) -> bool:
        return self.symbols is None or symbol in self.symbols

    def muted(self, symbol: str, now: float) -> bool:
        return now < self.muted_until or now < self.symbol_mutes.get(symbol, 0.0)

    def threshold(self, monitor: str, symbol: str, default: float) -> float:
        """From how much on this chat hears of the symbol: its own amount for it, for all, or the default."""
        amounts = self.thresholds.get(monitor, {})
        return amounts.get(symbol, amounts.get("*", default))


@dataclass(frozen=True, kw_only=True)
class User:
    """A person who wrote to the bot. state: `allowed`, `denied` or `stranger`."""

    user_id: int
    name: str = ""
    state: str = "stranger"
    at: float = 0.0
    answered_at: float = 0.0
    asked_at: float = 0.0


@dataclass(frozen=True)
class Cursor:
    """Where a feed is to be read on. `at`: unix seconds up to which it was read."""

    text: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message to send: a Bot API method with its parameters, for one chat."""

    id: int
    chat_id: int
    lane: int
    method: str
    payload: dict[str, Any]
    revision: int
    created_at: float
    attempts: int
    bundle: str | None
    parent: int | None
