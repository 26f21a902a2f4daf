"""`python bot.py status`: is this bot running on this machine, and is it healthy. It disturbs nothing.

The lock says whether the bot runs. The rest is what the bot itself last wrote to status.json (service/state.py).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from base import config, exit_codes, text
from base.shell import bot_command
from botapi.polling_state import PAUSED, ConflictState, PollingReport
from machine.holder import Holder, described, stop_command
from manage import instance
from manage.instance import Instance
from service.state import FRESH, shown
from store.copies import Copy
from venues.availability import SourceHealth

_STATE = ("version", "polling", "conflict", "sources", "queue", "threads", "problems", "alerts_paused", "copies")


def run(env_file: Path, arguments: argparse.Namespace) -> int:
    """Print it. 0: running; 1: running but not healthy (only with `--healthy`); 3: not running."""
    found = instance.look(config.place(env_file))
    now = time.time()
    print(json.dumps(as_json(found, now), indent=1) if arguments.json else "\n".join(lines(found, now)))
    if found.holder is None:
        return exit_codes.NOT_RUNNING
    return exit_codes.PROBLEM if arguments.healthy and problems(found, now) else exit_codes.STOPPED


def problems(found: Instance, now: float) -> list[str]:
    """Why a running bot is not healthy, one sentence each; a bot that has written no state yet is not healthy."""
    if not found.status:
        return ["It has not written its status yet."]
    silent = now - found.seen_at
    if silent > FRESH:
        return [f"No sign of life for {text.duration(silent)}: it hangs, is suspended, or the disk is full."]
    return [str(problem) for problem in found.status.get("problems") or []]


def as_json(found: Instance, now: float) -> dict[str, Any]:
    """The status for programs. Times are unix seconds; unknown values are null."""
    holder = found.holder or Holder()
    return {
        "schema": 1,
        "running": found.holder is not None,
        "bot_id": found.bot_id,
        "username": found.status.get("username") or holder.username or None,
        "pid": holder.pid,
        "user": holder.user or None,
        "host": holder.host or None,
        "since": holder.since,
        "command": holder.command or None,
        "supervisor": None if holder.supervisor is None else asdict(holder.supervisor),
        "folder": str(found.folder),
        **{name: found.status.get(name) for name in _STATE},
        "status_at": found.seen_at if found.status else None,
        "ended": found.last_status.get("ended"),
    }


def lines(found: Instance, now: float) -> Iterator[str]:
    """The status for people, line by line."""
    if found.holder is None:
        yield f"Bot {found.name} is not running on this machine. Start it: {bot_command()}"
        if found.elsewhere:
            yield text.row("ended", found.left_elsewhere)
        elif found.last_status:
            at, why = text.clock(found.seen_at, now=now), str(found.last_status.get("ended", ""))
            killed = f"it was killed, or the power failed; last sign of life {at}"
            yield text.row("ended", f"{at}: {why}" if why else killed)
        yield text.row("folder", str(found.folder))
        return
    yield f"Bot {found.name} is running."
    yield from described(found.holder, now=now)
    restarted = found.holder.supervisor is not None and found.holder.supervisor.restarts
    theirs = restarted or not found.holder.trusted
    yield text.row("stop it", stop_command(found.holder) if theirs else bot_command("stop"))
    if found.status and not found.holder.trusted:
        yield text.row("by user", f"{found.holder.user}, who wrote what follows")
    if found.status:
        try:
            yield from list(_told(found, now))
        except (KeyError, TypeError, ValueError):
            yield text.row("more", "its status cannot be read: the running bot is a different version")
    elif found.foreign:
        yield text.row("more", f"only user {found.holder.user} (or root) can see more")
    else:
        yield text.row("more", "it has not written its status yet (wait a few seconds), or it uses another DATA_DIR")
    yield text.row("folder", str(found.status.get("folder") or found.folder))


def _told(found: Instance, now: float) -> Iterator[str]:
    status = found.status
    for problem in problems(found, now):
        yield text.row("problem", problem)
    now = status["written_at"]  # by the bot's clock; what has changed since is written at once
    conflict = ConflictState.of_json(status["conflict"])
    yield text.row("version", str(status["version"]))
    yield text.row("polling", PollingReport.of_json(status["polling"]).described(now=now))
    yield text.row("conflict", conflict.described(now=now))
    if copies := status.get("copies"):
        yield text.row("copies", shown([Copy(**copy) for copy in copies], now=now))
    if status["alerts_paused"]:
        yield text.row("alerts", PAUSED)
    elif conflict.since is not None:
        yield text.row("alerts", "both copies send them, so each may come twice")
    for number, source in enumerate(status["sources"]):
        known = {field.name: source.get(field.name) for field in fields(SourceHealth)}
        health = SourceHealth(**known | {"symbols": tuple(source["symbols"]), "retry_at": 0.0})
        yield text.row("sources" if number == 0 else "", health.line(now))
    queue = status["queue"]
    settled = f"in 24 h {queue['sent_24h']:,} sent, {queue['buried_24h']:,} undeliverable"
    yield text.row("queue", f"{queue['pending']:,} waiting; {settled}")
