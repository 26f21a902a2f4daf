"""An alert becomes messages: bundled when several come at once, worded for each chat, or held back for later.

Several alerts of one monitor and symbol within a minute share one message in a chat, edited in place: a storm
cannot flood a phone, and none is left out. Everything here runs inside the caller's store transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import tzinfo
from typing import Any

from alerts import preferences
from alerts.preferences import Heard
from base import text
from botapi.storage import ALERTS, Delivery
from store import Store
from store.rows import Alert, Chat

BUNDLE_SECONDS = 60.0
WISH = "alerts"  # in a delivery's payload: it tells of the alerts bundled under it, as loud as the value says
LISTED = 25  # alerts of a bundle that get a line of their own
# What was bought or forced to be bought back is green, what was sold or forced to be sold is red.
MARKS = {"buy": "🟢", "short": "🟢", "sell": "🔴", "long": "🔴"}
NOUNS = {  # what one alert is called
    "whales": "whale order",
    "liquidations": "liquidation alert",  # it may be about a sum
    "funding": "funding alert",
    "wallets": "wallet alert",
}


def publish(store: Store, alert: Alert, *, now: float, default_min: float, only: int | None = None) -> bool:
    """Keep an alert and enqueue it for every chat that wants it. False, and nothing is done, if it was known.

    default_min: US dollars from which chats without a threshold of their own hear this symbol. only: the one chat
    whose alert it is; it asked for this, whatever coins it follows.
    """
    if not store.messages.add_alert(alert.key, alert.monitor, alert.symbol, at=alert.at, body=asdict(alert), now=now):
        return False
    chats = store.chats.all()
    if only is not None:
        chats = [replace(chat, symbols=None) for chat in chats if chat.chat_id == only]
    for chat in chats:
        heard = preferences.decide(chat, alert, now=now, default_min=default_min)
        if heard in (Heard.LOUD, Heard.SILENT):
            heard = _deliver(store, chat, alert, now=now, heard=heard)
        if heard in (Heard.QUIET, Heard.CAP, Heard.MUTED):
            store.messages.hold(chat.chat_id, alert.key, why=heard.value, at=now)
    return True


def announce(
    store: Store,
    words: Callable[[tzinfo], str],
    *,
    now: float,
    symbol: str | None = None,
    monitor: str = "whales",
) -> None:
    """One plain line, in the chat's zone, for every chat that hears of the monitor (and of the symbol, if named)."""
    for chat in store.chats.all():
        if chat.levels.get(monitor) == "off" or (symbol and (not chat.follows(symbol) or chat.muted(symbol, now))):
            continue
        message: dict[str, Any] = {"text": words(chat.zone)}
        if preferences.is_quiet(chat, now) or now < chat.muted_until:
            message["disable_notification"] = True
        store.messages.enqueue(chat.chat_id, "sendMessage", addressed(chat, message), now=now, lane=ALERTS)


def _deliver(store: Store, chat: Chat, alert: Alert, *, now: float, heard: Heard) -> Heard:
    """Put the alert into the chat's open bundle or a new message; CAP, and nothing is done, when none may be made.

    An edit makes no sound: a loud alert never hides in a silent message. A silent one joins either.
    """
    for sound in (Heard.LOUD, heard):
        open_id = store.messages.open_bundle(
            chat.chat_id, _bundle(alert, sound), since=now - BUNDLE_SECONDS, until=now
        )
        if open_id is not None:
            store.messages.add_to_bundle(open_id, alert.key)
            store.messages.revise(open_id, {WISH: sound.value}, now=now)
            return sound
    if chat.hourly_cap:
        messages = store.messages.count_since(chat.chat_id, preferences.hour_began(chat, now))
        if preferences.over_cap(chat, messages):
            return Heard.CAP
    bundle = _bundle(alert, heard)
    made = store.messages.enqueue(
        chat.chat_id, "sendMessage", {WISH: heard.value}, now=now, lane=ALERTS, bundle=bundle
    )
    store.messages.add_to_bundle(made, alert.key)
    return heard


def compose(store: Store, delivery: Delivery, *, now: float) -> dict[str, Any] | None:
    """The parameters of a delivery, worded at the moment of sending where it tells of alerts; None: nothing to tell.

    Wording when the alerts come would word the same storm anew with each of them, for each of a thousand chats.
    """
    if WISH not in delivery.payload:
        return delivery.payload
    chat = store.chats.get(delivery.chat_id)
    bundled = [Alert(**body) for body in store.messages.bundle(delivery.parent or delivery.id)]
    if chat is None or not bundled:
        return None  # the chat is gone, or the alerts are older than what is kept
    message = payload(chat, bundled, now=now, heard=Heard(delivery.payload[WISH]))
    if "message_id" in delivery.payload:
        message["message_id"] = delivery.payload["message_id"]
    return message


