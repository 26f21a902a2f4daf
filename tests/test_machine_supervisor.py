"""Which supervisor is named for which environment, process tree and control group."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping, Sequence

import pytest

from machine import supervisor
from machine.processes import Process
from machine.supervisor import Supervisor, decide, detect

PID = 4321
SYSTEMD = Process(1, "systemd", "/sbin/init")
BASH = Process(900, "bash", "-bash")
SSHD = Process(800, "sshd-session", "sshd-session: alice@pts/3")
PM2 = Process(700, "PM2 v7.0.4: God", "PM2 v7.0.4: God Daemon (/home/alice/.pm2)")
PM2_MARKS = {"pm_id": "0", "name": "my bot", "HOME": "/home/alice", "PM2_HOME": "/home/alice/.pm2"}
SUPERVISORD = Process(600, "supervisord", "/usr/bin/python3 /usr/bin/supervisord -n")
SUPERVISORD_MARKS = {"SUPERVISOR_ENABLED": "1", "SUPERVISOR_GROUP_NAME": "bots", "SUPERVISOR_PROCESS_NAME": "whale"}
UNIT = "0::/system.slice/bot.service\n"
USER_UNIT = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/bot.service\n"
SESSION = "0::/user.slice/user-1000.slice/session-4.scope\n"
DESKTOP_APP = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/vte-spawn-1.scope\n"
KILL = supervisor.kill_command(PID)
WINDOWS = sys.platform == "win32"
PM2_STOP = 'pm2 stop "my bot"' if WINDOWS else "pm2 stop 'my bot'"

Case = tuple[Mapping[str, str], Sequence[Process], str, str, str, tuple[str, str, str, bool] | None]

CASES: dict[str, Case] = {
    "pm2": (
        PM2_MARKS,
        [PM2, SYSTEMD],
        SESSION,
        "",
        "",
        ("PM2", "my bot", PM2_STOP, True),
    ),
    "pm2 with a home of its own": (
        {**PM2_MARKS, "PM2_HOME": "/srv/pm2"},
        [PM2, SYSTEMD],
        SESSION,
        "",
        "",
        ("PM2", "my bot", PM2_STOP if WINDOWS else f"PM2_HOME=/srv/pm2 {PM2_STOP}", True),
    ),
    "pm2 that systemd started: the nearer one": (
        {**PM2_MARKS, "SYSTEMD_EXEC_PID": "700", "INVOCATION_ID": "x"},
        [PM2, SYSTEMD],
        "0::/system.slice/pm2-alice.service\n",
        "",
        "",
        ("PM2", "my bot", PM2_STOP, True),
    ),
    "pm2-runtime as pid 1 of a container": (
        PM2_MARKS,
        [Process(1, "node", "node /usr/bin/pm2-runtime start bot.json")],
        "0::/\n",
        "",
        "docker",
        ("PM2", "my bot", PM2_STOP, True),
    ),
    "orphan of pm2": (
        PM2_MARKS,
        [SYSTEMD],
        "0::/system.slice/pm2-alice.service\n",
        "",
        "",
        ("PM2", "my bot (orphan: PM2 has lost it and cannot stop it)", KILL, False),
    ),
    "a shell that was opened under pm2": (
        PM2_MARKS,
        [BASH, Process(850, "tmux: server", "tmux"), PM2, SYSTEMD],
        SESSION,
        "pts/3",
        "",
        ("terminal", "pts/3", f"Ctrl-C in that terminal, or: {KILL}", False),
    ),
    "pm2 of another user, whose environment is closed": (
        {},
        [PM2, SYSTEMD],
        SESSION,
        "",
        "",
        ("PM2", "NAME", PM2_STOP.replace("'my bot'", "NAME").replace("my bot", "NAME"), True),
    ),
    "supervisord": (
        SUPERVISORD_MARKS,
        [SUPERVISORD, SYSTEMD],
        "0::/system.slice/supervisor.service\n",
        "",
        "",
        ("supervisord", "bots:whale", "supervisorctl stop bots:whale", True),
    ),
    "supervisord in the foreground of a terminal": (
        {**SUPERVISORD_MARKS, "SUPERVISOR_GROUP_NAME": "whale"},
        [Process(600, "python3", "python3 /opt/bin/supervisord -n"), BASH, SSHD, SYSTEMD],
        SESSION,
        "pts/3",
        "",
        ("supervisord", "whale", "supervisorctl stop whale", True),
    ),
    "a shell that reads supervisord's log": (
        {"LANG": "C"},
        [Process(900, "bash", "bash -c tail -1 supervisord; python bot.py"), SSHD, SYSTEMD],
        SESSION,
        "pts/3",
        "",
        ("terminal", "pts/3", f"Ctrl-C in that terminal, or: {KILL}", False),
    ),
    "systemd unit": (
        {"SYSTEMD_EXEC_PID": str(PID)},
        [SYSTEMD],
        UNIT,
        "",
        "",
        ("systemd unit", "bot.service", "sudo systemctl stop bot.service", True),
    ),
    "systemd unit on the old hierarchy": (
        {"SYSTEMD_EXEC_PID": str(PID)},
        [SYSTEMD],
        "4:memory:/x\n1:name=systemd:/system.slice/bot.service\n",
        "",
        "",
        ("systemd unit", "bot.service", "sudo systemctl stop bot.service", True),
    ),
    "systemd unit with a shell in between": (
        {"SYSTEMD_EXEC_PID": "900"},
        [Process(900, "sh", "sh -c python bot.py"), SYSTEMD],
        UNIT,
        "",
        "",
        ("systemd unit", "bot.service", "sudo systemctl stop bot.service", True),
    ),
    "systemd user unit": (
        {"SYSTEMD_EXEC_PID": str(PID)},
        [Process(880, "systemd", "/lib/systemd/systemd --user"), SYSTEMD],
        USER_UNIT,
        "",
        "",
        ("systemd user unit", "bot.service", "systemctl --user stop bot.service", True),
    ),
    "systemd unit of another user, whose environment is closed": (
        {},
        [SYSTEMD],
        UNIT,
        "",
        "",
        ("systemd unit", "bot.service", "sudo systemctl stop bot.service", True),
    ),
    "inherited systemd marks prove nothing": (
        {"INVOCATION_ID": "x", "JOURNAL_STREAM": "8:1", "SYSTEMD_EXEC_PID": "5"},
        [SYSTEMD],
        UNIT,
        "",
        "",
        None,
    ),
    "a desktop's terminal": (
        {"SYSTEMD_EXEC_PID": "870"},
        [BASH, Process(870, "gnome-terminal-"), Process(880, "systemd"), SYSTEMD],
        DESKTOP_APP,
        "pts/3",
        "",
        ("terminal", "pts/3", f"Ctrl-C in that terminal, or: {KILL}", False),
    ),
    "a desktop's launcher": (
        {"SYSTEMD_EXEC_PID": "870"},
        [Process(870, "gnome-shell"), Process(880, "systemd"), SYSTEMD],
        DESKTOP_APP,
        "",
        "",
        None,
    ),
    "cron": (
        {"SHELL": "/bin/sh"},
        [Process(910, "sh", "/bin/sh -c bot"), Process(901, "cron"), Process(500, "cron"), SYSTEMD],
        "0::/system.slice/cron.service\n",
        "",
        "",
        ("cron", "cron", f"take its line out with `crontab -e`, then: {KILL}", False),
    ),
    "cron's child that outlived it": (
        {"SHELL": "/bin/sh"},
        [SYSTEMD],
        "0::/system.slice/cron.service\n",
        "",
        "",
        None,
    ),
    "the same of another user, whose environment is closed": (
        {},
        [SYSTEMD],
        "0::/system.slice/cron.service\n",
        "",
        "",
        None,
    ),
    "ssh": (
        {"SSH_CONNECTION": "x"},
        [BASH, SSHD, SYSTEMD],
        SESSION,
        "pts/3",
        "",
        ("ssh", "pts/3", f"Ctrl-C in that terminal, or: {KILL}", False),
    ),
    "tmux": (
        {"SSH_CONNECTION": "x", "TMUX": "/tmp/tmux-1000/default,1,0"},
        [BASH, Process(850, "tmux: server"), SYSTEMD],
        SESSION,
        "pts/7",
        "",
        ("tmux", "pts/7", f"Ctrl-C in that terminal, or: {KILL}", False),
    ),
    "nohup, and the login is gone": ({"SSH_CONNECTION": "x"}, [SYSTEMD], SESSION, "", "", None),
    "a shell inside a container": (
        {"LANG": "C"},
        [BASH],
        "0::/\n",
        "pts/0",
        "docker",
        ("terminal", "pts/0", f"Ctrl-C in that terminal, or: {KILL}", False),
    ),
    "a container mark alone": ({"LANG": "C"}, [Process(1, "other-app")], "0::/\n", "", "docker", None),
    "an init and a script above the bot in a container": (
        {"LANG": "C"},
        [Process(7, "sh", "sh entrypoint.sh"), Process(1, "tini", "tini -- entrypoint.sh")],
        "0::/\n",
        "",
        "docker",
        ("docker container", socket.gethostname(), f"docker stop {socket.gethostname()}", True),
    ),
    "Task Scheduler": (
        {"OS": "Windows_NT"},
        [Process(70, "svchost.exe"), Process(60, "services.exe")],
        "",
        "",
        "",
        ("Task Scheduler", "task", KILL, False),
    ),
    "NSSM": (
        {"OS": "Windows_NT"},
        [Process(70, "nssm.exe"), Process(60, "services.exe")],
        "",
        "",
        "",
        ("NSSM", "service", "nssm stop SERVICE", True),
    ),
    "pm2 where the tree cannot be read": (PM2_MARKS, [], "", "", "", ("PM2", "my bot", PM2_STOP, True)),
    "nothing at all": ({}, [], "", "", "", None),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_nearest_supervisor_is_named_with_its_stop_command(case: Case) -> None:
    environ, ancestors, cgroup, terminal, container, expected = case
    found = decide(PID, environ=environ, ancestors=ancestors, cgroup=cgroup, terminal=terminal, container=container)
    assert (found and (found.kind, found.name, found.stop_command, found.restarts)) == expected


@pytest.mark.parametrize("terminal", ["", "pts/0"])
def test_pid_1_of_a_container_is_supervised_by_it(terminal: str) -> None:
    found = decide(1, environ={"LANG": "C"}, ancestors=[], cgroup="0::/\n", terminal=terminal, container="podman")
    host = socket.gethostname()
    assert found == Supervisor(kind="podman container", name=host, stop_command=f"podman stop {host}", restarts=True)


def test_a_pod_is_stopped_by_scaling_its_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "whale-bot-7c9d8b6f5-x2x4z")
    found = decide(1, environ={"A": "b"}, ancestors=[], cgroup="", terminal="", container="Kubernetes")
    assert found is not None
    assert found.stop_command == "kubectl scale deployment whale-bot --replicas=0"


def test_this_process_can_be_asked_about() -> None:
    detect()  # whatever runs the tests: it must not raise
