"""A PostgreSQL database for one benchmark, and a way to it that takes its time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg

from simulation.relay import Relay


@contextmanager
def own_database(server: str) -> Iterator[str]:
    """An empty database on the server that any URL of it names; it is dropped afterwards. Its URL."""
    name = f"cryptosat_benchmark_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name}".encode())
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@contextmanager
def far(url: str, round_trip: float) -> Iterator[str]:
    """The same database behind a network whose way there and back takes so many seconds; 0 for the URL itself."""
    place = urlsplit(url)
    if not round_trip:
        yield url
        return
    with Relay((place.hostname or "127.0.0.1", place.port or 5432), delay=round_trip / 2) as relay:
        account, at, _ = place.netloc.rpartition("@")
        yield place._replace(netloc=f"{account}{at}127.0.0.1:{relay.port}").geturl()
