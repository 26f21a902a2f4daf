"""Channels: everything about one is done in the private chat of whoever added the bot there.

Commands typed in a channel do not reach the bot, and its readers are not to see its settings. So a command in private
may name a channel (`/threshold @news BTC 2m`; its id where it has no name), and /settings has a button for each.
"""

from __future__ import annotations

import re
from dataclasses import replace

from access import SHUT_OUT
from alerts.publish import fits
from base import text
from botapi.updates import Update
from commands import basics
from commands.context import RUN, Button, Context, Keyboard, Reply, Usage, run_button
from store.rows import Chat

VERB = "channel"
NAMED = re.compile(r"@\w{1,64}|-100\d{6,}", re.ASCII)
MOST_LISTED = 20
# Commands in an answer that would change the private chat. An exported text is for another chat.
_COMMANDS = re.compile(
    r"(?<![\w/>])/(alert|cap|digest|level|mute|quiet|schedule|settings|side|start|stop|threshold|timezone|unwatch|watch)"
    r"\b(?! (?:@|-100|export\b|import\b))"
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
        return [Reply(text=f"{_named(chat)}: {words}", chat_id=update.user_id)]
    row = (("Yes", f"{VERB}:yes:{chat.chat_id}"), ("No", f"{VERB}:no:{chat.chat_id}"))
    asked = f"{_named(chat)}: I can post there now. Shall alerts go there?"
    return [Reply(text=asked, chat_id=update.user_id, keyboard=(row,))]


def removed(context: Context, update: Update) -> list[Reply]:
    """The bot was removed: tell whoever added it to this channel, if somebody else did that. Nobody sees it there."""
    chat = context.store.chats.get(update.chat_id)
    if chat is None or chat.kind != "channel" or not chat.subscribed or chat.added_by == update.user_id:
        return []
    return [Reply(text=f"{_named(chat)}: I was removed from it, so its alerts have ended.", chat_id=chat.added_by)]


def press(context: Context, update: Update, rest: str) -> list[Reply]:
    """Yes or no to the question of `joined`. Returns nothing for data that is not from our buttons."""
    answer, _, named = rest.partition(":")
    chat = _find(context, update, named)
    if chat is None or answer not in ("yes", "no"):
        return []
    if answer == "yes":
        said = aimed(basics.start(context, aim(update, chat), []), chat)[0]
    elif chat.subscribed:
        said = Reply(text=f"{_named(chat)}: alerts are on. Turn them off: /stop {chat.address}")
    else:
        said = Reply(text=f"{_named(chat)}: no alerts go there. Turn them on: /start {chat.address}")
    return [Reply(text="", toast=True), replace(said, edit=True)]


def named_first(context: Context, update: Update, typed: str) -> tuple[Chat | None, str]:
    """The channel that is named first (None: none is), and the rest. Raises Usage for one of others."""
    name, *rest = typed.split(maxsplit=1) or [""]
    if not update.private or not NAMED.fullmatch(name):
        return None, typed
    chat = _find(context, update, name)
    if chat is None:
        raise Usage(
            f"{text.clip(name, 40)} is not a channel that you added me to. Add me there as an admin who may post "
            "messages; /settings lists your channels"
        )
    return chat, "".join(rest)


def button(context: Context, update: Update, rest: str) -> tuple[Chat | None, str]:
    """The channel that a settings button is about (None: the chat itself), and the rest of its data."""
    first, _, more = rest.partition(":")
    if not NAMED.fullmatch(first):
        return None, rest
    chat = _find(context, update, first)
    return chat, more if chat is not None else ""


def aim(update: Update, chat: Chat) -> Update:
    """The update as if it had been sent in the channel."""
    return replace(
        update,
        chat_id=chat.chat_id,
        chat_kind="channel",
        chat_title=chat.title,
        chat_handle=chat.handle,
        thread_id=None,
    )


def aimed(replies: list[Reply], chat: Chat) -> list[Reply]:
    """Answers to a command about a channel, for the private chat: they name it, and their buttons are about it."""
    return [reply if reply.toast else _aimed(reply, chat) for reply in replies]


def listed(context: Context, update: Update) -> Keyboard:
    """A button for each channel of whoever sent this: its settings, or alerts on where they are off."""
    found = [chat for chat in _own(context, update) if update.private]
    return tuple((_listed(chat),) for chat in found[:MOST_LISTED])


def _listed(chat: Chat) -> Button:
    title = text.clip(chat.title or chat.address, 32)
    if chat.subscribed:
        return f"Channel {title} ›", f"s:{chat.chat_id}:main"
    return run_button(f"Channel {title}: turn on", f"start {chat.chat_id}")


def _aimed(reply: Reply, chat: Chat) -> Reply:
    rows = [[(label, _about(data, chat)) for label, data in row] for row in reply.keyboard]
    keyboard = tuple(tuple(one for one in row if one[1] and fits(one[1])) for row in rows)
    name = text.escape(_named(chat)) if reply.html else _named(chat)
    words = _COMMANDS.sub(rf"/\1 {chat.address}", reply.text)
    return replace(reply, text=f"{name}\n{words}", keyboard=tuple(row for row in keyboard if row))


def _about(data: str, chat: Chat) -> str:
    """What a button does, done to the channel; "" for one that cannot be."""
    verb, _, rest = data.partition(":")
    if verb == RUN:
        name, _, arguments = rest.partition(" ")
        return f"{verb}:{name} {chat.chat_id} {arguments}".rstrip()
    return f"{verb}:{chat.chat_id}:{rest}" if verb == "s" else ""


def _own(context: Context, update: Update) -> list[Chat]:
    """The channels that this person added the bot to (the owner: all) and that it is in."""
    chats, owner = context.store.chats, context.is_owner(update)
    return [
        chat
        for chat in (*chats.all(), *chats.all(subscribed=False))
        if chat.kind == "channel"
        and (owner or chat.added_by == update.user_id)
        and (chat.subscribed or chat.note in ("", SHUT_OUT))
    ]


def _find(context: Context, update: Update, named: str) -> Chat | None:
    if not update.private:
        return None
    wanted = named.lower()
    return next((chat for chat in _own(context, update) if wanted in (str(chat.chat_id), chat.address.lower())), None)


def _named(chat: Chat) -> str:
    return f"Channel {text.quoted(chat.title, 64)}" if chat.title else f"Channel {chat.address}"
