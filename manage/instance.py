"""The running bot seen from outside: who holds the lock, and the status it last wrote. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base import text
from base.config import Settings
from lock import InstanceLock
from machine import accounts, processes
from machine import holder as records
from machine.folders import DATABASE, find_folder
from machine.holder import Holder, bot_name, user_name
from service import state


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One look at a bot. Times are unix seconds.

    holder: who runs it, None when nobody does. folder: of its files, as far as known. status: what it wrote
    (state.py), empty when it cannot be read. last_status: of a killed bot, or of one that ended
    by itself. seen_at: its last heartbeat, by the computer's clock, 0 for none. elsewhere: the other computer
    where it ran by its folder, which was copied or is shared; "" for none.
    """

    bot_id: int
    holder: Holder | None
    folder: Path
    status: Mapping[str, Any]
    last_status: Mapping[str, Any]
    seen_at: float
    elsewhere: str = ""

    @property
    def foreign(self) -> bool:
        """Does another OS user run it?"""
        return self.holder is not None and self.holder.user not in ("", user_name())

    @property
    def name(self) -> str:
        """`123456789 (@name)`, as far as it is known."""
        written = text.plain(str(self.status.get("username") or ""))
        return bot_name(self.bot_id, written or (self.holder.username if self.holder else ""))

    @property
    def left_elsewhere(self) -> str:
        """A sentence about the computer where the bot may still run, "" for none."""
        if not self.elsewhere:
            return ""
        return (
            f"Its folder is of {self.elsewhere}: if the bot still runs there, stop it there before you start it here."
        )


def look(settings: Settings) -> Instance:
    """See who runs this bot. Never tries the lock, so no start can fail by it, and makes no folder."""
    folder = find_folder(settings.bot_id, settings.data_dir)
    holder = _holder(settings, folder)
    # The process knows best: it may have other settings, or see other folders than this one does.
    pid = holder.pid if holder is not None else None
    theirs = processes.folder_of_open(pid, f"{folder.name}/bot.lock") if pid else None
    if holder is None and settings.data_dir is None and not (folder / DATABASE).exists():
        theirs = next((other for _, other in accounts.folders_of_others(settings.bot_id)), None)
    if theirs is not None and theirs != folder and str(theirs).isprintable():
        folder, holder = theirs, _holder(settings, theirs) or holder
    written, seen_at = state.read(folder) or {}, state.seen_at(folder)
    current = holder is not None and _is_its_own(written, holder, seen_at)
    return Instance(
        bot_id=settings.bot_id,
        holder=holder,
        folder=folder,
        status=written if current else {},
        last_status=written if holder is None else {},
        seen_at=seen_at,
        elsewhere=records.elsewhere(folder / "holder.json") if holder is None else "",
    )


def _holder(settings: Settings, folder: Path) -> Holder | None:
    return InstanceLock(folder, settings.token, machine_wide=settings.machine_wide_lock).holder()


def _is_its_own(status: Mapping[str, Any], holder: Holder, seen_at: float) -> bool:
    """Whether the running bot wrote this, and not a killed one before it, which had the same pid in a container."""
    if not isinstance(status.get("written_at"), int | float):
        return False
    if holder.pid is None:  # in another container: only the time shows it
        return time.time() - seen_at < state.FRESH
    return status.get("pid") == holder.pid and seen_at >= (holder.since or 0) - 2
