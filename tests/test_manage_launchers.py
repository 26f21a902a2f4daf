"""What starts the bot on a machine is found in real files and from real tools' answers, and nothing is started."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from manage import launchers
from manage.start_commands import Launcher, Machine, NoAnswer, starts_bot

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="systemd, PM2's files, cron: not Windows")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "my bots" / "cryptosat"
    folder.mkdir(parents=True)
    for name in ("bot.py", "monitors.py", "access.py"):
        (folder / name).touch()
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("root", "home", "bin"):
        (tmp_path / name).mkdir()
    return Machine(
        root=tmp_path / "root",
        home=tmp_path / "home",
        environ={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
        every_user=False,
        patience=5.0,
    )


def tool(machine: Machine, name: str, script: str) -> None:
    """A program of that name, first in the machine's PATH."""
    path = Path(machine.environ["PATH"].split(":")[0]) / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def wait_for(met: Callable[[], bool], timeout: float = 30.0) -> None:
    ends_at = time.monotonic() + timeout
    while not met():
        assert time.monotonic() < ends_at
        threading.Event().wait(0.01)


def only(found: list[Launcher]) -> Launcher:
    assert len(found) == 1, found
    return found[0]


# Commands


def test_a_command_starts_the_bot_only_if_it_runs_this_projects_program(checkout: Path, tmp_path: Path) -> None:
    other = put(tmp_path / "other" / "bot.py", "").parent
    quoted = shlex.quote(str(checkout))
    for command, cwd in (
        (f"/usr/bin/python3 {quoted}/bot.py", ""),
        (f"cd {quoted} && .venv/bin/python bot.py --wait >> log 2>&1", ""),
        ("python -u bot.py", str(checkout)),
        (shlex.join(["/bin/sh", "-c", f"cd {quoted} && exec python bot.py"]), ""),
    ):
        started = starts_bot(command, cwd)
        assert started is not None, command
        assert started.folder == checkout
    for command, cwd in (
        (f"python {quoted}/bot.py status", ""),
        (f"python {quoted}/bot.py doctor --json", ""),
        ("python bot.py", str(other)),
        (f"vim {quoted}/bot.py", ""),
        ("pkill -f bot.py", str(checkout)),
        ("python /nowhere/bot.py", ""),
        ("python ~nobody-of-this-name/bot.py", str(other)),
        ("", ""),
    ):
        assert starts_bot(command, cwd) is None, command
    unknown = starts_bot("python bot.py")
    assert unknown is not None
    assert unknown.folder is None


# systemd


def unit(folder: Path) -> str:
    return (
        f"[Unit]\nDescription=x\n[Service]\nWorkingDirectory={folder}\n"
        f'ExecStart=/usr/bin/python3 \\\n  "{folder}/bot.py"\n[Install]\nWantedBy=multi-user.target\n'
    )


def test_a_system_unit_is_found_with_whether_it_is_enabled_and_runs(machine: Machine, checkout: Path) -> None:
    etc = machine.root / "etc/systemd/system"
    put(etc / "whale.service", unit(checkout))
    put(etc / "other.service", "[Service]\nExecStart=/usr/sbin/nginx\n")
    tool(machine, "systemctl", "echo inactive; exit 3")
    found = only(launchers.systemd(machine))
    assert (found.kind, found.name, found.folder) == ("systemd", "whale.service", checkout)
    assert (found.starts, found.running) == (False, False)
    (etc / "multi-user.target.wants").mkdir()
    (etc / "multi-user.target.wants/whale.service").symlink_to(etc / "whale.service")
    tool(machine, "systemctl", 'test "$*" = "is-active whale.service" && echo active')
    found = only(launchers.systemd(machine))
    assert (found.starts, found.running) == (True, True)
    assert found.remove == "sudo systemctl disable --now whale.service"


def test_user_units_timers_and_drop_ins_count(machine: Machine, checkout: Path) -> None:
    own = machine.home / ".config/systemd/user"
    put(
        own / "nightly.service",
        f"[Service]\nExecStart=python %h/../{checkout.relative_to(machine.home.parent)}/bot.py\n",
    )
    put(own / "nightly.service", f"[Service]\nExecStart=/usr/bin/python3 '{checkout}/bot.py'\n")
    put(own / "nightly.timer", "[Timer]\nOnCalendar=daily\n")
    put(own / "timers.target.wants/nightly.timer", "")
    put(own / "replaced.service", "[Service]\nExecStart=/usr/bin/true\n")
    put(
        own / "replaced.service.d/run.conf",
        f"[Service]\nExecStart=\nExecStart=python bot.py\nWorkingDirectory={checkout}",
    )
    put(
        own / "taken-back.service", f"[Service]\nExecStart='{checkout}/bot.py'\nExecStart=\nExecStart=/usr/bin/true\n"
    )
    found = {launcher.name: launcher for launcher in launchers.systemd(machine)}
    assert set(found) == {"nightly.service", "replaced.service"}
    assert found["nightly.service"].starts
    assert not found["replaced.service"].starts
    assert found["nightly.service"].remove == "systemctl --user disable --now nightly.service"


