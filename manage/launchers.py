"""What on this machine starts the bot by itself: services, process managers, schedules, containers.

Everything here is read or asked, nothing is started, stopped or changed. A tool is only asked when that is free of
effects: `pm2` starts a daemon of its own when none runs, so its files are read first. Sources: systemd.unit(5),
systemd.service(5), PM2's dump.pm2 and jlist, supervisord's configuration, crontab(5), MS-TSCH (task XML).
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import processes
from manage.start_commands import Launcher, Machine, NoAnswer, read, starts_bot

# systemd

_UNITS = ("etc", "run", "usr/local/lib", "usr/lib", "lib")


def systemd(machine: Machine) -> list[Launcher]:
    """System units and user units with their timers."""
    found = _units(machine, [machine.root / top / "systemd/system" for top in _UNITS], machine.home, "")
    everyone = [machine.root / top / "systemd/user" for top in _UNITS]
    for home in machine.homes():
        own = [home / ".config/systemd/user", home / ".local/share/systemd/user"]
        found += _units(machine, [*own, *(everyone if home == machine.home else [])], home, home.name)
    return found


def _units(machine: Machine, folders: list[Path], home: Path, user: str) -> list[Launcher]:
    wanted = {link.name for folder in folders for link in folder.glob("*.[wr]*s/*")}  # .wants, .requires, .upholds
    found: dict[str, Launcher] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.service"))):
        texts = [read(path), *(read(more) for more in sorted(path.with_name(f"{path.name}.d").glob("*.conf")))]
        commands, cwd = _service("\n".join(texts), home)
        started = next(filter(None, (starts_bot(command, cwd) for command in commands)), None)
        if started is None or path.name in found:
            continue
        names = {path.name, path.name.replace(".service", ".timer")}
        if path.stem.endswith("@"):
            names = {name for name in wanted if name.startswith(path.stem)}
        # Another user's manager is not asked: only root may, and it may have to be started for the answer.
        control, asked = f"sudo systemctl --user -M {user}@", None
        if home == machine.home:
            scope = ["systemctl", *(["--user"] if user else [])]
            control = " ".join(scope if user else ["sudo", *scope])
            asked = machine.ask(*scope, "is-active", path.name)
        found[path.name] = Launcher(
            kind="systemd" if not user else f"systemd of user {user}",
            name=path.name,
            folder=started.folder,
            starts=bool(names & wanted),
            running=asked is not None and asked[1].strip() in ("active", "activating", "reloading"),
            remove=f"{control} disable --now {path.name}",
        )
    return list(found.values())


def _service(unit: str, home: Path) -> tuple[list[str], str]:
    """The commands and the working directory of a unit's text."""
    commands: list[str] = []
    cwd = ""
    section = ""
    for line in map(str.strip, re.sub(r"\\\n", " ", unit).splitlines()):
        if line.startswith("["):
            section = line
        name, equals, value = (part.strip() for part in line.partition("="))
        if section != "[Service]" or not equals or line.startswith(("#", ";")):
            continue
        value = value.replace("%h", str(home)).replace("%%", "%").replace("$$", "$")
        if name == "ExecStart":
            commands = [*commands, value.lstrip("@-:+!|")] if value else []  # an empty one takes back the others
        elif name == "WorkingDirectory":
            cwd = value.lstrip("-").replace("~", str(home)).strip('"')
    return commands, cwd


# PM2


def pm2(machine: Machine) -> list[Launcher]:
    """Applications of a running PM2, and those that it would bring back after a boot."""
    own = [Path(machine.environ["PM2_HOME"])] if machine.environ.get("PM2_HOME") else []
    found: list[Launcher] = []
    for home in list(dict.fromkeys([*own, *(home / ".pm2" for home in machine.homes())])):
        mine = home in own or home.parent == machine.home
        whose = "PM2" if mine else f"PM2 of user {home.parent.name}"
        before = "" if mine else f"sudo -H -u {home.parent.name} "
        saved = {app.name: app for app in _apps(_json(read(home / "dump.pm2")), whose, before)}
        live: dict[str, Launcher] = {}
        if mine and _daemon_runs(home):
            asked = machine.ask("pm2", "jlist", PM2_HOME=str(home))
            if asked is not None:
                live = {app.name: app for app in _apps(_json(asked[1][max(0, asked[1].find("[{")) :]), whose, before)}
        for name in saved | live:
            running = name in live and live[name].running
            if running or name in saved:
                found.append(replace((saved | live)[name], starts=name in saved, running=running))
    return found


def _daemon_runs(home: Path) -> bool:
    pid = read(home / "pm2.pid").strip()
    if not pid.isdecimal() or not processes.is_alive(int(pid)):
        return False
    command = processes.command_line(int(pid))
    return not command or "God Daemon" in command or "pm2" in command.lower()


def _apps(listed: Any, kind: str, before: str) -> Iterator[Launcher]:
    for entry in listed if isinstance(listed, list) else []:
        if not isinstance(entry, dict):
            continue
        nested = entry.get("pm2_env")  # in jlist, not in the dump
        app: dict[str, Any] = nested if isinstance(nested, dict) else entry
        words = app.get("args") or []
        words = words if isinstance(words, list) else [words]
        command = shlex.join([str(app.get("pm_exec_path", "")), *map(str, words)])
        started = starts_bot(command, str(app.get("pm_cwd", "")))
        if started is not None:
            name = str(app.get("name", "?"))
            yield Launcher(
                kind=kind,
                name=name,
                folder=started.folder,
                running=app.get("status") in ("online", "launching"),
                remove=f"{before}pm2 delete {shlex.quote(name)} && {before}pm2 save --force",
            )


