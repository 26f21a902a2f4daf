"""Recognises commands that start this bot, in the files and tools of a machine.

Nothing here changes anything. A tool has a few seconds to answer and never sees the token.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

_MARKS = ("monitors.py", "access.py")  # beside a bot.py these make it this project's
_SECRETS = ("TELEGRAM_BOT_TOKEN", "COINGLASS_API_KEY", "DATABASE_URL")
_HARMLESS = frozenset({"doctor", "install", "logs", "setup", "status", "stop", "--demo", "--help", "--once", "-h"})
# A command with one of these names the file and does not run it.
_OTHER_USES = re.compile("cat|cp|echo|grep|kill|killall|less|mv|nano|pgrep|pkill|rm|tail|tar|vi|vim")


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """One entry that starts a bot. `folder` is its checkout, None when that is unknown.

    `starts`: it does so by itself (at boot, at a time, at log-on); `running`: it has started it now.
    """

    kind: str
    name: str
    folder: Path | None
    starts: bool = False
    running: bool = False
    remove: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class NoAnswer(Exception):
    """A tool or a file could not be asked; str() says which and why."""


def home() -> Path:
    """The user's home folder, also where the system knows of none: a container's bare uid, a bare Windows service."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where to look: `root` is put before every system path, `environ` names the user's folders and tools.

    A tool gets `patience` seconds to answer one question.
    """

    root: Path = Path("/")
    home: Path = field(default_factory=home)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    patience: float = 4.0
    every_user: bool = field(default_factory=lambda: hasattr(os, "geteuid") and os.geteuid() == 0)

    def homes(self) -> list[Path]:
        """The user's own home; for root every user's."""
        others = [*(self.root / "home").glob("*"), self.root / "root"] if self.every_user else []
        return list(dict.fromkeys([self.home, *others]))

    def ask(self, *command: str, **more: str) -> tuple[int, str, str] | None:
        """Exit code, output and errors of a tool; None when it is not installed. Raises NoAnswer when it hangs."""
        program = shutil.which(command[0], path=self.environ.get("PATH"))
        if program is None:
            return None
        environ = {name: value for name, value in self.environ.items() if name not in _SECRETS}
        try:
            process = subprocess.Popen(
                [program, *command[1:]],
                env=environ | {"LC_ALL": "C"} | more,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise NoAnswer(f"{command[0]} could not be run: {error.strerror or error}") from None
        try:
            output, errors = process.communicate(timeout=self.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            # Not communicate() once more, as subprocess.run does: what the tool has started may hold the pipe open.
            process.poll() if sys.platform == "win32" else process.wait()
            raise NoAnswer(f"{command[0]} did not answer within {self.patience:g} s") from None
        return process.returncode, output, errors


@dataclass(frozen=True)
class Start:
    """A command that starts a bot.py; `folder` as in Launcher."""

    folder: Path | None


def starts_bot(command: str, cwd: str = "") -> Start | None:
    """Whether a command line starts this project's bot; None when it does not, or starts some other bot.py."""
    for words in _commands(command):
        for option, inner in itertools.pairwise(words):
            if re.fullmatch(r"-\w*c", option) and "bot.py" in inner:  # sh -c '...'
                return starts_bot(inner, cwd)
        if "cd" in words[:-1]:  # a crontab's line begins with its times
            cwd = str(Path(cwd, _from_home(words[-1])))
        if any(map(_OTHER_USES.fullmatch, words)):
            continue
        for number, word in enumerate(words):
            name = PureWindowsPath(word).name  # it knows both kinds of slash
            if name not in ("bot.py", "start.bat", "start.sh") or _HARMLESS & set(words[number + 1 :]):
                continue
            script = Path(cwd, _from_home(word))
            folder = script.parent if name == "bot.py" else script.parent.parent
            if not script.is_absolute():
                return Start(None)
            try:
                script.stat()
            except PermissionError:
                return Start(None)
            except OSError:
                continue  # there is nothing to start
            if is_checkout(folder):
                return Start(folder)
    return None


def is_checkout(folder: Path) -> bool:
    """Whether the folder holds this project's program."""
    try:
        return all((folder / name).is_file() for name in ("bot.py", *_MARKS))
    except OSError:
        return False


def _from_home(path: str) -> str:
    try:
        return str(Path(re.sub(r"^(\$HOME|\$\{HOME\}|%USERPROFILE%)", "~", path)).expanduser())
    except RuntimeError:  # ~ of a user who is not known
        return path


def _commands(text: str) -> Iterator[list[str]]:
    """The words of each simple command in a shell's text, as far as that is possible without a shell."""
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        if sys.platform == "win32":
            lexer.escape, lexer.quotes = "", '"'
        try:
            words = list(lexer)
        except ValueError:  # an open quote
            words = line.split()
        for between, group in itertools.groupby(words, lambda word: not word.strip("();<>|&")):
            if not between:
                yield list(group)


def read(path: Path) -> str:
    """The text of a file, "" when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
