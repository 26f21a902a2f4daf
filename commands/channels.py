"""Channels: everything about one is done in the private chat of whoever added the bot there.

Commands typed in a channel do not reach the bot, and its readers are not to see its settings. So a command in private
may name a channel (`/threshold @news BTC 2m`; its id where it has no name), and /settings has a button for each.
"""

from __future__ import annotations

import re
from dataclasses import replace

from alerts.publish import fits
from base import text
from botapi.updates import Update
from commands import basics
from commands.context import RUN, Context, Reply
from commands.table import TABLE
from commands.targets import aim, find, named
from store.rows import Chat

VERB = "channel"
# What is said to a chat about itself, where it is about a channel.
_WORDS = {"this chat": "this channel", "This chat": "This channel", "You get:": "It gets:"}
_WORDS |= {"Your settings are kept": "Its settings are kept"}
# Commands in an answer that would change or show the private chat. An exported text is for another chat.
_COMMANDS = re.compile(
    rf"(?<![\w/>])/({'|'.join(row.name for row in TABLE if row.of_chat)})\b(?! (?:@|-100|export\b|import\b))"
)


def joined(context: Context, update: Update) -> list[Reply]:
    """Someone who may use the bot added it to a channel, or let it post there: ask them in private about alerts."""
    known = context.store.chats.get(update.chat_id)
    if known is not None and known.subscribed:
        return []
    chat = replace(
        known or Chat(chat_id=update.chat_id, added_by=update.user_id, since=context.now()),
        kind="channel",
        title=text.clip(update.chat_title, 128),
        handle=update.chat_handle,
        added_by=update.user_id,
        subscribed=False,
        note="",
    )
    context.store.chats.put(chat)
    if not update.posts:
        words = (
            "I am in it now, but I am not allowed to post there. Let me post messages, and I ask you about alerts."
        )
        return [Reply(text=f"{named(chat)}: {words}", chat_id=update.user_id)]
    row = (("Yes", f"{VERB}:yes:{chat.chat_id}"), ("No", f"{VERB}:no:{chat.chat_id}"))
    asked = f"{named(chat)}: I can post there now. Shall alerts go there?"
    return [Reply(text=asked, chat_id=update.user_id, keyboard=(row,))]


def removed(context: Context, update: Update) -> list[Reply]:
    """The bot was removed: tell whoever added it to this channel, if somebody else did that. Nobody sees it there."""
    chat = context.store.chats.get(update.chat_id)
    if chat is None or chat.kind != "channel" or not chat.subscribed or chat.added_by == update.user_id:
        return []
    return [Reply(text=f"{named(chat)}: I was removed from it, so its alerts have ended.", chat_id=chat.added_by)]


def press(context: Context, update: Update, rest: str) -> list[Reply]:
    """Yes or no to the question of `joined`. Returns nothing for data that is not from our buttons."""
    answer, _, which = rest.partition(":")
    chat = find(context, update, which)
    if chat is None or answer not in ("yes", "no"):
        return []
    if answer == "yes":
        said = aimed(basics.start(context, aim(update, chat), []), chat)[0]
    elif chat.subscribed:
        said = Reply(text=f"{named(chat)}: alerts are on. Turn them off: /stop {chat.address}")
    else:
        said = Reply(text=f"{named(chat)}: no alerts go there. Turn them on: /start {chat.address}")
    return [Reply(text="", toast=True), replace(said, edit=True)]


def aimed(replies: list[Reply], chat: Chat) -> list[Reply]:
    """Answers to a command about a channel, for the private chat: they name it, and their buttons are about it."""
    return [reply if reply.toast else _aimed(reply, chat) for reply in replies]


def _aimed(reply: Reply, chat: Chat) -> Reply:
    rows = [[(label, _about(data, chat)) for label, data in row] for row in reply.keyboard]
    keyboard = tuple(tuple(one for one in row if one[1] and fits(one[1])) for row in rows)
    name = text.escape(named(chat)) if reply.html else named(chat)
    words = _COMMANDS.sub(rf"/\1 {chat.address}", reply.text)
    words = re.sub("|".join(_WORDS), lambda found: _WORDS[found[0]], words)
    return replace(reply, text=f"{name}\n{words}", keyboard=tuple(row for row in keyboard if row))


def _about(data: str, chat: Chat) -> str:
    """What a button does, done to the channel; "" for one that cannot be."""
    verb, _, rest = data.partition(":")
    if verb == RUN:
        name, _, arguments = rest.partition(" ")
        return f"{verb}:{name} {chat.chat_id} {arguments}".rstrip()
    return f"{verb}:{chat.chat_id}:{rest}" if verb == "s" else ""
