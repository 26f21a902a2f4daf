"""What an engine of the store is: the file (sqlite.py) or the server (postgres.py) under one `Database`.

The modules of the store write their SQL once, in what both understand, with `?` (or `:name`) for each value. Text is
compared and sorted by its code points, NaN is kept as NULL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from botapi.storage import StoreError

Values = tuple[Any, ...] | Mapping[str, Any]


class StoreAway(StoreError):
    """The database cannot be used now, and may be without a change of anything here."""


class StoreRefuses(StoreError):
    """The server refuses what it could allow: a right, a password. Who has used the database waits for that."""


class Row(Protocol):
    """One row of a query: its values by column name, by number, or one after the other."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def keys(self) -> list[str]:
        """The names of its columns."""


class Posted(Protocol):
    """What a statement did that is run with the next one, or with the end of its transaction: known after that."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""


class Cursor(Posted, Protocol):
    """What a statement gave."""

    def fetchone(self) -> Any:
        """The next row, None when there is none."""

    def fetchall(self) -> list[Any]:
        """All its rows."""


class Connection(Protocol):
    """What a migration is given: the same SQL for both engines."""

    def execute(self, sql: str, values: Any = (), /) -> Any:
        """Run one statement."""


class Engine(Protocol):
    """One connection. `Database` calls it from one thread at a time, and explains what it raises.

    errors: what it raises when a statement fails. reads_beside: does `read` answer? differs: the operator for "not
    the same", where NULL is a value. set_aside: the new name of a damaged file, None when there was none. taken_over:
    how many of its rows were saved.
    """

    errors: tuple[type[Exception], ...]
    reads_beside: bool
    differs: str
    set_aside: Path | None
    taken_over: int

    def connect(self) -> None:
        """Connect; create the tables, or bring them up to date. Raises StoreError."""

    def execute(self, sql: str, values: Any = (), /) -> Cursor:
        """Run one statement: alone it is a transaction, after `begin` a part of that one."""

    def post(self, sql: str, values: Any = (), /) -> Posted:
        """Run one statement of a transaction, whose rows nobody needs, at the latest with the next one.

        What it raises, that one raises, or `commit`.
        """

    def read(self, sql: str, values: Any = (), /) -> list[Any] | None:
        """The rows of a query outside of transactions, without a turn among what is asked; None: not this way."""

    def insert(self, sql: str, values: Values) -> int:
        """An INSERT of one row into a table with the column `id`; returns that of the new row."""

    def begin(self, *, durable: bool) -> None:
        """Begin a transaction. durable: `commit` waits until the disk has it."""

    def commit(self) -> None:
        """End the transaction."""

    def undo_inside(self) -> None:
        """Undo what came after the last `SAVEPOINT inside`, and forget that."""

    def changes(self) -> int:
        """How many rows were written over this connection. Changes that were undone count, too."""

    def roll_back(self) -> None:
        """Undo the transaction, if there is one. Raises nothing: an earlier error is the one to report."""

    def in_transaction(self) -> bool:
        """Is there a transaction? An engine may have given it up by itself, on a full disk or a lost connection."""

    def explain(self, error: Exception) -> str | None:
        """What happened, what it means and what to do; None for a mistake in our own SQL or values."""

    def is_damage(self, error: Exception) -> bool:
        """Does the error say that what is stored is not what it should be?"""

    def suspect(self) -> None:
        """Damage was met: note that the next start must look at everything."""

    def save_if_deleted(self, report: Callable[[str], None]) -> str | None:
        """If someone deleted what is stored while it is open, save it; what happened, for people.

        report: called with the reason when this connection can no longer be used. Raises StoreError, OSError, or what
        `errors` holds.
        """

    def close(self) -> None:
        """Close the connection."""
