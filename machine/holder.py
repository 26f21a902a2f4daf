"""Who runs a bot: the record `holder.json`, and the words for it, for example when a start is refused.

The record is a hint for people. Only the lock says whether a bot runs; a wrong or old record changes no decision.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from base import files, text
from base.secrets import redact
from base.shell import bot_command
from machine import processes, supervisor
from machine.supervisor import Supervisor

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes
else:
    import pwd

log = logging.getLogger(__name__)

# Another program may hold the name of the machine-wide lock.
WAY_OUT = "put LOCK_SCOPE=folder into the settings and start again"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who runs the bot, as far as known, in plain lines. `sure`: the kernel named the process, not the record."""

    pid: int | None = None
    user: str = ""
    since: float | None = None  # unix seconds
    command: str = ""
    cwd: str = ""
    host: str = ""
    username: str = ""  # the bot's
    supervisor: Supervisor | None = None
    sure: bool = False

    def __post_init__(self) -> None:
        for field in ("user", "command", "cwd", "host", "username"):
            object.__setattr__(self, field, text.plain(getattr(self, field)))

    @property
    def trusted(self) -> bool:
        """Is it of this account or root's? Any other may hold the lock's name and say of itself what it likes."""
        return self.user in ("root", user_name()) or not (self.user or self.sure)

    @property
    def here(self) -> bool:
        """Does its pid mean a process of this computer?"""
        return self.sure or self.host in ("", socket.gethostname())


def user_name(uid: int | None = None) -> str:
    """The name of an account; of this process's own when no uid is given (from the system, not from $USER)."""
    if sys.platform == "win32":
        # getpass.getuser() asks the environment only, and a service's may be empty.
        name, size = ctypes.create_unicode_buffer(257), wintypes.DWORD(257)
        ctypes.WinDLL("advapi32").GetUserNameW(name, ctypes.byref(size))
        return name.value
    else:  # noqa: RET505 - mypy skips only a whole branch for another platform
        uid = os.geteuid() if uid is None else uid
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return f"uid {uid}"


def of_process(pid: int, *, user: str, record: Mapping[str, object] | None) -> Holder:
    """The holder that the kernel named: what can be seen of the process itself, then what its own record adds.

    user: the account that took the lock. What a process of another one could have written is not shown.
    """
    runs_as = processes.user(pid)
    if user and runs_as not in ("", user):  # its pid was given to another process
        return Holder(user=user, sure=True)
    told = Holder(pid=pid, user=user or runs_as, since=processes.started_at(pid), sure=True)
    if not told.trusted:
        return told
    own = record is not None and record.get("pid") == pid and _is_of(record, processes.identity(pid))
    known = of_record(record) if own and record is not None else Holder()
    # Live first: a PM2 child may have become an orphan since it wrote its record.
    seen = bool(processes.environment(pid)) or known.supervisor is None
    return replace(
        known,
        pid=pid,
        user=told.user,
        since=known.since or told.since,
        command=known.command or redact(processes.command_line(pid)),
        supervisor=supervisor.detect(pid) if seen else known.supervisor,
        sure=True,
    )


def read(path: Path) -> dict[str, object] | None:
    """The record of the folder; None where there is none, or where another account wrote it."""
    try:
        if sys.platform != "win32" and path.lstat().st_uid not in (0, os.geteuid()):
            return None
    except OSError:
        return None
    return files.read_json(path)


def elsewhere(path: Path) -> str:
    """The other computer that the record is of, "" for none: the folder was copied from there, or is shared."""
    host = _text(read(path) or {}, "host")
    return text.plain(host) if host != socket.gethostname() else ""


def of_record(record: Mapping[str, object]) -> Holder:
    """A holder as its record tells it; what is missing or of a wrong type is left out. Never raises."""
    pid, argv, runs = record.get("pid"), record.get("argv"), record.get("supervisor")
    try:
        since = datetime.fromisoformat(_text(record, "since")).timestamp()
    except (ValueError, OverflowError, OSError):
        since = None
    named: dict[str, Any] = {key: _text(record, key) for key in ("user", "cwd", "host", "username")}
    around = None
    if isinstance(runs, dict):
        words = {key: _text(runs, key) for key in ("kind", "name", "stop_command")}
        around = Supervisor(**words, restarts=runs.get("restarts") is True)
    return Holder(
        pid=pid if type(pid) is int and pid > 0 else None,
        since=since,
        command=" ".join(str(word) for word in argv) if isinstance(argv, list) else "",
        supervisor=around,
        **named,
    )


