"""From a raw update to its effect, exactly once: gate, command, replies and the mark in one transaction.

A kill at any instant leaves an update either untouched (Telegram delivers it again) or fully handled with its replies
in the outbox. An update that cannot be read, or whose command has a bug, is skipped alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from functools import partial
from typing import Any

from access import Access, Role
from alerts import paused
from base import text
from botapi.storage import ANSWERS, STRANGERS, TOASTS, StoreError
from botapi.updates import GONE, Update, parse
from commands import basics, channels, prices
from commands.context import Reply
from commands.dispatch import Commands
from commands.quota import Quota, Verdict
from store import Store

log = logging.getLogger(__name__)

TOO_MANY_PRESSED = "Too many buttons at once. Wait a minute and press again."
TOO_MANY = "Too many commands at once. Wait a minute and send the last ones again."


class Inbox:
    """Handles raw updates one by one.

    now: Telegram's time, unix seconds. stale_after: seconds after which a command is too old to run. limited: does a
    flood of one person get no answers (quota.py)?
    """

    def __init__(
        self,
        store: Store,
        access: Access,
        commands: Commands,
        *,
        stale_after: float,
        now: Callable[[], float],
        limited: bool = True,
    ) -> None:
        self._store = store
        self._access = access
        self._commands = commands
        self._stale_after = stale_after
        self._now = now
        self._quota, self._limited = Quota(), limited
        self._misread: dict[int, int | None] = {}  # in each chat the last message that was not understood

    def take(self, raw: dict[str, Any]) -> None:
        """Handle one update. Raises StoreError if it could not be stored: then it must be fetched again."""
        update_id = raw["update_id"]
        try:
            update = parse(raw)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            log.warning("Update %d could not be read (%s) and was skipped", update_id, type(error).__name__)
            update = Update(update_id=update_id)
        with self._store.transaction():
            if self._store.chats.handled(update_id):
                return
            self._store.chats.mark_handled(update_id, now=self._now())
            try:
                with self._store.savepoint():
                    self._handle(update)
            except StoreError:
                raise
            except Exception:  # a bug in one command must not stop the others
                log.exception("Update %d: the command failed", update_id)
                if self._access.admits(update) and update.chat_id:
                    sorry = "Something went wrong inside the bot, and nothing was changed. Details are in its log."
                    self._say(update, Reply(text=sorry))

    def _handle(self, update: Update) -> None:
        if update.kind == "edited":
            if update.message_id is None or self._misread.get(update.chat_id) != update.message_id:
                return
            self._misread.pop(update.chat_id)
            update = replace(update, kind="message")
        if update.kind == "membership" and update.status not in GONE:
            change = paused.try_again if update.posts else paused.pause
            change(self._store, update.chat_id, now=self._now())
        if update.kind == "migration" and update.migrate_to is not None:
            self._store.migrate_chat(update.chat_id, update.migrate_to)
        elif update.kind == "membership" and update.status in GONE:
            # Anyone may remove the bot: this only ends alerts.
            for reply in channels.removed(self._commands.context, update):
                self._say(update, reply)
            if self._store.chats.get(update.chat_id) is not None:
                self._store.unsubscribe(update.chat_id, note="alerts ended: the bot was removed or blocked there")
        elif self._claim(update):
            pass
        elif update.kind == "inline":
            if self._judge(update) is Verdict.RUN:
                self._answer_inline(update)
        elif update.kind in ("message", "callback") and (verdict := self._judge(update)) is not Verdict.RUN:
            pressed = update.kind == "callback"  # a press that is not answered looks as if the bot hung
            if pressed or (verdict is Verdict.TELL and self._access.admits(update)):
                self._say(update, Reply(text=TOO_MANY_PRESSED if pressed else TOO_MANY, toast=pressed))
        elif not self._access.admits(update) and not (self._commands.shows(update) and self._access.may_look(update)):
            for reply in self._commands.stranger(update):
                self._say(update, reply, lane=STRANGERS if reply.chat_id is None else ANSWERS)
        elif update.kind == "membership":
            for reply in self._commands.joined(update) if update.status == "member" else []:
                self._say(update, reply)
        elif update.kind == "message" and self._now() - update.at > self._stale_after:
            if self._commands.would_run(update):
                self._store.chats.add_stale(update.chat_id, thread_id=update.thread_id, at=update.at)
        elif update.kind in ("message", "callback"):
            for reply in self._commands.run(update):
                self._say(update, reply)

    def _answer_inline(self, update: Update) -> None:
        """Prices, and nothing for people who are not allowed."""
        found = prices.inline(self._commands.context, update) if self._access.admits(update) else []
        answer = {"inline_query_id": update.callback_id, "results": found, "cache_time": 5, "is_personal": True}
        post, number = self._store.messages.post, update.update_id or None
        post(update.chat_id, "answerInlineQuery", answer, now=self._now(), lane=TOASTS, update_id=number)

    def _judge(self, update: Update) -> Verdict:
        """May this run now? A flood of one person or group must not hold up the others. The owner's always may."""
        answered = update.kind == "callback" or update.private or self._commands.would_run(update)
        if not (self._limited and answered) or self._access.role(update.user_id) is Role.OWNER:
            return Verdict.RUN
        return self._quota.judge({update.user_id, update.chat_id}, at=update.at or self._now())

    def _claim(self, update: Update) -> bool:
        before = self._access.owner_id
        claimed = self._access.claim(update)
        for reply in basics.claimed(self._commands.context, update, before=before) if claimed else []:
            self._say(update, reply)
        return claimed

    def tell_stale(self, *, away_since: float | None) -> bool:
        """Tell each chat of its commands that were too old to run. True if there were any."""
        if not self._store.chats.has_stale():
            return False
        with self._store.transaction():
            rows = self._store.chats.take_stale()
            now = self._now()
            for row in rows:
                known = self._store.chats.get(row.chat_id)
                zone = UTC if known is None else known.zone
                since = min(away_since or row.first_at, row.first_at)
                began, ended = (text.clock(at, now=now, zone=zone) for at in (since, now))
                skipped = text.count(row.commands, "old command")
                them = "it" if row.commands == 1 else "them"
                line = (
                    f"I was offline from {began} to {ended} and skipped {skipped}. "
                    f"Please send {them} again if you still need {them}."
                )
                self._say(Update(update_id=0, chat_id=row.chat_id, thread_id=row.thread_id), Reply(text=line))
        return bool(rows)

    def _say(self, update: Update, reply: Reply, *, lane: int = ANSWERS) -> None:
        """Put an answer into the outbox."""
        answer = partial(self._store.messages.post, now=self._now(), lane=lane, update_id=update.update_id or None)
        chat_id = reply.chat_id or update.chat_id
        if reply.misread:
            self._misread[update.chat_id] = update.message_id
        if reply.toast:
            payload: dict[str, Any] = {"callback_query_id": update.callback_id, "text": text.clip(reply.text, 200)}
            answer(update.chat_id, "answerCallbackQuery", payload, lane=TOASTS)
            return
        if reply.edit and update.message_id is not None:
            payload = {"text": reply.text, "message_id": update.message_id} | reply.form(reply.keyboard)
            self._store.messages.bury_edits(chat_id, update.message_id, now=self._now())
            answer(chat_id, "editMessageText", payload)
            return
        address: dict[str, Any] = {"disable_notification": True} if reply.silent else {}
        if reply.chat_id is None and update.thread_id is not None:
            address["message_thread_id"] = update.thread_id
        if not update.private and reply.chat_id is None and update.message_id is not None:
            # Bot API ReplyParameters: in a group it must be seen who is answered; a deleted question does no harm.
            address["reply_parameters"] = {"message_id": update.message_id, "allow_sending_without_reply": True}
        for payload in reply.payloads():
            answer(chat_id, reply.method, payload | address)
