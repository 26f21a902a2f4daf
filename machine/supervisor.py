"""What started a process and would restart it, and the exact command that stops it there. Changes nothing.

The answers are for people, and for the choice between exit and standby; no lock depends on them. A marker in the
environment is inherited by every descendant (PM2 started by systemd has both), so the nearest ancestor decides.
Sources: systemd.exec(5) for SYSTEMD_EXEC_PID, supervisord's documentation for SUPERVISOR_*, PM2's God.js for pm_id.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from base import shell, text
from machine import processes
from machine.processes import Process


@dataclass(frozen=True, kw_only=True)
class Supervisor:
    """What runs a process. `restarts`: it would start the process again if that ended."""

    kind: str
    name: str
    stop_command: str
    restarts: bool = False

    def __post_init__(self) -> None:
        for field in ("kind", "name", "stop_command"):  # from an environment or a record: it forges no line
            object.__setattr__(self, field, text.plain(getattr(self, field)))

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


# Between a container's pid 1 and the bot these change nothing: the container is still what restarts it.
_INITS = frozenset({"tini", "docker-init", "dumb-init", "catatonit", "sh", "bash", "dash", "ash"})
_CRON = frozenset({"cron", "crond", "anacron"})
# Above one of these in the tree is a login, not a supervisor of the bot.
_LOGIN = frozenset({"tmux", "screen", "sshd", "login"})
_TERMINALS = (("TMUX", "tmux"), ("STY", "screen"), ("SSH_CONNECTION", "ssh"))


def detect(pid: int | None = None) -> Supervisor | None:
    """What runs process `pid` (default: this one); None when nothing is known. Never raises."""
    pid = os.getpid() if pid is None else pid
    return decide(
        pid,
        environ=processes.environment(pid),
        ancestors=processes.ancestors(pid),
        cgroup=_cgroup(pid),
        terminal=processes.terminal(pid),
        container=shell.container(),
    )


def decide(
    pid: int, *, environ: Mapping[str, str], ancestors: Sequence[Process], cgroup: str, terminal: str, container: str
) -> Supervisor | None:
    """What runs a process of which this is known.

    `ancestors` is nearest first; an empty `environ` means that it could not be read; `cgroup` is the text of
    /proc/PID/cgroup; `terminal` the controlling terminal or ""; `container` is docker, podman, Kubernetes or "".
    """
    unit = "" if terminal else _systemd_unit(cgroup)
    systemd_pid = environ.get("SYSTEMD_EXEC_PID", "")

    if unit and systemd_pid == str(pid):
        return _systemd(unit)
    for ancestor in ancestors:
        name = ancestor.name.lower()
        if _is_pm2(ancestor, environ):
            return _pm2(environ)
        if _is_supervisord(ancestor):
            return _supervisord(environ)
        if name in _CRON:
            stop = f"take its line out with `crontab -e`, then: {kill_command(pid)}"
            return Supervisor(kind="cron", name=name, stop_command=stop)
        if name in ("svchost.exe", "taskeng.exe"):
            return Supervisor(kind="Task Scheduler", name="task", stop_command=kill_command(pid))
        if name == "nssm.exe":
            return Supervisor(kind="NSSM", name="service", stop_command="nssm stop SERVICE", restarts=True)
        if name.split(":")[0].split("-")[0] in _LOGIN:  # "tmux: server", "sshd-session"
            break
        if unit and (systemd_pid == str(ancestor.pid) or (not environ and name == "systemd")):
            return _systemd(unit) if unit.removesuffix(".service") not in _CRON else None  # an orphan of cron's
    if not ancestors and pid != 1:  # the tree cannot be read here (macOS): the markers are all there is
        if "pm_id" in environ:
            return _pm2(environ)
        if environ.get("SUPERVISOR_ENABLED"):
            return _supervisord(environ)
    if "pm_id" in environ and ancestors and ancestors[0].pid == 1:
        name = f"{environ.get('name', '?')} (orphan: PM2 has lost it and cannot stop it)"
        return Supervisor(kind="PM2", name=name, stop_command=kill_command(pid))
    if container and pid == 1:
        return _contained(container)
    if terminal:
        where = next((word for mark, word in _TERMINALS if environ.get(mark)), "terminal")
        return Supervisor(kind=where, name=terminal, stop_command=f"Ctrl-C in that terminal, or: {kill_command(pid)}")
    inits = {ancestor.name for ancestor in ancestors}
    if container and ancestors and ancestors[-1].pid == 1 and inits <= _INITS:
        return _contained(container)
    return None


def kill_command(pid: int) -> str:
    """The command that ends process `pid` without a supervisor; on Windows there is only a hard stop."""
    return f"taskkill /PID {pid} /F" if sys.platform == "win32" else f"kill -TERM {pid}"


def _is_pm2(ancestor: Process, environ: Mapping[str, str]) -> bool:
    if not environ:
        return "God Daemon" in ancestor.command
    # pm2-runtime (in containers) and Windows show a plain node; pm_id makes it PM2.
    return "pm_id" in environ and ("pm2" in ancestor.command.lower() or ancestor.name.lower() in ("node", "node.exe"))


def _pm2(environ: Mapping[str, str]) -> Supervisor:
    name = environ.get("name") or environ.get("pm_id") or "NAME"
    home = environ.get("PM2_HOME", "")
    if sys.platform == "win32":
        stop = f'pm2 stop "{name}"'
    else:
        other_home = home and Path(home) != Path(environ.get("HOME", "")) / ".pm2"
        prefix = f"PM2_HOME={shlex.quote(home)} " if other_home else ""
        stop = f"{prefix}pm2 stop {shlex.quote(name)}"
    return Supervisor(kind="PM2", name=name, stop_command=stop, restarts=True)


def _is_supervisord(ancestor: Process) -> bool:
    # As a Python script it is the second word; further on it may be the name of a log file.
    words = [ancestor.name, *ancestor.command.split()[:2]]
    return any(word.rpartition("/")[2] == "supervisord" for word in words)


def _supervisord(environ: Mapping[str, str]) -> Supervisor:
    process = environ.get("SUPERVISOR_PROCESS_NAME", "NAME")
    group = environ.get("SUPERVISOR_GROUP_NAME", process)
    name = process if group == process else f"{group}:{process}"
    return Supervisor(
        kind="supervisord", name=name, stop_command=f"supervisorctl stop {shlex.quote(name)}", restarts=True
    )


def _systemd_unit(cgroup: str) -> str:
    """`app.service`, `--user app.service`, or "" for a process that no service unit runs (a session, a scope)."""
    for line in cgroup.splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        parts = path.split("/")
        if (number == "0" or controllers == "name=systemd") and parts[-1] != "":
            units = [part for part in parts if part.endswith(".service") and not part.startswith("user@")]
            if units and not parts[-1].endswith(".scope"):
                return f"--user {units[-1]}" if any(part.startswith("user@") for part in parts) else units[-1]
    return ""


def _systemd(unit: str) -> Supervisor:
    name = unit.removeprefix("--user ")
    if name != unit:
        stop = f"systemctl --user stop {shlex.quote(name)}"
        return Supervisor(kind="systemd user unit", name=name, stop_command=stop, restarts=True)
    stop = f"sudo systemctl stop {shlex.quote(name)}"
    return Supervisor(kind="systemd unit", name=name, stop_command=stop, restarts=True)


def _contained(container: str) -> Supervisor:
    host = socket.gethostname()
    if container == "Kubernetes":
        # A Deployment's pods are called <name>-<replica set>-<pod>.
        match = re.fullmatch(r"(.+)-[a-z0-9]{6,10}-[a-z0-9]{5}", host)
        stop = f"kubectl scale deployment {match[1] if match else 'NAME'} --replicas=0"
    else:
        stop = f"{container} stop {host}"
    return Supervisor(kind=f"{container} container", name=host, stop_command=stop, restarts=True)


def _cgroup(pid: int) -> str:
    if sys.platform != "linux":  # under Wine there is a /proc, but not of these processes
        return ""
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
