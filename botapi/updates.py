"""A Bot API Update in the bot's own terms. Source of the shapes: core.telegram.org/bots/api, Update."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from base import text
from base.secrets import redact

GONE = ("left", "kicked")
_OUT = re.compile(r"/out(@\w+)?\s+add\s+\S+(\s+\S+)?\s*$", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Update:
    """One Bot API Update in the bot's own terms.

    kind: `message`, `edited` (a message was changed), `callback` (a button), `membership` (the bot's own status in a
    chat changed), `inline` (someone types `@bot btc` in some chat), `migration` (a group became a supergroup),
    `schedule` (a scheduled command, which nobody sent) or `other`. `at` is Telegram's time in unix seconds, 0 if
    unknown. Names are one line; the only @ in `user_name` is before the person's user name. `chat_handle`: the chat's
    @name without the @, "" if it has none. `status`, of a membership: one of GONE, `member` when the bot came (to a
    channel: also when it may post since then), else "". `posts`: may the bot post in this channel?
    """

    update_id: int
    kind: str = "other"
    chat_id: int = 0
    chat_kind: str = ""
    chat_title: str = ""
    chat_handle: str = ""
    thread_id: int | None = None
    user_id: int = 0
    user_name: str = ""
    text: str = ""
    at: float = 0.0
    message_id: int | None = None
    callback_id: str = ""
    status: str = ""
    posts: bool = True
    migrate_to: int | None = None
    as_group: bool = False  # an administrator wrote as the group itself; Telegram lets nobody else do that

    @property
    def private(self) -> bool:
        return self.chat_kind == "private"


def parse(raw: dict[str, Any]) -> Update:
    """Our Update from a Bot API Update object. Raises KeyError, TypeError or ValueError when it is malformed.

    Only commands that a person typed count: forwarded and inline-bot messages and captions are `other`.
    """
    raw = _present(raw)
    fields = next((read(raw[part]) for part, read in _PARTS.items() if part in raw), {})
    return Update(update_id=int(raw["update_id"]), **fields)


def _callback(query: dict[str, Any]) -> dict[str, Any]:
    message = query.get("message") or {}
    within_reach = message.get("date") != 0  # Bot API InaccessibleMessage: it can be answered, not edited
    return {
        "kind": "callback",
        "callback_id": str(query["id"]),
        "text": _words(query.get("data")),
        "message_id": message.get("message_id") if within_reach else None,
        "thread_id": _thread(message),
        **_chat(message["chat"]),
        **_person(query["from"]),
    }


def _inline(query: dict[str, Any]) -> dict[str, Any]:
    person, words = _person(query["from"]), _words(query.get("query"))
    there = {"chat_id": person["user_id"], "chat_kind": "private"}
    return {"kind": "inline", "callback_id": str(query["id"]), "text": words, **there, **person}


def _membership(change: dict[str, Any]) -> dict[str, Any]:
    status = str(change["new_chat_member"]["status"])
    came = str(change["old_chat_member"]["status"]) in GONE and status in ("member", "administrator")
    posts = True
    if str(change["chat"]["type"]) == "channel":
        posts = _may_post(change["new_chat_member"])
        came = came or (posts and not _may_post(change["old_chat_member"]))
    status = status if status in GONE else "member" if came else ""
    about = _chat(change["chat"]) | _person(change["from"])
    return {"kind": "membership", "status": status, "posts": posts, **about}


def _message(message: dict[str, Any], kind: str = "message") -> dict[str, Any]:
    if message["chat"].get("is_direct_messages"):
        return {}  # of a channel: an answer there would need more than the chat's id
    chat = _chat(message["chat"])
    if "migrate_to_chat_id" in message:
        return {"kind": "migration", "migrate_to": int(message["migrate_to_chat_id"]), **chat}
    if "migrate_from_chat_id" in message:  # the same news in the new group
        old = _id(message["migrate_from_chat_id"])
        return {"kind": "migration", "migrate_to": chat["chat_id"], **chat, "chat_id": old}
    # Bot API Message.sender_chat: the group itself for its anonymous administrators, else a channel.
    as_group = "sender_chat" in message and _id(message["sender_chat"]["id"]) == chat["chat_id"]
    typed = not any(name in message for name in ("forward_origin", "forward_date", "via_bot"))
    typed = typed and (as_group or "sender_chat" not in message)
    return {
        "kind": kind if typed and isinstance(message.get("text"), str) else "other",
        "text": _typed(message.get("text")),
        "at": float(message.get("edit_date") or message["date"]),
        "message_id": int(message["message_id"]),
        "thread_id": _thread(message),
        "as_group": as_group,
        **chat,
        **_person(message.get("from") or {"id": 0}),
    }


_PARTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "callback_query": _callback,
    "inline_query": _inline,
    "my_chat_member": _membership,
    "edited_message": partial(_message, kind="edited"),
    "message": _message,
}


def _present(value: Any) -> Any:
    """The same without fields that are null: some servers send them so instead of leaving them out."""
    if isinstance(value, dict):
        found = ((name, inner) for name, inner in value.items() if inner is not None)
        return {name: _present(inner) if isinstance(inner, dict | list) else inner for name, inner in found}
    return [_present(inner) for inner in value] if isinstance(value, list) else value


def _thread(message: dict[str, Any]) -> int | None:
    return int(message["message_thread_id"]) if message.get("is_topic_message") else None


def _may_post(member: dict[str, Any]) -> bool:
    """Bot API ChatMemberAdministrator.can_post_messages, in channels only: others may not."""
    return member["status"] == "administrator" and bool(member.get("can_post_messages", True))


def _chat(chat: dict[str, Any]) -> dict[str, Any]:
    title = chat.get("title") or chat.get("username") or chat.get("first_name") or ""
    about = {"chat_id": _id(chat["id"]), "chat_kind": str(chat["type"]), "chat_title": text.name(_words(title))}
    return about | {"chat_handle": _handle(chat)}


def _person(user: dict[str, Any]) -> dict[str, Any]:
    names = [user.get("first_name"), user.get("last_name")]
    handle = _handle(user)
    shown = " ".join([text.name(_words(name)) for name in names if name] + ([f"@{handle}"] if handle else []))
    return {"user_id": 0 if user.get("is_bot") else _id(user["id"]), "user_name": shown}


def _handle(about: dict[str, Any]) -> str:
    return re.sub(r"\W", "", _words(about.get("username")), flags=re.ASCII)


def _typed(value: Any) -> str:
    """What was typed. /out gets addresses with their secrets; it keeps them, and no answer repeats them."""
    return _clean(value) if _OUT.match(str(value or "")) else _words(value)


def _words(value: Any) -> str:
    # A token that someone pastes into a chat goes no further than here: answers repeat what was typed.
    return redact(_clean(value))


def _clean(value: Any) -> str:
    # Half of a surrogate pair can stand in JSON, but in no database and no answer; U+0000 stands in no PostgreSQL.
    words = str(value or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return words.replace("\0", "\ufffd")


def _id(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**52) < value < 2**52:
        raise ValueError(value)
    return value
