"""Commands for people to type. They run as printed: the Python and the settings file of this process, in any folder,
quoted for the shell at hand.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from base.kinds import ROOT

_OF_THIS_RUN: list[str] = []


def add_to_commands(options: Sequence[str]) -> None:
    """From now on every command of bot.py has these options, without which it would mean another bot."""
    _OF_THIS_RUN[:] = options


def bot_command(*words: str) -> str:
    """What to type for bot.py: `/srv/bot/.venv/bin/python /srv/bot/bot.py stop`, in its folder without the paths."""
    return quoted(*_into_container(), _python(), _short(ROOT / "bot.py"), *words, *_OF_THIS_RUN)


def bot_command_as(user: str, *words: str) -> str:
    """The same for an account that is not this one."""
    return f"{quoted(*as_user(user))} {bot_command(*words)}"


def pip_command(*words: str) -> str:
    """What to type to have pip change the packages of this Python."""
    return quoted(*_into_container(), _python(), "-m", "pip", *words)


def as_user(user: str) -> list[str]:
    """The words before a command that run it as this account; a small system has no sudo."""
    if sys.platform != "win32" and os.geteuid() == 0 and shutil.which("sudo") is None and shutil.which("runuser"):
        return ["runuser", "-u", user, "--", "env", f"HOME={os.path.expanduser(f'~{user}')}"]  # noqa: PTH111
    return ["sudo", "-u", user]


def installing(packages: str = "requirements.txt") -> list[str]:
    """The commands, one after the other, that install the bot's packages: those that this file names."""
    requirements = _short(ROOT / packages)
    if sys.prefix != sys.base_prefix:
        return [pip_command("install", "-r", requirements)]
    # The system's own Python may not be changed on Debian and others ("externally managed"). An environment that is
    # there does not run (bot.py tries it first): it was copied, or its Python is gone.
    environment, windows = ROOT / ".venv", sys.platform == "win32"
    python = _short(environment / ("Scripts/python.exe" if windows else "bin/python"))
    return [
        quoted(_python(), "-m", "venv", *(["--clear"] if environment.exists() else []), _short(environment)),
        # The program `pip` itself fails in a folder that was moved, or has a $ in its name.
        quoted(python, "-m", "pip", "install", "-r", requirements),
        quoted(python, _short(ROOT / "bot.py")),
    ]


def quoted(*words: str) -> str:
    """The words as one line for the shell at hand."""
    if sys.platform != "win32":
        return shlex.join(words)
    if "MSYSTEM" in os.environ:  # Git Bash
        return shlex.join(word.replace("\\", "/") for word in words)
    import subprocess

    line = subprocess.list2cmdline(words)
    # A line that begins with a quote is only a text for PowerShell, which alone adds the user's modules.
    powershell = "\\documents\\" in os.environ.get("PSMODULEPATH", "").lower()
    return f"& {line}" if powershell and line.startswith('"') else line


def container() -> str:
    """What this process is contained by: "Kubernetes", "podman" or "docker"; "" when it is in no container."""
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "Kubernetes"
    if Path("/run/.containerenv").exists():
        return "podman"
    return "docker" if Path("/.dockerenv").exists() else ""


def _python() -> str:
    python = Path(sys.executable or "python3")
    if python.name.lower() == "pythonw.exe":  # it would show nothing
        python = python.with_name("python.exe")
    return _short(python)


def _short(path: Path) -> str:
    """Without its folder for a person who is in it; a log is read anywhere."""
    try:
        here = Path.cwd() == ROOT and any(
            stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr)
        )
        return str(path.relative_to(ROOT)) if here else str(path)
    except (OSError, ValueError):
        return str(path)


def _into_container() -> list[str]:
    """What stands before a command when this process is all there is in its container: it is typed outside."""
    program = container() if 1 in (os.getpid(), os.getppid()) else ""
    if program == "Kubernetes":
        return ["kubectl", "exec", "-it", socket.gethostname(), "--"]
    return [program, "exec", "-it", socket.gethostname()] if program else []
