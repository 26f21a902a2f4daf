"""An alert becomes messages: which chats hear it, in which words, bundled when several come at once.

Several orders of one symbol within a minute share one message in a chat, edited in place: a storm cannot
flood a phone, and no order is left out. Everything here runs inside the caller's store transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import text
from store import ALERTS, Chat, Store

BUNDLE_SECONDS = 60.0
LISTED = 25  # orders of a bundle that get a line of their own
# What was bought or forced to be bought back is green, what was sold or forced to be sold is red.
MARKS = {"buy": "🟢", "short": "🟢", "sell": "🔴", "long": "🔴"}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that happened on a market, worded once for everybody.

    key: its identity, the same after a restart. side: `buy` or `sell` for orders, `long` or `short` for positions,
    "" where there is none. usd: the size that is compared with thresholds. headline, facts: plain text, no time of
    day in them (each chat has its own zone). at_ms: when it happened, unix ms. price: in quote dollars, 0 for none.
    """

    key: str
    monitor: str
    symbol: str
    side: str
    usd: float
    headline: str
    facts: str = ""
    at_ms: int
    venue: str
    url: str
    price: float = 0.0
    late: bool = False

    @property
    def at(self) -> float:
        """When it happened, unix seconds."""
        return self.at_ms / 1000


def publish(store: Store, alert: Alert, *, now: float, default_min: float) -> bool:
    """Keep an alert and enqueue it for every chat that wants it. False, and nothing is done, if it was known.

    default_min: US dollars from which chats without a threshold of their own hear this symbol.
    """
    if not store.add_alert(alert.key, alert.monitor, alert.symbol, at=alert.at, body=asdict(alert), now=now):
        return False
    for chat in store.chats():
        if wants(chat, alert, now=now, default_min=default_min):
            _deliver(store, chat, alert, now)
    return True


def wants(chat: Chat, alert: Alert, *, now: float, default_min: float) -> bool:
    """Does the chat hear of this alert by its own settings?"""
    return (
        chat.follows(alert.symbol)
        and not chat.muted(alert.symbol, now)
        and alert.usd >= chat.threshold(alert.monitor, alert.symbol, default_min)
    )


def announce(store: Store, line: str, *, now: float, symbol: str | None = None) -> None:
    """One plain line for every subscribed chat (that follows the symbol, when one is named)."""
    for chat in store.chats():
        if symbol is None or (chat.follows(symbol) and not chat.muted(symbol, now)):
            payload = addressed(chat, {"text": line})
            store.enqueue(chat.chat_id, "sendMessage", payload, now=now, lane=ALERTS)


def _deliver(store: Store, chat: Chat, alert: Alert, now: float) -> None:
    bundle = f"{alert.monitor}:{alert.symbol}"
    open_id = store.open_bundle(chat.chat_id, bundle, since=now - BUNDLE_SECONDS)
    if open_id is None:
        payload = _payload(chat, [alert], now)
        made = store.enqueue(chat.chat_id, "sendMessage", payload, now=now, lane=ALERTS, bundle=bundle)
        store.add_to_bundle(made, alert.key)
        return
    store.add_to_bundle(open_id, alert.key)
    bundled = [Alert(**body) for body in store.bundle(open_id)]
    store.revise(open_id, _payload(chat, bundled, now), now=now)


def _payload(chat: Chat, bundled: Sequence[Alert], now: float) -> dict[str, Any]:
    symbol = bundled[0].symbol
    mute = [
        {"text": f"Mute {symbol} {length.replace('h', ' h')}", "callback_data": f"mute:{symbol}:{length}"}
        for length in ("1h", "24h")
    ]
    return addressed(
        chat,
        {
            "text": render(bundled, now=now),
            "parse_mode": "HTML",
            "reply_markup": {"inline_keyboard": [mute]},
        },
    )


def addressed(chat: Chat, payload: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a message for that chat: into the topic where it was subscribed."""
    return payload if chat.thread_id is None else payload | {"message_thread_id": chat.thread_id}


def render(bundled: Sequence[Alert], *, now: float) -> str:
    """The message in Telegram HTML. The first line says it all: a phone's preview shows no more."""
    return _single(bundled[0], now) if len(bundled) == 1 else _several(bundled, now)


def _single(alert: Alert, now: float) -> str:
    where = [_link(alert), text.clock(alert.at, now=now)]
    if alert.late:
        where.append(f"late by {text.duration(max(0.0, now - alert.at))}")
    facts = [text.escape(alert.facts)] if alert.facts else []
    return "\n".join([f"<b>{headline(alert)}</b>", *facts, " · ".join(where)])


def headline(alert: Alert) -> str:
    """The first line in Telegram HTML: `BTC buy 2.3M USD at 76,981`, with a coloured mark in front."""
    return f"{MARKS.get(alert.side, '🔵')} {text.escape(alert.headline)}"


def _several(bundled: Sequence[Alert], now: float) -> str:
    net = sum(alert.usd if alert.side == "buy" else -alert.usd for alert in bundled)
    total = sum(alert.usd for alert in bundled)
    span = bundled[-1].at - bundled[0].at
    lines = [
        f"<b>{text.escape(bundled[0].symbol)}: {len(bundled)} whale orders, {text.usd(total)} USD, "
        f"net {'+' if net >= 0 else '-'}{text.usd(abs(net))}</b>",
        f"within {text.duration(max(0.01, span))} · {_link(bundled[0])}",
    ]
    # The newest and the biggest must both be seen: the list keeps time order and drops the smallest first.
    listed = sorted(bundled, key=lambda alert: alert.usd, reverse=True)[:LISTED]
    for alert in bundled:
        if alert in listed:
            late = f" (late by {text.duration(max(0.0, now - alert.at))})" if alert.late else ""
            lines.append(f"{text.clock(alert.at, now=now)} {headline(alert)}{late}")
    rest = [alert for alert in bundled if alert not in listed]
    if rest:
        lines.append(f"and {len(rest)} smaller, {text.usd(sum(alert.usd for alert in rest))} USD together")
    return "\n".join(lines)


def _link(alert: Alert) -> str:
    return f'<a href="{text.escape(alert.url)}">{text.escape(alert.venue)}</a>'
