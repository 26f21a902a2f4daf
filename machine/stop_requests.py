"""A stop asked for through a file in the bot's folder: where no signal can ask for it, as on Windows.

Only who may write there, the bot's own OS user, can ask. The file names the process, so one that was left over stops
nobody else.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from base import files

FILE = "stop.json"


def ask(folder: Path, pid: int) -> None:
    """Ask process `pid` to stop; it looks about every second. Raises OSError."""
    files.write(folder / FILE, json.dumps({"pid": pid}).encode())


def asked(folder: Path) -> bool:
    """Is this process asked to stop? What is found is removed."""
    try:
        wish = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except OSError:
        return False
    except ValueError:
        wish = None
    withdraw(folder)
    return isinstance(wish, dict) and wish.get("pid") == os.getpid()


def withdraw(folder: Path) -> None:
    """Nobody is asked to stop any more."""
    try:
        (folder / FILE).unlink(missing_ok=True)
    except OSError:
        pass  # it names a process that may end before the next try; it cannot stop another
