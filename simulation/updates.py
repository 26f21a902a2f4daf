"""The update queue of one simulated bot: getUpdates, webhooks and the 409 rules of the real server.

The rules are those of tdlib/telegram-bot-api, Client.cpp (process_get_updates_query, do_get_updates,
abort_long_poll, fail_query_conflict, process_set_webhook_query), and of tdlib's TQueue. Where that server waits 3 s,
this one waits `conflict_hold` seconds; its shorter times (1 s, 0.5 s) shrink in proportion. As there, the poll of a
client that died stays open until its timeout.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from itertools import islice
from typing import Any

from simulation.http import Drop, Hub, json_text
from simulation.request import Params

OTHER_POLLER = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
WEBHOOK_SET = "Conflict: terminated by setWebhook request"
WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
LONG_POLL_MAX = 50
_BY_REQUEST_ONLY = frozenset({"chat_member", "message_reaction", "message_reaction_count"})


class ApiError(Exception):
    """An answer with ok=false."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


class Described:
    """A result that comes with a `description`, as setWebhook's does."""

    def __init__(self, result: object, description: str) -> None:
        self.result = result
        self.description = description


class RawJson:
    """A result that is already JSON text."""

    def __init__(self, text: bytes) -> None:
        self.text = text


def integer(params: Params, name: str, default: int = 0) -> int:
    """An integer parameter as the server reads it: anything but a number counts as 0."""
    value = params.get(name, "")
    if value == "" or not isinstance(value, str):
        return default
    try:
        return int(value)
    except ValueError:
        return 0


def truth(params: Params, name: str) -> bool:
    """A Boolean parameter as the server reads it."""
    return str(params.get(name, "")).lower() in ("true", "yes", "1")


class _Poll:
    """A long poll that waits. Whoever ends it early sets its error, and the seconds to hold it back."""

    def __init__(self, lock: threading.RLock, offset: int, limit: int) -> None:
        self.changed = threading.Condition(lock)
        self.offset = offset
        self.limit = limit
        self.error: ApiError | None = None
        self.hold = 0.0


