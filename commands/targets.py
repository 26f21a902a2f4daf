"""The chat that a command is about: where it was sent, or in private a channel that it names first."""

from __future__ import annotations

import re
from dataclasses import replace

from access import SHUT_OUT
from base import text
from botapi.updates import Update
from commands.context import Button, Context, Keyboard, Usage, run_button
from store.rows import Chat

NAMED = re.compile(r"@\w{1,64}|-100\d{6,}", re.ASCII)
MOST_LISTED = 20


def named_first(context: Context, update: Update, typed: str) -> tuple[Chat | None, str]:
    """The channel that is named first (None: none is), and the rest. Raises Usage for one of others, and for one of
    one's own that is named last."""
    name, *rest = typed.split(maxsplit=1) or [""]
    if not update.private or not NAMED.fullmatch(name):
        *before, last = typed.rsplit(maxsplit=1) or [""]
        if before and NAMED.fullmatch(last) and find(context, update, last) is not None:
            raise Usage("The channel comes first.", meant=[f"{last} {before[0]}"])
        return None, typed
    chat = find(context, update, name)
    if chat is None:
        raise Usage(
            f"{text.clip(name, 40)} is not a channel that you added me to. Add me there as an admin who may post "
            "messages; /settings lists your channels"
        )
    return chat, "".join(rest)


def of_no_chat(context: Context, update: Update, command: str, typed: str) -> str:
    """What is said where a channel is named for a command that shows markets; "" where none is."""
    words = typed.split()
    name = next((word for word in words if NAMED.fullmatch(word) and find(context, update, word)), None)
    if name is None:
        return ""
    bare = " ".join([command, *(word for word in words if word != name)])
    return (
        f"/{command} is the same for every chat, so leave {name} out: /{bare}\n"
        f"To have it posted there: /schedule {name} 09:00 {bare}"
    )


def button(context: Context, update: Update, rest: str) -> tuple[Chat | None, str]:
    """The channel that a settings button is about (None: the chat itself), and the rest of its data."""
    first, _, more = rest.partition(":")
    if not NAMED.fullmatch(first):
        return None, rest
    chat = find(context, update, first)
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


def listed(context: Context, update: Update) -> Keyboard:
    """A button for each channel of whoever sent this: its settings, or alerts on where they are off."""
    found = [chat for chat in _own(context, update) if update.private]
    return tuple((_listed(chat),) for chat in found[:MOST_LISTED])


def _listed(chat: Chat) -> Button:
    title = text.clip(chat.title or chat.address, 32)
    if chat.subscribed:
        return f"Channel {title} ›", f"s:{chat.chat_id}:main"
    return run_button(f"Channel {title}: turn on", f"start {chat.chat_id}")


def find(context: Context, update: Update, named: str) -> Chat | None:
    if not update.private:
        return None
    wanted = named.lower()
    return next((chat for chat in _own(context, update) if wanted in (str(chat.chat_id), chat.address.lower())), None)


def _own(context: Context, update: Update) -> list[Chat]:
    """The channels that this person added the bot to (the owner: all) and that it is in."""
    found = context.store.chats.channels(None if context.is_owner(update) else update.user_id)
    return [chat for chat in found if chat.subscribed or chat.note in ("", SHUT_OUT)]


def named(chat: Chat) -> str:
    return f"Channel {text.quoted(chat.title, 64)}" if chat.title else f"Channel {chat.address}"
