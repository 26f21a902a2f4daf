"""Files that are written completely or not at all, while others may read them at any time."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from base.secrets import redact


def write(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace `path` by a file with this content that only its owner can read. Raises OSError and leaves no trace.

    durable: the content survives a power failure. Root leaves the file to its former owner.
    """
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem.lstrip('.')}-")  # mode 0600
    temporary = Path(made)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        if sys.platform != "win32" and os.geteuid() == 0 and path.exists():
            before = path.stat()
            os.chown(temporary, before.st_uid, before.st_gid)
        _replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, record: Mapping[str, object]) -> None:
    """Replace `path` by this record, without any token in it. Raises OSError and leaves no trace."""
    write(path, redact(json.dumps(record, ensure_ascii=False, indent=1)).encode("utf-8", "replace"))


def read_json(path: Path) -> dict[str, object] | None:
    """The record in a file; None if it is missing or is not a record. Reads at most 1 MB."""
    try:
        if not path.is_file():  # a pipe, in a folder that others can write, would be waited for
            return None
        with path.open(encoding="utf-8") as file:
            record = json.loads(file.read(1_000_000))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _replace(temporary: Path, path: Path) -> None:
    for tries_left in (4, 3, 2, 1, 0):
        try:
            temporary.replace(path)
            return
        except PermissionError:  # Windows: another program is reading the old file
            if sys.platform != "win32" or not tries_left:
                raise
            threading.Event().wait(0.05)
