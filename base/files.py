"""A file written whole or not at all, while others may read it at any time."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path


def write(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace `path` by a file with this content, open to its owner only. Raises OSError, then leaves no trace.

    durable: the content survives a loss of power. An account that may (root) leaves the file to its former owner.
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


def _replace(temporary: Path, path: Path) -> None:
    for tries_left in (4, 3, 2, 1, 0):
        try:
            temporary.replace(path)
            return
        except PermissionError:  # Windows: somebody reads the old file just now
            if sys.platform != "win32" or not tries_left:
                raise
            threading.Event().wait(0.05)
