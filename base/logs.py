"""The log: console and a rotating UTF-8 file, as text or as JSON, without the token in any line or traceback."""

from __future__ import annotations

import json
import logging
import logging.handlers
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

_TOKEN_LIKE = re.compile(r"\d{5,}(?::|%3A)[A-Za-z0-9_-]{20,}")
_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class Redacting(logging.Formatter):
    """Formats a record, then takes out the token: a filter would not see the text of an exception."""

    def __init__(self, token: str) -> None:
        super().__init__(_FORMAT, datefmt="%Y-%m-%d %H:%M:%S")
        self._secret = token.partition(":")[2]

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record), self._secret)


class Json(Redacting):
    """One JSON object a line, for collectors: time (UTC), level, thread, message, exception if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return redact(json.dumps(told, ensure_ascii=False), self._secret)


def redact(line: str, secret: str) -> str:
    """The line without anything that looks like a bot token, and without this bot's secret half ("": none)."""
    line = _TOKEN_LIKE.sub("<token>", line)
    return line.replace(secret, "<token>") if secret else line


def to_console(token: str, level: str, form: str = "text") -> None:
    """Log to stderr. Without one (pythonw, a detached start) only the file will tell. form: `text` or `json`."""
    root = logging.getLogger()
    root.setLevel(level)
    # At DEBUG these would write every request with its URL, and the URL holds the token.
    for name in ("urllib3", "requests", "schedule", "filelock"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if sys.stderr is not None:
        _reconfigure()
        _add(logging.StreamHandler(sys.stderr), token, form)


def to_file(path: Path, token: str, form: str = "text") -> None:
    """Log to `path` as well: at most 5 files of 2 MB. A folder that cannot be written is said, not fatal."""
    try:
        handler = _LogFile(path, maxBytes=2_000_000, backupCount=4, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        logging.getLogger(__name__).warning("The log file %s cannot be written: %s", path, error.strerror)
        return
    _add(handler, token, form)


class _LogFile(logging.handlers.RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk costs the file's line, and no traceback on the console, where the line stands already."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def _add(handler: logging.Handler, token: str, form: str) -> None:
    handler.setFormatter(Json(token) if form == "json" else Redacting(token))
    logging.getLogger().addHandler(handler)


def _reconfigure() -> None:
    # A Windows pipe is cp1252: a character it lacks must not cost the line.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
