"""`.env` is changed in one place and stays what it was everywhere else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from conftest import SECRETS, TOKEN

from base import config
from base.env import Environment
from machine import envfile
from machine.envfile import EnvFileError

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def changed(path: Path, before: str, **values: str) -> str:
    path.write_bytes(before.encode())
    envfile.update(path, values)
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("OWNER_ID=\n", "OWNER_ID=7\n"),
        ("OWNER_ID=5", "OWNER_ID=7"),
        ("OWNER_ID", "OWNER_ID=7"),
        ("# mine\n\nX=1\nOWNER_ID=5\n\n# end\nY=2\n", "# mine\n\nX=1\nOWNER_ID=7\n\n# end\nY=2\n"),
        ("OWNER_ID=5  # me\nX=1", "OWNER_ID=7  # me\nX=1"),
        ("OWNER_ID= # fill in\n", "OWNER_ID=7 # fill in\n"),
        ("OWNER_ID='5 # 6' # me\n", "OWNER_ID=7 # me\n"),
        ("  export OWNER_ID = 5\n", "  export OWNER_ID=7\n"),
        ("X=1\r\nOWNER_ID=5\r\nY=2\r\n", "X=1\r\nOWNER_ID=7\r\nY=2\r\n"),
        ("X=1\r\n", "X=1\r\nOWNER_ID=7\r\n"),
        ("X=1", "X=1\nOWNER_ID=7\n"),
        ("#OWNER_ID=5\n", "#OWNER_ID=5\nOWNER_ID=7\n"),
        ("OWNER_ID=1\nOWNER_ID=2\n", "OWNER_ID=1\nOWNER_ID=7\n"),
        ("MY_OWNER_ID=1\nOWNER_ID_2=2\n", "MY_OWNER_ID=1\nOWNER_ID_2=2\nOWNER_ID=7\n"),
        ('NOTE="two\nOWNER_ID=3\nlines"\nOWNER_ID=1\n', 'NOTE="two\nOWNER_ID=3\nlines"\nOWNER_ID=7\n'),
        ("this is no setting at all\n'\n", "this is no setting at all\n'\nOWNER_ID=7\n"),
        ("\ufeffOWNER_ID=1\n", "\ufeffOWNER_ID=7\n"),
        ("", "OWNER_ID=7\n"),
    ],
)
def test_one_value_changes_and_all_else_stays_byte_for_byte(path: Path, before: str, after: str) -> None:
    assert changed(path, before, OWNER_ID="7") == after


@pytest.mark.parametrize(
    "value", ["plain", "a b", "it's", 'say "x"', "a#b", " # ", "$HOME ${X}", "back\\slash", "", "ä"]
)
def test_what_is_written_is_what_is_read(path: Path, value: str) -> None:
    changed(path, "X=1\n", DATA_DIR=value)
    assert Environment(path, {}, config.NAMES).file == {"X": "1", "DATA_DIR": value}


def test_a_new_file_says_what_it_is_and_can_be_loaded(path: Path) -> None:
    envfile.update(path, {"TELEGRAM_BOT_TOKEN": TOKEN, "OWNER_ID": "7"})
    assert path.read_text(encoding="utf-8").startswith("# ")
    assert config.load(path, environ={}).token == TOKEN


@posix
def test_the_file_is_open_to_its_owner_only_whatever_it_was(path: Path) -> None:
    path.write_text("X=1\n", encoding="utf-8")
    path.chmod(0o664)
    envfile.update(path, {"OWNER_ID": "7"})
    assert path.stat().st_mode & 0o777 == 0o600


@posix
def test_a_link_to_a_file_elsewhere_stays_a_link(path: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    real = tmp_path / "kept" / "settings"
    real.write_text("X=1\n", encoding="utf-8")
    path.symlink_to(real)
    envfile.update(path, {"OWNER_ID": "7"})
    assert path.is_symlink()
    assert "OWNER_ID=7" in real.read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_file_to_its_owner(path: Path) -> None:
    if sys.platform == "win32":
        return
    path.write_text("X=1\n", encoding="utf-8")
    os.chown(path, 12345, 12346)
    envfile.update(path, {"OWNER_ID": "7"})
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_read_only_file_is_left_alone_and_told_without_the_value(path: Path) -> None:
    path.write_text("X=1\n", encoding="utf-8")
    path.chmod(0o444)
    with pytest.raises(EnvFileError, match="read-only"):
        envfile.check(path)
    with pytest.raises(EnvFileError, match="read-only") as caught:
        envfile.update(path, {"TELEGRAM_BOT_TOKEN": TOKEN})
    assert SECRETS[0] not in str(caught.value)
    assert path.read_text(encoding="utf-8") == "X=1\n"


@pytest.mark.parametrize("content", ["X=ä\n".encode("latin-1"), "X=1\n".encode("utf-16")])
def test_a_file_that_is_not_utf_8_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(EnvFileError, match="not UTF-8"):
        envfile.update(path, {"OWNER_ID": "7"})
    assert path.read_bytes() == content


def test_a_folder_that_is_not_there_is_told_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(EnvFileError, match="into it by hand"):
        envfile.update(tmp_path / "nowhere" / ".env", {"OWNER_ID": "7"})
    assert list(tmp_path.iterdir()) == []
