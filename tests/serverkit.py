"""The PostgreSQL server of the tests: each test process has a database of its own there, empty when a test begins.

TEST_DATABASE_URL says where it is. Where none answers the tests that need it are skipped, or fail where
TEST_DATABASE_REQUIRED is set (.ci/run).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest

URL = os.environ.get("TEST_DATABASE_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
OURS = "cryptosat_test_"  # and the pid of the test process
# Faster than tables made anew: what a test left in them is deleted, and ids begin with 1 again.
_EMPTY = """
DO $$ DECLARE found text; BEGIN
    FOR found IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND relname <> 'about' LOOP EXECUTE format('DELETE FROM %I', found); END LOOP;
    FOR found IN SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace
        LOOP PERFORM setval(format('%I', found)::regclass, 1, false); END LOOP;
END $$
"""
OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_ANEW = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"


def url_of(database: str) -> str:
    return urlunsplit(urlsplit(URL)._replace(path=f"/{database}"))


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run these over a connection of the test's own; returns the rows of the last one."""
    import psycopg

    with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@contextmanager
def own_database() -> Iterator[str]:
    """Make this process's database; those of processes that were killed are dropped, too."""
    try:
        left = execute(URL, f"SELECT datname FROM pg_database WHERE datname LIKE '{OURS}%'")
        dead = [
            str(name)
            for (name,) in left
            if not psutil.pid_exists(int(str(name).removeprefix(OURS).partition("_")[0]))
        ]
        name = f"{OURS}{os.getpid()}"
        execute(
            URL, *(f"DROP DATABASE IF EXISTS {one} WITH (FORCE)" for one in (*dead, name)), f"CREATE DATABASE {name}"
        )
    except Exception as error:  # no driver, no server, no right there: whatever it is, the reason is shown
        words = f"no PostgreSQL server for the tests at {urlsplit(URL).hostname} (TEST_DATABASE_URL): {error}"
        if os.environ.get("TEST_DATABASE_REQUIRED"):
            pytest.fail(words)
        pytest.skip(words)
    yield url_of(name)
    execute(URL, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def empty(url: str, *, anew: bool = False) -> None:
    """End all sessions and leave no row; anew: no table either."""
    execute(url, "SET synchronous_commit = off", OTHERS, _ANEW if anew else _EMPTY)
