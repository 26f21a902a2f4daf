"""telebot's `infinity_polling`, ended at the first trouble instead of sleeping deaf; which updates are ours.

Two copies can be handed the same update: one that has it in hand and has not confirmed it yet, and one that comes, or
comes back, in that moment. `PollingBot` takes an update only when no other copy can be at work on it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import telebot

from base import text
from base.worker import heartbeat
from botapi.client import Telegram, Unreachable
from botapi.storage import Storage, StoreError
from botapi.updates import Inbox

log = logging.getLogger(__name__)

OLD_ANSWER = 2.0  # an answer that waited longer for us may have been given to another copy meanwhile
PARKED = 2.0  # a poll answered later than this was waiting at the server, whatever the line's delay
LOOK_AGAIN = 0.5  # seconds after which updates that nobody has confirmed are nobody else's
FORGOTTEN = 6 * 86400.0  # after a week without updates Telegram may number them anew (Bot API, Update)


class PollingBot(telebot.TeleBot):
    """A TeleBot that hands raw updates to the inbox and leaves `infinity_polling` when anything goes wrong."""

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
        self._now = now
        self._ended = False
        self._alone = False  # no other copy can be at work on updates
        self._seen: int | None = None  # the first update at the last look
        self._received_at = 0.0
        mark, _, at = (store.value("inbox") or "-1 0").partition(" ")
        self.handled_id, self._last_at = int(mark), float(at)

    def run_until_trouble(self) -> Exception | None:
        """Poll until `end()` or a look that is to be repeated (None), or until something goes wrong (the error).

        Never sleeps; `rest` is how long to rest before the next call, when there was no error.
        """
        self.trouble, self.rest = None, 0.0
        # The library sets this flag to leave infinity_polling and offers no way to take it back.
        self._TeleBot__stop_polling.clear()  # type: ignore[attr-defined]
        if not self._ended:
            self.infinity_polling(logger_level=None)
        return self.trouble

    def end(self) -> None:
        """Leave infinity_polling for good, at once. Safe from any thread."""
        self._ended = True
        self.stop_polling()  # type: ignore[no-untyped-call]
        self._telegram.cut()

    def next_offset(self) -> int:
        """What the next getUpdates asks for; 0 when the last known id is too old to mean anything."""
        return 0 if self._now() - self._last_at > FORGOTTEN else self.handled_id + 1

    def get_updates(self, *args: Any, **kwargs: Any) -> list[Any]:
        """One long poll. Every error is kept in `trouble` and ends infinity_polling; [] means nothing came."""
        heartbeat()  # a step lasts as long as all goes well
        if self._ended:
            return self._leave(None)
        if abs(self._now() - self._received_at) > OLD_ANSWER:
            self._alone = False  # frozen meanwhile, perhaps
        began = time.monotonic()
        try:
            self.offset_sent = self.next_offset()
            updates = self._telegram.updates(self.offset_sent, timeout=self._poll_length())
        except Exception as error:
            return self._leave(None if self._ended else error)
        self._received_at = self._now()
        if updates and self._telegram.answer_age > OLD_ANSWER:
            log.warning("An answer of Telegram waited %s for this process; it is asked again", _age(self._telegram))
            self._alone = False
            return []
        try:
            self._on_poll(len(updates))
        except StoreError as error:
            return self._leave(error)
        return self._ours(updates, waited=time.monotonic() - began)

    def _ours(self, updates: list[Any], *, waited: float) -> list[Any]:
        """Those of the updates that nobody else can be at work on. Another copy confirms only what it has handled.

        Once a poll of ours has waited at the server all is ours: nothing was unconfirmed when it came, and an older
        copy's poll was ended by it. Before that, the first update is ours when it lies there at two looks: nobody
        reads. Only that one, since a copy in the same case may look at the same time; it sees then that one reads.
        """
        ids = [update.get("update_id") for update in updates]
        again = bool(ids) and ids[0] in (self._seen, None)
        if self._alone or not updates or waited > PARKED or again:
            takes_all = self._alone or not again
            self._alone, self.has_polled_alone, self._seen = True, True, None
            taken = updates if takes_all else updates[:1]
            self._more = len(taken) < len(updates) or len(updates) == 100
            return taken
        self._seen = ids[0]
        self.rest = LOOK_AGAIN
        return self._leave(None)

    def process_new_updates(self, updates: list[Any]) -> None:
        """Give each update to the inbox; only what the store has taken is confirmed to Telegram later.

        What this process, frozen meanwhile, finds in its hands after some seconds is left to be asked for again.
        """
        try:
            for raw in updates:
                if self._ended:
                    break
                update_id = raw.get("update_id")
                if not isinstance(update_id, int):
                    # It could never be confirmed: asked for again and again, at full speed, nothing else would come.
                    raise Unreachable("an update without a number")
                if abs(self._now() - self._received_at) > OLD_ANSWER:
                    self._alone = False
                    break
                self._take(raw, update_id)
                self.handled_id = update_id
                self._last_at = self._now()
            if updates:
                with self._store.transaction(durable=True):
                    self._store.set_value("inbox", f"{self.handled_id} {self._last_at}")
                self._on_handled(self._more)
        except Exception as error:
            self._leave(error)

    def _take(self, raw: dict[str, Any], update_id: int) -> None:
        try:
            self._inbox.take(raw)
        except StoreError:
            raise
        except Exception:  # one update that always fails would come again for ever, and nothing after it
            log.exception("Update %d could not be taken; it is skipped alone", update_id)

    def _leave(self, trouble: Exception | None) -> list[Any]:
        self.trouble = trouble
        if trouble is not None:
            self._alone = False
        self.stop_polling()  # type: ignore[no-untyped-call]
        return []


def _age(telegram: Telegram) -> str:
    return text.duration(telegram.answer_age)
