"""The copies of a bot that share its database, as their connections name themselves (`application_name`)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

_FIRST = "cryptosat"


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy that is connected. since: when it began to lead or to wait, in unix seconds by its own clock."""

    host: str
    pid: int
    since: float
    leads: bool


def called(bot_id: int, host: str, *, leads: bool) -> str:
    """What this process's connection calls itself. PostgreSQL keeps 63 bytes of it."""
    return f"{named(bot_id)} {'leads' if leads else 'waits'} {os.getpid()} {time.time():.0f} {host}"


def named(bot_id: int) -> str:
    """How the names of all copies of this bot begin."""
    return f"{_FIRST} {bot_id}"


def found(names: Iterable[str]) -> list[Copy]:
    """The copies with these names, the leader first; other programs' names are left out."""
    copies = []
    for name in names:
        try:
            _, _, part, pid, since, host = name.split(" ", 5)
            copies.append(Copy(host=host, pid=int(pid), since=float(since), leads=part == "leads"))
        except ValueError:
            continue
    return sorted(copies, key=lambda copy: not copy.leads)
