"""The running bot's state as one plain dict, and its file: `status.json` in the bot's folder.

The file is a hint for people and for `status` and `doctor`: written when something changes, whole or not at all, and
removed at a clean stop; a bot that ended by itself leaves in it why. Its time on the disk, by the computer's clock,
is the latest sign of life. Only the lock says whether a bot runs. It holds no token and no message text.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

from base import files, text
from base.clock import slot
from base.config import VERSION
from base.worker import Worker
from botapi.polling_state import PAUSED, ConflictState, PollingReport, PollingState
from botapi.storage import StoreError
from service.metrics import BOUNDS, Spread
from store import Store
from store.copies import Copy
from venues.availability import SourceHealth

log = logging.getLogger(__name__)

FILE = "status.json"
SIGN_EVERY = 60.0  # seconds of a slot with one sign of life: each costs the disk a write, if it comes alone
FRESH = 135.0  # seconds without a sign of life after which a running bot hangs
WRITE_EVERY = 3600.0  # seconds after which the file is written though nothing of note has changed
BEHIND = 300.0  # seconds: in such steps a source that is not read is a change
SCHEMA = 1
SHOWN = ("whales", "liquidations", "funding", "oi")  # alerts of the markets; wallets are private to a chat
LATEST = 8  # alerts on the status page
_NOT_IN_FILE = ("last_ok", "retry_at", "every")  # of a source


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """How the bot's parts are at one moment, as they know it without asking the store.

    stuck: names of threads. sending_failed_since: unix seconds, None while messages go out. started_at: unix seconds.
    copies: those that share the database. failing_for: seconds since the database could be used, None while it can.
    """

    username: str
    polling: PollingReport
    conflict: ConflictState
    sending_failed_since: float | None
    sources: Sequence[SourceHealth]
    workers: Sequence[Worker]
    stuck: Sequence[str]
    latency: Spread
    started_at: float
    copies: Sequence[Copy] = ()
    failing_for: float | None = None


class State:
    """Collects the state and writes its file. A full disk costs the file, nothing else.

    store: None for a copy that stands by. coins: those whose prices are shown, read anew each time. snapshot: asked
    from several threads. patience: seconds without an answer from Telegram that are not a problem yet.
    latest: what was last collected, empty before that.
    """

    def __init__(
        self,
        folder: Path,
        store: Store | None,
        *,
        bot_id: int,
        snapshot: Callable[[], Snapshot],
        patience: float = 80.0,
        host: str = "",
        coins: Iterable[str] = (),
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.latest: dict[str, Any] = {}
        self._folder, self._path, self._host = folder, folder / FILE, host
        self._store, self._bot_id = store, bot_id
        self._snapshot, self._patience, self._coins = snapshot, patience, coins
        self._now, self._monotonic, self._wall = now, monotonic, wall
        self._failing = False
        self._written: object = None  # what was of note in the file
        self._written_at, self._sign_at = -math.inf, 0.0
        self._queue = {"pending": 0, "sent_24h": 0, "buried_24h": 0}
        self._hours: list[list[int]] = []  # the last 24 clock hours: [unix time of the beginning, alerts]
        self._prices: list[list[str]] = []  # coin, price, change in 24 hours
        self._latest_alerts: list[dict[str, object]] = []  # newest first
        self._count_again_at = -math.inf

    def end(self, why: str) -> None:
        """The bot stops: remove the file, or leave in it why the bot ended by itself ("": it was asked to)."""
        try:
            if why:
                files.write_json(self._path, self.latest | {"schema": SCHEMA, "ended": why})
            else:
                self._path.unlink(missing_ok=True)
        except OSError:
            pass  # Windows: someone is reading it; it is only a hint, and the lock shows that nobody runs

    def write(self) -> None:
        """Collect the state. Write the file if it says something else than before, or give a sign of life."""
        try:
            self._count()
        except StoreError:
            pass  # the figures stay as they were; that the database fails is reported elsewhere
        self.latest = self.collect()
        now, news = self._monotonic(), _of_note(self.latest)
        due = news != self._written or now - self._written_at >= WRITE_EVERY or not self._path.exists()
        at = self._wall()
        if not due and slot(at, SIGN_EVERY) == slot(self._sign_at, SIGN_EVERY):
            return
        try:
            if due:
                files.write_json(self._path, self.latest)
                self._written, self._written_at = news, now
            os.utime(self._path, (at, at))  # its own clock: that of a network share may be another
            self._sign_at = at
        except OSError as error:
            if not self._failing:
                advice = "so `bot.py status` shows less. Free disk space or fix permissions."
                log.warning("%s cannot be written (%s), %s", self._path, error.strerror, advice)
            self._failing = True
        else:
            self._failing = False

    def collect(self) -> dict[str, Any]:
        """The state for JSON. Times are unix seconds or None, ages and lags seconds. Never waits for the store."""
        monotonic, found = self._monotonic(), self._snapshot()
        return self._live(found) | {
            "schema": SCHEMA,
            "version": VERSION,
            "bot_id": self._bot_id,
            "username": found.username,
            "pid": os.getpid(),
            "written_at": self._now(),
            "sources": [
                {name: value for name, value in asdict(source).items() if name not in _NOT_IN_FILE}
                for source in found.sources
            ],
            "queue": dict(self._queue),
            "threads": [
                {"name": worker.name, "age": round(max(0.0, monotonic - worker.progress_at), 3)}
                for worker in found.workers
            ],
            "folder": str(self._folder),
            "copies": [asdict(copy) for copy in found.copies],
        }

    def _live(self, found: Snapshot) -> dict[str, Any]:
        return {
            "started_at": found.started_at,
            "polling": found.polling.as_json(),
            "conflict": asdict(found.conflict),
            "problems": self._problems(found),
            "alerts_paused": found.polling.alerts_paused,
        }

    def _problems(self, found: Snapshot) -> list[str]:
        """Why this bot does not do its work now, one sentence each; empty when it does.

        A bot in standby does its work: another copy answers the commands.
        """
        now, polling = self._now(), found.polling
        problems = [f"The thread {name} is stuck." for name in found.stuck]
        if found.failing_for is not None:
            # Telegram answers all the same: without this a bot that can take no command would look healthy.
            problems.append(
                f"The database has been unusable for {text.duration(found.failing_for)}. The log says why."
            )
        if polling.state.shares:
            return problems
        quiet = max(0.0, now - max(polling.last_good_at or found.started_at, polling.failing_since or 0.0))
        if polling.last_good_at is None:
            problems.append(f"Not connected to Telegram yet, for {text.duration(quiet)}.")
        elif quiet > self._patience:
            what = "" if polling.state is PollingState.RUNNING else f"{polling.state.words}: "
            problems.append(f"{what}Telegram has not answered for {text.duration(quiet)}.")
        return problems

    def view(self) -> dict[str, Any]:
        """All that can be shown: what was last collected, and how things are now. Never waits for the store."""
        found = self._snapshot()
        live = self._live(found)
        return {
            **self.latest,
            **live,
            "now": self._now(),
            "healthy": not live["problems"],
            "stuck": list(found.stuck),
            "alerts_by_hour": self._hours,
            "latest_alerts": self._latest_alerts,
            "prices": self._prices,
            "latency": asdict(found.latency) | {"bounds": BOUNDS},
        }

    def lines(self, zone: tzinfo, *, polling: Sequence[str]) -> list[str]:
        """The lines of /status, times in that zone; `polling` are those about Telegram. Raises StoreError."""
        now, found = self._now(), self._snapshot()
        lines = [f"Running for {text.duration(now - found.started_at)} on {self._host}, pid {os.getpid()}."]
        lines += polling
        if found.sending_failed_since is not None:
            since = text.clock(found.sending_failed_since, now=now, zone=zone)
            lines.append(f"Sending: Telegram unreachable since {since}.")
        if found.polling.alerts_paused:
            lines.append(f"Alerts: {PAUSED}.")
        if found.copies:
            lines.append(f"Copies that share the database: {shown(found.copies, now=now, zone=zone)}.")
        assert self._store is not None, "a copy that stands by answers nothing"
        counts = self._store.messages.counts(since=now - 86400)
        lines.append(
            f"Messages: {counts['pending']:,} waiting; in 24 h {counts['sent']:,} sent, "
            f"{counts['buried']:,} undeliverable."
        )
        return [*lines, *(source.line(now, zone) for source in found.sources)]

    def _count(self) -> None:
        """Ask the store for its figures. Raises StoreError."""
        if self._store is None:
            return
        self._queue["pending"] = self._store.messages.pending_count()
        began = self._monotonic()
        if began < self._count_again_at:
            return
        now = self._now()
        settled = self._store.messages.counts(since=now - 86400)
        self._queue.update(sent_24h=settled["sent"], buried_24h=settled["buried"])
        first = int(now // 3600 - 23) * 3600
        counts = self._store.messages.alerts_by_hour(since=first)
        self._hours = [[at, counts.get(at, 0)] for at in range(first, first + 86400, 3600)]
        self._prices = [
            [bar.symbol, text.price(bar.close), text.percent(bar.close / bar.open - 1)]
            for bar in self._store.markets.one_bar_each(self._coins, since=now - 86400)
        ]
        found = [alert for kind in SHOWN for alert in self._store.messages.alerts(kind, limit=LATEST)]
        self._latest_alerts = [
            {"at": alert.at, "side": alert.side, "headline": alert.headline, "venue": alert.venue}
            for alert in sorted(found, key=lambda alert: -alert.at)[:LATEST]
        ]
        # Only after a hundred times as long as it took, which is seconds with a large database.
        ended = self._monotonic()
        self._count_again_at = ended + 100 * (ended - began)


def shown(copies: Iterable[Copy], *, now: float, zone: tzinfo = UTC) -> str:
    """The copies in words, times in that zone."""
    return ", ".join(
        f"{copy.host} (pid {copy.pid}) {'leads' if copy.leads else 'stands by'} since "
        f"{text.clock(copy.since, now=now, zone=zone)}"
        for copy in copies
    )


def _of_note(state: Mapping[str, Any]) -> object:
    """What a reader of the file must not find out late. Ages that only grow are not."""
    polling = {name: value for name, value in state["polling"].items() if name != "last_good_at"}
    ages = ("lag", "silent")
    sources = [source | {name: source[name] // BEHIND for name in ages} for source in state["sources"]]
    sources = [source | ({} if source["silent"] else {"quietest": ""}) for source in sources]
    left_out = {"written_at", "threads", "polling", "sources"}
    return polling, sources, {name: value for name, value in state.items() if name not in left_out}


def seen_at(folder: Path) -> float:
    """When the bot last gave a sign of life, unix seconds by the computer's clock; 0 when there is no file."""
    try:
        return (folder / FILE).stat().st_mtime
    except OSError:
        return 0.0


def read(folder: Path) -> dict[str, Any] | None:
    """What the file in a bot's folder says; None when there is none, or its schema is not known here."""
    found = files.read_json(folder / FILE)
    return found if found is not None and found.get("schema") == SCHEMA else None
