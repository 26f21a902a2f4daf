"""`python bot.py doctor` as people run it: it finds what is wrong, says what to do, and disturbs nothing."""

from __future__ import annotations

import errno
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import OTHER_TOKEN, OWNER, ROOT, TOKEN, Run, clean_environment

from base.config import SOURCE_DEFAULTS
from base.secrets import know
from machine.holder import Holder
from machine.supervisor import Supervisor, kill_command
from manage import checks, copies, network
from manage.findings import Finding, as_json, at_once, examine, shown
from manage.start_commands import Launcher, Machine
from simulation.account import SimBot
from simulation.simulator import Simulator

BOT_ID = TOKEN.partition(":")[0]


@pytest.fixture
def doctor(run_bot: Run) -> Callable[..., tuple[int, dict[str, list[dict[str, str]]]]]:
    """Run it on a bot's settings: its exit code, and its findings by check."""

    def run(before: str = "", **settings: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
        process = run_bot("doctor", "--json", before=before, **settings)
        code = process.wait_exit()
        told = json.loads(process.output)  # and so nothing else was written, to stderr neither
        by_check: dict[str, list[dict[str, str]]] = {}
        for finding in told["findings"]:
            by_check.setdefault(finding["check"], []).append(finding)
        assert code == (1 if told["problems"] else 0)
        return code, by_check

    return run


Doctor = Callable[..., tuple[int, dict[str, list[dict[str, str]]]]]


def levels(found: dict[str, list[dict[str, str]]], check: str) -> list[str]:
    return [finding["level"] for finding in found[check]]


def words(found: dict[str, list[dict[str, str]]], check: str) -> str:
    return "\n".join(f"{finding['text']} -> {finding['fix']}" for finding in found[check])


# No test asks a host of the real world: nobody listens here.
NO_MARKETS = {f"{name.upper()}_URL": "http://127.0.0.1:9" for name in SOURCE_DEFAULTS}


def alone(folder: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    """The program itself, from `folder`, with nothing of this machine's settings."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=clean_environment() | NO_MARKETS | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "-shm" not in path.name}


# The whole


def test_beside_a_running_bot_it_finds_no_problem_and_takes_no_update_from_it(
    sim: Simulator, chat: SimBot, run_bot: Run, doctor: Doctor, tmp_path: Path
) -> None:
    bot = run_bot()
    bot.wait_output("Polling: running")
    sim.wait((tmp_path / "data" / BOT_ID / "status.json").exists)
    before = tree(tmp_path / "data")
    code, found = doctor()
    assert code == 0, found
    assert f"the bot runs: pid {bot.pid}" in words(found, "lock")
    assert "@whale_test_bot" in words(found, "token")
    assert levels(found, "markets") == ["ok"] * 7, "CoinGlass only with a key"
    assert "MB; " in words(found, "memory")
    assert words(found, "database").startswith("sound")
    assert tree(tmp_path / "data") == before
    chat.send_text(OWNER, "/ping still there")
    chat.wait_text("still there")
    bot.stop(signal.SIGTERM)
    assert "Conflict" not in bot.output, "nobody else polled"


def test_with_nothing_set_up_it_says_how_to_begin_and_makes_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "settings.env"
    homes = {"HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    code, output = alone(tmp_path, str(ROOT / "bot.py"), "doctor", "--env-file", str(missing), **homes)
    assert code == 1
    assert "TELEGRAM_BOT_TOKEN is not set" in output
    assert "Traceback" not in output
    assert not tree(tmp_path)


def test_without_any_package_it_names_them_and_how_to_get_them(tmp_path: Path) -> None:
    code, output = alone(tmp_path, "-S", str(ROOT / "bot.py"), "doctor", HOME=str(tmp_path))
    assert code == 1
    assert "not installed: pyTelegramBotAPI, filelock, requests, python-dotenv" in output
    assert f"{sys.executable} -m venv {ROOT / '.venv'}" in " ".join(output.split())
    assert "Traceback" not in output


def test_a_start_without_packages_or_with_an_old_python_says_so_in_words(tmp_path: Path) -> None:
    token = {"TELEGRAM_BOT_TOKEN": TOKEN, "OWNER_ID": "7", "HOME": str(tmp_path)}
    code, output = alone(tmp_path, "-S", str(ROOT / "bot.py"), **token)
    assert code == 78
    assert "is missing, so the bot cannot run" in output
    for command in ("-m venv", "install -r", "bot.py"):  # without site packages it looks like the system's Python
        assert any(command in line for line in output.splitlines()[1:])
    old = "import sys, runpy; sys.version_info = (3, 9, 2); runpy.run_path(sys.argv[1], run_name='__main__')"
    code, output = alone(tmp_path, "-c", old, str(ROOT / "bot.py"), **token)
    assert (code, "needs Python 3.11 or newer; this is 3.9." in output) == (78, True)


def test_for_people_it_is_one_line_and_one_fix_for_each_finding() -> None:
    findings = [
        Finding("token", "problem", "Telegram refuses it " + "and goes on " * 12, "get another"),
        Finding("time zones", "ok", "there"),
        Finding("packages", "problem", "missing", command := "'/a b/python' -m pip install " + "--an-option " * 9),
    ]
    text = shown(findings, width=80).splitlines()
    assert text[0].startswith("problem  token       Telegram refuses it")
    assert f"{' ' * 21}-> {command}" in text, "a command stays on one line, so that it runs as it is copied"
    assert max(len(line) for line in text if command not in line) <= 80
    assert any(line.strip() == "-> get another" for line in text)
    assert text[-1] == "2 problems, 0 warnings."
    assert json.loads(as_json(findings, now=0.0))["problems"] == 2


# What a check may do


def test_a_check_that_fails_is_one_line_and_the_others_are_made(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> list[Finding]:
        raise ZeroDivisionError(f"in bot{TOKEN}/getMe")

    found = examine({"first": broken, "second": lambda: [Finding("second", "ok", "well")]}, deadline=30)
    assert [(finding.check, finding.level) for finding in found] == [("first", "problem"), ("second", "ok")]
    from manage import doctor as program

    know(TOKEN)
    clean = program.without_secrets(found[0])
    assert clean.text == "could not be checked: ZeroDivisionError: in bot<token>/getMe"
    assert "Traceback" not in "".join(capsys.readouterr())


def test_a_check_that_hangs_costs_its_line_at_the_deadline_and_no_more() -> None:
    never = threading.Event()

    def hangs() -> list[Finding]:
        never.wait(30)
        return []

    began = time.monotonic()
    found = examine({"stuck": hangs, "second": lambda: [Finding("second", "ok", "well")]}, deadline=1)
    assert time.monotonic() - began < 20
    assert [(finding.check, finding.level) for finding in found] == [("stuck", "problem"), ("second", "ok")]
    assert "no answer within 1 s" in found[0].text
    never.set()


def test_questions_are_asked_at_once() -> None:
    meeting = threading.Barrier(8, timeout=30)
    answers = at_once({str(number): meeting.wait for number in range(8)}, deadline=30)
    assert sorted(answer for answer in answers.values() if isinstance(answer, int)) == list(range(8))


# Telegram


def test_a_refused_token_is_said_and_never_shown(sim: Simulator, chat: SimBot, doctor: Doctor) -> None:
    sim.revoke(TOKEN)
    code, found = doctor()
    assert code == 1
    assert "Telegram refuses the token" in words(found, "token")
    assert "@BotFather" in words(found, "token")
    assert "webhook" not in found


def test_a_webhook_is_told_with_its_host_and_waiting_updates_stay(
    sim: Simulator, chat: SimBot, doctor: Doctor
) -> None:
    chat.send_text(OWNER, "/ping one")
    chat.send_text(OWNER, "/ping two")
    chat.updates.set_webhook({"url": "https://hooks.example.org/secret/path"})
    code, found = doctor()
    assert code == 0, "the bot removes it when it starts"
    assert levels(found, "webhook") == ["warning"]
    assert "hooks.example.org" in words(found, "webhook")
    assert "secret/path" not in words(found, "webhook")
    assert levels(found, "updates") == ["ok"], "nobody runs who should have read them"
    assert words(found, "updates").startswith("2 updates waiting")
    assert chat.pending == 2
    assert chat.count("getUpdates") == 0
    assert chat.webhook_url, "it changes nothing"


def test_a_telegram_that_never_answers_ends_within_the_time(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        code, found = doctor(before="from manage import network; network.WITHIN = 1", TELEGRAM_API_URL=url)
        # Wine's Task Scheduler never answers, which takes 4 s.
        assert time.monotonic() - began < 30
    assert code == 1
    assert levels(found, "Telegram") == ["problem"]
    assert "cannot be reached" in words(found, "Telegram")
    assert levels(found, "markets") == ["ok"] * 7, "the others were asked meanwhile"


def test_one_dead_market_is_a_warning_and_all_dead_are_a_problem(sim: Simulator, tmp_path: Path) -> None:
    def asked(**settings: str) -> tuple[list[str], str]:
        urls = {f"{name.upper()}_URL": sim.market_url(name) for name in SOURCE_DEFAULTS}
        needed = {"TELEGRAM_BOT_TOKEN": TOKEN, "OWNER_ID": "7", "DATA_DIR": str(tmp_path)}
        found = list(network.markets(subject_of(tmp_path / "no.env", **needed, **urls, **settings)))
        return [finding.level for finding in found], "\n".join(finding.text for finding in found)

    sim.fault(market="binance", kind="status", code=451)
    found, text = asked()
    assert found == ["warning", *["ok"] * 6]
    assert "HTTP 451" in text
    assert re.findall(r"^(OKX|Gate|Hyperliquid), 127", text, re.MULTILINE) == ["OKX", "Gate", "Hyperliquid"]
    sim.fault(market="okx", kind="status", code=403)
    found, text = asked(COINGLASS_API_KEY="0123456789abcdef0123456789abcdef")
    assert found == ["warning", "ok", "ok", "ok", "warning", "ok", "ok", "ok"]
    assert text.count("missing without it: liquidations, funding, open interest\n") == 1
    for name in ("binance_api", "coinbase", "kraken"):
        sim.fault(market=name, kind="reset")
    found, text = asked()
    assert found[0] == "problem"
    assert "no source of trades can be reached" in text


@pytest.mark.parametrize(
    ("ahead", "level", "part"),
    [
        (0.4, "ok", "to the second"),
        (-3.0, "ok", "off"),
        (42.0, "warning", "42 s ahead"),
        (-7200.0, "problem", "2 h behind"),
    ],
)
def test_a_wrong_clock_is_seen(ahead: float, level: str, part: str) -> None:
    found = network._clock(ahead)
    assert (found.level, part in found.text) == (level, True)


# Files and settings


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_a_readable_settings_file_and_second_ones_are_found(sim: Simulator, tmp_path: Path) -> None:
    env = tmp_path / "settings.env"
    env.write_text(
        f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\nWHALE_SIZE=3\nTELEGRAM_API_URL={sim.url}\n", encoding="utf-8"
    )
    env.chmod(0o644)
    sim.bot(TOKEN)
    for place in ("here", "home"):
        (tmp_path / place).mkdir()
    (tmp_path / "here" / ".env").write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\n", encoding="utf-8")
    (tmp_path / "home" / ".env").write_text("COLOUR=blue\n", encoding="utf-8")
    urls = {f"{name.upper()}_URL": sim.market_url(name) for name in SOURCE_DEFAULTS}
    arguments = (str(ROOT / "bot.py"), "--env-file", str(env), "doctor", "--json")
    _, output = alone(tmp_path / "here", *arguments, HOME=str(tmp_path / "home"), DATA_DIR=str(tmp_path), **urls)
    told = [finding for finding in json.loads(output)["findings"] if finding["check"].startswith("settings")]
    fixes = [finding["fix"] for finding in told]
    assert f"chmod 600 {env}" in fixes
    assert f"delete it if nothing else uses it: {tmp_path / 'here' / '.env'}" in fixes
    assert not any(str(tmp_path / "home") in finding["text"] for finding in told), "no token is in that one"
    assert any("can be read by everybody" in finding["text"] for finding in told)
    assert sum("can" in finding["text"] and "read" in finding["text"] for finding in told) == 1, "it is said once"
    assert any("WHALE_SIZE" in finding["text"] for finding in told)
    assert TOKEN.partition(":")[2] not in output


def test_a_token_in_the_environment_that_wins_over_the_files_is_said(sim: Simulator, tmp_path: Path) -> None:
    env = tmp_path / "settings.env"
    env.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\n", encoding="utf-8")
    subject = subject_of(env, TELEGRAM_BOT_TOKEN=OTHER_TOKEN)
    told = " ".join(finding.text for finding in checks.settings(subject))
    assert f"(bot {OTHER_TOKEN.partition(':')[0]}) overrides the file (bot {BOT_ID})" in told


def subject_of(env_file: Path, **environ: str) -> checks.Subject:
    from manage import doctor as program

    subject, first = program.look(env_file, Machine(home=env_file.parent, environ=environ))
    assert not first
    return subject


@pytest.mark.parametrize(
    ("installed", "wanted", "fits"),
    [
        ("4.37.2", "4.37.1", True),
        ("4.37.0", "4.37.1", False),
        ("4.38.0", "4.37.1", False),
        ("4.9", "4.2", True),
        ("5.0", "4.2", False),
    ],
)
def test_versions_are_compared_as_pip_does(installed: str, wanted: str, fits: bool) -> None:
    assert checks.compatible(installed, wanted) is fits


def test_a_damaged_database_is_a_problem_that_says_what_comes(tmp_path: Path) -> None:
    env = tmp_path / "settings.env"
    env.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\nDATA_DIR={tmp_path}\n", encoding="utf-8")
    (tmp_path / BOT_ID).mkdir()
    (tmp_path / BOT_ID / "bot.db").write_bytes(b"no database at all " * 300)
    found = list(checks.database(subject_of(env)))
    assert [finding.level for finding in found] == ["problem"]
    assert "set aside" in found[0].fix


@pytest.mark.skipif(
    sys.platform == "win32", reason="a file cannot be a folder's parent there either, but says so later"
)
def test_a_folder_that_cannot_be_written_and_a_lock_that_is_no_file_are_problems(tmp_path: Path) -> None:
    env = tmp_path / "settings.env"
    (tmp_path / "data").write_text("a file in the way", encoding="utf-8")
    env.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\nDATA_DIR={tmp_path / 'data'}\n", encoding="utf-8")
    assert [finding.level for finding in checks.folder(subject_of(env))][:1] == ["problem"]
    (tmp_path / "data").unlink()
    (tmp_path / "data" / BOT_ID / "bot.lock").mkdir(parents=True)
    assert [finding.level for finding in copies.lock(subject_of(env))] == ["problem"]


def test_a_full_disk_is_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    env = tmp_path / "settings.env"
    env.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\nDATA_DIR={tmp_path}\n", encoding="utf-8")
    finding = next(iter(checks.folder(subject_of(env))))
    assert "is full" in finding.text and "free some space" in finding.fix


# Copies


def test_a_standby_on_this_machine_is_named_with_how_to_stop_it(run_bot: Run, doctor: Doctor, tmp_path: Path) -> None:
    bot = run_bot()
    bot.wait_output("Polling: running")
    environment = clean_environment() | {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "OWNER_ID": str(OWNER),
        "DATA_DIR": str(tmp_path / "data"),
    }
    second = subprocess.Popen(
        [sys.executable, str(ROOT / "bot.py"), "--wait"],
        env=environment,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert second.stderr is not None
        while "Standing by" not in second.stderr.readline():
            pass
        code, found = doctor()
    finally:
        second.kill()
        second.wait(30)
        assert second.stderr is not None
        second.stderr.close()
    assert f"process {second.pid} also runs this bot" in words(found, "lock")
    assert kill_command(second.pid) in words(found, "lock")
    assert code == 0


def test_another_program_called_bot_py_is_named_only_if_it_is_this_bot(doctor: Doctor, tmp_path: Path) -> None:
    """By the number of its token, its settings file or its folder; none of a stranger's is to be killed."""
    for name, settings in (("ours", TOKEN), ("theirs", OTHER_TOKEN), ("unknown", "")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "bot.py").write_text("input()", encoding="utf-8")
        for mark in ("monitors.py", "access.py"):
            (folder / mark).touch()
        (folder / ".env").write_text(f"TELEGRAM_BOT_TOKEN={settings}\n", encoding="utf-8")
    starts = [
        *(("ours", []), ("theirs", []), ("unknown", [])),
        *(("ours", ["--env-file", "../theirs/.env"]), ("unknown", ["--env-file=../ours/.env"])),
    ]
    found: list[subprocess.Popen[bytes]] = []
    try:
        for name, options in starts:
            command = [sys.executable, "bot.py", *options]
            found.append(
                subprocess.Popen(command, cwd=tmp_path / name, env=clean_environment(), stdin=subprocess.PIPE)
            )
        _, told = doctor()
    finally:
        for process in found:
            process.kill()
            process.communicate()
    named = [process.pid for process in found if f"process {process.pid} " in words(told, "lock")]
    assert named == [found[0].pid, found[4].pid], words(told, "lock")
    assert kill_command(found[0].pid) in words(told, "lock")


def test_it_says_why_the_bot_ended_by_itself(tmp_path: Path) -> None:
    env = tmp_path / "settings.env"
    env.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\nDATA_DIR={tmp_path}\n", encoding="utf-8")
    (tmp_path / BOT_ID).mkdir()
    assert list(copies.polling(subject_of(env))) == []
    left = {"schema": 1, "ended": "Telegram refuses the token (Unauthorized)."}
    (tmp_path / BOT_ID / "status.json").write_text(json.dumps(left), encoding="utf-8")
    (found,) = copies.polling(subject_of(env))
    assert found.level == "warning"
    assert "ended by itself at " in found.text
    assert "Telegram refuses the token" in found.text


def test_a_rival_elsewhere_is_a_problem_while_it_polls(
    sim: Simulator, chat: SimBot, run_bot: Run, doctor: Doctor, tmp_path: Path
) -> None:
    quick = "polling.RETRY_REST = 0.1; monitors.STATUS_EVERY = 0.2"
    bot = run_bot(before=f"import monitors; from botapi import poller as polling; {quick}")
    bot.wait_output("Polling: running")
    with chat.rival():
        bot.wait_output("Conflict: another program polls")
        status = tmp_path / "data" / BOT_ID / "status.json"
        sim.wait(lambda: status.exists() and json.loads(status.read_text(encoding="utf-8"))["conflict"]["since"])
        code, found = doctor()
    assert code == 1
    assert "another copy has been polling" in words(found, "conflict")
    assert "/revoke" in words(found, "conflict")


def launcher(name: str, folder: Path | None, **given: Any) -> Launcher:
    return Launcher(
        **{
            "kind": "PM2",
            "name": name,
            "folder": folder,
            "starts": True,
            "running": False,
            "remove": f"remove {name}",
            **given,
        }
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], ["ok"]),
        ([launcher("one", ROOT)], ["ok"]),
        ([launcher("one", ROOT), launcher("two", ROOT)], ["problem", "problem"]),
        ([launcher("one", ROOT), launcher("off", ROOT, starts=False)], ["ok"]),
        ([launcher("one", ROOT), launcher("unseen", None)], ["ok", "ok"]),
    ],
    ids=["none", "one", "two", "one is disabled", "one cannot be seen"],
)
def test_one_starter_is_well_and_two_are_a_problem(
    found: list[Launcher], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manage.launchers.KINDS", {"PM2": lambda machine: found})
    env = tmp_path / "settings.env"
    env.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\n", encoding="utf-8")
    told = list(copies.starters(subject_of(env), deadline=30))
    assert [finding.level for finding in told] == expected
    if "problem" in expected:
        assert "remove one" in told[0].fix


def test_a_supervisor_whose_file_is_elsewhere_is_known_from_the_bot_that_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manage.launchers.KINDS", {"supervisord": lambda machine: []})
    runs = Supervisor(
        kind="supervisord", name="cryptosat", stop_command="supervisorctl stop cryptosat", restarts=True
    )
    subject = replace(subject_of(tmp_path / "none.env"), holder=Holder(pid=1, supervisor=runs))
    (told,) = copies.starters(subject, deadline=30)
    assert (told.level, told.text) == ("ok", "supervisord cryptosat (running now)")


def test_a_copy_in_another_folder_counts_only_with_the_same_token(tmp_path: Path) -> None:
    env = tmp_path / "settings.env"
    env.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\n", encoding="utf-8")
    subject = subject_of(env)
    other = tmp_path / "other"
    other.mkdir()
    assert copies._same_bot(subject, other) is None
    for token, same in ((TOKEN, True), (OTHER_TOKEN, False)):
        (other / ".env").write_text(f"TELEGRAM_BOT_TOKEN={token}\n", encoding="utf-8")
        assert copies._same_bot(subject, other) is same
