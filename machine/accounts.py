"""One bot, one folder, whoever starts it: data of the bot that other accounts of this machine keep."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from base.shell import bot_command_as
from machine.folders import DATABASE, FolderError, find_folder
from machine.holder import user_name

if sys.platform != "win32":
    import pwd

log = logging.getLogger(__name__)


def folders_of_others(bot_id: int) -> list[tuple[str, Path]]:
    """Account and folder for each other account that has data of this bot, as far as this one may look."""
    own = find_folder(bot_id)
    found = []
    for user, home in _homes():
        folder = find_folder(bot_id, home=home)
        try:
            if folder != own and (folder / DATABASE).exists():
                found.append((user, folder))
        except OSError:  # closed to this account
            continue
    return found


def whose(bot_id: int, settings_file: Path, *, me: str = "") -> tuple[str, Path | None]:
    """The other account that the bot belongs to, and the folder with its data; ("", None) when `me` may run it.

    An account with data of the bot may run it; so may everybody while there is none and the settings file is theirs,
    or root's. me: this account unless another one is named.
    """
    me, own = me or user_name(), find_folder(bot_id)
    found = folders_of_others(bot_id)
    if (own / DATABASE).exists():
        found.append((user_name(), own))
    if any(user == me for user, _ in found):
        return "", None
    if found:
        return found[0]
    owner = _owner(settings_file)
    return ("", None) if owner in ("", "root", me) else (owner, None)


def asking() -> str:
    """The account that calls this; for root the one who typed sudo."""
    root = sys.platform != "win32" and os.geteuid() == 0
    return (os.environ.get("SUDO_USER", "") if root else "") or user_name()


def check(bot_id: int, settings_file: Path, *words: str) -> None:
    """Raise FolderError where a start by this account would start over although the bot is another account's.

    Where this account has data already, other data is only logged. words: the command, if it is not a start.
    """
    folder = find_folder(bot_id)
    user, theirs = whose(bot_id, settings_file)
    if not user:
        for other, place in folders_of_others(bot_id):
            log.warning("User %s also has data of bot %d, in %s. This start uses %s.", other, bot_id, place, folder)
        return
    me = user_name()
    what = f"The settings file {settings_file}" if theirs is None else f"The data of bot {bot_id}, in {theirs},"
    means = "The bot would have an empty database: no chats, no alerts."
    if words:
        means = f"It would be done to a database that the bot of {user} does not use."
    raise FolderError(
        f"{what} belongs to user {user}, but this {'command' if words else 'start'} is as {me}. {means}\n"
        f"As {user}: {'log on and start it there' if sys.platform == 'win32' else bot_command_as(user, *words)}\n"
        f"Or, to start over as {me}, set DATA_DIR={folder.parent}."
    )


def _homes() -> Iterator[tuple[str, Path]]:
    if sys.platform == "win32":
        users = Path(os.environ.get("PUBLIC", r"C:\Users\Public")).parent
        yield from ((home.name, home) for home in users.glob("*"))
    else:
        yield from ((account.pw_name, Path(account.pw_dir)) for account in pwd.getpwall())


def _owner(path: Path) -> str:
    """The account that owns the file, "" where there is no file, or no such thing as an owner."""
    try:
        return "" if sys.platform == "win32" else user_name(path.stat().st_uid)
    except OSError:
        return ""