# PM2


def test_pm2s_saved_list_is_read_and_pm2_is_not_started_for_it(machine: Machine, checkout: Path) -> None:
    saved = [
        {
            "name": "whale",
            "pm_exec_path": f"{checkout}/bot.py",
            "pm_cwd": str(checkout),
            "args": [],
            "status": "online",
        },
        {"name": "shell", "pm_exec_path": "/bin/bash", "pm_cwd": str(checkout), "args": ["-c", "python bot.py"]},
        {"name": "web", "pm_exec_path": "/srv/app.js", "pm_cwd": "/srv"},
    ]
    put(machine.home / ".pm2/dump.pm2", json.dumps(saved))
    tool(machine, "pm2", f"touch '{machine.root}/pm2-was-run'")
    found = launchers.pm2(machine)
    assert [(launcher.name, launcher.starts, launcher.running) for launcher in found] == [
        ("whale", True, False),
        ("shell", True, False),
    ]
    assert found[0].remove == "pm2 delete whale && pm2 save --force"
    put(machine.home / ".pm2/pm2.pid", str(2**22 + 1))  # a pid that no process can have
    launchers.pm2(machine)
    assert not (machine.root / "pm2-was-run").exists()


def test_a_running_pm2_is_asked_and_its_banner_and_secrets_stay_out(machine: Machine, checkout: Path) -> None:
    listed = [
        {
            "name": "whale",
            "pm2_env": {
                "name": "whale",
                "pm_exec_path": f"{checkout}/bot.py",
                "pm_cwd": str(checkout),
                "status": "online",
                "env": {"TELEGRAM_BOT_TOKEN": "123456789:secret-secret-secret-secret"},
            },
        }
    ]
    answer = put(machine.root / "jlist", json.dumps(listed))
    tool(machine, "pm2", f"echo 'In-memory PM2 is out-of-date, do:'; cat '{answer}'")
    put(machine.home / ".pm2/pm2.pid", str(os.getpid()))
    assert launchers.pm2(machine) == [], "the pid of another program is no PM2"
    daemon = subprocess.Popen(["bash", "-c", "exec -a 'PM2 v7.0.4: God Daemon' tail -f /dev/null"])
    try:
        put(machine.home / ".pm2/pm2.pid", str(daemon.pid))
        wait_for(lambda: "God" in Path(f"/proc/{daemon.pid}/cmdline").read_text(encoding="utf-8"))
        found = only(launchers.pm2(machine))
    finally:
        daemon.kill()
        daemon.wait(30)
    assert (found.starts, found.running) == (False, True)
    assert "secret" not in repr(found)


# supervisord


def test_programs_of_supervisords_usual_files_are_found(machine: Machine, checkout: Path) -> None:
    file = put(
        machine.root / "etc/supervisor/conf.d/whale.conf",
        f"[program:whale]\ncommand=/usr/bin/python3 bot.py ; a comment\ndirectory={checkout}\nautostart=false\n"
        "[program:web]\ncommand=/usr/bin/node app.js\n",
    )
    tool(machine, "supervisorctl", "test \"$*\" = 'status whale' && echo 'whale  RUNNING  pid 5, uptime 1'")
    found = only(list(launchers.supervisord(machine)))
    assert (found.name, found.folder, found.starts, found.running) == ("whale", checkout, False, True)
    assert found.remove == f"delete [program:whale] from {file}, then run: supervisorctl update"


def test_a_broken_configuration_file_is_passed_over(machine: Machine) -> None:
    put(machine.root / "etc/supervisord.conf", "command=without a section\n")
    assert list(launchers.supervisord(machine)) == []


# Schedules


