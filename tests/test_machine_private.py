"""Whoever can write into the bot's folder owns the bot: such a folder is refused, whoever made it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import TOKEN, Run

from lock import InstanceLock, LockLost
from machine import private
from machine.folders import FolderError, bot_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes of POSIX")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
BOT_ID = int(TOKEN.partition(":")[0])
NOBODY = 65534
POLLING = "Polling: running"


@pytest.fixture
def shared() -> Iterator[Path]:
    """A DATA_DIR like /tmp: everybody may make a folder in it."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


@root
def test_a_folder_that_another_account_made_first_takes_nothing_over(run_bot: Run, shared: Path) -> None:
    planted, elsewhere = shared / str(BOT_ID), shared / "elsewhere"
    planted.mkdir()
    sqlite3.connect(planted / "bot.db").close()
    elsewhere.touch()
    (planted / "bot.log").symlink_to(elsewhere)
    for path in (planted, planted / "bot.log"):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    bot = run_bot(DATA_DIR=str(shared))
    assert bot.wait_exit() == 78
    assert f"{planted} belongs to user " in bot.output
    assert "set DATA_DIR to another folder" in bot.output
    assert not elsewhere.read_bytes()
    assert sorted(path.name for path in planted.iterdir()) == ["bot.db", "bot.log"]
    doctor = run_bot("doctor", "--json", DATA_DIR=str(shared))
    assert doctor.wait_exit() == 1
    assert "others could take over the bot there" in doctor.output


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / str(BOT_ID)
    folder.mkdir(parents=True, mode=0o700)
    return folder


@pytest.mark.parametrize(
    ("place", "mode"), [("folder", 0o707), ("folder", 0o772), ("parent", 0o777), ("parent", 0o757)]
)
def test_what_everybody_can_write_is_refused(tmp_path: Path, place: str, mode: int) -> None:
    folder = folder_of(tmp_path)
    (folder if place == "folder" else folder.parent).chmod(mode)
    with pytest.raises(FolderError, match=r"can be written by everybody.*(chmod 700|chmod go-w)"):
        bot_folder(BOT_ID, folder.parent)


@root
@pytest.mark.parametrize("place", ["folder", "parent"])
def test_what_a_group_can_write_is_refused_unless_it_is_the_users_own(tmp_path: Path, place: str) -> None:
    folder = folder_of(tmp_path)
    path = folder if place == "folder" else folder.parent
    path.chmod(0o770)
    assert bot_folder(BOT_ID, folder.parent) == folder, "of the group root"
    path.chmod(0o770)
    os.chown(path, 0, 54_321)
    assert bot_folder(BOT_ID, folder.parent) == folder, "of a number that a container was given"
    path.chmod(0o770)
    os.chown(path, 0, NOBODY)
    with pytest.raises(FolderError, match="can be written by the group no"):
        bot_folder(BOT_ID, folder.parent)


@root
@pytest.mark.parametrize("place", ["folder", "parent", "file"])
def test_what_belongs_to_another_account_is_refused_and_what_is_roots_is_not(tmp_path: Path, place: str) -> None:
    folder = folder_of(tmp_path)
    (folder / "holder.json").touch()
    path = {"folder": folder, "parent": folder.parent, "file": folder / "holder.json"}[place]
    assert bot_folder(BOT_ID, folder.parent) == folder
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(FolderError, match=r"belongs to user .*, not to root"):
        bot_folder(BOT_ID, folder.parent)
    os.chown(path, 54_321, 54_321)
    if place == "parent":
        assert bot_folder(BOT_ID, folder.parent) == folder, "a volume whose owner is no user in the container"


@pytest.mark.parametrize("place", ["folder", "bot.log", "bot.db", "status.json"])
def test_a_link_in_the_place_of_the_folder_or_a_file_is_refused(tmp_path: Path, place: str) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "data" / str(BOT_ID)
    elsewhere.mkdir()
    if place == "folder":
        folder.parent.mkdir()
        folder.symlink_to(elsewhere)
    else:
        folder_of(tmp_path)
        (folder / place).symlink_to(elsewhere / "file")
    with pytest.raises(FolderError, match=r"is a symbolic link.*emove the link"):
        bot_folder(BOT_ID, folder.parent)
    assert not list(elsewhere.iterdir())


def test_a_data_dir_that_is_a_link_is_the_users_own_choice(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    assert bot_folder(BOT_ID, tmp_path / "data").samefile(tmp_path / "disk" / str(BOT_ID))


def test_all_files_of_the_bot_are_for_its_account_only(run_bot: Run, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.chmod(0o755)
    (folder / "bot.log.1").touch(0o664)
    bot = run_bot(before="import os; os.umask(0)")
    bot.wait_output(POLLING)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}
    assert modes.pop(folder.name) == 0o700
    assert {"bot.db", "bot.lock", "bot.log", "bot.log.1", "holder.json"} <= set(modes)
    assert set(modes.values()) == {0o600}


@root
def test_a_folder_that_another_account_put_in_its_place_ends_the_bot(shared: Path) -> None:
    folder = shared / str(BOT_ID)
    folder.mkdir(mode=0o700)
    with InstanceLock(folder, f"{BOT_ID}:another secret") as lock:
        folder.rename(shared / "away")
        folder.mkdir(mode=0o777)
        os.chown(folder, NOBODY, NOBODY)
        with pytest.raises(LockLost, match="belongs to user"):
            lock.check()
        assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["holder.json", "status.json"])
def test_a_pipe_in_the_place_of_a_file_holds_up_no_command(run_bot: Run, tmp_path: Path, name: str) -> None:
    os.mkfifo(folder_of(tmp_path) / name)
    assert run_bot("status").wait_exit() == 3


def test_a_folder_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    assert private.trouble(tmp_path / "none" / "42") is None
