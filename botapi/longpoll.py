"""telebot's `infinity_polling`, left at the first trouble instead of sleeping through it; and which updates are ours.

Telegram can hand the same update to two copies: one holds it and has not confirmed it yet, and another one arrives,
or returns, in that moment. `PollingBot` takes an update only if no other copy can be working on it. It goes by this
computer's clocks and by what is there at two looks, by nothing that a server may or may not say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import telebot

from base import text
from base.stopwatch import Stopwatch
from base.worker import heartbeat
from botapi.client import Telegram
from botapi.errors import Conflict, Unreachable
from botapi.storage import Storage, StoreError

log = logging.getLogger(__name__)

SHORTEST = 3.0  # seconds: how long the server may make a poll with the offset of the last one (Client.cpp)
PAUSE = 0.5  # seconds between two polls where the server answers them at once without updates
LOOK_AGAIN = 0.5  # seconds after which an update that is still unconfirmed has no other reader
OLD_ANSWER = 0.3  # seconds after the end of its poll; with SHORTEST less than conflict.UNREAD and LOOK_AGAIN
PROMPT = 1.0  # seconds after an answer in which the next poll finds the line as it was
FINISH = 0.3  # seconds in which a stop finishes the batch that is in hand
FORGOTTEN = 6 * 86400.0  # seconds: after a week without updates Telegram may renumber them (Bot API, Update)


class Inbox(Protocol):
    """What the polling thread hands updates to."""

    def take(self, raw: dict[str, Any]) -> None:
        """Handle one Bot API Update object. Raises StoreError when it could not be kept: then it comes again."""

    def tell_stale(self, *, away_since: float | None) -> bool:
        """Tell each chat of commands that were too old to run; True when there is something to send."""


class PollingBot(telebot.TeleBot):
    """A TeleBot that hands raw updates to the inbox and leaves `infinity_polling` when anything goes wrong.

    poll_length: seconds of the next long poll; with more than 3 a freeze within a poll may not be noticed. on_poll:
    an answer came, with so many updates. on_handled: a batch is in the store; True if more updates wait. now: unix
    seconds.
    """

    def __init__(
        self,
        telegram: Telegram,
        store: Storage,
        inbox: Inbox,
        *,
        poll_length: Callable[[], int],
        on_poll: Callable[[int], None],
        on_handled: Callable[[bool], None],
        now: Callable[[], float],
        stopwatch: Callable[[], Stopwatch] = Stopwatch,
    ) -> None:
        super().__init__(telegram.token, threaded=False, skip_pending=False)
        self.trouble: Exception | None = None
        self.rest = 0.0
        self.has_polled_alone = False  # it was `_alone` at least once
        self._more = False  # more updates wait than were taken
        self.offset_sent = 0
        self._telegram = telegram
        self._store = store
        self._inbox = inbox
        self._poll_length = poll_length
        self._on_poll = on_poll
        self._on_handled = on_handled
        self._now, self._stopwatch = now, stopwatch
        self._ended: Stopwatch | None = None  # since `end`
        self._alone = False  # no other copy can be working on updates
        self._seen: int | None = None  # the first update at the last look
        self._in_hand: frozenset[int] = frozenset()  # handled, and not known to be confirmed
        self._slow = False  # the last answer was late
        self._asked = self._answered = stopwatch()
        # Seconds after asking in which no other copy takes an answer's updates.
        self._fresh_for = SHORTEST + OLD_ANSWER
        try:
            mark, at = (store.value("inbox") or "").split(" ")
            self._durable_id, self._last_at = int(mark), float(at)
        except ValueError:  # none yet; or unreadable, and Telegram sends what was not confirmed
            self._durable_id, self._last_at = -1, 0.0

    def run_until_trouble(self) -> Exception | None:
        """Poll until `end()`, a look that must be repeated (both None), or until something goes wrong (the error).

        Never sleeps. Without an error, `rest` says how many seconds to rest before the next call.
        """
        self.trouble, self.rest = None, 0.0
        # The library sets this flag to leave infinity_polling and has no way to clear it.
        self._TeleBot__stop_polling.clear()  # type: ignore[attr-defined]
        if not self._ended:
            self.infinity_polling(logger_level=None)
        return self.trouble

    def end(self) -> None:
        """Leave infinity_polling for good, at once; a batch in hand is finished first. Safe from any thread."""
        self._ended = self._stopwatch()
        self.stop_polling()  # type: ignore[no-untyped-call]
        self._telegram.cut()

    def next_offset(self) -> int:
        """The offset of the next getUpdates, which confirms what is durable; 0 if the last known id is too old.

        After trouble what is in hand is asked for again: does another copy have it?
        """
        if self._now() - self._last_at > FORGOTTEN:
            return 0
        return min(self._in_hand) if self._in_hand and not self._alone else self._durable_id + 1

    def confirm(self, *, within: float) -> None:
        """After `end`: confirm what is handled and durable, in so many seconds, unless the last poll did, or another
        copy may have taken over. Raises TelegramError.

        The offset is a new one, so the server's 3 s rule (the same offset again becomes a long poll) cannot give a
        successor a 409.
        """
        self._notice_a_freeze()
        offset = self.next_offset()
        if self._alone and offset > self.offset_sent:
            self.offset_sent = offset  # only once
            self._telegram.updates(offset, timeout=0, limit=1, within=within)
            self._keep_unconfirmed()

    def _notice_a_freeze(self) -> None:
        if self._answered.elapsed() > SHORTEST + OLD_ANSWER:
            self._alone = False

    def is_ours(self, update_id: int) -> bool:
        """May the answer to this handled update be sent? False: another copy may have answered it. Any thread.

        It is ours once a poll that confirms it was answered, and as long as no other copy can have taken over.
        """
        return update_id not in self._in_hand or (self._alone and self._asked.elapsed() <= self._fresh_for)

    def get_updates(self, *args: Any, **kwargs: Any) -> list[Any]:
        """One long poll. Every error is kept in `trouble` and ends infinity_polling; [] means no updates."""
        heartbeat()  # one step lasts as long as polling works
        if self._ended:
            return self._leave(None)
        self._notice_a_freeze()
        length = self._poll_length()
        self._fresh_for = max(SHORTEST, length) + OLD_ANSWER
        self._asked = self._stopwatch()
        prompt = self._answered.elapsed() < PROMPT
        try:
            self.offset_sent = self.next_offset()
            updates = self._telegram.updates(self.offset_sent, timeout=length)
        except Exception as error:  # the poller decides what it means
            return self._leave(None if self._ended else self._confirmed_despite(error, prompt=prompt))
        self._answered = self._stopwatch()
        # An answer without updates is sent at the end of its poll, one with updates perhaps at its beginning.
        late = self._asked.elapsed() > self._fresh_for + (0 if updates else length)
        # Late once, the process may have been frozen and another copy have taken over. Late twice, the line is slow.
        old, self._slow = late and not self._slow, late
        try:
            self._confirmed([update.get("update_id") for update in updates])
            self._on_poll(len(updates))
        except StoreError as error:
            return self._leave(error)
        if not updates and self._asked.elapsed() < PAUSE:  # a server that does not wait for updates
            self.rest = PAUSE
            self._leave(None)
        return self._ours(updates, old=old)

    def _confirmed(self, found: list[Any]) -> None:
        """A poll was answered, with updates of these ids: all before its offset is confirmed.

        What was asked for again and does not come was confirmed by another copy, which has answered it.
        """
        first = min((number for number in found if isinstance(number, int)), default=None)
        gone = {one for one in self._in_hand if one >= self.offset_sent and (first is None or one < first)}
        buried = self._store.bury_answers(gone, reason="answered elsewhere", now=self._now()) if gone else 0
        if buried:
            log.warning("Another copy has answered meanwhile: %s not sent", text.count(buried, "message"))
        self._in_hand -= gone
        self._keep_unconfirmed()

    def _keep_unconfirmed(self) -> None:
        self._in_hand = frozenset(one for one in self._in_hand if one >= self.offset_sent)

    def _confirmed_despite(self, error: Exception, *, prompt: bool) -> Exception:
        """The poll failed; what does that tell of what it was to confirm? Returns the error to report."""
        try:
            if isinstance(error, Conflict) and not error.by_webhook:
                self._confirmed([])  # it was ended while it waited: nothing was there
            elif isinstance(error, Unreachable) and prompt:
                self._keep_unconfirmed()  # all was well a moment before: the trouble came after the poll had arrived
        except StoreError as trouble:
            return trouble
        return error

    def _ours(self, updates: list[Any], *, old: bool) -> list[Any]:
        """The updates that no other copy can be working on; another copy confirms only what it has handled.

        - Alone: one of our polls was answered without updates. Nothing was unconfirmed, and the poll of an older copy
          was ended by ours. All updates are ours.
        - Seen twice: the first update is there at two looks, so nobody reads. Only that one is ours, because another
          newcomer may look at the same time; it then sees that someone reads.
        - Otherwise none, and we look again. How long an answer took says nothing: the line may be slow.
        """
        if old:
            self._alone = False
            if not updates:
                return []
        ids = [update.get("update_id") for update in updates]
        again = bool(ids) and not old and ids[0] in (self._seen, None)
        if self._alone or not updates or again:
            takes_all = self._alone or not again
            self._alone, self.has_polled_alone, self._seen = True, True, None
            taken = updates if takes_all else updates[:1]
            self._more = len(taken) < len(updates) or len(updates) == 100
            return taken
        self._seen = ids[0]
        self.rest = LOOK_AGAIN
        return self._leave(None)

    def process_new_updates(self, updates: list[Any]) -> None:
        """Hand each update to the inbox. Only what the store has is confirmed to Telegram later.

        If the process was frozen with updates in hand, the rest of them is asked for again.
        """
        try:
            handled_id = self._durable_id
            for raw in updates:
                if self._ended is not None and self._ended.elapsed() > FINISH:
                    break
                update_id = raw.get("update_id")
                if not isinstance(update_id, int):
                    # It could never be confirmed, so it would come again and again at full speed.
                    raise Unreachable("an update without a number")
                if (self._answered if self._slow else self._asked).elapsed() > self._fresh_for:
                    self._alone = False
                    break
                self._take(raw, update_id)
                handled_id = update_id
                self._last_at = self._now()
            if updates:
                with self._store.transaction(durable=True):
                    self._store.set_value("inbox", f"{handled_id} {self._last_at}")
                self._durable_id = handled_id
                self._on_handled(self._more)
        except Exception as error:  # the poller decides what it means
            self._leave(error)

    def _take(self, raw: dict[str, Any], update_id: int) -> None:
        if update_id in self._in_hand:
            return  # it was asked for again
        self._in_hand |= {update_id}  # before its answer can be seen
        try:
            self._inbox.take(raw)
        except StoreError:
            self._in_hand -= {update_id}
            raise
        except Exception:  # an update that always fails would come again for ever and block the others
            log.exception("Update %d could not be handled and was skipped", update_id)

    def _leave(self, trouble: Exception | None) -> list[Any]:
        self.trouble = trouble
        if trouble is not None:
            self._alone = False
        self.stop_polling()  # type: ignore[no-untyped-call]
        return []
