"""Which of the copies that share a database leads: the one whose connection holds a lock of the server.

The lock belongs to the connection, and everything the bot stores goes over that connection: who has lost it can store
nothing more. What goes to Telegram no server can hold back, so a copy acts only for LEASE seconds after it asked
something that the server has answered. A session that asks nothing for longer is ended by the server, or by a copy
that waits, and only then another copy can lead (the times are in session.py). So a copy that was frozen, or cut off,
has stopped before.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from base import text
from base.worker import Worker
from botapi.storage import StoreError
from store import Store, copies
from store.copies import Copy
from store.engine import Row, StoreAway, StoreRefuses
from store.postgres import Server
from store.session import LEASE, SILENT

log = logging.getLogger(__name__)

TRY_EVERY = 0.25  # seconds between two tries for the lock
BEAT_EVERY = 2.0  # seconds: how long the leader leaves the server without a question, at most
LOOK_EVERY = 5.0  # seconds between two looks at who else is there
LOOK_FOR_SILENT = 1.0  # seconds between two looks whether the leader's connection is silent
ENDS_WITHIN = 0.8  # seconds for the server's answer when the bot ends, which PM2 kills after 1.6 s
LONGEST_REST = 2.0  # seconds between two tries to connect
LEADS = "This copy leads"
FORMER_FIRST = LONGEST_REST + 0.5  # seconds left to the copy that led: it knows what was sent and not marked
_NAMES = (
    "SELECT application_name AS name FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name LIKE ? ORDER BY backend_start"
)
# The server counts neither time limit between two parts of one pipeline: who is frozen there would keep the lock.
_END_SILENT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE locktype = 'advisory' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND objsubid = 1 "
    "AND (CAST(classid AS BIGINT) << 32) | CAST(objid AS BIGINT) = ? "
    "AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - make_interval(secs => ?)"
)


class Role(Enum):
    """What this copy is among those that share its database."""

    AWAY = "the database cannot be reached"
    STANDBY = "another copy leads"
    CHOSEN = "about to lead"
    LEADER = "leads"
    LOST = "has led, and ends what it did as the leader"


class Election:
    """This copy's part in the choice of the leader. Its thread connects, tries for the lock, and keeps it.

    server: makes a connection to be, which calls itself by the given name. open_store: opens the store on one.
    chosen: this copy holds the lock; it gets the store, and `lead` is to be called. lost: it does not hold it any
    more, and why; `stand` is to be called when all that it did as the leader has ended. refused: this copy can never
    lead; why. These are called from the thread, or from the one that met the loss, and return at once.
    """

    def __init__(
        self,
        server: Callable[[str], Server],
        open_store: Callable[[Server], Store],
        *,
        bot_id: int,
        host: str,
        chosen: Callable[[Store], None],
        lost: Callable[[str], None],
        refused: Callable[[str], None],
        died: Callable[[str], None],
    ) -> None:
        self.worker = Worker("leader", self.step, on_death=died)
        self.role = Role.AWAY
        self.trouble = ""  # why the database cannot be reached, for people
        self.away_since: float | None = time.monotonic()
        self.led_last = False  # this copy led until it lost the database
        self._was_there = False  # this copy has stood by or led before
        self.copies: list[Copy] = []  # that share the database, as last seen, this one among them
        self._make, self._open = server, open_store
        self._bot_id, self._host = bot_id, host
        self._chosen, self._lost, self._refused = chosen, lost, refused
        self._server: Server | None = None
        self._store: Store | None = None
        self._mutex = threading.Lock()  # of the loss, which several threads may meet
        self._rest = TRY_EVERY
        self._tries = 0
        self._looked_at = 0.0
        self._knows_leader = False  # since it connected
        self._not_before = 0.0  # it does not try for the lock, by the monotonic clock

    def leads(self) -> bool:
        """May this copy act as the leader now? Never waits; any thread."""
        server = self._server
        return self.role is Role.LEADER and server is not None and server.answered.elapsed() < LEASE

    def lead(self) -> None:
        """From now on this copy acts."""
        if self.role is Role.CHOSEN:
            self.role, self._looked_at = Role.LEADER, 0.0
            if not self.trouble:  # else it leads when it could begin
                log.info(LEADS)
            self.worker.wake()

    def begun(self) -> None:
        """All that this copy does as the leader has begun."""
        if self.trouble:
            self._is_there()
            log.info(LEADS)

    def stand(self, why: str, *, could_not_begin: bool = False) -> None:
        """All that this copy did as the leader has ended, for this reason: it may be chosen again."""
        if self.away_since is None:
            self.away_since = time.monotonic()
        self.role, self.trouble, self.led_last, self.copies = Role.AWAY, why, True, []
        if not could_not_begin:
            self.worker.wake()

    def watch(self) -> None:
        """For the main thread, twice a second: end a connection that has gone silent. Never waits."""
        server = self._server
        if server is None:
            return
        if self.role is Role.LEADER and not self.leads():
            self._lose(f"The database server {server.server} has not answered for {LEASE:g} s.")
        elif self.role is not Role.CHOSEN and server.waits_for() > LEASE:  # an upgrade may take its time
            server.cut()

    def away_for(self) -> float:
        """Seconds for which the database could not be reached, 0 when it can."""
        return 0.0 if self.away_since is None else time.monotonic() - self.away_since

    def end_soon(self) -> None:
        """The bot ends: from now on it waits for a server that is silent ENDS_WITHIN seconds only. Never waits."""
        server = self._server
        if server is None or self.role is not Role.LEADER:
            return
        why = f"The database server {server.server} does not answer, and the bot ends."
        late = threading.Timer(ENDS_WITHIN, self._lose, [why])
        late.daemon = True
        late.start()

        def ask() -> None:
            if server.read("SELECT 1") is not None:  # beside the other questions, which may take their time
                late.cancel()

        threading.Thread(target=ask, name="end of the lead", daemon=True).start()

    def stop(self) -> None:
        """Leave: end the connection, and with it the lock."""
        self.worker.stop()
        if self._server is not None:
            self._server.cut()

    # The thread

    def step(self) -> float:
        """Connect, try for the lock, or keep it; the seconds to rest."""
        if self.role is Role.AWAY:
            return self._connect()
        try:
            if self.role is Role.STANDBY and self._server is not None:
                return self._try(self._server)
            server, store = self._server, self._store
            if self.role is Role.LEADER and server and store and self._is_due(server):
                self._looked_at = time.monotonic()
                with store.transaction():  # in turn with what else is asked
                    self.copies = look(server, self._bot_id)
        except StoreError as error:
            if self.role in (Role.STANDBY, Role.CHOSEN):
                return self._cannot(error)
            # Of a leader: `on_lost` was called if its connection is lost.
        return BEAT_EVERY / 2

    def _is_due(self, server: Server) -> bool:
        """Is a question of its own due to a server that hears from the leader often, or not at all?"""
        quiet = server.answered.elapsed() > BEAT_EVERY / 2 and not server.waits_for()
        return quiet or time.monotonic() - self._looked_at > LOOK_EVERY

    def _connect(self) -> float:
        self._server = server = self._make(copies.called(self._bot_id, self._host, leads=False))
        try:
            server.open_session(limited=True)
        except StoreError as error:  # a pooler or a server that is another one now may be so for a moment only
            return self._fails(str(error)) if self._was_there else self._cannot(error)
        try:
            server.refuse_others()
        except StoreError as error:
            return self._cannot(error)
        waits = FORMER_FIRST if self._was_there and not self.led_last else 0.0
        self._not_before = time.monotonic() + waits
        self.role, self._tries, self.copies, self._knows_leader = Role.STANDBY, 0, [], False
        return 0.0

    def _is_there(self) -> None:
        """The database is of use to this copy."""
        if self.trouble:
            log.info("The database can be reached again after %s", text.duration(self.away_for()))
        self.trouble, self.away_since, self._was_there, self._rest = "", None, True, TRY_EVERY

    def _cannot(self, error: StoreError) -> float:
        heals = isinstance(error, StoreAway) or (self._was_there and isinstance(error, StoreRefuses))
        return self._fails(str(error)) if heals else self._refuse(str(error))

    def _fails(self, why: str) -> float:
        if self.away_since is None:
            self.away_since = time.monotonic()
        if not self.trouble:
            log.error("%s", why)
        if self._server is not None:
            self._server.close()
        self.role, self.trouble, self.copies = Role.AWAY, why, []
        self._rest = min(LONGEST_REST, self._rest * 2)
        return self._rest

    def _refuse(self, why: str) -> float:
        self.role = Role.LOST
        self._refused(why)
        return LONGEST_REST

    def _try(self, server: Server) -> float:
        if time.monotonic() >= self._not_before and _takes_lock(server, self._bot_id):
            return self._begin(server)
        if self._tries % round(LOOK_EVERY / TRY_EVERY) == 0:
            server.refuse_others()
            self.copies = look(server, self._bot_id)
            self._is_there()
            self.led_last = False
            leader = next((copy for copy in self.copies if copy.leads), None)
            if leader is not None and not self._knows_leader:
                self._knows_leader = True
                log.info("Standing by: the copy on %s (pid %d) leads", leader.host, leader.pid)
        self._tries += 1
        if self._tries % round(LOOK_FOR_SILENT / TRY_EVERY) == 0:
            _ask(server, _END_SILENT, lock_key(self._bot_id), SILENT + LOOK_FOR_SILENT)
        return TRY_EVERY

    def _begin(self, server: Server) -> float:
        """The lock is held: open the store, which upgrades it where that is needed."""
        self.role = Role.CHOSEN
        name = copies.called(self._bot_id, self._host, leads=True)
        _ask(server, "SELECT set_config('application_name', ?, false)", name)
        self._store = self._open(server)
        if not self.trouble:
            self._is_there()
        server.on_lost = self._lose
        self._chosen(self._store)
        return BEAT_EVERY / 2

    def _lose(self, why: str) -> None:
        """The lock is gone, or will be: from now on this copy does nothing. Any thread."""
        with self._mutex:
            if self.role not in (Role.CHOSEN, Role.LEADER):
                return
            self.role, self.trouble, self.away_since = Role.LOST, why, time.monotonic()
        if self._store is not None:
            self._store.lost(why)
        if self._server is not None:
            self._server.cut()
        self._lost(why)


@contextmanager
def lead_once(url: str, bot_id: int, *, now: Callable[[], float]) -> Iterator[Store | None]:
    """The store as the leader's, without a standby; None where another copy leads. Raises StoreError."""
    server = Server(url, bot_id=bot_id, name=copies.called(bot_id, socket.gethostname(), leads=True))
    server.open_session()
    try:
        yield Store(server, now=now) if _takes_lock(server, bot_id) else None
    finally:
        server.close()


def _takes_lock(server: Server, bot_id: int) -> bool:
    return bool(_ask(server, "SELECT pg_try_advisory_lock(?)", lock_key(bot_id))[0][0])


def lock_key(bot_id: int) -> int:
    """The number of the lock: other programs in the same database use other ones."""
    return int.from_bytes(hashlib.sha256(copies.named(bot_id).encode()).digest()[:8], "big", signed=True)


def look(server: Server, bot_id: int) -> list[Copy]:
    """The copies of this bot that are connected, the leader first. Raises StoreError."""
    return copies.found(str(row["name"]) for row in _ask(server, _NAMES, f"{copies.named(bot_id)} %"))


def _ask(server: Server, sql: str, *values: Any) -> list[Row]:
    """What the server answers outside of the store. Raises StoreError."""
    try:
        return list(server.execute(sql, values).fetchall())
    except server.errors as error:
        raise StoreAway(server.explain(error) or str(error)) from None
