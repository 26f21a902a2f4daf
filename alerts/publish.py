"""An alert becomes messages: bundled when several come at once, worded for each chat, or held back.

Several alerts of one monitor and coin within a minute share one message in a chat, which is edited: a storm cannot
flood a phone, and no alert is left out. `publish` and `announce` run inside the caller's store transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Any

from alerts import wording
from alerts.preferences import HELD, Heard, decide, hour_began, is_quiet, wants
from base import text
from botapi.storage import ALERTS, Delivery
from store import Store
from store.readable import UNREADABLE
from store.rows import ANY_TOPIC, Alert, Chat, level_of

log = logging.getLogger(__name__)

BUNDLE_SECONDS = 60.0
SNOOZES = {"Snooze 1 h": "1h", "4 h": "4h", "Tomorrow": "tomorrow"}  # a button's words -> what is typed for it
SOUND = "alerts"  # in a delivery's payload: it is about the alerts bundled under it, and as loud as the value says


def publish(store: Store, alert: Alert, *, now: float, default_min: float, only: int | None = None) -> bool:
    """Keep an alert and enqueue it for the chats and places that want it. False if it was known: nothing is done.

    default_min: US dollars, the threshold of chats that set none. only: the one chat whose alert it is; it asked for
    this, whatever coins it follows. Raises StoreError.
    """
    if not store.messages.add_alert(alert, now=now):
        return False
    if only is None:
        chats = store.chats.all()
    else:
        chat = store.chats.get(only)
        chats = [replace(chat, symbols=None)] if chat is not None and chat.subscribed else []
    for chat in chats:
        heard = decide(chat, alert, now=now, default_min=default_min)
        if heard in (Heard.LOUD, Heard.SILENT):
            heard = _deliver(store, chat, alert, now=now, heard=heard)
        if heard in HELD:
            store.messages.hold(chat.chat_id, alert.key, why=heard.value, at=now)
    for place in store.places.all():
        owners = [chat for chat in chats if chat.chat_id == place.chat_id]
        if place.state == "on" and any(wants(chat, alert, default_min=default_min) for chat in owners):
            store.places.enqueue(place.id, alert)
    return True


def _deliver(store: Store, chat: Chat, alert: Alert, *, now: float, heard: Heard) -> Heard:
    """Put the alert into the chat's open bundle or a new message; CAP, and nothing is done, over the hourly limit.

    An edit makes no sound: a loud alert never hides in a silent message. A silent one joins either.
    """
    for sound in (Heard.LOUD, heard):
        topic = "" if alert.topic == ANY_TOPIC else f":{alert.topic}"
        bundle = f"{alert.monitor}:{alert.symbol}:{sound.value}{topic}"
        open_id = store.messages.open_bundle(chat.chat_id, bundle, since=now - BUNDLE_SECONDS, until=now)
        if open_id is not None:
            store.messages.add_to_bundle(open_id, alert.key)
            store.messages.revise(open_id, {SOUND: sound.value}, now=now)
            return sound
    if chat.hourly_cap and store.messages.count_between(chat.chat_id, hour_began(chat, now), now) >= chat.hourly_cap:
        return Heard.CAP
    message = {SOUND: heard.value}
    made = store.messages.enqueue(chat.chat_id, "sendMessage", message, now=now, lane=ALERTS, bundle=bundle)
    store.messages.add_to_bundle(made, alert.key)
    return heard


def announce(
    store: Store,
    line: Callable[[tzinfo], str],
    *,
    now: float,
    symbol: str | None = None,
    monitor: str = "whales",
) -> None:
    """Send one plain line, worded for a zone, to every chat with alerts of the monitor (and the coin, if named).

    Raises StoreError.
    """
    for chat in store.chats.all():
        if chat.levels.get(monitor) == "off" or (symbol and (not chat.follows(symbol) or chat.muted(symbol, now))):
            continue
        silent = is_quiet(chat, now) or chat.muted_for(now) > 0
        enqueue(store, chat, line(chat.zone), now=now, silent=silent)


def enqueue(store: Store, chat: Chat, words: str, *, now: float, silent: bool, html: bool = False) -> None:
    """Send a text to a chat, into its topic, in as many messages as it needs. silent: without a sound."""
    form: dict[str, Any] = {"parse_mode": "HTML"} if html else {}
    if silent:
        form["disable_notification"] = True
    for part in text.split(words):
        message = addressed(chat.thread_id, {"text": part, **form})
        store.messages.enqueue(chat.chat_id, "sendMessage", message, now=now, lane=ALERTS)


def compose(store: Store, delivery: Delivery, *, now: float) -> dict[str, Any] | None:
    """The parameters of a delivery; alerts are worded here, at the moment of sending. None: nothing left to send.

    Wording alerts when they come would word the same storm again with each of them, for each of a thousand chats.
    """
    if SOUND not in delivery.payload:
        return delivery.payload
    chat = store.chats.get(delivery.chat_id)
    bundled = store.messages.bundle(delivery.parent or delivery.id)
    if chat is None or not bundled:
        return None  # the chat is gone, or the alerts are older than what is kept
    try:
        message = payload(chat, bundled, now=now, heard=Heard(delivery.payload[SOUND]))
    except UNREADABLE:  # it would be tried for ever, and block its chat
        log.exception("A message to chat %d cannot be worded and is dropped", delivery.chat_id)
        return None
    if "message_id" in delivery.payload:
        message["message_id"] = delivery.payload["message_id"]
    return message


def payload(chat: Chat, bundled: Sequence[Alert], *, now: float, heard: Heard) -> dict[str, Any]:
    """The Bot API's sendMessage parameters for a chat's message about these alerts of one monitor and coin."""
    message: dict[str, Any] = {"text": wording.message(bundled, now=now, zone=chat.zone), "parse_mode": "HTML"}
    first = bundled[0]
    buttons = _snooze_buttons(bundled) or _mute_buttons(first.symbol)
    if buttons and chat.kind != "channel":  # its readers cannot use them
        message["reply_markup"] = {"inline_keyboard": [buttons]}
    if heard is Heard.SILENT:
        message["disable_notification"] = True
    return addressed(chat.topic(first.monitor, first.symbol, first.topic), message)


def _snooze_buttons(bundled: Sequence[Alert]) -> list[dict[str, str]]:
    """Those of alerts that the chat asked for; none for other alerts, or for more of them than a button can carry."""
    numbers = ",".join(dict.fromkeys(map(level_of, bundled)))
    buttons = [{"text": label, "callback_data": f"snooze:{numbers}:{length}"} for label, length in SNOOZES.items()]
    return buttons if numbers and all(fits(button["callback_data"]) for button in buttons) else []


def _mute_buttons(symbol: str) -> list[dict[str, str]]:
    buttons = [
        {"text": f"Mute {symbol} {length.replace('h', ' h')}", "callback_data": f"mute:{symbol}:{length}"}
        for length in ("1h", "24h")
    ]
    # Gate has contracts with names that are long and not ASCII.
    return buttons if all(fits(button["callback_data"]) for button in buttons) else []


def fits(data: str) -> bool:
    """May a button carry this? Bot API InlineKeyboardButton.callback_data: 1 to 64 bytes."""
    return len(data.encode()) <= 64


def addressed(topic: int | None, message: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a message with the topic that it goes to."""
    return message if topic is None else message | {"message_thread_id": topic}
