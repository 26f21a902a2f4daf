"""One bot, one folder, whoever starts it: a start by another account does not begin anew without a word."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import OWNER, ROOT, TOKEN, Run

from base import config
from base.config import ConfigError
from simulation.account import SimBot

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="accounts of POSIX")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
POLLING = "Polling: running"
BOT_ID = TOKEN.partition(":")[0]
NOBODY = 65534
BOT_PY = str(ROOT / "bot.py")


def start_by(user: str, tmp_path: Path) -> str:
    """Python that makes this process one of `ann` or `me`, who are all there is on the machine."""
    homes = {name: str(tmp_path / name) for name in ("ann", "me")}
    return (
        "import os, pwd; from types import SimpleNamespace as S; known = pwd.getpwuid; "
        f"all_ = [S(pw_name=name, pw_dir=home) for name, home in {homes}.items()]; pwd.getpwall = lambda: all_; "
        f"pwd.getpwuid = lambda uid: next(one for one in all_ if one.pw_name == {user!r}) "
        "if uid == os.geteuid() else known(uid)"
    )


def folder_of(user: str, tmp_path: Path) -> Path:
    state = "Library/Application Support" if sys.platform == "darwin" else ".local/state"
    return tmp_path / user / state / "cryptosat" / BOT_ID


@pytest.fixture
def anns(run_bot: Run, chat: SimBot, tmp_path: Path) -> Path:
    """The folder of a bot that Ann has set up and stopped."""
    bot = run_bot(DATA_DIR="", before=start_by("ann", tmp_path))
    bot.wait_output(POLLING)
    chat.send_text(OWNER, "/start")
    chat.wait_text("lerts are on")
    bot.stop()
    return folder_of("ann", tmp_path)


def test_a_start_by_another_account_is_refused_with_the_command_that_is_right(
    run_bot: Run, anns: Path, tmp_path: Path
) -> None:
    again = run_bot(DATA_DIR="", before=start_by("me", tmp_path))
    assert again.wait_exit() == 78
    assert f"in {anns}, belongs to user ann, but this start is as me" in again.output
    command = next(line for line in again.output.splitlines() if line.startswith("As ann: "))
    assert re.match(f"As ann: (sudo -u ann|runuser -u ann -- env \\S+) .*{re.escape(BOT_PY)}", command)
    assert f"set DATA_DIR={folder_of('me', tmp_path).parent}" in again.output
    assert not (folder_of("me", tmp_path) / "bot.db").exists()


def test_where_data_dir_says_so_the_folder_in_anothers_home_is_used(
    run_bot: Run, chat: SimBot, anns: Path, tmp_path: Path
) -> None:
    bot = run_bot("--data-dir", str(anns.parent), DATA_DIR="", before=start_by("me", tmp_path))
    bot.wait_output(POLLING)
    chat.send_text(OWNER, "/ping")
    chat.wait_text("pong")
    assert not (folder_of("me", tmp_path) / "bot.db").exists()


def test_where_the_data_is_on_a_server_any_account_may_start(
    run_bot: Run, anns: Path, tmp_path: Path, database_url: str
) -> None:
    run_bot(DATA_DIR="", DATABASE_URL=database_url, before=start_by("me", tmp_path)).wait_output(POLLING)


def test_who_has_data_of_the_bot_may_go_on_and_is_told_of_the_other(run_bot: Run, anns: Path, tmp_path: Path) -> None:
    mine = folder_of("me", tmp_path)
    mine.mkdir(parents=True)
    (mine / "bot.db").touch()
    bot = run_bot(DATA_DIR="", before=start_by("me", tmp_path))
    bot.wait_output(POLLING)
    assert f"User ann also has data of bot {BOT_ID}, in {anns}. This start uses {mine}." in bot.output


def test_a_bot_that_runs_by_another_account_is_named_as_ever(run_bot: Run, chat: SimBot, tmp_path: Path) -> None:
    first = run_bot(DATA_DIR="", before=start_by("ann", tmp_path))
    first.wait_output(POLLING)
    second = run_bot(
        DATA_DIR="", before=start_by("me", tmp_path) + "; from service import run; run.START_GRACE = 0.1"
    )
    if sys.platform == "linux":
        assert second.wait_exit() == 75
        assert f"pid {first.pid}" in second.output


@pytest.mark.parametrize("command", ["restore", "move-store"])
def test_no_command_changes_a_database_that_the_bot_does_not_use(
    run_bot: Run, anns: Path, tmp_path: Path, command: str
) -> None:
    shutil.copy(anns / "bot.db", tmp_path / "backup.db")
    word = str(tmp_path / "backup.db") if command == "restore" else "postgresql://nobody@127.0.0.1:1/nothing"
    done = run_bot(command, word, DATA_DIR="", before=start_by("me", tmp_path))
    assert done.wait_exit() == 1
    assert "belongs to user ann, but this command is as me" in done.output
    assert re.search(f"As ann: .* {command} {'URL' if '://' in word else re.escape(word)}", done.output)
    assert not folder_of("me", tmp_path).exists()


@root
def test_doctor_warns_of_a_settings_file_for_which_a_start_is_refused(run_bot: Run, tmp_path: Path) -> None:
    (tmp_path / "no.env").write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\n", encoding="utf-8")
    os.chown(tmp_path / "no.env", NOBODY, NOBODY)
    doctor = run_bot("doctor", "--json", DATA_DIR="", before=start_by("me", tmp_path))
    doctor.wait_exit()
    assert f"{tmp_path / 'no.env'} belongs to user " in doctor.output
    assert "or set DATA_DIR" in doctor.output


@root
def test_a_settings_file_that_only_its_owner_may_read_says_who_that_is(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bot.env")
        file.write_text("OWNER_ID=7\n", encoding="utf-8")
        file.chmod(0o600)
        Path(folder).chmod(0o755)
        os.seteuid(NOBODY)
        try:
            with pytest.raises(ConfigError, match=r"Permission denied\. Do this as user root, who owns it, or let"):
                config.load(file, environ={})
        finally:
            os.seteuid(0)


@root
def test_a_settings_file_of_another_account_is_refused_before_anything_is_made(run_bot: Run, tmp_path: Path) -> None:
    (tmp_path / "no.env").touch()
    os.chown(tmp_path / "no.env", NOBODY, NOBODY)
    bot = run_bot(DATA_DIR="", before=start_by("me", tmp_path))
    assert bot.wait_exit() == 78
    assert f"The settings file {tmp_path / 'no.env'} belongs to user " in bot.output
    assert not (folder_of("me", tmp_path) / "bot.db").exists()


def test_status_logs_and_doctor_look_where_the_data_is(run_bot: Run, anns: Path, tmp_path: Path) -> None:
    by_me = start_by("me", tmp_path)
    status, log = run_bot("status", DATA_DIR="", before=by_me), run_bot("logs", DATA_DIR="", before=by_me)
    assert (status.wait_exit(), log.wait_exit()) == (3, 0)
    assert str(anns) in status.output
    assert POLLING in log.output
    doctor = run_bot("doctor", "--json", DATA_DIR="", before=by_me)
    doctor.wait_exit()
    assert f"{anns} belongs to user ann" in doctor.output
    mine = folder_of("me", tmp_path)
    mine.mkdir(parents=True, exist_ok=True)
    (mine / "bot.db").touch()
    doctor = run_bot("doctor", "--json", DATA_DIR="", before=by_me)
    doctor.wait_exit()
    assert "user ann also has data of this bot" in doctor.output
    assert str(anns) in doctor.output
    assert str(mine) in doctor.output


@root
@pytest.mark.parametrize("kind", ["cron", "systemd-user", "pm2", "desktop"])
def test_what_each_user_has_of_their_own_is_not_set_up_by_another_one(
    run_bot: Run, anns: Path, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "no.env").write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\n", encoding="utf-8")
    by_me = start_by("me", tmp_path)
    home = str(tmp_path / "home")  # should it be written all the same, then not for whoever runs the tests
    printed = run_bot("install", kind, "--write", DATA_DIR="", HOME=home, SUDO_USER="me", before=by_me)
    assert printed.wait_exit() == 1
    assert "Do that as user ann, who has the bot's data" in printed.output
    assert re.search(f"-u ann .*{re.escape(BOT_PY)} install {kind} --write", printed.output)
    assert not list((tmp_path / "ann").rglob("cryptosat.*"))


@root
@pytest.mark.parametrize("sudo", ["", "me"], ids=["root", "sudo"])
def test_install_by_root_is_for_the_account_that_has_the_bots_data(
    run_bot: Run, anns: Path, tmp_path: Path, sudo: str
) -> None:
    (tmp_path / "no.env").write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\n", encoding="utf-8")
    homes = f"; os.path.expanduser = lambda path: path.replace('~', {str(tmp_path)!r} + '/')"
    by_me = start_by("me", tmp_path) + homes
    printed = run_bot("install", "systemd", DATA_DIR="", SUDO_USER=sudo, before=by_me)
    assert printed.wait_exit() == 0, printed.output
    assert "\nUser=ann\n" in printed.output
    assert "as user ann, who has its data" in printed.output, "anybody can have such data: it is said"
    (command,) = [line for line in printed.output.splitlines() if line.startswith("ExecStart=")]
    assert shlex.split(command)[-2:] == ["--data-dir", str(anns.parent)]
