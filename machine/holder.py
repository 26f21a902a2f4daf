"""Who runs a bot, in a record and in words: `holder.json` and the message of a refused start.

The record is a hint for people. Only a kernel object (lock.py) says whether a bot runs; a record that is
wrong, left over or garbage changes no decision.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from base import files, text
from base.logs import redact
from machine import processes, supervisor
from machine.supervisor import Supervisor

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes
else:
    import pwd

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who runs the bot, as far as known. `sure`: the kernel named the process; else it is the record's word."""

    pid: int | None = None
    user: str = ""
    since: float | None = None  # unix seconds
    command: str = ""
    cwd: str = ""
    host: str = ""
    username: str = ""  # the bot's
    supervisor: Supervisor | None = None
    sure: bool = False


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
    """The holder that the kernel named: what can be seen of the process itself, then what its own record adds."""
    own = record is not None and record.get("pid") == pid and record.get("process") == processes.identity(pid)
    known = of_record(record) if own and record is not None else Holder()
    # Live first: a PM2 child may have become an orphan since it wrote its record.
    seen = bool(processes.environment(pid)) or known.supervisor is None
    return replace(
        known,
        pid=pid,
        user=user or known.user,
        since=known.since or processes.started_at(pid),
        command=known.command or redact(processes.command_line(pid)),
        supervisor=supervisor.detect(pid) if seen else known.supervisor,
        sure=True,
    )


def of_record(record: Mapping[str, object]) -> Holder:
    """A holder as its record tells it; what is missing or of a wrong type is left out. Never raises."""
    pid, argv, runs = record.get("pid"), record.get("argv"), record.get("supervisor")
    try:
        since = datetime.fromisoformat(_text(record, "since")).timestamp()
    except (ValueError, OverflowError, OSError):
        since = None
    return Holder(
        pid=pid if type(pid) is int and pid > 0 else None,
        user=_text(record, "user"),
        since=since,
        command=" ".join(str(word) for word in argv) if isinstance(argv, list) else "",
        cwd=_text(record, "cwd"),
        host=_text(record, "host"),
        username=_text(record, "username"),
        supervisor=Supervisor(
            kind=_text(runs, "kind"),
            name=_text(runs, "name"),
            stop_command=_text(runs, "stop_command"),
            restarts=runs.get("restarts") is True,
        )
        if isinstance(runs, dict)
        else None,
    )


def is_left_over(record: Mapping[str, object]) -> bool:
    """Whether the process that wrote the record is surely gone. Another host or container cannot be judged: False."""
    pid = record.get("pid")
    if type(pid) is not int or pid <= 0:
        return True
    if _text(record, "host") != socket.gethostname():
        return False
    seen = processes.identity(pid)
    return seen != record.get("process") if seen else not processes.is_alive(pid)


def write_record(path: Path, *, bot_id: int, name: str, lock: Path, since: float) -> None:
    """Write this process's record, whole or not at all. A failure is logged, never raised: it is only a hint."""
    runs = supervisor.detect()
    record = {
        "schema": 1,
        "bot_id": bot_id,
        "username": name,
        "pid": os.getpid(),
        "process": processes.identity(os.getpid()),
        "host": socket.gethostname(),
        "user": user_name(),
        "argv": [redact(word) for word in sys.orig_argv],
        "cwd": redact(_cwd()),
        "python": sys.version.split()[0],
        "since": datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds"),
        "lock": str(lock),
        "supervisor": None
        if runs is None
        else {
            "kind": runs.kind,
            "name": redact(runs.name),
            "stop_command": redact(runs.stop_command),
            "restarts": runs.restarts,
        },
    }
    try:
        files.write_json(path, record)
    except OSError as error:
        log.warning("%s was not written (%s): a refused second start will know less.", path, error)


def refusal(holder: Holder | None, bot_id: int, name: str = "", *, now: float | None = None) -> str:
    """What a refused start says: who runs the bot, since when, the command that stops it. For stderr and the log."""
    holder = holder or Holder()
    name = (name or holder.username).removeprefix("@")
    bot = f"{bot_id} (@{name})" if name else str(bot_id)
    facts = [f"{'pid' if holder.sure else 'probably pid'} {holder.pid}" if holder.pid else "an unknown process"]
    if holder.user:
        facts.append(f"user {holder.user}")
    if holder.host not in ("", socket.gethostname()):
        facts.append(f"host {holder.host}")
    if holder.since is not None:
        age = (time.time() if now is None else now) - holder.since
        since = datetime.fromtimestamp(holder.since, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        facts.append(f"since {since} ({text.duration(max(0.0, age))})")
    lines = [f"Bot {bot} is already running on this machine; this start was refused."]
    lines.append(f"  holder   {', '.join(facts)}")
    if holder.command:
        lines.append(f"  command  {text.clip(holder.command, 200)}{f'   (in {holder.cwd})' if holder.cwd else ''}")
    if holder.supervisor is not None:
        lines.append(f"  managed  {holder.supervisor.kind} {holder.supervisor.name}".rstrip())
    lines.append(f"  stop it  {stop_command(holder)}")
    lines.append("  or wait  python bot.py --wait")
    lines.append("Don't delete the lock file; it won't stop the other copy.")
    return "\n".join(lines)


def stop_command(holder: Holder) -> str:
    """The command for whoever reads the refusal, who may be another OS user than the holder."""
    if holder.supervisor is not None and holder.supervisor.stop_command:
        command = holder.supervisor.stop_command
    elif holder.pid:
        command = supervisor.kill_command(holder.pid)
    else:
        return "in the window, container or service that runs it (its process cannot be seen from here)"
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
