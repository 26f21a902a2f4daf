"""Facts about the processes of this machine. Only this module uses psutil.

Nothing here raises: a process that is gone, or that this account may not see, gives "" or None. psutil is imported at
the first question, so that `doctor` can still run and report that the package is missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from base import text

if TYPE_CHECKING:
    import psutil

T = TypeVar("T")

_DEEPEST = 64  # ancestors


class Process(NamedTuple):
    """One process: its short name and its command line, "" where they cannot be read."""

    pid: int
    name: str
    command: str = ""


def everything() -> Iterator[tuple[int, list[str], str]]:
    """All processes whose command line this account may read: pid, its words, and the working folder if known."""
    import psutil

    for pid in psutil.pids():
        words = _ask(pid, lambda process: process.cmdline())
        if words:
            yield pid, words, _ask(pid, lambda process: process.cwd()) or ""


def ancestors(pid: int) -> list[Process]:
    """Parent, grandparent and so on, nearest first. The last one has no name if it cannot be read."""
    found: list[Process] = []
    parent = _ask(pid, lambda process: process.ppid())
    while parent and len(found) < _DEEPEST:
        name = _ask(parent, lambda process: process.name()) or ""
        found.append(Process(parent, name, command_line(parent)))
        parent = _ask(parent, lambda process: process.ppid())
    return found


def command_line(pid: int) -> str:
    """The command line as one plain line. It may hold secrets: redact it before it is shown."""
    return text.plain(" ".join(_ask(pid, lambda process: process.cmdline()) or ()))


def environment(pid: int) -> Mapping[str, str]:
    """The environment that a process was started with; empty when it cannot be read."""
    return os.environ if pid == os.getpid() else _ask(pid, lambda process: process.environ()) or {}


def terminal(pid: int) -> str:
    """The controlling terminal, like `pts/3` or `ttys001`; `console` on Windows (this process only); else ""."""
    if sys.platform == "win32":
        streams = (sys.stdin, sys.stdout) if pid == os.getpid() else ()
        return "console" if any(stream is not None and stream.isatty() for stream in streams) else ""
    return (_ask(pid, lambda process: process.terminal()) or "").removeprefix("/dev/")


def user(pid: int) -> str:
    """The name of the account that runs the process, `uid 1234` where that has none."""
    name = _ask(pid, lambda process: process.username()) or ""
    return f"uid {name}" if name.isdigit() else name.rpartition("\\")[2]  # on Windows without the domain


def started_at(pid: int) -> float | None:
    """When the process started, in unix seconds."""
    return _ask(pid, lambda process: process.create_time())


def identity(pid: int) -> str:
    """Distinguishes a process from later ones with the same pid; "" when there is no such process.

    On Linux it counts from the boot, so that a change of the clock does not change it.
    """
    import psutil

    started = started_at(pid)
    if started is None:
        return ""
    if sys.platform != "linux":
        return f"{started:.2f}"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:  # a sandbox hides it
        boot = ""
    return f"{boot} {started - psutil.boot_time():.2f}"


def namespace() -> str:
    """What this process's pids are numbers in: another one's are a container's. "" where there are none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) if sys.platform == "linux" else ""
    except OSError:
        return ""


def folder_of_open(pid: int, file: str) -> Path | None:
    """The folder of the file, named by the end of its path, that the process has open; None when that is not seen.

    Only Linux shows it, to the same user and to root.
    """
    root = Path(f"/proc/{pid}/root")
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            path = link.readlink()
            if path.match(file):
                here = path.exists() and path.samefile(link)  # not so in a container, or behind PrivateTmp
                return path.parent if here else root.joinpath(*path.parts[1:-1])
    except OSError:
        pass
    return None


def has_open(pid: int, file: str) -> bool:
    """Whether the process has the file, named by the end of its path, open now, even if deleted. Only on Linux."""
    try:
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return any(Path(link.removesuffix(" (deleted)")).match(file) for link in links)


def is_alive(pid: int) -> bool:
    """Whether some process has this pid now; perhaps a later one (see `identity`)."""
    import psutil

    try:
        return psutil.pid_exists(pid)
    except OverflowError:  # a number from a file that is too large for a pid
        return False


def resident(pid: int) -> int | None:
    """The memory that the process keeps in RAM, in bytes."""
    return _ask(pid, lambda process: int(process.memory_info().rss))


def _ask(pid: int, question: Callable[[psutil.Process], T]) -> T | None:
    import psutil

    try:
        return question(psutil.Process(pid))
    except (psutil.Error, OSError, ValueError):  # OSError: codes of Windows that psutil does not translate
        return None