def _bundle(alert: Alert, heard: Heard) -> str:
    return f"{alert.monitor}:{alert.symbol}:{heard.value}"


def payload(chat: Chat, bundled: Sequence[Alert], *, now: float, heard: Heard) -> dict[str, Any]:
    """The parameters of the chat's message about these alerts of one monitor and symbol."""
    message: dict[str, Any] = {"text": render(bundled, now=now, zone=chat.zone), "parse_mode": "HTML"}
    buttons = _mute_buttons(bundled[0].symbol)
    if buttons:
        message["reply_markup"] = {"inline_keyboard": [buttons]}
    if heard is Heard.SILENT:
        message["disable_notification"] = True
    return addressed(chat, message)


def _mute_buttons(symbol: str) -> list[dict[str, str]]:
    buttons = [
        {"text": f"Mute {symbol} {length.replace('h', ' h')}", "callback_data": f"mute:{symbol}:{length}"}
        for length in ("1h", "24h")
    ]
    # Bot API: 1-64 bytes of data; Gate has contracts with names that are long and not ASCII.
    return buttons if all(len(button["callback_data"].encode()) <= 64 for button in buttons) else []


def addressed(chat: Chat, message: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a message for that chat: into the topic where it was subscribed."""
    return message if chat.thread_id is None else message | {"message_thread_id": chat.thread_id}


def render(bundled: Sequence[Alert], *, now: float, zone: tzinfo) -> str:
    """The message in Telegram HTML. The first line says it all: a phone's preview shows no more."""
    return _single(bundled[0], now, zone) if len(bundled) == 1 else _several(bundled, now, zone)


def _single(alert: Alert, now: float, zone: tzinfo) -> str:
    where = [_link(alert), text.clock(alert.at, now=now, zone=zone)]
    if alert.late:
        where.append(f"late by {text.duration(max(0.0, now - alert.at))}")
    facts = [text.escape(alert.facts)] if alert.facts else []
    return "\n".join([f"<b>{headline(alert)}</b>", *facts, " · ".join(where)])


def headline(alert: Alert) -> str:
    """The first line in Telegram HTML: `BTC buy 2.3M USD at 76,981`, with a coloured mark in front."""
    return f"{MARKS.get(alert.side, '🔵')} {text.escape(alert.headline)}"


def noun(monitor: str) -> str:
    """What one alert of the monitor is called; `text.count` makes more of it."""
    return NOUNS.get(monitor, "alert")


def totals(found: Sequence[Alert]) -> str:
    """`3 whale orders, 8.2M USD, net -1.2M`: what alerts of one monitor come to."""
    monitor = found[0].monitor
    words = [text.count(len(found), noun(monitor))]
    if monitor == "liquidations":
        # Never added up here: the sum of five minutes holds single ones that were told as well.
        biggest = max(found, key=lambda alert: alert.usd)
        words.append(f"the biggest {text.usd(biggest.usd)} USD of {biggest.side}s")
    if monitor == "whales":
        words.append(f"{text.usd(sum(alert.usd for alert in found))} USD")
        net = sum(alert.usd if alert.side == "buy" else -alert.usd for alert in found)
        words.append(f"net {'+' if net >= 0 else '-'}{text.usd(abs(net))}")
    return ", ".join(words)


def _several(bundled: Sequence[Alert], now: float, zone: tzinfo) -> str:
    span, ends = bundled[-1].at - bundled[0].at, text.clock(bundled[-1].at, now=now, zone=zone)
    head = [
        f"<b>{text.escape(bundled[0].symbol)}: {totals(bundled)}</b>",
        f"{_link(bundled[0])} · within {text.duration(max(0.01, span))}, to {ends}",
    ]
    # The newest and the biggest must both be seen: the list keeps time order and drops the smallest first.
    by_size = sorted(bundled, key=lambda alert: alert.usd, reverse=True)
    for most in (LISTED, 12, 6, 3, 1):
        listed = {alert.key for alert in by_size[:most]}
        lines = [*head, *(_line(alert, now, zone) for alert in bundled if alert.key in listed)]
        rest = by_size[most:]
        if rest:
            usd = (
                f", {text.usd(sum(alert.usd for alert in rest))} USD together" if rest[0].monitor == "whales" else ""
            )
            lines.append(f"and {len(rest):,} smaller{usd}")
        if len(text.split("\n".join(lines))) == 1:
            break
    return "\n".join(lines)


def _line(alert: Alert, now: float, zone: tzinfo) -> str:
    late = f" (late by {text.duration(max(0.0, now - alert.at))})" if alert.late else ""
    return f"{text.clock(alert.at, now=now, zone=zone, named=False)} {headline(alert)}{late}"


def _link(alert: Alert) -> str:
    return f'<a href="{text.escape(alert.url)}">{text.escape(alert.venue)}</a>'
