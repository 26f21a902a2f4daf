"""The checks of `doctor` that look at this machine: Python, packages, settings, folder, database, memory.

Each yields findings and changes nothing. `copies` checks who else runs the bot, `network` the connections.
"""

from __future__ import annotations

import errno
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
import zoneinfo
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from base import text
from base.kinds import ROOT
from base.shell import bot_command, installing, pip_command, quoted
from machine import accounts, private, processes
from machine.folders import DATABASE, network_disk
from manage.findings import Finding, Level
from manage.start_commands import Machine, is_checkout, read

if TYPE_CHECKING:
    from base.config import Settings
    from machine.holder import Holder

WINDOWS = sys.platform == "win32"

# A package the bot runs without, and what it is for.
OPTIONAL = {"prometheus_client": "/metrics of HEALTH_PORT", "matplotlib": "/chart"}
LOW_DISK, NO_DISK = 200e6, 20e6  # bytes free
MUCH_MEMORY = 400e6  # bytes; the bot needs about 40 MB
_SYNCED = ("onedrive", "dropbox", "google drive", "icloud", "nextcloud")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is examined. `settings` is None when they could not be read at all; `holder` is None when no bot runs."""

    env_file: Path
    settings: Settings | None
    problems: Sequence[str]
    folder: Path | None
    holder: Holder | None
    machine: Machine


def python() -> list[Finding]:
    """The interpreter that runs, and whether it is in a virtual environment."""
    version = ".".join(map(str, sys.version_info[:3]))
    where = "" if sys.prefix != sys.base_prefix else ", not in a virtual environment"
    return [Finding("Python", "ok", f"{version}, {sys.executable}{where}")]


def packages() -> Iterator[Finding]:
    """Installed versions against requirements.txt; an optional package that is missing is only named."""
    requirements = ROOT / "requirements.txt"
    wanted = re.findall(r"^([\w.-]+)\s*~=\s*([\d.]+)", read(requirements), re.MULTILINE)
    install = ", then: ".join(installing())
    good, missing = [], []
    for name, version in wanted:
        installed = _version(name)
        if installed is None and name == "pytest":
            yield Finding("packages", "ok", "pytest is not installed; only the tests need it")
        elif installed is None:
            missing.append(name)
        elif not compatible(installed, version):
            words = f"{name} {installed} is installed; the bot needs ~={version}"
            yield Finding("packages", "warning", words, install)
        else:
            good.append(f"{name} {installed}")
    if missing:
        yield Finding("packages", "problem", f"not installed: {', '.join(missing)}", install)
    if _version("telebot") is not None:
        words = "the package telebot is installed; it replaces a module of pyTelegramBotAPI"
        again = pip_command("install", "--force-reinstall", "-r", str(requirements))
        fix = f"{pip_command('uninstall', 'telebot')}, then: {again}"
        yield Finding("packages", "problem", words, fix)
    absent = [f"{name} ({purpose})" for name, purpose in OPTIONAL.items() if _version(name) is None]
    rest = f"; optional and not installed: {', '.join(absent)}" if absent else ""
    if good:
        yield Finding("packages", "ok", f"{', '.join(good)}{rest}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def compatible(installed: str, wanted: str) -> bool:
    """PEP 440's `~=`: at least `wanted`, and the same up to its last but one number."""
    have, want = ([int(number) for number in re.findall(r"\d+", version)] for version in (installed, wanted))
    return have[: len(want)] >= want and have[: len(want) - 1] == want[:-1]


def settings(subject: Subject) -> Iterator[Finding]:
    """Mistakes in the settings, unknown names, and a token that the environment overrides."""
    if subject.settings is None:
        return
    from base import config

    for problem in subject.problems:
        fix = bot_command("setup") if problem.startswith("TELEGRAM_BOT_TOKEN") else ""
        yield Finding("settings", "problem", problem, fix)
    said_below = config.open_to_others(subject.env_file)
    for warning in subject.settings.warnings:
        if warning not in (*subject.problems, said_below):
            yield Finding("settings", "warning", warning)
    told = " ".join([*subject.settings.warnings, *subject.problems])
    strange = [
        name for name in config.unknown_names(subject.env_file) if not re.search(rf"\b{re.escape(name)}\b", told)
    ]
    if strange:
        words = f"unknown settings, ignored: {', '.join(strange)}"
        yield Finding("settings", "warning", words, f"delete them from {subject.env_file}, or correct the spelling")
    given = config.bot_id_in(subject.env_file)
    if given is not None and given != subject.settings.bot_id:
        words = (
            f"the environment's TELEGRAM_BOT_TOKEN (bot {subject.settings.bot_id}) overrides the file (bot {given})"
        )
        yield Finding("settings", "warning", words, "unset it, or remove it from the file")
    if not subject.problems:
        owner = f"owner {subject.settings.owner_id}" if subject.settings.owner_id else "no owner"
        yield Finding("settings", "ok", f"bot {subject.settings.bot_id}, {owner}")


