"""The bot as one process: take the lock, start the parts, wait for a signal, stop in order. Or one round (--once).

What the first getUpdates does not need is imported where it is used, which is after it.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from access import Link
from base import exit_codes, logs
from base.clock import Clock
from base.config import Settings
from botapi.storage import StoreError
from lock import InstanceLock, LockError
from machine import accounts, stop_requests
from machine.folders import DATABASE, FolderError, bot_folder
from machine.holder import Holder, refusal, stop_command
from machine.stop_requests import Signals
from service.events import End, Events, begin_end, next_event
from service.listening import Listening
from service.systemd import Notifier
from store import Store
from store.engine import Engine

if TYPE_CHECKING:
    from service.app import Bot

log = logging.getLogger(__name__)

START_GRACE = 2.0  # seconds a start waits for a copy that is just stopping


def run(
    settings: Settings, *, env_file: Path, wait: bool = False, one_round: bool = False, link: Link = Link.NEVER
) -> int:
    """Run the bot until a signal or its own end; returns the exit code. From the main thread only.

    wait: if a copy runs already, stand by. one_round: check and deliver once, then end (once.py). env_file: where an
    owner who opens the link is saved. Raises ConfigError when nobody could use the bot.
    """
    os.umask(0o077)  # what the bot writes is for its own account
    logs.to_console(settings.log_level, settings.log_format)
    for warning in settings.warnings:
        log.warning("%s", warning)
    notifier = Notifier()
    events: Events = queue.SimpleQueue()
    signals = Signals(events)
    signals.install()
    try:
        folder = bot_folder(settings.bot_id, settings.data_dir)
        lock = InstanceLock(folder, settings.token, machine_wide=settings.machine_wide_lock)
        if one_round:
            from service import once

            settings = once.for_a_round(settings)

        def end(code: int, message: str) -> None:
            events.put(End(code, message))

        def load(store: Store, listening: Listening, **how: Any) -> Bot:
            from service.app import Bot

            return Bot(settings, lock, store, listening, end=end, env_file=env_file, link=link, **how)

        listen = partial(Listening, settings, end=end, link=link)
        here = settings.data_dir is None and not settings.database_url  # another account's data may be meant
        held = _held(lock, env_file if here else None)
        if one_round:
            return _one_round(settings, lock, held, listen, load, events)
        if not _take(lock, events, notifier, wait=wait):
            return exit_codes.STOPPED if not events.empty() else exit_codes.ALREADY_RUNNING
        with held:
            logs.to_file(folder / "bot.log", settings.log_format)
            stop_requests.withdraw(folder)  # left over from an earlier process
            if settings.database_url:
                from service.shared import Sharing  # and the driver of the server

                return Sharing(settings, lock, events, notifier, listen=listen, load=load).run()
            clock = Clock()
            with _file(lock, clock) as store:
                listening = listen(store, clock=clock)
                listening.start()
                return _run(load(store, listening, clock=clock), lock, events, notifier)
    except (FolderError, LockError, StoreError) as error:
        print(error, file=sys.stderr)
        return exit_codes.BAD_SETTINGS
    finally:
        signals.done()
        logging.shutdown()


def _take(lock: InstanceLock, events: Events, notifier: Notifier, *, wait: bool) -> bool:
    """Take the lock, or say who has it. With --wait, and under a supervisor that restarts, wait for it."""

    def stopped() -> bool:
        return not events.empty()

    def waiting() -> bool:
        notifier.status("Standing by: another copy runs on this machine", ready=True)
        notifier.alive()
        return stopped()

    if lock.acquire(START_GRACE, cancelled=stopped):
        return True
    if stopped():
        return False
    from machine import supervisor

    if _after_round(lock, stopped):
        return True
    holder = lock.holder()
    around = supervisor.detect()
    if not wait and not (around is not None and around.restarts):
        print(refusal(holder, lock.bot_id, lock.name), file=sys.stderr)
        return False
    who = f" (pid {holder.pid}, user {holder.user})" if holder is not None and holder.pid else ""
    stop = stop_command(holder or Holder())
    log.warning("Standing by: waiting for the running copy%s to stop. To stop it: %s", who, stop)
    return lock.acquire(math.inf, cancelled=waiting)


def _after_round(lock: InstanceLock, stopped: Callable[[], bool]) -> bool:
    """Take the lock once the `--once` round that has it is over; False where the holder is no round, or stays."""
    from service import once

    holder = lock.holder()
    if holder is None or "--once" not in holder.command.split():
        return False
    log.info("Waiting for a `--once` round to finish")
    return lock.acquire(once.ROUND_TIME, cancelled=stopped)


def _run(bot: Bot, lock: InstanceLock, events: Events, notifier: Notifier) -> int:
    """Start the bot, wait for a reason to stop, stop it; returns the exit code."""
    bot.start()
    end = next_event(events, lock.folder, meanwhile=partial(bot.watch, notifier))
    assert isinstance(end, End), "nothing else is reported"
    begin_end(end, notifier)
    started = time.monotonic()
    bot.stop(end.message if end.code else "")
    log.info("Stopped in %.2f s", time.monotonic() - started)
    return end.code


def _one_round(
    settings: Settings,
    lock: InstanceLock,
    held: AbstractContextManager[None],
    listen: Callable[..., Listening],
    load: Callable[..., Bot],
    events: Events,
) -> int:
    """`--once`: a round of our own, or next to a running bot the round of that bot; returns the exit code."""
    from service import once

    def pause(seconds: float) -> bool:
        try:
            events.get(timeout=seconds)
        except queue.Empty:
            return False
        return True

    began, clock = time.time(), Clock()
    if lock.acquire() or _after_round(lock, lambda: not events.empty()):
        with held, _mine(settings, lock, clock) as store:
            if store is not None:
                bot = load(store, listen(store, clock=clock), clock=clock)
                bot.serve()
                return once.alone(bot, pause=pause)
    elif not lock.same_folder:
        print(refusal(lock.holder(), lock.bot_id, lock.name), file=sys.stderr)
        print("It uses another folder: --once needs the same DATA_DIR as the running bot.", file=sys.stderr)
        return exit_codes.ALREADY_RUNNING
    place: Path | Engine = lock.folder / DATABASE
    if settings.database_url:
        from store.postgres import Server

        place = Server(settings.database_url, bot_id=settings.bot_id)
    patience = once.ROUND_TIME + (settings.whale_interval_seconds or once.ROUND_TIME)
    with closing(Store(place)) as store:
        return once.beside(store, lock.folder, since=began, patience=patience, pause=pause)


@contextmanager
def _mine(settings: Settings, lock: InstanceLock, clock: Clock) -> Iterator[Store | None]:
    """For `--once`: the database, None where another copy that shares it leads."""
    if not settings.database_url:
        with _file(lock, clock) as store:
            yield store
        return
    from store.leader import lead_once

    with lead_once(settings.database_url, settings.bot_id, now=clock) as found:
        yield found


@contextmanager
def _held(lock: InstanceLock, settings_file: Path | None) -> Iterator[None]:
    """While the lock is held: may this account use the folder? At the end the lock is released.

    settings_file: None where the settings say where the data is.
    """
    try:
        if settings_file is not None:
            accounts.check(lock.bot_id, settings_file)
        yield
    finally:
        lock.release()


@contextmanager
def _file(lock: InstanceLock, clock: Clock) -> Iterator[Store]:
    """The bot's own database, closed at the end."""
    with closing(Store(lock.folder / DATABASE, now=clock)) as store:
        yield store
        try:
            words = store.save_if_deleted()  # just before the stop: the job has not noticed it
        except StoreError:
            pass  # the store has reported it
        else:
            if words is not None:
                log.error("%s", words)
