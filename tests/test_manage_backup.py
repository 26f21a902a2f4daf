"""backup and restore: a complete copy of a database in use, and the way back; nothing is overwritten."""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment

from lock import InstanceLock
from manage import backup, restore
from store import Store
from store.rows import Chat

TOKEN = "7654321:TEST-token-of-nobody"


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TELEGRAM_BOT_TOKEN", "DATA_DIR", "LOCK_SCOPE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "bot.env"
    file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nDATA_DIR={tmp_path}\nLOCK_SCOPE=folder\n", encoding="utf-8")
    (tmp_path / "7654321").mkdir(mode=0o700)
    return file


@pytest.fixture
def store(tmp_path: Path, env_file: Path) -> Iterator[Store]:
    store = Store(tmp_path / "7654321/bot.db")
    store.chats.put(Chat(chat_id=5, added_by=5))
    yield store
    store.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with 100 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        sys.platform != "linux"
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=100k,mode=700", "tmpfs", place], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("only root can mount a small disk, on Linux")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def resize(disk: Path, size: float) -> None:
    subprocess.run(["mount", "-o", f"remount,size={int(size) // 1024}k", disk], check=True)


def chats(folder: Path) -> list[int]:
    with closing(Store(folder / "7654321/bot.db")) as again:
        return [chat.chat_id for chat in again.chats.some(limit=99)]


