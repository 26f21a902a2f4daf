"""`python bot.py stop`: asks the running bot to stop, waits, and reports. It never kills.

Where a supervisor would start the bot again, its own command is named instead. A signal goes only to the process that
the kernel names as the lock's holder, and only if that has this bot's lock file open at that moment and runs as the
account that took the lock; elsewhere a file asks (stop_requests.py). There is no hard stop here.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from base import config, exit_codes, text
from base.config import Settings
from base.shell import bot_command
from machine import processes, stop_requests, supervisor
from machine.holder import WAY_OUT, Holder, stop_command
from manage import instance
from manage.instance import Instance

log = logging.getLogger(__name__)

EVERY = 0.05  # seconds between two looks at whether it has ended
SETTLE = 0.4  # seconds in which a copy that waited for the lock would have taken it


def run(env_file: Path, arguments: argparse.Namespace) -> int:
    """0: it stopped, or was not running. 1: it is still running, and a sentence says what to do."""
    place = config.place(env_file)
    found = instance.look(place)
    if found.holder is None:
        print(f"Bot {found.name} was not running on this machine. {found.left_elsewhere}".rstrip())
        return exit_codes.STOPPED
    reason = _reason_not_to(found, found.holder)
    if reason:
        return exit_codes.problem(reason)
    began = time.monotonic()
    try:
        if not _ask(place, found, found.holder):
            return exit_codes.problem(_not_the_bot(found, found.holder))
    except OSError as error:
        why = f"could not be asked to stop ({error.strerror or error}). To stop it"
        return exit_codes.problem(f"Bot {found.name} {why}: {stop_command(found.holder)}")
    return _wait(place, found, arguments.timeout, began=began)


def _reason_not_to(found: Instance, holder: Holder) -> str:
    """Why this command does not stop the bot, with what does; "" when it may."""
    runs = f"Bot {found.name} runs"
    command = stop_command(holder)
    around = holder.supervisor
    if not holder.here:
        return f"{runs} on {holder.host}, according to its folder. Stop it there, with bot.py stop."
    if around is not None and around.restarts:
        return f"{runs} under {around}, which would restart it at once. Stop it with:\n  {command}"
    if holder.pid is None:
        return f"{runs}, but its process is not visible from here. Stop it {command}."
    if found.foreign and sys.platform != "win32" and os.geteuid() != 0:
        may_not = "which this account may not stop. Stop it as that user or as root"
        return f"{runs} as user {holder.user}, {may_not}:\n  {command}"
    if not holder.trusted and (around := supervisor.detect(holder.pid)) is not None and around.restarts:
        return f"{runs} under {around.kind}, which would restart it at once. Stop it {command}."
    return ""


def _not_the_bot(found: Instance, holder: Holder) -> str:
    return (
        f"Process {holder.pid} of user {holder.user} holds the name of bot {found.name}'s lock, but it does not have "
        f"the lock file open: it is not the bot, and it was left alone. If no bot runs, {WAY_OUT}."
    )


def _ask(place: Settings, found: Instance, holder: Holder) -> bool:
    """False: that process is not the bot. One that has ended meanwhile is as good as asked. Raises OSError."""
    assert holder.pid is not None
    if sys.platform == "win32" or not holder.sure:
        stop_requests.ask(found.folder, holder.pid)
        return True
    try:
        handle = _handle(holder.pid)
        try:
            again = instance.look(place).holder
            if again is not None and again.pid == holder.pid:
                if again.user != holder.user or not processes.has_open(holder.pid, f"{found.bot_id}/bot.lock"):
                    return instance.look(place).holder is None  # it may just have stopped
                if sys.platform == "linux" and handle is not None:
                    signal.pidfd_send_signal(handle, signal.SIGTERM)
                else:
                    os.kill(holder.pid, signal.SIGTERM)
        finally:
            if handle is not None:
                os.close(handle)
    except ProcessLookupError:
        pass
    return True


def _handle(pid: int) -> int | None:
    """A descriptor of this very process, even if its pid is reused meanwhile; None where there are none."""
    if sys.platform == "linux":
        try:
            return os.pidfd_open(pid)
        except ProcessLookupError:
            raise
        except OSError as error:  # an old kernel, or a sandbox
            log.debug("No descriptor for process %d: %s", pid, error)
    return None


def _wait(place: Settings, found: Instance, timeout: float, *, began: float) -> int:
    """Wait until it has stopped, and print the result."""
    pause = threading.Event()
    asked = found.holder
    assert asked is not None
    who = f"Bot {found.name}, pid {asked.pid},"
    ended: float | None = None
    while True:
        now = instance.look(place).holder
        clock = time.monotonic()
        if now is not None and now.pid != asked.pid:
            return exit_codes.problem(
                f"{who} stopped, but a waiting copy has taken over (pid {now.pid}). Stop that one too."
            )
        if now is None:
            ended = clock if ended is None else ended
            if clock - ended >= SETTLE:
                print(f"{who} stopped in {text.duration(ended - began)}.")
                return exit_codes.STOPPED
        elif clock - began >= timeout:
            break
        pause.wait(EVERY)
    stop_requests.withdraw(found.folder)
    return exit_codes.problem(
        f"{who} has not stopped within {text.duration(timeout)}. It may still stop. To see why: {bot_command('logs')}"
    )
