"""Commands about the chat and the bot as a whole: start, stop, status, ping, id."""

from __future__ import annotations

from dataclasses import replace

import text
from access import Update
from desk import Desk, Reply
from store import Chat


def start(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    known = desk.store.chat(update.chat_id)
    chat = replace(
        known or Chat(chat_id=update.chat_id, added_by=update.user_id, since=desk.now()),
        kind=update.chat_kind,
        title=text.clip(update.chat_title, 128),
        thread_id=update.thread_id,
        added_by=update.user_id,
        subscribed=True,
        note="",
    )
    desk.store.put_chat(chat)
    lines = [
        "Whale alerts are on in this chat." if known is None or not known.subscribed else "Alerts were on already.",
        f"You will hear of {desk.hears(chat)}.",
        "",
        "Change it: /threshold BTC 2m, /unwatch DOGE, /mute 2h. All commands: /help. End it: /stop.",
    ]
    return [Reply(text="\n".join(lines))]


def stop(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    if desk.subscribed(update) is None:
        return [Reply(text="Alerts were off already. /start switches them on.")]
    desk.store.unsubscribe(update.chat_id, note="")
    return [Reply(text="Alerts are off in this chat. Your settings stay; /start switches them on again.")]


def ping(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    return [Reply(text=text.clip(" ".join(["pong", *arguments]), 4000))]


def id_(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    topic = f", topic {update.thread_id}" if update.thread_id else ""
    return [Reply(text=f"Your id is {update.user_id}; this chat is {update.chat_id}{topic}.")]


def status(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    return [Reply(text="\n".join([*desk.status(desk.zone(update)), *_chat_status(desk, update)]))]


def _chat_status(desk: Desk, update: Update) -> list[str]:
    chat = desk.store.chat(update.chat_id)
    if chat is None or not chat.subscribed:
        note = f" ({chat.note})" if chat is not None and chat.note else ""
        lines = [f"This chat: alerts are off{note}."]
    else:
        now = desk.now()
        muted = [symbol for symbol, until in chat.symbol_mutes.items() if until > now]
        lines = [f"This chat hears of {desk.hears(chat)}."]
        if chat.muted_until > now:
            lines.append(f"Muted until {text.clock(chat.muted_until, now=now, zone=chat.zone)}.")
        elif muted:
            lines.append(f"Muted: {', '.join(sorted(muted))}.")
    if desk.is_owner(update):
        lost = [chat for chat in desk.store.chats(subscribed=False) if chat.note]
        lines += [f"Chat {chat.chat_id} {text.clip(chat.title, 32)}: {chat.note}" for chat in lost[-5:]]
    return lines