def test_crontabs_of_the_user_and_of_the_system_are_read(machine: Machine, checkout: Path) -> None:
    quoted = shlex.quote(str(checkout))
    lines = f"MAILTO=me\n# @reboot python {quoted}/bot.py\n@reboot cd {quoted} && python bot.py\n"
    tool(machine, "crontab", f"cat <<'END'\n{lines}END")
    put(machine.root / "etc/cron.d/whale", f"*/5 * * * * bob cd {quoted} && python bot.py\n")
    put(machine.root / "etc/cron.daily/restart", f"#!/bin/sh\ncd {quoted}\npkill -f bot.py\nnohup python bot.py &\n")
    put(machine.root / "etc/cron.hourly/check", f"#!/bin/sh\ncd {quoted} && python bot.py status\n")
    found = {launcher.name: launcher for launcher in launchers.cron(machine)}
    etc = machine.root / "etc"
    assert set(found) == {"crontab", f"{etc}/cron.d/whale", f"{etc}/cron.daily/restart"}
    assert all(launcher.starts and launcher.folder == checkout for launcher in found.values())
    assert found["crontab"].remove == "delete its line with: crontab -e"


def test_tasks_are_read_from_the_task_schedulers_xml(checkout: Path) -> None:
    def task(name: str, command: str, arguments: str, enabled: str = "true") -> str:
        return (
            f"<!-- \\{name} -->\n<Task version='1.2' xmlns=\"http://schemas.microsoft.com/windows/2004/02/mit/task\">"
            f"<Triggers><LogonTrigger/></Triggers><Settings><Enabled>{enabled}</Enabled></Settings><Actions><Exec>"
            f"<Command>{command}</Command><Arguments>{arguments}</Arguments>"
            f"<WorkingDirectory>{checkout}</WorkingDirectory></Exec></Actions></Task>\n"
        )

    listed = (
        '<?xml version="1.0" encoding="UTF-16"?>\n<Tasks>\n'
        + task("Whale", "pythonw.exe", "bot.py")
        + task("Off", "pythonw.exe", "bot.py", "false")
        + task("Updater", "update.exe", "/quiet")
        + "<!-- \\Broken --><Task><nonsense></Task>\n</Tasks>"
    )
    found = only(list(launchers.tasks(listed)))
    assert (found.name, found.folder, found.starts) == ("\\Whale", checkout, True)
    assert found.remove == 'schtasks /Delete /TN "\\Whale"'


# Containers


def test_a_container_that_runs_or_comes_back_is_found(machine: Machine) -> None:
    rows = [
        'whale\tcryptosat\tUp 3 hours\t"python bot.py"',
        'old\tcryptosat:1\tExited (0) 2 days ago\t"python bot.py"',
        'back\tcryptosat\tExited (137) 1 minute ago\t"python bot.py"',
        'db\tpostgres\tUp 3 hours\t"postgres"',
    ]
    listing = put(machine.root / "listing", "\n".join(rows))
    tool(
        machine,
        "docker",
        f'case "$1" in ps) cat "{listing}";; *) test "$4" = back && echo unless-stopped || echo no;; esac',
    )
    found = {launcher.name: (launcher.starts, launcher.running) for launcher in launchers.containers(machine)}
    assert found == {"whale": (False, True), "back": (True, False)}


def test_a_docker_that_does_not_talk_to_this_user_is_said(machine: Machine) -> None:
    tool(machine, "docker", "echo 'Got permission denied while trying to connect' >&2; exit 1")
    with pytest.raises(NoAnswer, match="permission denied"):
        list(launchers.containers(machine))
    tool(machine, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    assert list(launchers.containers(machine)) == []


# Tools


def test_a_tool_that_hangs_is_ended_and_one_that_is_missing_is_nothing(machine: Machine, tmp_path: Path) -> None:
    hasty = Machine(root=machine.root, home=machine.home, environ=machine.environ, patience=1.0)
    tool(hasty, "crontab", f"echo $$ > '{tmp_path}/pid'; exec tail -f /dev/null")
    with pytest.raises(NoAnswer, match=r"crontab did not answer within 1 s"):
        hasty.ask("crontab", "-l")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text(encoding='utf-8').strip()}").exists()
    assert hasty.ask("no-such-tool") is None
    tool(hasty, "crontab", f"tail -f /dev/null & echo $! > '{tmp_path}/child'; wait")
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        hasty.ask("crontab", "-l")
    assert time.monotonic() - began < 20, "what the tool has started keeps its pipe open; that is not waited for"
    os.kill(int((tmp_path / "child").read_text(encoding="utf-8")), signal.SIGKILL)


def test_no_tool_sees_the_token(machine: Machine) -> None:
    told = {**machine.environ, "TELEGRAM_BOT_TOKEN": "123456789:secret-secret-secret-secret"}
    tool(machine, "show", "env")
    asked = Machine(root=machine.root, home=machine.home, environ=told).ask("show")
    assert asked is not None
    assert "secret" not in asked[1]
