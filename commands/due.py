"""Answers what chats scheduled, at its time: once after an outage, and exactly once over a kill.

The next time is in the store, and is committed with the messages. An outage of Telegram piles up nothing: a newer
answer takes the place of one that still waits to be sent, and a digest waits for the one before it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from access import Role
from alerts.preferences import is_quiet
from alerts.publish import addressed
from base import schedules, text
from base.typed import Unreadable
from base.worker import AlreadyReported, heartbeat
from botapi.storage import ALERTS
from botapi.updates import Update
from commands import channels
from commands.context import Context, Reply, run_button
from commands.markets import files_wait
from commands.schedules import KIND, Shown, composer, following
from store.rows import DIGEST, Chat
from store.schedules import Scheduled

log = logging.getLogger(__name__)

RETRY = 3600.0  # seconds until one that could not be answered is tried again
PLANNED_EVERY = 86400.0
AT_ONCE = 2.0  # seconds of one tick: the schedule thread has other jobs, and the rest is done by the next tick


class Due:
    """Answers what is due. shown: the commands that may be scheduled."""

    def __init__(self, context: Context, shown: Shown, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._context, self._shown, self._monotonic = context, shown, monotonic
        self._store = context.store
        self._planned_at = -math.inf

    def tick(self) -> bool:
        """Enqueue answers that are due. True when the time was up before all of them. Raises StoreError."""
        now = self._context.now()
        if not 0 <= now - self._planned_at < PLANNED_EVERY:  # at the start, daily, and when the clock was put back
            self._plan_again(now)
            self._planned_at = now
        ends_at = self._monotonic() + AT_ONCE
        for number in self._store.schedules.due(now):
            heartbeat()
            try:
                with self._store.transaction():
                    one = self._store.schedules.get(number)
                    chat = None if one is None else self._store.chats.get(one.chat_id)
                    if one is not None and chat is not None:
                        self._answer(one, chat, now)
            except AlreadyReported:
                raise
            except Exception:  # a bug in one command must not stop the others
                log.exception("The scheduled message %d failed; next try in %s", number, text.duration(RETRY))
                self._store.schedules.set_at(number, now + RETRY)
            if self._monotonic() > ends_at:
                return True
        return False

    def _plan_again(self, now: float) -> None:
        """Correct next times that are beyond their rules: a clock that was ahead planned them."""
        chats = {chat.chat_id: chat for chat in self._store.chats.planned(now)}
        latest: dict[tuple[str, str], float] = {}  # of a rule in a zone: many chats have the same
        for one in self._store.schedules.planned_after(now):
            if one.at is None or one.chat_id not in chats:
                continue
            rule = one.rule, chats[one.chat_id].timezone
            if rule not in latest:
                heartbeat()
                try:
                    latest[rule] = following(one, chats[one.chat_id], now)
                except Unreadable:
                    latest[rule] = now  # `_answer` removes it
            if latest[rule] < one.at:
                self._store.schedules.bring_forward(one.id, latest[rule])

    def _answer(self, one: Scheduled, chat: Chat, now: float) -> None:
        name, *arguments = one.command.split()
        if one.at is None or one.at > now:
            return  # changed since it was found to be due
        try:
            rule = schedules.parse(one.rule)
            at = rule.next(now, zone=chat.timezone)
        except Unreadable:
            log.error("The rule %r of chat %d cannot be read; what it scheduled is removed", one.rule, chat.chat_id)
            self._store.schedules.remove(chat.chat_id, one.id)
            if not self._may(one, chat, now):
                return
            words = f"The times of “{one.command}” can't be read any more, so it was removed. Schedule it again:"
            self._send(one, chat, [Reply(text=f"{words} /schedule 09:00 {one.command}", misread=True)], now)
            return
        if not self._may(one, chat, now):
            self._store.schedules.set_at(one.id, at)
            return
        if name == "chart" and files_wait(self._context, chat.chat_id):
            return  # it stays due, after all else
        if name == DIGEST:
            since = rule.previous(one.at, zone=chat.timezone)
            replies = [Reply(text=composer(self._context).take(chat, since=since, now=now), html=True)]
        else:
            replies = self._run(one, chat, name, arguments, now)
            self._store.schedules.withdraw(one.id, now=now)
        self._store.schedules.answered(one.id, at=at, delivery=self._send(one, chat, replies, now))

    def _may(self, one: Scheduled, chat: Chat, now: float) -> bool:
        """By the rights as they are now."""
        access = self._context.access
        denied = access.role(one.user_id) is Role.DENIED
        return chat.subscribed and access.may_hear(chat) and not denied and not chat.paused(now)

    def _run(self, one: Scheduled, chat: Chat, name: str, arguments: list[str], now: float) -> list[Reply]:
        update = Update(
            update_id=0,
            kind=KIND,
            chat_id=chat.chat_id,
            chat_kind=chat.kind,
            chat_title=chat.title,
            thread_id=one.thread_id,
            user_id=one.user_id,
            text=f"/{one.command}",
            at=now,
        )
        try:
            _, run = self._shown[name]
            return run(self._context, update, arguments)
        except (KeyError, Unreadable) as problem:
            why = str(problem) if isinstance(problem, Unreadable) else "this version has no such command."
            row = (run_button("Remove it", f"schedule remove {one.id}"),)
            said = f"“{one.command}”, which is scheduled here: {why}"
            return [Reply(text=said, keyboard=(row,), misread=True)]

    def _send(self, one: Scheduled, chat: Chat, replies: list[Reply], now: float) -> int:
        """Enqueue the messages; returns the id of the last one. In quiet hours and mutes they make no sound."""
        silent = is_quiet(chat, now) or chat.muted_for(now) > 0
        quiet: dict[str, Any] = {"disable_notification": True} if silent else {}
        made = 0
        for to, reply in self._addressed(chat, replies):
            for payload in reply.payloads():
                message = addressed(one.thread_id, payload | quiet)
                made = self._store.messages.enqueue(to, reply.method, message, now=now, lane=ALERTS)
        return made

    def _addressed(self, chat: Chat, replies: list[Reply]) -> Iterator[tuple[int, Reply]]:
        """Who gets them. Readers of a channel cannot use buttons; what fails is for whoever added the bot there."""
        for reply in replies:
            if chat.kind != "channel":
                yield chat.chat_id, reply
            elif reply.misread:
                yield chat.added_by, channels.aimed([reply], chat)[0]
            else:
                yield chat.chat_id, replace(reply, keyboard=())
