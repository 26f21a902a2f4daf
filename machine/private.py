"""Whether a bot's folder is this account's alone: who can put a file into it, a database or a link, owns the bot.

What only lets others read is closed; what others may have put there is refused. Windows: `access_list`.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import NamedTuple

from base.shell import quoted
from machine.holder import user_name

if sys.platform == "win32":
    from machine import access_list
else:
    import grp
    import pwd


class Trouble(NamedTuple):
    """What is wrong with the folder, and what to do."""

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}. Others could take over the bot there, so it does not start. {self.fix}."


def trouble(folder: Path) -> Trouble | None:
    """What lets others write into the bot's folder or put something in its place; None for nothing or no folder.

    Its files must be this account's or root's, and no links; the folder above it closed to others, or sticky as /tmp
    is. Raises OSError.
    """
    if sys.platform == "win32":
        return _on_windows(folder)
    else:  # noqa: RET505 - mypy skips only a whole branch for another platform
        try:
            return _of_parent(folder.parent) or _of_folder(folder, folder.lstat())
        except FileNotFoundError:
            return None


def close(folder: Path) -> None:
    """Make the folder 0700 and its files 0600, as far as they are this account's. Raises OSError.

    Windows: files have the access list of the folder, and that is set when it is made.
    """
    if sys.platform == "win32":
        return
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    for path in folder.iterdir():
        try:
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
                path.chmod(0o600)
        except FileNotFoundError:  # a running copy has replaced it
            continue


if sys.platform == "win32":
    _LINKS = (stat.IO_REPARSE_TAG_SYMLINK, stat.IO_REPARSE_TAG_MOUNT_POINT)

    def _on_windows(folder: Path) -> Trouble | None:
        if not folder.exists():
            return None
        if folder.lstat().st_reparse_tag in _LINKS:
            return Trouble(f"{folder} is a link", "Set DATA_DIR to the folder above the one it leads to")
        writers = access_list.writers_of(folder)
        if not writers:
            return None
        grants = [f"{who}:(OI)(CI)F" for who in (user_name(), "*S-1-5-18", "*S-1-5-32-544")]
        close_it = quoted("icacls", str(folder), "/inheritance:r", "/grant:r", *grants)
        fix = f"Set DATA_DIR to another folder, or, if you trust what is in it: {close_it}"
        return Trouble(f"{folder} can be written by {', '.join(writers)}", fix)

else:

    def _of_parent(parent: Path) -> Trouble | None:
        found = parent.stat()
        if found.st_uid not in (0, os.geteuid()) and _has_account(found.st_uid):
            fix = f"Start the bot as {user_name(found.st_uid)}, or set DATA_DIR to a folder of {user_name()}"
            return Trouble(f"{parent} belongs to user {user_name(found.st_uid)}, not to {user_name()}", fix)
        writers = "" if found.st_mode & stat.S_ISVTX else _writers(found)
        if not writers:
            return None
        closed = quoted("chmod", "go-w", str(parent))
        fix = f"Set DATA_DIR to a folder that only {user_name()} may write to, or close this one: {closed}"
        return Trouble(f"{parent} can be written by {writers}", fix)

    def _of_folder(folder: Path, found: os.stat_result) -> Trouble | None:
        me = user_name()
        if stat.S_ISLNK(found.st_mode):
            fix = f"Set DATA_DIR to the folder above the one it leads to, or remove the link: {folder}"
            return Trouble(f"{folder} is a symbolic link", fix)
        if found.st_uid != os.geteuid():
            give = quoted("sudo", "chown", "-R", me, str(folder))
            whose = user_name(found.st_uid)
            fix = (
                f"Start the bot as {whose}, or set DATA_DIR to another folder, or, if you trust what is in it: {give}"
            )
            return Trouble(f"{folder} belongs to user {whose}, not to {me}", fix)
        if writers := _writers(found):
            close_it = quoted("chmod", "700", str(folder))
            fix = f"Set DATA_DIR to another folder, or, if you trust what is in it: {close_it}"
            return Trouble(f"{folder} can be written by {writers}", fix)
        for path in folder.iterdir():
            try:
                inside = path.lstat()
            except FileNotFoundError:  # a running copy has replaced it
                continue
            if stat.S_ISLNK(inside.st_mode):
                return Trouble(f"{path} is a symbolic link", f"Remove the link: {quoted('rm', str(path))}")
            if inside.st_uid not in (0, os.geteuid()):
                whose = user_name(inside.st_uid)
                fix = f"Remove it, or, if you trust it: {quoted('sudo', 'chown', me, str(path))}"
                return Trouble(f"{path} belongs to user {whose}, not to {me}", fix)
        return None

    def _writers(found: os.stat_result) -> str:
        """Who else may write there by its mode, "" for nobody."""
        if found.st_mode & stat.S_IWOTH:
            return "everybody on this computer"
        if not found.st_mode & stat.S_IWGRP:
            return ""
        try:
            group = grp.getgrgid(found.st_gid)
        except KeyError:  # a number that a container was given
            return ""
        # Many systems give each user a group of the same name, and umask 002.
        private = group.gr_name == user_name() and set(group.gr_mem) <= {group.gr_name}
        return "" if private else f"the group {group.gr_name}"

    def _has_account(uid: int) -> bool:
        """A container's volume may have an owner who is not a user inside."""
        try:
            pwd.getpwuid(uid)
        except KeyError:
            return False
        return True
