"""doctor, backup and restore of a bot whose data is on a PostgreSQL server."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import serverkit
from conftest import BOT_ID, TOKEN
from storekit import say, texts

from base import config
from manage import backup, restore, server
from store import Store
from store.leader import lock_key

PASSWORD = "correct-horse-battery"


@pytest.fixture
def env_file(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TELEGRAM_BOT_TOKEN", "DATA_DIR", "LOCK_SCOPE", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "bot.env"
    url = database_url.replace("postgres@", f"postgres:{PASSWORD}@")
    lines = f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\nDATA_DIR={tmp_path}\nLOCK_SCOPE=folder\nDATABASE_URL={url}\n"
    file.write_text(lines, encoding="utf-8")
    return file


def found(env_file: Path) -> list[tuple[str, str]]:
    return [(one.level, one.text) for one in server.findings(config.load(env_file, environ={}))]


def open_store(url: str) -> Store:
    from store.postgres import Server

    return Store(Server(url, bot_id=BOT_ID))


def test_doctor_tells_version_speed_size_and_who_leads(env_file: Path, database_url: str) -> None:
    import psycopg

    from store import copies

    open_store(database_url).close()
    (first,) = found(env_file)
    form = r"PostgreSQL \d+\.\d+ on 127\.0\.0\.1, answers in \d+\.\d ms, \d+\.\d MB"
    assert first[0] == "ok" and re.fullmatch(form, first[1]), first
    leads = copies.called(BOT_ID, "box", leads=True)
    with psycopg.connect(database_url, application_name=leads) as other:
        other.execute(f"SELECT pg_advisory_lock({lock_key(BOT_ID)})".encode())
        (_, second) = found(env_file)
    assert re.fullmatch(r"box \(pid \d+\) leads, for .*", second[1]), second
    assert PASSWORD not in str(first) + str(second)


def test_doctor_says_what_is_wrong_with_the_server(
    env_file: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    serverkit.empty(database_url, anew=True)
    assert found(env_file)[0][1].endswith("empty, the tables are created at the first start")
    settings = env_file.read_text(encoding="utf-8")
    env_file.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", settings), encoding="utf-8")
    level, words = found(env_file)[0]
    assert level == "problem" and "cannot be reached" in words and PASSWORD not in words
    monkeypatch.setitem(sys.modules, "store.postgres", None)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    (only,) = server.findings(config.load(env_file, environ={}))
    assert only.level == "problem" and "requirements-postgres.txt" in only.fix


def test_what_backup_and_restore_print_saves_everything_and_brings_it_back(
    env_file: Path, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = argparse.Namespace(file=tmp_path / "saved.dump")
    commands = []
    for command in (backup, restore):
        assert command.run(env_file, file) == 1
        told = capsys.readouterr().err
        assert PASSWORD not in told
        commands.append(shlex.split(told.strip().rpartition(": ")[2]))
    if shutil.which("pg_dump") is None:
        pytest.skip("PostgreSQL's own programs are not here")
    with closing(open_store(database_url)) as store:
        say(store, 7, "kept")
    assert subprocess.run(commands[0], check=False).returncode == 0
    with closing(open_store(database_url)) as store:
        say(store, 7, "later")
    assert subprocess.run(commands[1], check=False).returncode == 0
    with closing(open_store(database_url)) as store:
        assert texts(store) == ["kept"]
        assert say(store, 7, "next") == 2
