"""The running bot's state as one plain dict, and its file: `status.json` in the bot's folder.

The file is a hint for people and for other commands (`status`, `doctor`): written every few seconds, whole or not
at all, and removed at a clean stop. Whether a bot runs is the lock's word alone; a file that is there while nobody
holds the lock was left by a kill. It holds no token and no message text.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from base import text
from base.config import VERSION
from base.worker import Loop
from botapi.polling_state import ConflictState, PollingReport, PollingState
from botapi.storage import StoreError
from machine import holder
from service.latency import BOUNDS, Spread
from venues.availability import SourceHealth

log = logging.getLogger(__name__)

FILE = "status.json"
SCHEMA = 1
_SOURCE_FIELDS = ("source", "venue", "host", "state", "since", "reason", "covers", "lag", "missed", "skipped")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Where the state comes from. Each is called from the state's own thread, some of them also from others."""

    username: Callable[[], str]
    polling: Callable[[], PollingReport]
    conflict: Callable[[], ConflictState]
    sources: Callable[[], Sequence[SourceHealth]]
    pending: Callable[[], int]
    settled: Callable[[float], Mapping[str, int]]  # since when; gives `sent` and `buried`
    loops: Callable[[], Sequence[Loop]]
    stuck: Callable[[], Sequence[str]]
    store_failing_for: Callable[[], float | None]
    latency: Callable[[], Spread]
    alerts_by_hour: Callable[[float], Mapping[int, int]]  # since when; gives numbers by the hour's beginning


class State:
    """Collects the state and keeps its file. A disk that cannot be written costs the file, nothing else.

    patience: seconds after which polling without a good answer is a problem. latest: what was last collected, empty
    before that. `problems` and `view` never wait for the store: they tell also of a bot whose store hangs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bot_id: int,
        parts: Parts,
        patience: float = 80.0,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.latest: dict[str, Any] = {}
        self._folder = folder
        self._path = folder / FILE
        self._bot_id = bot_id
        self._parts = parts
        self._patience = patience
        self._now, self._monotonic = now, monotonic
        self._started_at = now()
        self._failing = False
        self._queue = {"pending": 0, "sent_24h": 0, "buried_24h": 0}
        self._hours: list[list[int]] = []  # [unix time of its beginning, alerts]
        self._count_again_at = -math.inf

    def remove(self) -> None:
        """Remove the file: the bot stops."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            pass  # Windows: someone is reading it; it is only a hint, and the lock shows that nobody runs

    def write(self) -> None:
        """Collect and write once; `latest` holds what was collected, for readers in this process."""
        try:
            self._count()
        except StoreError:
            pass  # who needs the store for more than a hint says so; the figures stay as they were
        self.latest = self.collect()
        try:
            holder.write_json(self._path, self.latest)
        except OSError as error:
            if not self._failing:
                log.warning(
                    "%s cannot be written (%s), so `bot.py status` shows less. Free disk space or fix permissions.",
                    self._path,
                    error.strerror,
                )
            self._failing = True
        else:
            self._failing = False

    def collect(self) -> dict[str, Any]:
        """The state as JSON knows it. Times are unix seconds or None, ages and lags seconds. Never waits."""
        now, monotonic, parts = self._now(), self._monotonic(), self._parts
        conflict = asdict(parts.conflict())
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "bot_id": self._bot_id,
            "username": parts.username(),
            "pid": os.getpid(),
            "started_at": self._started_at,
            "written_at": now,
            "polling": parts.polling().as_json(),
            "conflict": {name: conflict[name] for name in ("since", "count", "episodes")},
            "sources": [
                {name: getattr(source, name) for name in _SOURCE_FIELDS} | {"symbols": list(source.symbols)}
                for source in parts.sources()
            ],
            "queue": dict(self._queue),
            "threads": [
                {"name": loop.name, "age": round(max(0.0, monotonic - loop.progress_at), 3)} for loop in parts.loops()
            ],
            "folder": str(self._folder),
        }

    def problems(self) -> list[str]:
        """Why this bot does not do its work now, one sentence each; empty when it does. Never waits.

        A bot in standby does its work: another copy reads the commands.
        """
        now, polling = self._now(), self._parts.polling()
        found = [f"The thread {name} is stuck." for name in self._parts.stuck()]
        failing = self._parts.store_failing_for()
        if failing is not None:
            # Telegram is asked and answers all the same: without this a bot that can take no command would look well.
            found.append(f"The database cannot be used for {text.duration(failing)}; the log tells why.")
        if polling.state.shares:
            return found
        since = max(polling.last_good_at or self._started_at, polling.failing_since or 0.0)
        quiet = text.duration(max(0.0, now - since))
        if polling.last_good_at is None:
            found.append(f"Not connected to Telegram yet, for {quiet}.")
        elif now - since > self._patience:
            running = polling.state is PollingState.RUNNING
            found.append(f"{'Telegram has not answered' if running else polling.state.words} for {quiet}.")
        return found

    def view(self) -> dict[str, Any]:
        """All that can be shown: what was last collected, and how things are at this moment. Never waits."""
        problems = self.problems()
        return self.latest | {
            "now": self._now(),
            "healthy": not problems,
            "problems": problems,
            "stuck": list(self._parts.stuck()),
            "polling": self._parts.polling().as_json(),
            "conflict": asdict(self._parts.conflict()),
            "alerts_by_hour": self._hours,
            "latency": asdict(self._parts.latency()) | {"bounds": BOUNDS},
            "started_at": self._started_at,
        }

    def _count(self) -> None:
        """Ask the store for its figures. Raises StoreError."""
        self._queue["pending"] = self._parts.pending()
        began = self._monotonic()
        if began < self._count_again_at:
            return
        now = self._now()
        settled = self._parts.settled(now - 86400)
        self._queue.update(sent_24h=settled["sent"], buried_24h=settled["buried"])
        # The last 24 clock hours with the present one.
        first = int(now // 3600 - 23) * 3600
        counts = self._parts.alerts_by_hour(first)
        self._hours = [[at, counts.get(at, 0)] for at in range(first, first + 86400, 3600)]
        # After a hundred times what it took: with a large database these are moments of work.
        ended = self._monotonic()
        self._count_again_at = ended + 100 * (ended - began)


def read(folder: Path) -> dict[str, Any] | None:
    """What the file in a bot's folder says; None when there is none, or it is no state of a schema known here."""
    try:
        with (folder / FILE).open(encoding="utf-8") as file:
            told = json.loads(file.read(1_000_000))
    except (OSError, ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and told.get("schema") == SCHEMA else None
