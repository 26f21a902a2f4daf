"""The log: a rotating UTF-8 file and the console, as text or as JSON, without a secret in any line or traceback."""

from __future__ import annotations

import codecs
import io
import json
import logging
import logging.handlers
import os
import sys
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from base.console import ConsoleHandler, console
from base.secrets import redact

CHUNK = 1 << 20


class Redacting(logging.Formatter):
    """Formats a record, then takes out the secrets: a filter would not see the text of an exception.

    form: `text`, or `json`: one object a line with time (UTC), level, thread, message, exception if there is one.
    """

    def __init__(self, form: str) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        return redact(self._json(record) if self._form == "json" else super().format(record))

    def _json(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def to_console(level: str, form: str = "text") -> None:
    """Log to stderr, if there is one (pythonw and a detached start have none). form: `text` or `json`."""
    root = logging.getLogger()
    root.setLevel(level)
    # At DEBUG these would write every request with its URL, and the URL holds the token.
    for name in ("urllib3", "requests", "schedule", "filelock"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if sys.stderr is not None:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a Windows pipe is cp1252, which lacks many characters
        _add(ConsoleHandler(console, sys.stderr), form)


def to_file(path: Path, form: str = "text") -> None:
    """Log to `path` as well: at most 5 files of 2 MB. If the folder cannot be written, a warning says so."""
    try:
        handler = _LogFile(path, maxBytes=2_000_000, backupCount=4, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        logging.getLogger(__name__).warning("The log file %s cannot be written: %s", path, error.strerror)
        return
    _add(handler, form)


class _LogFile(logging.handlers.RotatingFileHandler):
    def shouldRollover(self, record: logging.LogRecord) -> bool:
        """Also open the file anew when someone has deleted it."""
        if self.stream is not None and not Path(self.baseFilename).exists():
            self.stream.close()
            self.stream = None
        return bool(super().shouldRollover(record))

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk loses the line of the file, without a traceback: the console has the line."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def _add(handler: logging.Handler, form: str) -> None:
    handler.setFormatter(Redacting(form))
    root = logging.getLogger()
    root.addHandler(handler)
    root.handlers.sort(key=lambda one: not isinstance(one, _LogFile))  # the file first


class Follower:
    """Reads what is appended to a log file that is rotated by renaming it to `NAME.1`.

    `position` is a byte offset in the file with this `identity` (device, inode); None: the next file of that name.
    """

    def __init__(self, path: Path, *, position: int = 0, identity: tuple[int, int] | None = None) -> None:
        self._path = path
        self._position = position
        self._identity = identity
        # What is read may end inside a character, or between the two bytes of a Windows line end.
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)

    def more(self) -> str:
        """What was added since the last call; "" if nothing was or the file is missing. Never waits."""
        rest = b""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if (found.st_dev, found.st_ino) != self._identity:  # rotated: first the end of the old file
                    rest = self._rest_of_old()
                    self._identity, self._position = (found.st_dev, found.st_ino), 0
                elif found.st_size < self._position:  # emptied in place
                    self._position = 0
                file.seek(self._position)
                new = file.read(CHUNK)
        except OSError:  # in the middle of a rotation, when Windows may also refuse to open it
            return ""
        self._position += len(new)
        return self._decoder.decode(rest + new)

    def _rest_of_old(self) -> bytes:
        try:
            with self._path.with_name(self._path.name + ".1").open("rb") as file:
                found = os.fstat(file.fileno())
                file.seek(self._position)
                return file.read(CHUNK) if (found.st_dev, found.st_ino) == self._identity else b""
        except OSError:
            return b""


def last_lines(path: Path, lines: int) -> tuple[str | None, Follower]:
    """The last lines (if the file is short, also of the one before it), and a follower for what is written next.

    None for the lines when there is no file. Raises OSError when it cannot be read.
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