def env_file(subject: Subject) -> Iterator[Finding]:
    """The settings file's permission, and other files that hold a token and are not read."""
    path = subject.env_file
    if not path.exists():
        yield Finding("settings file", "ok", f"no {path}; only environment variables are used")
    elif WINDOWS:
        yield Finding("settings file", "ok", f"{path}; the folder's permissions decide who can read it")
    else:
        mode, owner = path.stat().st_mode & 0o777, path.stat().st_uid
        others = "everybody on this machine" if mode & 0o007 else "the group" if mode & 0o070 else ""
        if others:
            words = f"{path} can be read by {others} (mode {mode:03o}), and it contains the token"
            yield Finding("settings file", "warning", words, quoted("chmod", "600", str(path)))
        elif sys.platform != "win32" and owner not in (os.geteuid(), 0) and os.geteuid() != 0:
            yield Finding("settings file", "warning", f"{path} belongs to another account (uid {owner})")
        else:
            yield Finding("settings file", "ok", f"{path}, mode {mode:03o}")
    yield from _strays(subject)


def _strays(subject: Subject) -> Iterator[Finding]:
    from base import config

    own = subject.settings.bot_id if subject.settings is not None else None
    for folder in _other_folders(subject.machine):
        stray = folder / ".env"
        bot_id = config.bot_id_in(stray) if stray.resolve() != subject.env_file.resolve() else None
        if bot_id is None:
            continue
        if is_checkout(folder) and bot_id == own:
            words = f"{folder} is another copy of this bot with the same token"
            yield Finding("settings file", "warning", words, "start only one of them; delete the other's .env")
        elif not is_checkout(folder):
            same = "the same bot's" if bot_id == own else f"bot {bot_id}'s"
            words = f"{stray} holds {same} token and is not read: settings come from {subject.env_file} only"
            yield Finding("settings file", "warning", words, f"delete it if nothing else uses it: {stray}")


def _other_folders(machine: Machine) -> list[Path]:
    """Where people put a second `.env`: here, above, at home, and in other copies of the project nearby."""
    near = [Path.cwd(), Path.cwd().parent, ROOT.parent, machine.home]
    near += [Path(machine.environ["OLDPWD"])] if machine.environ.get("OLDPWD") else []
    copies = []
    for place in (ROOT.parent, machine.home):
        try:
            copies += [folder for folder in sorted(place.iterdir()) if folder != ROOT and is_checkout(folder)]
        except OSError:
            continue
    return list(dict.fromkeys([*near, *copies]))


def time_zones() -> list[Finding]:
    """Whether this system has time zone data; Windows has none of its own."""
    try:
        zoneinfo.ZoneInfo("Europe/Berlin")
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        words = "this system has no time zone data: zones other than UTC cannot be used"
        return [Finding("time zones", "warning", words, pip_command("install", "tzdata"))]
    now = datetime.now().astimezone()
    here = ", ".join(dict.fromkeys((str(now.tzinfo), text.offset_at(now.timestamp(), now.tzinfo or UTC))))
    return [Finding("time zones", "ok", f"data is there; this machine's zone is {here}")]


