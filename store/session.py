"""A connection to a PostgreSQL server: how it is made, when each side gives up a silent one, and poolers.

Sources: libpq-connect (options of the connection), runtime-config-connection and -client (settings of the session),
protocol-flow (BackendKeyData) in postgresql.org/docs/current.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from botapi.storage import StoreError

# A leader acts for LEASE seconds after it asked something that was answered; the server ends its session when nothing
# is asked for SILENT seconds, or a statement takes LONGEST: the next leader begins at most SILENT + LONGEST later.
LEASE = 7.0
SILENT = 9.0
LONGEST = 5.0
ANSWERS_WITHIN = 3.0  # seconds for a pooler to lend a connection; it lends one at once, or when another ends
_OPTIONS: Mapping[str, Any] = {
    "connect_timeout": 3,
    "keepalives": 1,
    "keepalives_idle": 2,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": int(LEASE * 1000),
    "target_session_attrs": "read-write",  # a replica has locks of its own
}
_LIMITS = {
    "idle_session_timeout": f"{SILENT:g}s",
    "idle_in_transaction_session_timeout": f"{SILENT:g}s",
    "statement_timeout": f"{LONGEST:g}s",
    "tcp_user_timeout": f"{SILENT:g}s",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
_LOOK_FOR_THE_CLIENT = "SET client_connection_check_interval = '1s'"  # also while a statement runs

Connection = psycopg.Connection[Any]


def place(hosts: str, ports: str) -> str:
    """The servers that a URL names, for people. Both may be lists, with commas, and one port is that of all."""
    pairs = zip(hosts.split(","), itertools.cycle(ports.split(",")), strict=False)
    return " or ".join(host if port == "5432" else f"{host}:{port}" for host, port in pairs)


def connect(url: str, *, name: str, **how: Any) -> Connection:
    """A new connection, which calls itself `name`. What the URL says itself is kept. Raises psycopg.Error."""
    said = conninfo_to_dict(url)
    options = {option: value for option, value in _OPTIONS.items() if option not in said}
    return psycopg.connect(url, autocommit=True, application_name=name, **options, **how)


def cut(connection: Connection) -> None:
    """End the connection at once, whatever waits on it. Any thread; never waits."""
    if not connection.closed:
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


def limit(connection: Connection) -> None:
    """Let the server end this session when its program is frozen, or its network silent. Raises psycopg.Error."""
    settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _LIMITS.items())
    connection.execute(f"SELECT {settings}".encode())
    try:
        connection.execute(_LOOK_FOR_THE_CLIENT)
    except psycopg.errors.InvalidParameterValue:
        pass  # a server on Windows or macOS; there a statement runs to its end first


def refuse_pooler(connection: Connection, url: str) -> None:
    """Raises StoreError where a pooler lends a server connection for one transaction; psycopg.Error.

    Such a connection keeps no lock. A pooler sends a process number of its own, so where the server's is sent, there
    is none. Behind a pooler, a second connection holds a transaction: is the server's process another one for it?
    """
    mine = _process(connection)
    if mine == connection.info.backend_pid:
        return
    with connect(url, name="CryptoSat looks for a pooler") as other:
        other.pgconn.send_query(b"BEGIN; SELECT pg_backend_pid()")
        if not select.select([other.fileno()], [], [], ANSWERS_WITHIN)[0]:
            return  # it waits for a connection of its own
        other.pgconn.consume_input()
        answers = []
        while (result := other.pgconn.get_result()) is not None:
            answers.append(result)
        theirs = int(answers[-1].get_value(0, 0) or 0) if answers and answers[-1].ntuples else 0
        if theirs in (0, mine) or _process(connection) != mine:
            raise StoreError(
                "DATABASE_URL leads to a connection pooler in transaction mode (PgBouncer, Supavisor or another). "
                "With it two copies of the bot could lead at once. Use the server's own address and port, usually "
                "5432, or the pooler's session mode."
            )


def _process(connection: Connection) -> int:
    """The number of the server's process behind the connection."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None, "a SELECT of one value gives one row"
    return int(row[0])