def is_left_over(record: Mapping[str, object]) -> bool:
    """Whether the process that wrote the record is surely gone. Another host or container cannot be judged: False."""
    pid = record.get("pid")
    if type(pid) is not int or pid <= 0:
        return True
    here = (socket.gethostname(), processes.namespace())
    if (_text(record, "host"), record.get("namespace", here[1])) != here:
        return False
    seen = processes.identity(pid)
    return not _is_of(record, seen) if seen else not processes.is_alive(pid)


def _is_of(record: Mapping[str, object], identity: str) -> bool:
    """Whether the process that has the record's pid now is the one that wrote it; a fresh record does not say."""
    return record.get("process", identity) == identity


def details() -> dict[str, object]:
    """What the record says of this process that takes psutil to find out: its identity and its supervisor."""
    runs = supervisor.detect()
    return {"process": processes.identity(os.getpid()), "supervisor": runs and asdict(runs)}


def write_record(path: Path, known: Mapping[str, object], *, since: float) -> None:
    """Write this process's record, whole or not at all. A failure is logged, never raised: it is only a hint.

    known: what only the bot knows (its id and name), and `details()` once the start is over.
    """
    record = {
        "schema": 1,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "namespace": processes.namespace(),
        "user": user_name(),
        "argv": sys.orig_argv,
        "cwd": _cwd(),
        "python": sys.version.split()[0],
        "since": datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds"),
        **known,
    }
    try:
        files.write_json(path, record)
    except OSError as error:
        log.warning(
            "%s cannot be written (%s). If a second copy is refused, it can say less about this one.",
            path,
            error.strerror,
        )


def bot_name(bot_id: int, username: str) -> str:
    """`123456789 (@name)`, or the id alone when the name is not known."""
    return f"{bot_id} (@{username.removeprefix('@')})" if username else str(bot_id)


def facts(holder: Holder, *, now: float) -> str:
    """`pid 4321, user ann, host vps, since 10:02:11 UTC (2 h 13 min)`: what is known of it."""
    known = [f"{'pid' if holder.sure else 'probably pid'} {holder.pid}" if holder.pid else "an unknown process"]
    if holder.user:
        known.append(f"user {holder.user}")
    if not holder.here:
        known.append(f"host {holder.host}")
    if holder.since is not None:
        age = text.duration(max(0.0, now - holder.since))
        known.append(f"since {text.clock(holder.since, now=now)} ({age})")
    return ", ".join(known)


def described(holder: Holder, *, now: float) -> list[str]:
    """The holder in lines: its process and, of one that is trusted, its command and what runs it."""
    lines = [text.row("process", facts(holder, now=now))]
    if not holder.trusted:
        return lines
    if holder.command:
        folder = f"   (in {holder.cwd})" if holder.cwd else ""
        lines.append(text.row("command", text.clip(holder.command, 200) + folder))
    if holder.supervisor is not None:
        lines.append(text.row("run by", str(holder.supervisor)))
    return lines


def refusal(holder: Holder | None, bot_id: int, name: str = "", *, now: float | None = None) -> str:
    """What a refused start says: who runs the bot, since when, the command that stops it. For stderr and the log."""
    holder = holder or Holder()
    bot = bot_name(bot_id, name or holder.username)
    lines = [
        f"Bot {bot} is already running on this machine.",
        *described(holder, now=time.time() if now is None else now),
        text.row("stop it", stop_command(holder)),
        text.row("or wait", bot_command("--wait")),
        "Don't delete the lock file; it won't stop the other copy.",
    ]
    return "\n".join(lines)


def stop_command(holder: Holder) -> str:
    """The command for whoever reads the refusal, who may be another OS user than the holder; none of a stranger's."""
    if holder.pid and not holder.trusted:
        who = f"user {holder.user}" if holder.user else "the user who runs it"
        return f"as {who}, with bot.py stop. If it is not your bot: {WAY_OUT}"
    if holder.trusted and holder.supervisor is not None and holder.supervisor.stop_command:
        command = holder.supervisor.stop_command
    elif holder.pid:
        command = supervisor.kill_command(holder.pid)
    else:
        where = "in the window, container or service that runs it (its process cannot be seen from here)"
        return f"{where}. If nothing of yours runs: {WAY_OUT}"
    if sys.platform == "win32" or holder.user in ("", user_name()) or command.startswith("sudo "):
        return command
    if "pm2 stop" in command:  # each user has a PM2 of their own, root too
        return f"sudo -H -u {holder.user} {command}"
    if command.startswith("systemctl --user "):
        return command.replace("systemctl --user", f"sudo systemctl --user -M {holder.user}@", 1)
    return command if os.geteuid() == 0 else f"as user {holder.user} or root: {command}"


def _text(record: Mapping[str, object], key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _cwd() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return ""
