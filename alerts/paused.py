"""A chat in which the bot may not write: its alerts are paused, and whoever started them gets a private message.

The next alert is tried once a day, and when someone changes the bot's rights there. Until then alerts are counted
only, and `/history` lists them. The functions take part in the caller's transaction. Raise StoreError.
"""

from __future__ import annotations

from dataclasses import replace

from base import text
from store import Store
from store.rows import Chat

TRY_EVERY = 86_400.0


def pause(store: Store, chat_id: int, *, now: float) -> None:
    """Pause the alerts of this chat for a day and withdraw those not sent yet; those held back stay."""
    with store.transaction():
        chat = store.chats.get(chat_id)
        if chat is None or not chat.subscribed:
            return
        store.chats.put(replace(chat, paused_until=now + TRY_EVERY))
        store.messages.bury_alerts(chat_id, reason="the bot may not write in this chat", now=now)
        if now - chat.paused_until > TRY_EVERY:  # else it is the same trouble, which is known
            store.messages.post(chat.added_by, "sendMessage", {"text": _words(chat)}, now=now)


def try_again(store: Store, chat_id: int, *, now: float) -> None:
    """Someone changed the bot's rights in this chat: the next alert is sent."""
    chat = store.chats.get(chat_id)
    if chat is not None and chat.paused_until > now:
        store.chats.put(replace(chat, paused_until=now))


def _words(chat: Chat) -> str:
    where = f"the {chat.kind} {text.quoted(chat.title, 64)}" if chat.title else f"chat {chat.chat_id}"
    history = f"/history {chat.address}" if chat.kind == "channel" else "/history there"
    return (
        f"I am not allowed to write in {where}, so its alerts are paused. Ask an admin there to let me send "
        f"messages: I try again when my rights change, and once a day. Then {history} lists what you missed."
    )
