"""A PostgreSQL database (DATABASE_URL) looked at by `doctor`, and the commands that save and bring back one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from base import text
from base.config import Settings
from base.shell import installing, quoted
from botapi.storage import StoreError
from manage.findings import Finding

LOOKS = 5  # round trips that are measured
SLOW = 0.02  # seconds for one of them: a command takes about ten
_SIZE = (
    "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
    "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
)


def findings(settings: Settings) -> Iterator[Finding]:
    """Version, speed, size, and who leads. Changes nothing there."""
    try:
        from store import leader, schema
        from store.postgres import Server
    except ImportError:
        fix = ", then: ".join(installing("requirements-postgres.txt"))
        yield Finding("database", "problem", "DATABASE_URL needs the package psycopg", fix)
        return
    try:
        with closing(Server(settings.database_url, bot_id=settings.bot_id, name="CryptoSat doctor")) as server:
            server.open_session()
            version, took = server.refuse_others(), []
            release = str(server.execute("SHOW server_version").fetchall()[0][0]).split()[0]
            for _ in range(LOOKS):
                began = time.monotonic()
                server.execute("SELECT 1")
                took.append(time.monotonic() - began)
            size = int(server.execute(_SIZE).fetchall()[0][0])
            copies = leader.look(server, settings.bot_id)
    except StoreError as error:
        yield Finding("database", "problem", str(error))
        return
    answers = statistics.median(took)
    words = f"PostgreSQL {release} on {server.server}, answers in {answers * 1000:,.1f} ms"
    if not version:
        yield Finding("database", "ok", f"{words}; empty, the tables are created at the first start")
        return
    upgrade = "" if version == schema.NEWEST else f"; of an older version ({version}), the next leader upgrades it"
    slow = "use a server nearer to this computer" if answers > SLOW else ""
    yield Finding("database", "warning" if slow else "ok", f"{words}, {size / 1e6:,.1f} MB{upgrade}", slow)
    for copy in copies:
        since = text.duration(max(0.0, time.time() - copy.since))
        does = "leads" if copy.leads else "stands by"
        yield Finding("database", "ok", f"{text.plain(copy.host)} (pid {copy.pid}) {does}, for {since}")


def by_hand(settings: Settings, program: str, *words: str) -> str:
    """A command of PostgreSQL's own for this database. It asks for the password, which is not in it."""
    parts = urlsplit(settings.database_url)
    login = f"{parts.username}@" if parts.username else ""
    hosts = parts.netloc.rpartition("@")[2]
    query = f"?{parts.query}" if parts.query and "password" not in parts.query else ""
    return quoted(program, *words, f"--dbname=postgresql://{login}{hosts}{parts.path}{query}")
