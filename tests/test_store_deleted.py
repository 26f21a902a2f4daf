"""Someone deletes or replaces the database, or its folder, while the bot runs: it is saved, and told."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import OWNER, TOKEN, Run
from storekit import path_of, say, texts

from botapi.storage import StoreError
from simulation.account import SimBot
from simulation.simulator import Simulator
from store import Store, salvage
from store.rows import Chat

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a file in use cannot be deleted there")

Harm = Callable[[Path], object]


def other_database(path: Path) -> None:
    """Someone puts a backup in its place."""
    backup = path.with_name("backup.db")
    with sqlite3.connect(backup) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    backup.replace(path)


HARMS: dict[str, Harm] = {
    "the file": Path.unlink,
    "the log beside it": lambda path: path.with_name("bot.db-wal").rename(path.with_name("moved")),
    "all its files": lambda path: list(map(Path.unlink, path.parent.glob("bot.db*"))),
    "the folder": lambda path: shutil.rmtree(path.parent),
    "the folder, moved": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "replaced": other_database,
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_everything_is_saved_into_a_new_file_also_what_came_after(tmp_path: Path, harm: Harm) -> None:
    path = tmp_path / "bot" / "bot.db"
    path.parent.mkdir()
    store = Store(path)
    store.chats.put(Chat(chat_id=7, added_by=7))
    say(store, 7, "before")
    assert store.save_if_deleted() is None
    harm(path)
    say(store, 7, "after")
    words = store.save_if_deleted()
    assert words is not None and "nothing is lost" in words and str(path) in words
    assert store.save_if_deleted() is None
    say(store, 7, "later")
    store.close()
    again = Store(path)
    assert again.chats.get(7) == Chat(chat_id=7, added_by=7)
    assert texts(again) == ["before", "after", "later"]
    assert again.set_aside is None
    again.close()
    assert salvage.inspect(path).verdict == "sound"


def test_what_took_its_place_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "bot.db")
    other_database(path_of(store))
    words = store.save_if_deleted()
    (kept,) = tmp_path.glob("bot.db.replaced-*")
    assert words is not None and kept.name in words
    with sqlite3.connect(kept) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    other.close()
    store.close()


def test_while_it_cannot_be_saved_the_bot_goes_on_and_tries_again(tmp_path: Path) -> None:
    path = tmp_path / "bot" / "bot.db"
    path.parent.mkdir()
    store = Store(path)
    store.chats.put(Chat(chat_id=7, added_by=7))
    shutil.rmtree(path.parent)
    path.parent.write_text("a file where the folder was", encoding="utf-8")
    with pytest.raises(StoreError):
        store.save_if_deleted()
    assert store.chats.get(7) is not None
    path.parent.unlink()
    assert store.save_if_deleted() is not None
    store.close()


@pytest.mark.parametrize("when", ["while it runs", "just before it stops"])
def test_nobody_has_to_send_start_again(
    run_bot: Run, chat: SimBot, sim: Simulator, tmp_path: Path, when: str
) -> None:
    folder = tmp_path / "data" / TOKEN.partition(":")[0]
    every = 0.3 if when == "while it runs" else 3600
    bot = run_bot(before=f"import monitors; monitors.FILES_EVERY = {every}")
    bot.wait_output("Polling: running")
    chat.send_text(chat_id=OWNER, text="/start")
    chat.wait_text("alerts are on", chat_id=OWNER)
    shutil.rmtree(folder.rename(tmp_path / "deleted"), ignore_errors=True)  # the bot writes there meanwhile
    if when == "while it runs":
        chat.wait_text("was deleted while the bot was running", chat_id=OWNER)
        sim.wait((folder / "bot.log").exists, what="the log goes on")
    assert bot.stop()[0] == 0
    assert "was deleted while the bot was running" in bot.output
    again = run_bot()
    again.wait_output("Polling: running")
    chat.send_text(chat_id=OWNER, text="/settings")
    chat.wait_text("Settings of this chat", chat_id=OWNER)
