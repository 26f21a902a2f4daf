"""Where a setting's text comes from: the environment, else the lines of `.env`. Unreadable lines are reported.

The form of `.env` is python-dotenv's, without interpolation: a `$` in a value is a `$`.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dotenv.parser import Binding

_NAME = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)", re.MULTILINE)
_PASSED_ON = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "USERPROFILE", "LD_LIBRARY_PATH")


def passed_on(*more: str) -> dict[str, str]:
    """The environment of a process that helps the bot: none of its settings, and so no secret. more: other names."""
    return {name: os.environ[name] for name in (*_PASSED_ON, *more) if name in os.environ}


def _owner(path: Path) -> str:
    try:
        return f"user {path.owner()}, who owns it"
    except (KeyError, NotImplementedError, OSError):
        return "the user who owns it"


class Unreadable(NamedTuple):
    """Lines of the file that say nothing: the settings they name, and the sentence about them. It shows no value."""

    names: frozenset[str]
    sentence: str


class Environment:
    """The text of each setting. An empty variable of the environment does not hide the line of the file.

    names: the settings there are. file: what the file says. unreadable: the lines, or the file, that cannot be read.
    """

    def __init__(self, path: Path, environ: Mapping[str, str], names: Collection[str]) -> None:
        self.file: dict[str, str] = {}
        self.unreadable: list[Unreadable] = []
        self.repeated: list[str] = []
        self._path, self._environ, self._names = path, environ, names
        try:
            if path.exists():
                self._read(path.read_text(encoding="utf-8-sig"))  # Notepad writes a BOM
        except (OSError, UnicodeDecodeError) as error:
            reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
            fix = "Save it as UTF-8, readable by this user."
            if isinstance(error, PermissionError):
                fix = f"Do this as {_owner(path)}, or let this user read it."
            self.unreadable.append(Unreadable(frozenset(names), f"{path} could not be read: {reason}. {fix}"))

    def value(self, name: str) -> str:
        """The setting's text, "" when it is not set."""
        given = self._environ.get(name, "").strip()
        # `docker run --env-file` and cmd's `set` keep a line's quotes, and docker its comment, as part of the value.
        if given[:1] in ("'", '"') or " #" in given:
            (written,) = [*_bindings(f"{name}={given}")][:1]
            given = given if written.error else written.value or ""
        return given.strip() or self.file.get(name, "").strip()

    def _read(self, content: str) -> None:
        lines: dict[str, int] = {}
        for binding in _bindings(content):
            blank = re.match(r"\s*", binding.original.string)
            number = binding.original.line + (blank[0].count("\n") if blank else 0)
            name, value = binding.key or "", binding.value
            # No setting has a line break in it: a quote that ends further down was not closed.
            broken = "\n" in (value or "") and any(
                found in self._names for found in _NAME.findall(f"{name}\n{value}")
            )
            if binding.error or value is None or broken:
                self.unreadable.append(self._unreadable(number, binding.original.string))
                continue
            if name in self._names and self.file.get(name, value) != value:
                self.repeated.append(
                    f"{name} is on lines {lines[name]} and {number} of {self._path}; the last one counts."
                )
            self.file[name], lines[name] = value, number

    def _unreadable(self, number: int, original: str) -> Unreadable:
        names = [name for name in _NAME.findall(original) if name in self._names]
        where = f"{self._path}, line {number}{f' ({names[0]})' if names else ''}"
        if re.match(r"[^=#]*=\s*['\"]", original):
            fix = "has a quote that is not closed. Close it, or write the value without quotes."
        else:
            fix = "cannot be read. Write NAME=value, or put a # in front of a line that is not a setting."
        return Unreadable(frozenset(names), f"{where} {fix}")


def _bindings(content: str) -> Iterator[Binding]:
    from dotenv.parser import parse_stream  # here: without the package `doctor` still says that it is missing

    bindings = parse_stream(io.StringIO(content))
    return (binding for binding in bindings if binding.error or binding.key is not None)
