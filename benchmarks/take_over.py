"""How soon another copy takes over where two share a PostgreSQL database: its first getUpdates, in real time.

`python -m benchmarks.take_over --database postgresql://postgres@127.0.0.1:5432/postgres` takes about 70 s. It makes a
database of its own there and drops it again. The leader is killed, stopped, frozen, and cut off from the server, each
against a copy that stands by; the relay is its network. Exit code 1 when one took longer than is promised.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from benchmarks.rig import Rig, rest
from simulation.relay import Relay
from simulation.simulator import Simulator

NAME = "cryptosat_take_over"
LEADS = "This copy leads"
Fault = Callable[[Rig, Relay], object]
FAULTS: dict[str, tuple[Fault, float]] = {  # and the seconds that are promised
    "kill -9": (lambda leader, relay: leader.kill(), 1.0),
    "SIGTERM, from its exit": (lambda leader, relay: leader.stop(), 0.5),
    "frozen": (lambda leader, relay: os.kill(leader.pid, signal.SIGSTOP), 15.0),
    "the network to the server is silent": (lambda leader, relay: relay.hold(), 12.0),
}


def measure(url: str, fault: Fault) -> tuple[float, float]:
    """Seconds from the fault to the other copy's first getUpdates, and how many 409s came after it."""
    place = urlsplit(url)
    with (
        tempfile.TemporaryDirectory(prefix="cryptosat-benchmark-") as folder,
        Simulator() as sim,
        Relay((place.hostname or "127.0.0.1", place.port or 5432)) as relay,
    ):
        mine = place._replace(path=f"/{NAME}")
        far = mine._replace(netloc=f"{(place.username or '')}@127.0.0.1:{relay.port}").geturl()
        leader = Rig(sim, make(folder, "one"), DATABASE_URL=far, LOCK_SCOPE="folder", BOT_NAME="one")
        other = Rig(
            sim,
            make(folder, "two"),
            token=leader.token,
            DATABASE_URL=mine.geturl(),
            LOCK_SCOPE="folder",
            BOT_NAME="two",
        )
        try:
            leader.start()
            leader.wait(lambda: "Polling: running" in leader.log(), 20, what="the leader polls")
            other.start()
            other.wait(lambda: "Standing by" in other.log(), 20, what="the other one stands by")
            rest(3)
            known = {call.port for call in leader.account.calls}  # of the leader's connections
            fault(leader, relay)
            began = time.time()
            other.wait(lambda: LEADS in other.log(), 30, what="the other one leads")
            led = time.time()
            other.wait(lambda: "Polling: running" in other.log(), 30, what="the other one polls")
            polls = [call for call in leader.account.calls if call.method == "getUpdates" and call.at > led - 0.5]
            # The poll of a dead copy is ended by the next one's, with a 409 that nobody gets.
            conflicts = sum(call.status == 409 and call.at > began for call in leader.account.calls)
            return next(poll.at for poll in polls if poll.port not in known) - began, conflicts
        finally:
            leader.end()
            other.end()


def make(folder: str, name: str) -> Path:
    """A folder for one copy."""
    path = Path(folder, name)
    path.mkdir()
    return path


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="How soon another copy that shares the database takes over.")
    parser.add_argument("--database", required=True, help="a PostgreSQL server, by the URL of any database there")
    options = parser.parse_args()
    slow = []
    for name, (fault, promised) in FAULTS.items():
        with psycopg.connect(options.database, autocommit=True) as server:
            server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)".encode())
            server.execute(f"CREATE DATABASE {NAME}".encode())
        took, conflicts = measure(options.database, fault)
        print(f"{name:>40} {took:6.2f} s (promised {promised:g}), 409s: {conflicts:g}")
        slow += [name] if took > promised or conflicts else []
    with psycopg.connect(options.database, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)".encode())
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
