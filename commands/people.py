"""The owner's decisions about people, typed or by the buttons under a stranger's question."""

from __future__ import annotations

import re
from dataclasses import replace

from base import text
from botapi.updates import Update
from commands import basics
from commands.context import Desk, Reply, Usage


def allow(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    return _decide(desk, _user_id(arguments), allowed=True)


def deny(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    return _decide(desk, _user_id(arguments), allowed=False)


def users(desk: Desk, update: Update, arguments: list[str]) -> list[Reply]:
    lines = [f"{user.user_id} {user.name} ({role.value})".replace("  ", " ") for role, user in desk.access.users()]
    return [Reply(text="\n".join(lines) or "Nobody yet. /allow ID lets someone in.")]


def press(desk: Desk, verb: str, rest: str) -> list[Reply]:
    """The owner pressed Allow or Deny."""
    try:
        said = _decide(desk, _user_id([rest]), allowed=verb == "allow")
    except Usage as problem:
        return [Reply(text=str(problem), toast=True)]
    return [replace(said[0], toast=True), *said]


def claimed(desk: Desk, update: Update, *, before: int | None) -> list[Reply]:
    """The new owner is told what that means, and hears of whales; the one before is told who it is now."""
    told = (
        "You are the owner of this bot now: it tells you how it is, and you decide who may use it (/users, /allow, "
        "/deny)."
    )
    replies = [Reply(text=told), *basics.start(desk, update, [])]
    if before is not None and before != update.user_id:
        who = f"{text.clip(update.user_name, 64)} (id {update.user_id})"
        replies.append(
            Reply(text=f"{who} is the owner of this bot now, by a link from where it runs.", chat_id=before)
        )
    return replies


def stranger(desk: Desk, update: Update) -> list[Reply]:
    """The answers to one who is not admitted: at most one to them and one question to the owner."""
    answer, ask = desk.access.knock(update)
    replies = []
    if answer:
        asked = " The owner was asked." if ask else ""
        replies.append(Reply(text=f"This bot is private. Your id is {update.user_id}.{asked}"))
    if ask:
        who = f"{text.clip(update.user_name, 64)} (id {update.user_id})"
        row = (("Allow", f"allow:{update.user_id}"), ("Deny", f"deny:{update.user_id}"))
        replies.append(Reply(text=f"{who} wants to use this bot.", chat_id=desk.access.owner_id, keyboard=(row,)))
    return replies


def _decide(desk: Desk, user_id: int, *, allowed: bool) -> list[Reply]:
    if user_id == desk.access.owner_id:
        raise Usage("That is the owner, who is always allowed.")
    user = desk.store.chats.user(user_id)
    who = f"{user.name} ({user_id})" if user is not None and user.name else str(user_id)
    if allowed:
        desk.access.allow(user_id)
        replies = [Reply(text=f"{who} may use this bot now.")]
        if user is not None and user.answered_at:  # only those who wrote first can be written to
            replies.append(Reply(text="You may use this bot now. /start switches alerts on.", chat_id=user_id))
        return replies
    ended = desk.access.deny(user_id)
    more = f" Alerts ended in {text.count(len(ended), 'chat')}." if ended else ""
    return [Reply(text=f"{who} may not use this bot.{more}")]


def _user_id(arguments: list[str]) -> int:
    if len(arguments) != 1 or not re.fullmatch(r"[1-9]\d{0,14}", arguments[0], re.ASCII):
        raise Usage("I need one numeric user id.")
    return int(arguments[0])
