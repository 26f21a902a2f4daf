"""The store on a PostgreSQL server that several machines share. Imported only where DATABASE_URL is set.

All goes over one connection, one transaction after the other, so READ COMMITTED is as good as any level: nobody else
writes. A statement whose answer nobody needs travels with the next one: each question takes a way to the server and
back, which may be 20 ms. A lost connection stays lost: everything that is asked of it fails at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrDumper

from base.secrets import redact
from base.stopwatch import Stopwatch
from botapi.storage import StoreError
from store import dialect, schema, server_errors, server_tables, session
from store.engine import StoreAway, StoreRefuses, Values
from store.readers import Readers
from store.server_rows import Row, rows_by_name

log = logging.getLogger(__name__)
logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what is raised as well

OLDEST = 14  # version of the server
# A commit that is not durable is on the server's disk within a second: the server's crash may cost it, ours does not.
_BEGIN = [b"BEGIN"]
_BEGIN_DURABLE = [b"BEGIN", b"SET LOCAL synchronous_commit = on"]
AT_ONCE = 1000  # statements that wait to travel together
_INSIDE = b"SAVEPOINT inside"
AGAIN = ": the bot tries again by itself."
UNCHANGED, THEN = " Nothing was changed.", ", then start the bot again."
_IN_TRANSACTION = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


@dataclass(eq=False)
class Posted:
    """A statement that travels with the next one. rowcount: how many rows it changed, once that is answered."""

    query: bytes
    values: list[Any] | None = None
    rowcount: int = -1


class Server:
    """The database that `url` names, with the tables of this bot; an engine (engine.py).

    bot_id: a database has the tables of one bot. name: what the connection calls itself. answered: runs since the
    latest question that was answered was asked. on_lost: called with the reason when the connection turns out to be
    lost, from the thread that met it.
    """

    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    reads_beside = True
    differs = "IS DISTINCT FROM"
    set_aside: Path | None = None
    taken_over = 0

    def __init__(
        self,
        url: str,
        *,
        bot_id: int,
        name: str = "CryptoSat",
        migrations: Sequence[schema.Migration] = schema.MIGRATIONS,
    ) -> None:
        self._url, self._bot_id, self._migrations = url, bot_id, migrations
        self._called = name
        self.answered = Stopwatch()
        self.on_lost: Callable[[str], None] = lambda why: None
        self._readers: Readers | None = None
        self._asked: Stopwatch | None = None  # since the question that waits for its answer
        try:
            known = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise StoreError(f"DATABASE_URL cannot be used: {redact(str(error).strip())}. Correct it.") from None
        self.host = str(known.get("host") or "localhost")
        self.server = session.place(self.host, str(known.get("port") or 5432))
        self.name = str(known.get("dbname") or known.get("user") or "")
        self._connection: psycopg.Connection[Row] | None = None
        self._waiting: list[Posted] = []
        self._changes = 0
        self._stale, self._forgotten = False, 0  # about prepared statements
        self._failed: psycopg.Error | None = None  # why the transaction can only be rolled back

    def connect(self) -> None:
        """Connect, unless `open_session` has; create the tables or bring them up to date."""
        if self._connection is None:
            self.open_session()
        with self._refusing():
            self._prepare()

    def open_session(self, *, limited: bool = False) -> None:
        """Connect; the tables are left alone. Raises StoreError.

        limited: for a copy of the bot that may lead. The server ends the session when it hears nothing (session.py),
        and a pooler that lends its connections for one transaction is refused.
        """
        with self._refusing():
            self._connect()
            if limited and self._connection is not None:
                session.refuse_pooler(self._connection, self._url)
                session.limit(self._connection)
                self._readers = Readers(lambda: self._open("CryptoSat reads"))

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self.close()
            raise self._refusal(error) from None
        except BaseException:  # whatever it was, the connection is not kept
            self.close()
            raise

    def _connect(self) -> None:
        """Raises StoreError for a server that cannot hold the store; psycopg.Error."""
        self._waiting = []
        connection = self._open(self._called)
        self._connection = connection
        info = connection.info
        if info.server_version < OLDEST * 10_000:
            raise StoreError(
                f"The database server {self.server} is PostgreSQL {info.server_version // 10_000}, and the bot "
                f"needs {OLDEST} or newer. Update the server, or name another one in DATABASE_URL."
            )
        if info.parameter_status("server_encoding") != "UTF8":
            raise StoreError(
                f"The database {self.name} on {self.server} cannot hold every language: its encoding is "
                f"{info.parameter_status('server_encoding')}. Create one with: createdb -E UTF8 -T template0 NAME"
            )
        connection.execute("SET synchronous_commit = off")

    def _open(self, name: str) -> session.Connection:
        connection = session.connect(self._url, name=name, row_factory=rows_by_name, cursor_factory=psycopg.RawCursor)
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        connection.adapters.register_dumper(str, StrDumper)
        return connection

    def _prepare(self) -> None:
        """Create the tables, or bring them up to date, in one transaction. Raises StoreError, psycopg.Error."""
        self.begin(durable=True)
        try:
            # Two copies that start at once: the second waits, and then finds the tables of the first.
            self.execute(f"SELECT pg_advisory_xact_lock({schema.APPLICATION_ID})")
            self._upgrade()
            self.commit()
        except BaseException:  # whatever it was, the database stays as it was
            self.roll_back()
            raise

    def _upgrade(self) -> None:
        version, newest = self._version(), schema.FIRST_VERSION + len(self._migrations)
        if version == newest:
            return
        if version:
            log.info("Upgrading the database from version %d to %d", version, newest)
            self.execute("SET LOCAL statement_timeout = 0")  # it may have millions of rows to change
        try:
            schema.bring_up_to_date(self, version, self._migrations)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"The database {self.name} on {self.server} could not be upgraded: a row is not as version {version} "
                f"wrote it ({type(error).__name__}). It was left unchanged. Go back to the version of the bot that "
                f"wrote it."
            ) from error
        self.execute("CREATE TABLE IF NOT EXISTS about (application INTEGER, version INTEGER, bot_id INTEGER)")
        self.execute("DELETE FROM about")
        self.execute("INSERT INTO about VALUES (?, ?, ?)", (schema.APPLICATION_ID, newest, self._bot_id))

    def _version(self) -> int:
        where = f"{self.name} on {self.server}"
        newest = schema.FIRST_VERSION + len(self._migrations)
        return server_tables.version(self.execute, where, bot_id=self._bot_id, newest=newest)

    def refuse_others(self) -> int:
        """For who only waits or reads: the version of the tables, 0 where there are none yet.

        Raises StoreError for tables of another program, bot or newer version.
        """
        with self._refusing():
            return self._version()

    def post(self, sql: str, values: Any = (), /) -> Posted:
        """Run one statement of a transaction, whose rows nobody needs: it travels with the next one."""
        posted = Posted(*dialect.ready(sql, values))
        self._waiting.append(posted)
        if len(self._waiting) >= AT_ONCE:
            self.execute("SELECT 1")
        return posted

    def execute(self, sql: str, values: Any = (), /) -> psycopg.Cursor[Row]:
        """Run one statement, and before it those that wait. Raises what the first of them raises."""
        last = Posted(*dialect.ready(sql, values))
        waiting, self._waiting = self._waiting, []
        self._asked = asked = Stopwatch()
        try:
            cursors = self._ask([*waiting, last])
        except psycopg.errors.InFailedSqlTransaction:
            raise self._failed or StoreError("the transaction has failed") from None
        except psycopg.Error as error:
            self._failed, self._stale = error, self._stale or bool(waiting)
            if self._connection is not None and self._connection.closed:
                self.on_lost(self.explain(error) or str(error))
            raise
        finally:
            self._asked = None
        self.answered = asked
        for posted, cursor in zip([*waiting, last], cursors, strict=True):
            posted.rowcount = cursor.rowcount
            if cursor.rowcount > 0 and not (cursor.statusmessage or "").startswith("SELECT"):
                self._changes += cursor.rowcount
        return cursors[-1]

    def _ask(self, statements: list[Posted]) -> list[psycopg.Cursor[Row]]:
        if self._connection is None:
            raise psycopg.OperationalError("there is no connection")
        if self._stale and not self._is(TransactionStatus.INERROR):
            # The driver takes one as prepared that an error kept from the server. By this, in new words, it forgets.
            self._stale, self._forgotten = False, self._forgotten + 1
            self._connection.execute(f"DEALLOCATE ALL -- {self._forgotten}".encode())
        if len(statements) == 1:
            return [self._connection.execute(statements[0].query, statements[0].values, binary=True)]
        try:
            with self._connection.pipeline():
                return [self._connection.execute(one.query, one.values, binary=True) for one in statements]
        except psycopg.Error as error:
            if self._connection.pgconn.pipeline_status != PipelineStatus.OFF:  # the driver could not leave it
                self._connection.close()
            raise server_errors.first(error) from None

    def waits_for(self) -> float:
        """Seconds since the question was asked that is not answered yet; 0 when there is none. Any thread."""
        asked = self._asked
        return 0.0 if asked is None else asked.elapsed()

    def cut(self) -> None:
        """End the connection at once, whatever waits on it. Any thread; never waits."""
        if self._connection is not None:
            session.cut(self._connection)
        if self._readers is not None:
            self._readers.cut()

    def read(self, sql: str, values: Any = (), /) -> list[Any] | None:
        """The rows of a query outside of transactions, in any thread; None where `execute` must be asked."""
        if self._readers is None or self._connection is None or self._connection.closed:
            return None
        return self._readers.rows(*dialect.ready(sql, values))

    def insert(self, sql: str, values: Values) -> int:
        row = self.execute(f"{sql} RETURNING id", values).fetchone()
        return 0 if row is None else int(row[0])

    def begin(self, *, durable: bool) -> None:
        """Begin with the next statement."""
        self._waiting, self._failed = [Posted(query) for query in (_BEGIN_DURABLE if durable else _BEGIN)], None

    def commit(self) -> None:
        """Raises what a statement of the transaction raised, also where its caller took no notice."""
        if [posted.query for posted in self._waiting] in (_BEGIN, _BEGIN_DURABLE):  # nothing was asked
            self._waiting = []
            return
        if self._failed is not None and not self._is(TransactionStatus.INTRANS):
            raise self._failed
        self.execute("COMMIT")

    def undo_inside(self) -> None:
        """Undo what came after the savepoint; what was not sent yet is not sent at all."""
        while self._waiting:
            if self._waiting.pop().query == _INSIDE:
                return
        self.execute("ROLLBACK TO inside")
        self.execute("RELEASE inside")

    def changes(self) -> int:
        return self._changes

    def in_transaction(self) -> bool:
        """False also when the connection is lost."""
        return bool(self._waiting) or self._is(*_IN_TRANSACTION)

    def _is(self, *status: TransactionStatus) -> bool:
        return self._connection is not None and self._connection.info.transaction_status in status

    def roll_back(self) -> None:
        self._waiting = []
        if self._connection is not None and self._is(*_IN_TRANSACTION):
            try:
                self._connection.execute("ROLLBACK")
            except psycopg.Error as error:
                log.debug("Rolling back: %s", error)  # the server undoes what was not committed

    def explain(self, error: Exception) -> str | None:
        if not isinstance(error, psycopg.Error):
            return None
        found = server_errors.meaning(error)
        if isinstance(error, server_errors.BUGS) and found is server_errors.OTHER:
            return None
        happened, remedy = self.words(error)
        wait = "Nothing stored is lost; new commands and alerts wait"
        if found is server_errors.DAMAGED:
            wait = "What is on the broken pages cannot be used; everything else continues"
        return f"{happened}. {wait}. {remedy}: the bot continues by itself."

    def _refusal(self, error: psycopg.Error) -> StoreError:
        """The error of a start."""
        found = server_errors.meaning(error)
        happened, remedy = self.words(error)
        if found.away:
            return StoreAway(f"{happened}. {remedy}{AGAIN}")
        return StoreRefuses(f"{happened}.{UNCHANGED} {remedy}{THEN}")

    def words(self, error: psycopg.Error) -> tuple[str, str]:
        """What happened, and what to do."""
        found = server_errors.meaning(error)
        parts = {"server": self.server, "host": self.host, "name": self.name, "error": server_errors.cause(error)}
        return found.happened.format_map(parts), found.remedy.format_map(parts)

    def is_damage(self, error: Exception) -> bool:
        """Never of a kind that a new start would end: the server looks after its files."""
        return False

    def suspect(self) -> None:
        """Not here, as above."""

    def save_if_deleted(self, report: Callable[[str], None]) -> str | None:
        """Nobody can take a database away from an open connection."""
        return None

    def close(self) -> None:
        if self._readers is not None:
            self._readers.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