def test_a_database_in_use_is_saved_whole_and_can_be_gone_back_to(
    store: Store, env_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = argparse.Namespace(file=tmp_path / "saved.db")
    with store.transaction():
        store.chats.put(Chat(chat_id=6, added_by=6))
        assert backup.run(env_file, file) == 0
    said = capsys.readouterr().out
    assert "1 chat)" in said, "what is not committed is not in it"
    assert f"bot.py restore {file.file}" in said
    assert sys.platform == "win32" or file.file.stat().st_mode & 0o77 == 0
    assert TOKEN.encode() not in file.file.read_bytes()
    store.close()
    for part in ("before-1.unfinished", "restored", "restored-journal"):  # of a restore that was killed
        (tmp_path / f"7654321/bot.db.{part}").write_bytes(b"part")
    assert restore.run(env_file, file) == 0
    assert chats(tmp_path) == [5]
    assert not list((tmp_path / "7654321").glob("bot.db.restored*"))
    (kept,) = (tmp_path / "7654321").glob("bot.db.before-*")
    assert sys.platform == "win32" or kept.stat().st_mode & 0o77 == 0
    said = capsys.readouterr().out
    assert str(kept) in said and f"Restored from {file.file}. Start the bot:" in said
    with closing(sqlite3.connect(kept)) as db:
        assert db.execute("SELECT count(*) FROM chats").fetchone() == (2,)


def test_each_of_several_restores_in_a_second_keeps_what_it_replaced(
    store: Store, env_file: Path, tmp_path: Path
) -> None:
    file = argparse.Namespace(file=tmp_path / "saved.db")
    assert backup.run(env_file, file) == 0
    store.chats.put(Chat(chat_id=6, added_by=6))
    store.close()
    assert [restore.run(env_file, file) for _ in range(4)] == [0] * 4
    kept = list((tmp_path / "7654321").glob("bot.db.before-*"))
    assert len(kept) == 4, "one took the name of another"


def test_what_a_killed_restore_left_is_neither_restored_nor_lost(
    store: Store, env_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = tmp_path / "7654321/bot.db.restored"
    assert backup.run(env_file, argparse.Namespace(file=left)) == 0
    store.close()
    assert restore.run(env_file, argparse.Namespace(file=left)) == 1
    assert "Nothing was changed." in capsys.readouterr().err
    assert left.exists()
    assert chats(tmp_path) == [5]


def test_a_backup_overwrites_no_file(store: Store, env_file: Path, tmp_path: Path) -> None:
    taken = tmp_path / "saved.db"
    taken.write_text("mine", encoding="utf-8")
    assert backup.run(env_file, argparse.Namespace(file=taken)) == 1
    assert taken.read_text(encoding="utf-8") == "mine"


def test_without_a_database_or_a_place_a_sentence_says_so(
    env_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backup.run(env_file, argparse.Namespace(file=tmp_path / "saved.db")) == 1
    assert "no database" in capsys.readouterr().err
    Store(tmp_path / "7654321/bot.db").close()
    for place in ("missing/saved.db", "a name that no disk takes" * 20):
        assert backup.run(env_file, argparse.Namespace(file=tmp_path / place)) == 1
        assert "No copy was made" in capsys.readouterr().err


def test_a_backup_leaves_the_unfinished_one_of_another_alone(store: Store, env_file: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "saved.db.unfinished"
    theirs.write_text("half", encoding="utf-8")
    assert backup.run(env_file, argparse.Namespace(file=tmp_path / "saved.db")) == 0
    assert theirs.read_text(encoding="utf-8") == "half"


def test_a_full_disk_leaves_no_part_of_a_backup(
    store: Store, env_file: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backup.run(env_file, argparse.Namespace(file=disk / "saved.db")) == 1
    assert "No copy was made (database or disk is full)" in capsys.readouterr().err
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize(
    "room", [0.05, 0.5, 1.5], ids=["for nothing", "for the new one", "for the old one beside it"]
)
def test_restore_on_a_full_disk_changes_nothing(
    store: Store, env_file: Path, tmp_path: Path, disk: Path, room: float, capsys: pytest.CaptureFixture[str]
) -> None:
    file = argparse.Namespace(file=tmp_path / "saved.db")
    with store.transaction():
        for number in range(3_000):
            store.set_value(f"fact {number}", "x" * 1_000)
    assert backup.run(env_file, file) == 0
    store.close()
    resize(disk, file.file.stat().st_size * (1 + room))
    folder = disk / "7654321"
    folder.mkdir(mode=0o700)
    shutil.copy(tmp_path / "7654321/bot.db", folder)
    env_file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nDATA_DIR={disk}\nLOCK_SCOPE=folder\n", encoding="utf-8")
    assert restore.run(env_file, file) == 1
    assert "Is the disk full?\nNothing was changed." in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"bot.db", "bot.lock"}
    assert (folder / "bot.db").read_bytes() == (tmp_path / "7654321/bot.db").read_bytes()


def test_a_database_is_restored_with_what_is_in_the_log_beside_it(
    store: Store, env_file: Path, tmp_path: Path
) -> None:
    """Of a folder that was copied while the bot ran, or after a kill."""
    copied = tmp_path / "copied"
    copied.mkdir()
    store.chats.put(Chat(chat_id=6, added_by=6))
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(tmp_path / f"7654321/bot.db{suffix}", copied)
    store.close()
    assert (copied / "bot.db-wal").stat().st_size
    assert restore.run(env_file, argparse.Namespace(file=copied / "bot.db")) == 0
    assert chats(tmp_path) == [5, 6]


def test_restore_leaves_nothing_beside_a_database_that_was_closed(
    store: Store, env_file: Path, tmp_path: Path
) -> None:
    store.close()
    copied = tmp_path / "copied"
    copied.mkdir()
    shutil.copy(tmp_path / "7654321/bot.db", copied)
    assert restore.run(env_file, argparse.Namespace(file=copied / "bot.db")) == 0
    assert [path.name for path in copied.iterdir()] == ["bot.db"]


@pytest.mark.parametrize("content", [None, b"", b"no database", "foreign", "newer", "cut off"])
def test_what_is_no_backup_of_this_bot_is_refused_and_nothing_changes(
    store: Store, env_file: Path, tmp_path: Path, content: object, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "saved.db"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content in ("newer", "cut off"):
        assert backup.run(env_file, argparse.Namespace(file=file)) == 0
        if content == "cut off":
            os.truncate(file, file.stat().st_size // 2)
        else:
            with closing(sqlite3.connect(file)) as db:
                db.execute("PRAGMA user_version = 9999")
    elif content is not None:
        with closing(sqlite3.connect(file)) as db:
            db.execute("CREATE TABLE other (id)")
    store.close()
    assert restore.run(env_file, argparse.Namespace(file=file)) == 1
    assert "Nothing was changed." in capsys.readouterr().err
    assert chats(tmp_path) == [5]


@pytest.mark.parametrize(
    "killed_at",
    [
        "backup._kept = lambda database: os._exit(9)",
        "kept = backup._kept; backup._kept = lambda database: (kept(database), os._exit(9))",
        "backup.schema.copy = lambda db, kept: (kept.with_name(f'{kept.name}.unfinished').touch(), os._exit(9))",
    ],
    ids=["the new one is there", "both are there", "in the middle of the old one"],
)
def test_a_restore_that_is_killed_changes_nothing_and_the_next_one_goes_through(
    store: Store, env_file: Path, tmp_path: Path, killed_at: str
) -> None:
    file = argparse.Namespace(file=tmp_path / "saved.db")
    assert backup.run(env_file, file) == 0
    store.chats.put(Chat(chat_id=6, added_by=6))
    store.close()
    code = f"import os, sys, bot; from store import backup; {killed_at}; bot.main(sys.argv[1:])"
    words = ["restore", str(file.file), "--env-file", str(env_file)]
    killed = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, env=clean_environment(), check=False)
    assert killed.returncode == 9
    assert chats(tmp_path) == [5, 6]
    assert restore.run(env_file, file) == 0
    assert chats(tmp_path) == [5]
    assert not [*(tmp_path / "7654321").glob("*.restored*"), *(tmp_path / "7654321").glob("*.unfinished*")]


def test_nothing_is_restored_under_a_running_bot(
    store: Store, env_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = argparse.Namespace(file=tmp_path / "saved.db")
    assert backup.run(env_file, file) == 0
    with InstanceLock(tmp_path / "7654321", "7654321:x", machine_wide=False):
        assert restore.run(env_file, file) == 1
    assert "Nothing was changed." in capsys.readouterr().err


def test_a_damaged_database_is_set_aside_for_the_backup(store: Store, env_file: Path, tmp_path: Path) -> None:
    file = argparse.Namespace(file=tmp_path / "saved.db")
    assert backup.run(env_file, file) == 0
    store.close()
    (tmp_path / "7654321/bot.db").write_bytes(b"not a database at all" * 99)
    assert restore.run(env_file, file) == 0
    assert chats(tmp_path) == [5]
    assert list((tmp_path / "7654321").glob("bot.db.corrupt-*"))
