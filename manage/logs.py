"""`python bot.py logs [-f] [-n N]`: the end of the bot's log, and what is added to it, across rotations.

Each look opens the file, reads what is new and closes it again: on Windows a reader that keeps it open would keep
the bot from rotating it. Reads only; the bot may run or not.
"""

from __future__ import annotations

import argparse
import codecs
import io
import os
import sys
import threading
from collections import deque
from pathlib import Path

from base import config, exit_codes
from lock import find_folder

EVERY = 0.25  # seconds between two looks; on Windows also how long a Ctrl-C may take
_CHUNK = 1 << 20


class Follower:
    """Gives what is appended to a log file that is rotated by renaming it to `NAME.1`.

    `position` is a byte offset in the file that `identity` (device, inode) names; None: the file that comes next.
    """

    def __init__(self, path: Path, *, position: int = 0, identity: tuple[int, int] | None = None) -> None:
        self._path = path
        self._position = position
        self._identity = identity
        # A look may end inside a character, or between the two halves of a Windows line end.
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)

    def more(self) -> str:
        """What was added since the last call, "" when nothing was. Never waits; a missing file gives nothing."""
        found = _read(self._path, self._position, self._identity)
        if found is None:
            return ""
        identity, new = found
        rest: bytes | None = None
        if self._identity is not None and identity != self._identity:
            # It was rotated: the end of the old file first, if it still is the one that was read last.
            before = _read(self._path.with_name(self._path.name + ".1"), self._position, self._identity)
            rest = before[1] if before is not None and before[0] == self._identity else None
            self._position = 0
        elif new is None:  # it was emptied in place
            self._position, new = 0, (_read(self._path, 0, identity) or (identity, b""))[1]
        self._identity = identity
        self._position += len(new or b"")
        return self._decoder.decode((rest or b"") + (new or b""))


def _read(path: Path, position: int, identity: tuple[int, int] | None) -> tuple[tuple[int, int], bytes | None] | None:
    """The file's identity and its content: from `position` if it is the expected one (None: it is shorter), else all.

    None when there is no file to read: between the two halves of a rotation, and on Windows it may be barred as well.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if identity in (None, (found.st_dev, found.st_ino)):
                if found.st_size < position:
                    return (found.st_dev, found.st_ino), None
                file.seek(position)
            return (found.st_dev, found.st_ino), file.read(_CHUNK)
    except OSError:
        return None


def run(env_file: Path, arguments: argparse.Namespace) -> int:
    """Print the last lines, then with `--follow` what comes. Ctrl-C ends it with 0."""
    place = config.place(env_file)
    path = find_folder(place.bot_id, place.data_dir) / "bot.log"
    try:
        return _show(path, arguments.lines, follow=arguments.follow)
    except PermissionError:
        print(f"The log {path} may not be read by this user: run this as the user that the bot runs as.")
        return exit_codes.PROBLEM
    except KeyboardInterrupt:
        return exit_codes.STOPPED


def _show(path: Path, lines: int, *, follow: bool) -> int:
    last, follower = last_lines(path, lines)
    if last is None and not follow:
        print(f"There is no log at {path}: the bot has not run there yet. Start it with `python bot.py`.")
        return exit_codes.PROBLEM
    if last is None:
        print(f"There is no log at {path} yet; waiting for it. Ctrl-C ends this.", file=sys.stderr)
    sys.stdout.write(last or "")
    sys.stdout.flush()
    pause = threading.Event()
    while follow:
        more = follower.more()
        sys.stdout.write(more)
        sys.stdout.flush()
        if len(more) < _CHUNK // 4:
            pause.wait(EVERY)
    return exit_codes.STOPPED


def last_lines(path: Path, lines: int) -> tuple[str | None, Follower]:
    """The last lines, also out of the file before if this one is short, and a follower that goes on after them.

    None for the lines when there is no file. Raises OSError when there is one that cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None, Follower(path)
    kept = deque(content.splitlines(keepends=True), maxlen=lines)
    before = path.with_name(path.name + ".1")
    if len(kept) < lines and before.exists():
        kept.extendleft(reversed(before.read_bytes().splitlines(keepends=True)[len(kept) - lines :]))
    text = b"".join(kept).decode("utf-8", "replace").replace("\r\n", "\n")
    return text, Follower(path, position=len(content), identity=(found.st_dev, found.st_ino))
