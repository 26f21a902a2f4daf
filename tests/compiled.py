"""Python code is compiled once for all processes of all test runs, and never beside the sources; the tests, too."""

from __future__ import annotations

import getpass
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

from filelock import FileLock, Timeout

FOLDER = str(Path(tempfile.gettempdir()) / f"cryptosat-tests-{getpass.getuser()}")
sys.pycache_prefix, sys.dont_write_bytecode = FOLDER, False


@contextmanager
def once() -> Iterator[None]:
    """Of test processes that begin together one goes first and compiles what is new; the others wait for it."""
    lock = FileLock(f"{cache_from_source(__file__)}.lock")
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        with lock:
            pass
    try:
        yield
    finally:
        lock.release()
