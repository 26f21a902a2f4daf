"""Where a bot keeps its files: one folder per OS user and bot id."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
from pathlib import Path

from machine import private
from machine.holder import user_name
from machine.machine_lock import APP

if sys.platform == "win32":
    import ctypes

    from machine import access_list
else:
    import pwd

log = logging.getLogger(__name__)

DATABASE = "bot.db"


class FolderError(Exception):
    """The folder cannot be used: what happened, what it means, what to do."""


def bot_folder(bot_id: int, data_dir: Path | None = None) -> Path:
    """The folder of everything this bot keeps, made with mode 0700. Raises FolderError, also if it is open to others.

    It is the same for every start by one OS user: the home comes from the password database, not from HOME or the
    working directory. `data_dir` replaces the part before the id. If the home is missing or read-only, the folder is
    in $STATE_DIRECTORY, or else in a private temporary folder; a warning says so. A home that alone has data of this
    bot gets no second folder.
    """
    if data_dir is not None:
        _made(data_dir.absolute())
        return _private(data_dir.absolute() / str(bot_id))
    usual = _state_folder() / str(bot_id)
    obstacle = _obstacle(usual)
    if not obstacle:
        _made(usual.parent)
        return _private(usual)
    folder = _fallback_folder() / str(bot_id)
    cannot = f"folder {usual.parent} cannot be used ({obstacle})."
    if _has_data(usual) and not _has_data(folder):
        raise FolderError(
            f"The {cannot} It has this bot's data, so the bot does not start with an empty database elsewhere. "
            "Make it writable again, or set DATA_DIR to another folder."
        )
    log.warning("The usual %s This bot's data goes to %s instead.", cannot, folder)
    log.warning("Set DATA_DIR to a permanent folder that this account may write to.")
    return _private(folder)


def find_folder(bot_id: int, data_dir: Path | None = None, *, home: Path | None = None) -> Path:
    """Where `bot_folder` puts this bot's files, or those of the OS user with this `home`. Creates nothing."""
    if data_dir is not None:
        return data_dir.absolute() / str(bot_id)
    usual = _state_folder(home) / str(bot_id)
    if home is not None or not _obstacle(usual):
        return usual
    try:
        folder = _fallback_folder(make=False) / str(bot_id)
    except (FolderError, OSError):
        return usual
    return usual if _has_data(usual) and not _has_data(folder) else folder


_NETWORK_DISKS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "fuse.rclone", "drvfs")


def network_disk(place: Path, *, root: Path = Path("/")) -> str:
    """The kind of network disk that this place is on (`nfs4`, `cifs`), "" for none as far as is known here.

    root: put before /proc. There a lock may hold for one computer only, and a database may be damaged.
    """
    if sys.platform == "win32":
        drive = place.absolute().drive
        remote = drive.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(f"{drive}\\") == 4  # DRIVE_REMOTE
        return "network share" if remote else ""
    try:
        mounts = (root / "proc/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    on = [(0, 0, "")]
    for number, words in enumerate(map(str.split, mounts.splitlines())):
        if len(words) > 2 and place.is_relative_to(point := words[1].replace("\\040", " ")):
            on.append((len(point), number, words[2]))
    kind = max(on)[2]
    return kind if kind in _NETWORK_DISKS else ""


def _obstacle(folder: Path) -> str:
    """Why the bot cannot keep its files in this folder of the home, "" when it can. Creates nothing."""
    try:
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if sys.platform != "win32" and os.statvfs(there).f_flag & os.ST_RDONLY:
            return os.strerror(errno.EROFS)
    except OSError as error:
        return error.strerror or str(error)
    if there == folder or (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        return ""  # its own folder with wrong rights is for the lock to report
    return os.strerror(errno.EACCES if there.is_dir() else errno.ENOTDIR)


def _has_data(folder: Path) -> bool:
    try:
        return (folder / DATABASE).exists()
    except OSError:  # closed to this account
        return False


def _state_folder(home: Path | None = None) -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") if home is None else None
        return (Path(local) if local else (home or Path.home()) / "AppData" / "Local") / APP
    else:  # noqa: RET505 - mypy skips only a whole branch for another platform
        try:
            home = home or Path(pwd.getpwuid(os.geteuid()).pw_dir)
        except KeyError:  # a container run with a bare uid
            home = Path("/nonexistent")
        return home / ("Library/Application Support" if sys.platform == "darwin" else ".local/state") / APP


def _fallback_folder(*, make: bool = True) -> Path:
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd lists several with colons
    if Path(given).is_absolute():
        return Path(given)
    if sys.platform == "win32":
        return Path(tempfile.gettempdir()) / APP
    folder = Path(tempfile.gettempdir()) / f"{APP}-{os.geteuid()}"
    if make:
        return _private(folder)
    if found := private.trouble(folder):
        raise FolderError(str(found))
    return folder


def _private(folder: Path) -> Path:
    """The folder, made if missing. Anybody may have made it before, in /tmp or in a shared DATA_DIR."""
    _made(folder)
    try:
        found = private.trouble(folder)
        if found is None:
            private.close(folder)
    except OSError as error:
        raise FolderError(f"The folder {folder} cannot be checked ({error.strerror or error}).") from error
    if found is not None:
        raise FolderError(str(found))
    return folder


def _made(folder: Path) -> Path:
    try:
        new = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if new and sys.platform == "win32":
            access_list.close(folder)
    except OSError as error:
        raise FolderError(
            f"The folder {folder} cannot be created ({error.strerror or error}). The bot keeps its lock and its data "
            f"there, so it does not start. Make it writable for {user_name()}, or set DATA_DIR to another folder."
        ) from error
    return folder