class Updates:
    """The queue and its consumers. Thread-safe.

    conflict_hold: seconds in place of the server's 3 s. webhook_took: ids of updates that a foreign webhook took.
    first_id: of the first update.
    """

    def __init__(self, hub: Hub, *, conflict_hold: float, first_id: int) -> None:
        self.webhook_url = ""
        self.allowed: tuple[str, ...] = ()
        self.webhook_took: list[int] = []
        self._hub = hub
        self.conflict_hold = conflict_hold
        self._queue: deque[tuple[int, bytes]] = deque()
        self._next_id = first_id
        self._poll: _Poll | None = None
        self._previous_offset: int | None = None
        self._previous_at = 0.0
        self._next_conflict_at = 0.0
        self._next_webhook_at = 0.0
        self._webhook_consumes = False

    @property
    def pending(self) -> int:
        """Updates that wait."""
        return len(self._queue)

    @property
    def polling(self) -> bool:
        """Whether a long poll is open now, perhaps a dead client's."""
        return self._poll is not None

    def add(self, update: dict[str, Any]) -> int:
        """Queue an update and hand it to the open poll. Returns its id, even when it was filtered out."""
        with self._hub.lock:
            update_id = self._next_id
            self._next_id += 1
            kind = next(iter(update), "")
            if self.allowed and kind not in self.allowed:
                return update_id
            if not self.allowed and kind in _BY_REQUEST_ONLY:
                return update_id
            if self.webhook_url and self._webhook_consumes:
                self.webhook_took.append(update_id)
            else:
                self._queue.append((update_id, json_text({"update_id": update_id, **update})))
                if self._poll is not None:
                    self._poll.changed.notify_all()
            self._hub.touch()
            return update_id

    def get_updates(self, params: Params) -> RawJson:
        """getUpdates, blocking as the server would. Raises ApiError (409), or Drop when the simulator closes."""
        lock = self._hub.lock
        with lock:
            now = time.monotonic()
            if self.webhook_url:
                error, hold = ApiError(409, WEBHOOK_ACTIVE), self._conflict_hold(now)
            else:
                offset = integer(params, "offset")
                limit = min(max(integer(params, "limit", 100), 1), 100)
                wait = float(min(max(integer(params, "timeout"), 0), LONG_POLL_MAX))
                self._store_allowed(params)
                since = now - self._previous_at
                if offset == self._previous_offset and wait < 3 and since < self.conflict_hold:
                    wait = self.conflict_hold
                if offset == self._previous_offset and since < self.conflict_hold / 6:
                    limit = 1
                self._previous_offset, self._previous_at = offset, now
                offset, updates = self._take(offset, limit)
                if updates or wait == 0:
                    return _result(updates)
                self._end_poll(OTHER_POLLER)
                poll = self._poll = _Poll(lock, offset, limit)
                self._hub.touch()
                deadline = now + wait
                while poll.error is None:
                    left = deadline - time.monotonic()
                    updates = self._take(poll.offset, poll.limit)[1]
                    if updates or left <= 0:
                        self._poll = None
                        return _result(updates)
                    poll.changed.wait(left)
                    if self._hub.closing.is_set():
                        raise Drop
                error, hold = poll.error, poll.hold
        self._hub.rest(hold)
        raise error

    def set_webhook(self, params: Params, *, foreign: bool = False, consumes: bool = False) -> Described:
        """setWebhook, or deleteWebhook when the URL is empty. Raises ApiError.

        foreign: set by someone else, so without the limit of one call a second. consumes: it takes the updates.
        """
        url = str(params.get("url", ""))
        drop = truth(params, "drop_pending_updates")
        with self._hub.lock:
            now = time.monotonic()
            if url and not foreign:
                if now < self._next_webhook_at:
                    raise ApiError(429, "Too Many Requests: retry after 1", retry_after=1)
                self._next_webhook_at = now + self.conflict_hold / 3
            if url and not url.startswith("https://"):
                raise ApiError(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
            if url == self.webhook_url and not drop:
                self._store_allowed(params)
                return Described(True, "Webhook is already set" if url else "Webhook is already deleted")
            if url:
                self._end_poll(WEBHOOK_SET)
                self._store_allowed(params)
            was_set, self.webhook_url = self.webhook_url, url
            self._webhook_consumes = consumes
            if drop:
                self._queue.clear()
            self._hub.touch()
            if url:
                return Described(True, "Webhook was set")
            return Described(True, "Webhook was deleted" if was_set else "Webhook is already deleted")

    def webhook_info(self) -> dict[str, Any]:
        """getWebhookInfo."""
        with self._hub.lock:
            info: dict[str, Any] = {
                "url": self.webhook_url,
                "has_custom_certificate": False,
                "pending_update_count": len(self._queue),
            }
            if self.webhook_url:
                info |= {"max_connections": 40, "ip_address": "192.0.2.1"}
            if self.allowed:
                info["allowed_updates"] = list(self.allowed)
            return info

    def refuse_poll(self, error: ApiError) -> None:
        """End the open poll, if any, with `error` at once."""
        with self._hub.lock:
            poll, self._poll = self._poll, None
            if poll is not None:
                poll.error = error
                poll.changed.notify_all()

    def close(self) -> None:
        """Wake the open poll, so that the simulator can close."""
        with self._hub.lock:
            if self._poll is not None:
                self._poll.changed.notify_all()

    def _take(self, offset: int, limit: int) -> tuple[int, list[bytes]]:
        queue = self._queue
        if offset < 0:
            while len(queue) > -offset:
                queue.popleft()
        head = queue[0][0] if queue else self._next_id
        # The server ignores an offset far beyond the newest update: it serves everything and confirms nothing.
        if offset <= 0 or offset > self._next_id + 10:
            offset = head
        while queue and queue[0][0] < offset:
            queue.popleft()
        return offset, [text for _, text in islice(queue, limit)]

    def _end_poll(self, error: str) -> None:
        poll, self._poll = self._poll, None
        if poll is not None:
            poll.error, poll.hold = ApiError(409, error), self._conflict_hold(time.monotonic())
            poll.changed.notify_all()

    def _conflict_hold(self, now: float) -> float:
        if now < self._next_conflict_at:
            return self.conflict_hold
        self._next_conflict_at = now + self.conflict_hold
        return 0.0

    def _store_allowed(self, params: Params) -> None:
        if "allowed_updates" not in params:
            return
        try:
            names = json.loads(str(params["allowed_updates"]))
        except ValueError:
            return
        if isinstance(names, list):
            self.allowed = tuple(str(name).lower() for name in names)


class Rival:
    """A second poller of the same bot. It polls until `kill`, or the end of its `with` block.

    pause: seconds between two polls. timeout: seconds of each; 0 takes what is there and aborts no other poll. Once
    killed, its last poll stays open, as a dead process leaves it; the updates it gets then stay unconfirmed.
    """

    def __init__(self, updates: Updates, *, timeout: int = 30, pause: float = 0.0) -> None:
        self.polls = 0
        self.conflicts = 0
        self.taken: list[dict[str, Any]] = []
        self._updates = updates
        self._timeout = timeout
        self._pause = pause
        self._dead = threading.Event()
        threading.Thread(target=self._run, name="simulator-rival", daemon=True).start()

    def __enter__(self) -> Rival:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Stop polling."""
        self._dead.set()

    def _run(self) -> None:
        offset = 0
        while not self._dead.is_set():
            self.polls += 1
            try:
                found = self._updates.get_updates({"offset": str(offset), "timeout": str(self._timeout)})
            except ApiError:
                self.conflicts += 1
                self._dead.wait(self._pause)
                continue
            except Drop:
                return
            updates = json.loads(found.text)
            if updates and not self._dead.is_set():
                offset = updates[-1]["update_id"] + 1
                self.taken += updates
            self._dead.wait(self._pause)


def _result(updates: list[bytes]) -> RawJson:
    return RawJson(b"[" + b",".join(updates) + b"]")
