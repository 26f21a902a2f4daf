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


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One whale order. side: `buy` or `sell` (the taker's); usd and prices in quote dollars; `*_ms` unix ms."""

    key: str
    symbol: str
    side: str
    usd: float
    price: float
    low: float
    high: float
    first_price: float
    last_price: float
    quantity: float
    fills: int
    first_ms: int
    last_ms: int
    venue: str
    url: str
    late: bool = False


def publish(store: Store, alert: Alert, *, now: float, default_min: float) -> bool:
    """Keep an alert and enqueue it for every chat that wants it. False, and nothing is done, if it was known.

    default_min: US dollars from which chats without a threshold of their own hear this symbol.
    """
    if not store.add_alert(alert.key, alert.symbol, at=alert.last_ms / 1000, body=asdict(alert), now=now):
        return False
    for chat in store.chats():
        if wants(chat, alert, now=now, default_min=default_min):
            _deliver(store, chat, alert, now)
    return True


def threshold(chat: Chat, symbol: str, default_min: float) -> float:
    """From how many US dollars on this chat hears of the symbol."""
    return chat.thresholds.get(symbol, chat.thresholds.get("*", default_min))


def wants(chat: Chat, alert: Alert, *, now: float, default_min: float) -> bool:
    """Does the chat hear of this alert by its own settings?"""
    return (
        chat.follows(alert.symbol)
        and not chat.muted(alert.symbol, now)
        and alert.usd >= threshold(chat, alert.symbol, default_min)
    )


def announce(store: Store, line: str, *, now: float, symbol: str | None = None) -> None:
    """One plain line for every subscribed chat (that follows the symbol, when one is named)."""
    for chat in store.chats():
        if symbol is None or (chat.follows(symbol) and not chat.muted(symbol, now)):
            payload = _addressed(chat, {"text": line})
            store.enqueue(chat.chat_id, "sendMessage", payload, now=now, lane=ALERTS)


def _deliver(store: Store, chat: Chat, alert: Alert, now: float) -> None:
    bundle = f"whale:{alert.symbol}"
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
    return _addressed(
        chat,
        {
            "text": render(bundled, now=now),
            "parse_mode": "HTML",
            "reply_markup": {"inline_keyboard": [mute]},
        },
    )


def _addressed(chat: Chat, payload: dict[str, Any]) -> dict[str, Any]:
    return payload if chat.thread_id is None else payload | {"message_thread_id": chat.thread_id}


def render(bundled: Sequence[Alert], *, now: float) -> str:
    """The message in Telegram HTML. The first line says it all: a phone's preview shows no more."""
    return _single(bundled[0], now) if len(bundled) == 1 else _several(bundled, now)


def _single(alert: Alert, now: float) -> str:
    happened = alert.last_ms / 1000
    facts = [text.count(alert.fills, "fill")]
    lasted = (alert.last_ms - alert.first_ms) / 1000
    facts[0] += f" in {text.duration(lasted)}" if lasted > 0 else " at once" if alert.fills > 1 else ""
    if alert.high > alert.low:
        facts.append(f"price {text.price(alert.first_price)} → {text.price(alert.last_price)}")
    where = [_link(alert), text.clock(happened, now=now)]
    if alert.late:
        where.append(f"late by {text.duration(max(0.0, now - happened))}")
    return f"<b>{headline(alert)}</b>\n{' · '.join(facts)}\n{' · '.join(where)}"


def headline(alert: Alert) -> str:
    """`BTC buy 2.3M USD at 76,981`, with a coloured mark in front."""
    mark = "🟢" if alert.side == "buy" else "🔴"
    return f"{mark} {text.escape(alert.symbol)} {alert.side} {text.usd(alert.usd)} USD at {text.price(alert.price)}"


def _several(bundled: Sequence[Alert], now: float) -> str:
    net = sum(alert.usd if alert.side == "buy" else -alert.usd for alert in bundled)
    total = sum(alert.usd for alert in bundled)
    span = (bundled[-1].last_ms - bundled[0].first_ms) / 1000
    lines = [
        f"<b>{text.escape(bundled[0].symbol)}: {len(bundled)} whale orders, {text.usd(total)} USD, "
        f"net {'+' if net >= 0 else '-'}{text.usd(abs(net))}</b>",
        f"within {text.duration(max(0.01, span))} · {_link(bundled[0])}",
    ]
    # The newest and the biggest must both be seen: the list keeps time order and drops the smallest first.
    listed = sorted(bundled, key=lambda alert: alert.usd, reverse=True)[:LISTED]
    for alert in bundled:
        if alert in listed:
            late = f" (late by {text.duration(max(0.0, now - alert.last_ms / 1000))})" if alert.late else ""
            lines.append(f"{text.clock(alert.last_ms / 1000, now=now)} {headline(alert)}{late}")
    rest = [alert for alert in bundled if alert not in listed]
    if rest:
        lines.append(f"and {len(rest)} smaller, {text.usd(sum(alert.usd for alert in rest))} USD together")
    return "\n".join(lines)


def _link(alert: Alert) -> str:
    return f'<a href="{text.escape(alert.url)}">{text.escape(alert.venue)}</a>'
