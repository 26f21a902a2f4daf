"""An alert becomes messages: bundled when several come at once, worded for each chat, or held back.

Several alerts of one monitor and coin within a minute share one message in a chat, which is edited: a storm cannot
flood a phone, and no alert is left out. Price alerts, which a chat asked for, share one for seconds only, because an
edit makes no sound. `publish` and `announce` run inside the caller's store transaction.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from typing import Any

from alerts import wording
from alerts.preferences import HELD, Outcome, decide, hour_began, is_quiet, wants
from base import text
from botapi.storage import ALERTS, Delivery
from store import Store
from store.levels import level_of
from store.readable import UNREADABLE
from store.rows import ANY_TOPIC, Alert, Chat

log = logging.getLogger(__name__)

BUNDLE_SECONDS, PRICES_SECONDS = 60.0, 5.0
AT_ONCE = 1000  # chats in one transaction
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
        _spread(store, {"alert": vars(alert), "default_min": default_min}, now=now)
    elif (asked := _one(store, only, asked=True)) is not None:
        _tell(store, [asked], alert, now=now, default_min=default_min)
    for place in store.places.all():
        chat = _one(store, place.chat_id, asked=only is not None) if only in (None, place.chat_id) else None
        if place.state == "on" and chat is not None and wants(chat, alert, default_min=default_min):
            store.places.enqueue(place.id, alert)
    return True


def _one(store: Store, chat_id: int, *, asked: bool) -> Chat | None:
    """The chat, if it gets alerts; of what it asked for those of every coin."""
    chat = store.chats.get(chat_id)
    if chat is None or not chat.subscribed:
        return None
    return replace(chat, symbols=None) if asked else chat


def announce(
    store: Store, line: Callable[[tzinfo], str], *, now: float, symbol: str | None = None, monitor: str = "whales"
) -> None:
    """Send one plain line, worded for a zone, to every chat with alerts of the monitor (and the coin, if named).

    Raises StoreError.
    """
    lines = {chat.timezone: line(chat.zone) for chat in store.chats.kinds()}
    _spread(store, {"lines": lines, "symbol": symbol, "monitor": monitor}, now=now)


# To many chats


def _spread(store: Store, what: Mapping[str, Any], *, now: float) -> None:
    """Enqueue this for the chats that are first in turn; `go_on` does it for the others, so that commands get theirs.

    what: for `_enqueue_for`. Whatever came before it is finished first: each chat gets all in order.
    """
    chats = store.chats.some(limit=AT_ONCE)
    if len(chats) == AT_ONCE and store.fan_out.unfinished() is not None:
        store.fan_out.go_on_later(json.dumps(what))
        return
    _enqueue_for(store, chats, what, now=now)
    if len(chats) == AT_ONCE:
        store.fan_out.go_on_later(json.dumps(what), last=_turn(chats[-1]))


def go_on(store: Store, *, now: float) -> bool:
    """Enqueue what is not finished for the next chats, in one transaction. True if there may be more to do.

    Raises StoreError.
    """
    if store.fan_out.unfinished() is None:
        return False
    with store.transaction():
        found = store.fan_out.unfinished()
        if found is None:
            return False
        chats = store.chats.some(after=found.last, limit=AT_ONCE)
        try:
            _enqueue_for(store, chats, json.loads(found.what), now=now)
        except UNREADABLE:  # it would be tried for ever
            log.exception("What waits for %d chats or more cannot be read and is dropped", len(chats))
            chats = []
        if len(chats) < AT_ONCE:
            store.fan_out.done(found.id)
        else:
            store.fan_out.came_to(found.id, _turn(chats[-1]))
    return True


def _turn(chat: Chat) -> tuple[float, int]:
    return chat.since, chat.chat_id


def _enqueue_for(store: Store, chats: Sequence[Chat], what: Mapping[str, Any], *, now: float) -> None:
    if "alert" in what:
        _tell(store, chats, Alert(**what["alert"]), now=now, default_min=what["default_min"])
        return
    lines, symbol, monitor = what["lines"], what["symbol"], what["monitor"]
    for chat in chats:
        if chat.levels.get(monitor) == "off" or (symbol and (not chat.follows(symbol) or chat.muted(symbol, now))):
            continue
        silent = is_quiet(chat, now) or chat.muted_for(now) > 0
        words = lines.get(chat.timezone) or next(iter(lines.values()))
        enqueue(store, chat, words, now=now, silent=silent)


def _tell(store: Store, chats: Sequence[Chat], alert: Alert, *, now: float, default_min: float) -> None:
    """Put the alert into the chats' open bundles or new messages, or hold it back, as each chat wants it.

    An edit makes no sound: a loud alert never hides in a silent message. A silent one joins either.
    """
    chosen: dict[Outcome, list[Chat]] = defaultdict(list)
    for chat in chats:
        chosen[decide(chat, alert, now=now, default_min=default_min)].append(chat)
    topic = "" if alert.topic == ANY_TOPIC else f":{alert.topic}"
    bundles = {
        sound: f"{alert.monitor}:{alert.symbol}:{sound.value}{topic}" for sound in (Outcome.LOUD, Outcome.SILENT)
    }
    since = now - (PRICES_SECONDS if alert.monitor == "prices" else BUNDLE_SECONDS)
    messages: list[int] = []
    for sound in bundles:
        left = chosen[sound]
        for other in dict.fromkeys((Outcome.LOUD, sound)):
            ids = [chat.chat_id for chat in left]
            found = store.fan_out.open_bundles(ids, bundles[other], since=since, until=now)
            store.messages.revise(found.values(), {SOUND: other.value}, now=now)
            messages += found.values()
            left = [chat for chat in left if chat.chat_id not in found]
        full = _over_limit(store, left, now=now)
        chosen[Outcome.CAP] += [chat for chat in left if chat.chat_id in full]
        ids = [chat.chat_id for chat in left if chat.chat_id not in full]
        messages += store.fan_out.enqueue(ids, {SOUND: sound.value}, bundle=bundles[sound], now=now)
    store.fan_out.add_to_bundles(messages, alert.key)
    for why in HELD:
        store.fan_out.hold([chat.chat_id for chat in chosen[why]], alert.key, why=why.value, at=now)


def _over_limit(store: Store, chats: Sequence[Chat], *, now: float) -> set[int]:
    """Those of the chats that have had all messages of this hour."""
    began = {chat.chat_id: hour_began(chat, now) for chat in chats if chat.hourly_cap}
    made = store.fan_out.made_between(began, min(began.values(), default=now), now)
    of_hour = Counter(chat_id for chat_id, at in made if at >= began[chat_id])
    return {chat.chat_id for chat in chats if chat.chat_id in began and of_hour[chat.chat_id] >= chat.hourly_cap}


def enqueue(store: Store, chat: Chat, words: str, *, now: float, silent: bool, html: bool = False) -> None:
    """Send a text to a chat, into its topic, in as many messages as it needs. silent: without a sound."""
    form: dict[str, Any] = {"parse_mode": "HTML"} if html else {}
    if silent:
        form["disable_notification"] = True
    for part in text.split(words):
        message = addressed(chat.thread_id, {"text": part, **form})
        store.messages.post(chat.chat_id, "sendMessage", message, now=now, lane=ALERTS)


def compose(store: Store, delivery: Delivery, *, now: float) -> dict[str, Any] | None:
    """The parameters of a delivery; alerts are worded here, at the moment of sending. None: nothing left to send.

    Wording alerts when they come would word the same storm again with each of them, for each of a thousand chats.
    """
    if SOUND not in delivery.payload:
        return delivery.payload
    chat, bundled = store.messages.bundle(delivery)
    if chat is None:
        return None  # the chat is gone, or the alerts are older than what is kept
    try:
        message = payload(chat, bundled, now=now, sound=Outcome(delivery.payload[SOUND]))
    except UNREADABLE:  # it would be tried for ever, and block its chat
        log.exception("A message to chat %d cannot be worded and is dropped", delivery.chat_id)
        return None
    if "message_id" in delivery.payload:
        message["message_id"] = delivery.payload["message_id"]
    return message


def payload(chat: Chat, bundled: Sequence[Alert], *, now: float, sound: Outcome) -> dict[str, Any]:
    """The Bot API's sendMessage parameters for a chat's message about these alerts of one monitor and coin."""
    message: dict[str, Any] = {"text": wording.message(bundled, now=now, zone=chat.zone), "parse_mode": "HTML"}
    first = bundled[0]
    buttons = _snooze_buttons(bundled) or _mute_buttons(first.symbol)
    if buttons and chat.kind != "channel":  # its readers cannot use them
        message["reply_markup"] = {"inline_keyboard": [buttons]}
    if sound is Outcome.SILENT:
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