def folder(subject: Subject) -> Iterator[Finding]:
    """The bot's own folder: whether it is writable, how much space is free, whether a lock is safe on this disk."""
    path = subject.folder
    if path is None:
        return
    try:
        there = next(place for place in (path, *path.parents) if place.exists())
    except PermissionError:
        words = f"{path} cannot be read by this account"
        yield Finding("folder", "problem", words, "run doctor as the account that runs the bot")
        return
    usage = shutil.disk_usage(there)
    room = f"{usage.free / 1e9:,.1f} GB free" if usage.free >= 1e9 else f"{usage.free / 1e6:,.0f} MB free"
    fix = "make it writable for this account, or set DATA_DIR to another folder"
    refusal = _refusal(there)
    if refusal in (errno.ENOSPC, errno.EDQUOT):
        yield Finding("folder", "problem", f"the disk with {path} is full: {room}", "free some space on that disk")
    elif refusal is not None:
        yield Finding("folder", "problem", f"{path} cannot be written by this account", fix)
    elif usage.free < LOW_DISK:
        level: Level = "problem" if usage.free < NO_DISK else "warning"
        yield Finding("folder", level, f"{path}: only {room}", "free some space on that disk")
    else:
        yield Finding("folder", "ok", f"{path}{'' if there == path else ' (created at the first start)'}, {room}")
    if disk := network_disk(there, root=subject.machine.root):
        words = f"{path} is on a network disk ({disk}), where the lock and the database are not safe"
        yield Finding("folder", "warning", words, "set DATA_DIR to a folder on a local disk")
    synced = next((name for name in _SYNCED if name in str(path).lower()), None)
    if synced is not None:
        words = f"{path} is synchronised by {synced}, which damages a database in use"
        yield Finding("folder", "warning", words, "set DATA_DIR to a folder that is not synchronised")
    settings, others = subject.settings, accounts.folders_of_others(int(path.name))
    if settings is not None and settings.data_dir is None and not settings.database_url:
        user, theirs = accounts.whose(int(path.name), subject.env_file)
        if user and theirs is None:
            fix = f"start the bot as {user}, or set DATA_DIR"
            yield Finding("folder", "warning", f"{subject.env_file} belongs to user {user}", fix)
    if path not in [other for _, other in others] and (found := _trouble(path)) is not None:
        yield Finding("folder", "problem", f"{found.what}: others could take over the bot there", found.fix)
    for user, other in others:
        words, fix = f"user {user} also has data of this bot, in {other}", "rename that folder if it is not needed"
        if other == path:
            words, fix = f"{path} belongs to user {user}", f"start the bot as {user}, or set DATA_DIR"
        yield Finding("folder", "warning", words, fix)
    if not WINDOWS and there == path and path.stat().st_mode & 0o077:
        yield Finding("folder", "warning", f"{path} is open to other accounts", quoted("chmod", "700", str(path)))


def _trouble(path: Path) -> private.Trouble | None:
    try:
        return private.trouble(path)
    except OSError:
        return None  # said above


def _refusal(place: Path) -> int | None:
    # By writing: the mode shows neither root's rights nor a read-only or a full disk.
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return error.errno or 0
    return None


def database(subject: Subject) -> Iterator[Finding]:
    """Whether the database is sound, damaged, or another program's or version's. Only reads it."""
    if subject.settings is not None and subject.settings.database_url:
        from manage import server

        yield from server.findings(subject.settings)
        return
    path = subject.folder / DATABASE if subject.folder is not None else None
    if path is None:
        return
    from botapi.storage import StoreError
    from store.salvage import inspect

    try:
        found = inspect(path)
    except FileNotFoundError:
        yield Finding("database", "ok", "none yet; it is created at the first start")
        return
    except PermissionError:
        return  # said by the folder's check
    except StoreError as error:
        yield Finding("database", "problem", str(error))
        return
    size = f"{found.size / 1e6:,.1f} MB"
    aside = sorted(path.parent.glob("bot.db.corrupt-*"))
    kept = f"; {text.count(len(aside), 'damaged file')} set aside in the folder" if aside else ""
    if found.verdict in ("sound", "not all checked"):
        part = "" if found.verdict == "sound" else "; too large to check all of it now"
        yield Finding("database", "ok", f"sound, {size}{part}{kept}")
    elif found.verdict == "damaged":
        fix = "at the next start it is set aside and a new one is created; copy it first if you want to repair it"
        yield Finding("database", "problem", f"{path} is damaged ({text.clip(found.detail, 100)})", fix)
    elif found.verdict == "foreign":
        fix = "move it away, or set DATA_DIR to another folder"
        yield Finding("database", "problem", f"{path} is another program's database", fix)
    else:
        writer, fix = "a newer bot", "update the bot, or set DATA_DIR to another folder"
        if found.verdict == "older":
            writer, fix = "a test version of this bot", "move it away, or set DATA_DIR to another folder"
        yield Finding("database", "problem", f"{path} was written by {writer} ({found.detail})", fix)


def memory(subject: Subject) -> Iterator[Finding]:
    """What the running bot uses, and what is free (on Linux)."""
    free = re.search(r"^MemAvailable:\s+(\d+) kB", read(subject.machine.root / "proc/meminfo"), re.MULTILINE)
    rest = f"; {int(free[1]) / 1e3:,.0f} MB are free on this machine" if free else ""
    pid = subject.holder.pid if subject.holder is not None and subject.holder.here else None
    used = processes.resident(pid) if pid else None
    if used is not None:
        level: Level = "warning" if used > MUCH_MEMORY else "ok"
        fix = "restart the bot; if it grows again, report it" if level == "warning" else ""
        yield Finding("memory", level, f"the bot uses {used / 1e6:,.0f} MB{rest}", fix)
    elif free:
        low = int(free[1]) * 1e3 < 100e6
        words = f"{int(free[1]) / 1e3:,.0f} MB are free on this machine; the bot needs about 50"
        yield Finding("memory", "warning" if low else "ok", words)
