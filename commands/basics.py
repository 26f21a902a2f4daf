"""Commands about the chat and the bot as a whole: start, stop, status, ping, id."""

from __future__ import annotations

from dataclasses import replace

from alerts.held_back import due_at, reasons
from base import text
from botapi.updates import Update
from commands.context import Desk, Reply, Usage
from commands.settings import muted
from store.rows import MONITORS, Chat

LOG_LINES, MOST_LOG_LINES = 300, 5000


def start(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    known = desk.store.chats.get(update.chat_id)
    chat = replace(
        known or Chat(chat_id=update.chat_id, added_by=update.user_id, since=desk.now()),
        kind=update.chat_kind,
        title=text.clip(update.chat_title, 128),
        thread_id=update.thread_id,
        # A group stays the one's who may use the bot: an administrator of it only switches it on again.
        added_by=update.user_id if known is None or desk.access.knows(update.user_id) else known.added_by,
        subscribed=True,
        note="",
    )
    desk.store.chats.put(chat)
    said = "Alerts are on in this chat."
    if known is not None and known.subscribed:
        moved = known.thread_id != chat.thread_id
        said = "Alerts come to this topic now." if moved else "Alerts were on already."
    lines = [said, f"You will hear of {desk.hears(chat)}.", *_off_or_muted(desk, chat), ""]
    if not update.private:
        lines.append("Who may use this bot, and this group's administrators, can change what comes.")
    if chat.timezone == "UTC":
        lines.append("Times are UTC; /timezone Berlin shows them in your zone.")
    lines.append("Change what comes: /settings. All commands: /help. End it: /stop.")
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
    # The bot's own state, its machine's name in it, is not for everyone who administers a group.
    bots = desk.status(desk.zone(update)) if desk.access.knows(update.user_id) else []
    return [Reply(text="\n".join([*bots, *_chat_status(desk, update)]))]


def logs(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    """Always to the owner's own chat: a log names chats and people, which is nothing for a group."""
    word = arguments[0] if arguments else str(LOG_LINES)
    if len(arguments) > 1 or not (word.isascii() and word.isdigit()) or not 1 <= int(word[:6]) <= MOST_LOG_LINES:
        raise Usage(f"I need a number of lines from 1 to {MOST_LOG_LINES:,}.")
    wish = {"kind": "log", "lines": int(word)}
    said = f"The last {text.count(int(word), 'line')} of the log"
    replies = [Reply(text=said, chat_id=update.user_id, method="sendDocument", attachment=wish)]
    return replies if update.private else [*replies, Reply(text="The log comes to our private chat.")]


def _chat_status(desk: Desk, update: Update) -> list[str]:
    chat = desk.store.chats.get(update.chat_id)
    if chat is None or not chat.subscribed:
        note = f" ({chat.note})" if chat is not None and chat.note else ""
        lines = [f"This chat: alerts are off{note}."]
    else:
        lines = [f"This chat hears of {desk.hears(chat)}.", *_kept_back(desk, chat)]
    if desk.is_owner(update):
        lost = [chat for chat in desk.store.chats.all(subscribed=False) if chat.note]
        lines += [f"Chat {chat.chat_id} {text.clip(chat.title, 32)}: {chat.note}" for chat in lost[-5:]]
    return lines


def _off_or_muted(desk: Desk, chat: Chat) -> list[str]:
    off = [monitor for monitor in MONITORS if chat.levels.get(monitor) == "off"]
    return [*([f"Off: {', '.join(off)}."] if off else []), *muted(desk, chat)]


def _kept_back(desk: Desk, chat: Chat) -> list[str]:
    """What does not come as a message just now, and why: nothing is suppressed in silence."""
    now, lines = desk.now(), _off_or_muted(desk, chat)
    count = desk.store.messages.muted_since(chat.chat_id, now - 86400)
    if count:
        lines.append(f"Came during a mute in 24 h: {text.count(count, 'alert')} (/history).")
    waiting = desk.store.messages.held(chat.chat_id)
    if waiting:
        told = text.clock(due_at(chat, waiting, now=now), now=now, zone=chat.zone)
        lines.append(
            f"Held back: {text.count(len(waiting), 'alert')} ({reasons(waiting)}), told at {told} or soon after."
        )
    return lines
