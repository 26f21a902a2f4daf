"""Chats with their settings, users, and which updates were handled. The part `Store.chats`."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import fields
from functools import lru_cache
from typing import Any

from base import coins
from store.database import Database, Part
from store.engine import Row
from store.readable import settings_of
from store.rows import Chat, StaleCommands, User

_COLUMNS = ("chat_id", "kind", "title", "thread_id", "added_by", "subscribed", "since", "note")
_SETTINGS = tuple(field.name for field in fields(Chat) if field.name not in _COLUMNS)  # one column of JSON

_STORED = ("settings", *_COLUMNS)
_NEW = Chat(chat_id=0, added_by=0)  # what is as in a new chat is not stored

FIRST = (-math.inf, 0)  # before every chat, by when it began and its id


class Chats(Part):
    def get(self, chat_id: int) -> Chat | None:
        """The chat, None when it never used /start."""
        row = self._db.row("SELECT * FROM chats WHERE chat_id = ?", (chat_id,))
        return None if row is None else chat_of(self._db, row)

    def some(self, *, after: tuple[float, int] = FIRST, limit: int) -> list[Chat]:
        """The next chats that get alerts after the one with this `since` and id, oldest first."""
        return self._found(
            "SELECT * FROM chats WHERE subscribed = 1 AND (since, chat_id) > (?, ?) ORDER BY since, chat_id LIMIT ?",
            *after,
            limit,
        )

    def kinds(self) -> list[Chat]:
        """One chat for each set of settings that chats with alerts have: far fewer than chats."""
        with_alerts = "SELECT max(chat_id) FROM chats WHERE subscribed = 1 AND settings"
        return self._found(  # most have them as every new chat: these need not be sorted
            f"SELECT * FROM chats WHERE chat_id IN ({with_alerts} = '{{}}' UNION ALL "
            f"{with_alerts} <> '{{}}' GROUP BY settings) ORDER BY chat_id"
        )

    def count(self) -> int:
        return self._db.number("SELECT count(*) FROM chats WHERE subscribed = 1")

    # There may be a hundred thousand: each of these asks for few of them.

    def channels(self, added_by: int | None = None) -> list[Chat]:
        """All channels, or those that this person added the bot to: first those with alerts, oldest first."""
        return self._found(
            "SELECT * FROM chats WHERE kind = 'channel' AND added_by = coalesce(?, added_by) "
            "ORDER BY subscribed DESC, since, chat_id",
            added_by,
        )

    def groups(self) -> list[int]:
        """The ids of the groups that get alerts, oldest first."""
        rows = self._db.rows(
            "SELECT chat_id FROM chats WHERE subscribed = 1 AND kind NOT IN ('private', 'channel') "
            "ORDER BY since, chat_id"
        )
        return [row["chat_id"] for row in rows]

    def has_group(self, title: str) -> bool:
        """Does a group of that title get alerts which is no supergroup?"""
        found = self._db.row("SELECT 1 FROM chats WHERE subscribed = 1 AND kind = 'group' AND title = ?", (title,))
        return found is not None

    def ended(self, *, limit: int) -> list[Chat]:
        """The newest chats whose alerts ended for a reason (`note`), oldest first."""
        found = self._found(
            "SELECT * FROM chats WHERE subscribed = 0 AND note <> '' ORDER BY since DESC, chat_id DESC LIMIT ?", limit
        )
        return found[::-1]

    def paused(self, now: float) -> list[Chat]:
        """The chats with alerts in which the bot may not write, oldest first."""
        found = self._found(
            "SELECT * FROM chats WHERE subscribed = 1 AND settings LIKE '%paused_until%' ORDER BY since, chat_id"
        )
        return [chat for chat in found if chat.paused(now)]

    def planned(self, after: float) -> list[Chat]:
        """The chats with alerts in which something is scheduled for later than that."""
        return self._found(
            "SELECT * FROM chats WHERE subscribed = 1 AND chat_id IN (SELECT chat_id FROM schedules WHERE at > ?)",
            after,
        )

    def of_others(self, owner: int | None, allowed: Collection[int]) -> list[Chat]:
        """The chats with alerts that nobody started who is the owner, or allowed by a decision or in this list."""
        listed = (0, *allowed)
        return self._found(
            "SELECT chats.* FROM chats LEFT JOIN users ON user_id = added_by WHERE subscribed = 1 AND added_by <> ? "
            f"AND CASE WHEN added_by IN ({', '.join('?' * len(listed))}) THEN coalesce(state, '') = 'denied' "
            "ELSE coalesce(state, '') <> 'allowed' END ORDER BY since, chat_id",
            owner or 0,
            *listed,
        )

    def _found(self, sql: str, *values: Any) -> list[Chat]:
        return [chat_of(self._db, row) for row in self._db.rows(sql, values)]

    def put(self, chat: Chat) -> None:
        """Write the whole chat. Read it in the same transaction, or settings changed meanwhile are lost."""
        changed = {name: value for name in _SETTINGS if (value := getattr(chat, name)) != getattr(_NEW, name)}
        settings = json.dumps(changed, default=sorted)  # sets have no order
        columns = {name: getattr(chat, name) for name in _COLUMNS}
        self._db.put("chats", ("chat_id",), columns | {"subscribed": int(chat.subscribed), "settings": settings})

    def unsubscribe(self, chat_id: int, *, note: str) -> None:
        """End the chat's alerts; its settings stay."""
        self._db.write("UPDATE chats SET subscribed = 0, note = ? WHERE chat_id = ?", (note, chat_id))

    # Users

    def user(self, user_id: int) -> User | None:
        """A person who wrote to the bot; None if unknown."""
        row = self._db.row("SELECT * FROM users WHERE user_id = ?", (user_id,))
        return None if row is None else User(**dict(row))

    def users(self, *states: str, limit: int) -> list[User]:
        """Those whose state is one of these, the latest first."""
        marks = ", ".join("?" * len(states))
        rows = self._db.rows(
            f"SELECT * FROM users WHERE state IN ({marks}) ORDER BY at DESC, user_id DESC LIMIT ?", (*states, limit)
        )
        return [User(**dict(row)) for row in rows]

    def count_users(self, *states: str) -> int:
        """How many have one of these states."""
        marks = ", ".join("?" * len(states))
        return self._db.number(f"SELECT count(*) FROM users WHERE state IN ({marks})", states)

    def put_user(self, user: User) -> None:
        self._db.put("users", ("user_id",), user._asdict())

    def asked_between(self, since: float, until: float) -> int:
        """How many strangers the owner was last asked about in that time."""
        return self._db.number("SELECT count(*) FROM users WHERE asked_at > ? AND asked_at <= ?", (since, until))

    def answered_between(self, since: float, until: float) -> int:
        """How many strangers were last answered in that time."""
        return self._db.number(
            "SELECT count(*) FROM users WHERE answered_at > ? AND answered_at <= ?", (since, until)
        )

    # Updates

    def handled(self, update_id: int) -> bool:
        """Was this update handled (in the last 3 days)?"""
        return self._db.row("SELECT 1 FROM inbox WHERE update_id = ?", (update_id,)) is not None

    def mark_handled(self, update_id: int, *, now: float) -> None:
        self._db.write("INSERT INTO inbox VALUES (?, ?) ON CONFLICT DO NOTHING", (update_id, now))

    def add_stale(self, chat_id: int, *, thread_id: int | None, at: float) -> None:
        """Count a command that was too old to run, sent at that time."""
        self._db.write(
            "INSERT INTO stale VALUES (?, ?, 1, ?, ?) ON CONFLICT (chat_id) DO UPDATE SET "
            "commands = stale.commands + 1, "
            "first_at = CASE WHEN excluded.first_at < stale.first_at THEN excluded.first_at ELSE stale.first_at END, "
            "last_at = CASE WHEN excluded.last_at > stale.last_at THEN excluded.last_at ELSE stale.last_at END",
            (chat_id, thread_id, at, at),
        )

    def has_stale(self) -> bool:
        """Was a command skipped that its chat was not told of yet?"""
        return self._db.row("SELECT 1 FROM stale LIMIT 1") is not None

    def take_stale(self) -> list[StaleCommands]:
        """The skipped commands of each chat, removed by this call."""
        with self._db.transaction():
            rows = self._db.rows("SELECT * FROM stale ORDER BY chat_id")
            if rows:
                self._db.write("DELETE FROM stale")
        return [StaleCommands(**dict(row)) for row in rows]


def chat_of(db: Database, row: Row) -> Chat:
    """The chat of a row that has its columns; a setting that cannot be read is as it is for a new chat."""
    chat, bad = _chat_of(*(row[name] for name in _STORED))
    for name in bad:
        db.unreadable(f"a setting of chat {chat.chat_id} ({name})", "it has its default again")
    return chat


@lru_cache(maxsize=4096)  # a thousand chats are read with every alert, and seldom has one of them changed
def _chat_of(stored: str, *values: Any) -> tuple[Chat, list[str]]:
    settings, bad = settings_of(stored)
    if settings.get("symbols") is not None:
        settings["symbols"] = frozenset(coins.typed(symbol) for symbol in settings["symbols"])
    columns = dict(zip(_COLUMNS, values, strict=True))
    return Chat(**columns | {"subscribed": bool(columns["subscribed"])}, **settings), bad