def _json(text: str) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


# supervisord


def supervisord(machine: Machine) -> Iterator[Launcher]:
    """Programs in supervisord's usual configuration files."""
    etc = machine.root / "etc"
    files = [etc / "supervisord.conf", etc / "supervisor/supervisord.conf"]
    for file in [*files, *sorted(etc.glob("supervisor/conf.d/*.conf")), *sorted(etc.glob("supervisord.d/*.ini"))]:
        for name, program in _programs(file):
            started = starts_bot(program.get("command", ""), program.get("directory", ""))
            if started is not None:
                asked = machine.ask("supervisorctl", "status", name)
                yield Launcher(
                    kind="supervisord",
                    name=name,
                    folder=started.folder,
                    starts=program.get("autostart", "true").lower() in ("true", "yes", "on", "1"),
                    running=asked is not None and bool(re.search(r"\b(RUNNING|STARTING|BACKOFF)\b", asked[1])),
                    remove=f"delete [program:{name}] from {file}, then run: supervisorctl update",
                )


def _programs(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    sections = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";",), allow_no_value=True)
    try:
        sections.read_string(read(file))
    except configparser.Error:
        return
    for section in sections.sections():
        kind, _, name = section.partition(":")
        if kind == "program":
            here = {
                key: (value or "").replace("%(here)s", str(file.parent)) for key, value in sections.items(section)
            }
            yield name, {key: value.replace("%%", "%") for key, value in here.items()}


# Schedules


def cron(machine: Machine) -> list[Launcher]:
    """Lines of the user's crontab, of the system's, and of every user's when root asks."""
    etc, spool = machine.root / "etc", machine.root / "var/spool/cron"
    tables = {str(path): read(path) for path in [etc / "crontab", *etc.glob("cron.d/*")]}
    if machine.every_user:
        files = [*spool.glob("crontabs/*"), *(path for path in spool.glob("*") if path.is_file())]
        tables |= {f"crontab of {path.name}": read(path) for path in files}
    else:
        asked = machine.ask("crontab", "-l")
        tables["crontab"] = asked[1] if asked is not None and asked[0] == 0 else ""
    jobs = [(where, line) for where, table in tables.items() for line in table.splitlines()]
    jobs = [(where, line) for where, line in jobs if not line.lstrip().startswith("#")]
    jobs += [(str(path), read(path)) for path in etc.glob("cron.*ly/*")]
    return [
        Launcher(kind="cron", name=where, folder=started.folder, starts=True, remove=_out_of_cron(where))
        for where, command in jobs
        if (started := starts_bot(command.replace(r"\%", "%"))) is not None
    ]


def _out_of_cron(where: str) -> str:
    if where == "crontab":
        return "delete its line with: crontab -e"
    if where.startswith("crontab of "):
        return f"delete its line with: sudo crontab -e -u {where.removeprefix('crontab of ')}"
    return f"delete it from {where}"


def task_scheduler(machine: Machine) -> list[Launcher]:
    """Tasks of the Windows Task Scheduler."""
    asked = machine.ask("schtasks", "/Query", "/XML", "ONE")
    return list(tasks(asked[1])) if asked is not None else []


def tasks(listed: str) -> Iterator[Launcher]:
    """The tasks in an answer of `schtasks /Query /XML ONE`, in which a comment before each names it."""
    for name, task in re.findall(r"<!--\s*(.*?)\s*-->\s*(<Task\b.*?</Task>)", listed, re.DOTALL):
        try:
            tree = ET.fromstring(re.sub(r'\sxmlns="[^"]*"', "", task, count=1))
        except ET.ParseError:
            continue
        starts = tree.find("Triggers/*") is not None
        for action in tree.iterfind("Actions/Exec"):
            program, words = action.findtext("Command", ""), action.findtext("Arguments", "")
            started = starts_bot(f"{program} {words}", action.findtext("WorkingDirectory", "").strip('"'))
            if started is not None and tree.findtext("Settings/Enabled", "true").strip() != "false":
                remove = f'schtasks /Delete /TN "{name}"'
                yield Launcher(kind="Task Scheduler", name=name, folder=started.folder, starts=starts, remove=remove)


# Containers


def containers(machine: Machine) -> Iterator[Launcher]:
    """Docker containers that run, or that come back after a boot."""
    columns = "{{.Names}}\t{{.Image}}\t{{.Status}}\t{{.Command}}"
    code, output, errors = machine.ask("docker", "ps", "--all", "--no-trunc", "--format", columns) or (0, "", "")
    if code != 0 and "permission denied" in errors.lower():
        raise NoAnswer("this account may not use docker (permission denied)")
    for line in output.splitlines():
        name, image, status, command = [*line.split("\t"), "", "", ""][:4]
        if "cryptosat" not in f"{name} {image}".lower() and starts_bot(command.strip('"')) is None:
            continue
        policy = machine.ask("docker", "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", name)
        running = status.startswith(("Up", "Restarting"))
        starts = policy is not None and policy[1].strip() in ("always", "unless-stopped")
        if running or starts:
            remove = f"docker rm -f {name}"
            yield Launcher(kind="docker", name=name, folder=None, starts=starts, running=running, remove=remove)


KINDS: dict[str, Callable[[Machine], Iterable[Launcher]]] = (
    {"PM2": pm2, "Task Scheduler": task_scheduler, "docker": containers}
    if sys.platform == "win32"
    else {"systemd": systemd, "PM2": pm2, "supervisord": supervisord, "cron": cron, "docker": containers}
)
