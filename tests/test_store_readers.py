"""What the leader's store reads outside of transactions: over connections of its own, which can only read."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
import serverkit
from conftest import BOT_ID

from botapi.storage import StoreError
from store import Store
from store.postgres import Server


@pytest.fixture
def server(database_url: str) -> Iterator[Server]:
    server = Server(database_url, bot_id=BOT_ID)
    server.open_session(limited=True)
    yield server
    server.close()


@pytest.fixture
def leader(server: Server) -> Store:
    return Store(server)


def test_a_read_waits_for_no_transaction_and_sees_what_is_committed(leader: Store) -> None:
    begun, done, seen = threading.Event(), threading.Event(), list[str | None]()

    def write() -> None:
        with leader.transaction():
            leader.set_value("name", "new")
            assert leader.value("name") == "new", "its own, before anyone else sees it"
            begun.set()
            assert done.wait(30)

    leader.set_value("name", "old")
    writing = threading.Thread(target=write)
    writing.start()
    assert begun.wait(30)
    reading = threading.Thread(target=lambda: seen.append(leader.value("name")))
    reading.start()
    reading.join(30)
    assert seen == ["old"]
    done.set()
    writing.join(30)
    assert leader.value("name") == "new"


def test_over_such_a_connection_nothing_can_be_written(leader: Store, server: Server) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        server.read("INSERT INTO facts (name, value) VALUES ('a', 'b') RETURNING name")
    assert leader.value("a") is None


def test_a_lost_reader_is_replaced_and_a_lost_leader_reads_no_more(leader: Store, database_url: str) -> None:
    leader.set_value("name", "kept")
    assert leader.value("name") == "kept"
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name {} 'CryptoSat reads'"
    ours = " AND datname = current_database() AND pid <> pg_backend_pid()"
    serverkit.execute(database_url, end.format("=") + ours)
    assert leader.value("name") == "kept"
    serverkit.execute(database_url, end.format("<>") + ours)
    with pytest.raises(StoreError):
        leader.set_value("name", "lost")
    with pytest.raises(StoreError):
        leader.value("name")
