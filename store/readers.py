"""Connections beside the one that writes: what is asked outside of a transaction waits for no other question.

With 20 ms to the server the one connection answers 50 questions a second, and a message takes four. These can only
read, so the fence of the leader (leader.py) stays: who lost the lock stores nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from store import session

MOST = 6  # open at the same time: with 20 ms to the server they keep up with 30 messages a second


class Readers:
    """Up to MOST connections, each made by `connect` when it is needed. Safe from any thread."""

    def __init__(self, connect: Callable[[], session.Connection]) -> None:
        self._connect = connect
        self._free = threading.Semaphore(MOST)
        self._idle: list[session.Connection] = []
        self._all: set[session.Connection] = set()
        self._closed = False

    def rows(self, query: bytes, values: list[Any] | None) -> list[Any] | None:
        """The answer; None where no connection can be had, or it was lost. Raises psycopg.Error for the query."""
        with self._free:
            try:
                connection = self._idle.pop() if self._idle else self._new()
            except (psycopg.Error, OSError):
                return None
            try:
                found = connection.execute(query, values, binary=True).fetchall()
            except psycopg.Error:
                if connection.closed:
                    self._all.discard(connection)
                    return None
                self._idle.append(connection)
                raise
            self._idle.append(connection)
            return found

    def _new(self) -> session.Connection:
        connection = self._connect()
        self._all.add(connection)
        if self._closed:
            session.cut(connection)
        connection.execute(b"SET default_transaction_read_only = on")
        return connection

    def cut(self) -> None:
        """End all of them at once, whatever waits on them, and every later one. Never waits."""
        self._closed = True
        for connection in list(self._all):
            session.cut(connection)

    def close(self) -> None:
        """Close those that are idle, and end the others."""
        self.cut()
        while self._idle:
            with suppress(IndexError, psycopg.Error):
                self._idle.pop().close()
