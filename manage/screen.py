"""The demo's terminal: a chat in lines as wide as the terminal is, and below it the line that is being typed.

What is printed never tears that line: it is taken away, and drawn again below. Colours only where the terminal has
them and NO_COLOR is not set. Only one thread may use a Screen; `keys` reads in a thread of its own.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TextIO

if sys.platform == "win32":
    import ctypes
    import msvcrt
else:
    import termios
    import tty

PROMPT = "> "
BESIDE = 15  # columns left of a message: the time and who says it
NARROW = 72  # columns; in a narrower terminal they stand above it
_DIM, _BOLD, _YOU, _BOT, _STORY = "2", "1", "1;36", "1;32", "1;33"
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)  # of an arrow or a function key


def columns() -> int:
    """The width of the terminal now; COLUMNS wins, and without a terminal it is 100."""
    return shutil.get_terminal_size((100, 24)).columns


def has_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the stream is a terminal that shows colours to somebody who wants them (no-color.org)."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not stream.isatty():
        return False
    if sys.platform == "win32":  # the console of Windows 10 has them, but only when asked to
        kernel = ctypes.windll.kernel32
        handle, mode = kernel.GetStdHandle(-11), ctypes.c_ulong()
        return bool(
            kernel.GetConsoleMode(handle, ctypes.byref(mode)) and kernel.SetConsoleMode(handle, mode.value | 4)
        )
    return True


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most so many columns; an emoji or a Chinese character takes two."""
    marked = re.sub(r"[^\x00-\x7f]", lambda found: found[0] + "\0" * (_columns(found[0]) - 1), text)
    lines = [
        part for line in marked.splitlines() for part in textwrap.wrap(line, width, break_on_hyphens=False) or [""]
    ]
    return [line.replace("\0", "") for line in lines]


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class Screen:
    """Prints the chat. typing: keep a line for what is typed, which `type` is given; else the terminal does that."""

    def __init__(
        self, stream: TextIO, *, typing: bool = False, colour: bool = False, width: Callable[[], int] = columns
    ) -> None:
        self._stream, self._colour, self._columns = stream, colour, width
        self._typing, self._typed, self._drawn = typing, "", 0

    def say(self, text: str) -> None:
        """Words of the demo itself."""
        self._print(wrapped(text, self._width()))

    def tell(self, text: str) -> None:
        """The next step of the story."""
        self._print(["", *(self._paint(line, _STORY) for line in wrapped(f"* {text}", self._width()))])

    def message(self, who: str, text: str, *, edited: bool = False, buttons: Sequence[str] = ()) -> None:
        """A message of the chat, with the time; buttons in brackets, none of them torn."""
        beside = self._width() >= NARROW or (not buttons and len(text) < self._width() - BESIDE)
        indent = BESIDE if beside else 2
        room = self._width() - indent
        lines = [self._paint(line, _DIM) for line in ("(edited)",) if edited] + wrapped(text, room)
        labels = " ".join(f"[{label}]".replace(" ", "\N{NO-BREAK SPACE}") for label in buttons)
        for line in wrapped(labels, room):
            lines.append(self._paint(line.replace("\N{NO-BREAK SPACE}", " "), _BOLD))
        head = f"{self._paint(time.strftime('%H:%M:%S'), _DIM)}  {self._paint(who, _YOU if who == 'You' else _BOT)}"
        first = [f"{head}{' ' * (BESIDE - 10 - len(who))}{lines.pop(0)}"] if beside and lines else [head]
        self._print([*first, *(f"{' ' * indent}{line}".rstrip() for line in lines)])

    def end(self, text: str) -> None:
        """The last words; nothing can be typed any more."""
        self._typing = False
        self._print(["", *wrapped(text, self._width())])

    def type(self, keys: str) -> list[str]:
        """What was typed, keys as they came: returns the lines that are finished. Ctrl-C and Ctrl-D end the demo.

        Raises KeyboardInterrupt for these.
        """
        finished = []
        for key in _SEQUENCE.sub("", keys).replace("\r\n", "\n"):
            if key in "\r\n":
                finished.append(self._typed.strip())
                self._typed = ""
            elif key == "\x03" or (key == "\x04" and not self._typed):
                raise KeyboardInterrupt
            elif key in "\b\x7f":
                self._typed = self._typed[:-1]
            elif key in "\x15\x17":  # Ctrl-U: all of it; Ctrl-W: the last word
                words = self._typed.rstrip().rpartition(" ")
                self._typed = "" if key == "\x15" else words[0] + words[1]
            elif key.isprintable():
                self._typed += key
        self._print([])
        return finished

    def _width(self) -> int:
        return max(20, self._columns() - 1)  # a line that fills the last column makes an empty one on some terminals

    def _print(self, lines: Sequence[str]) -> None:
        """The lines, in place of the typed one; that one below them. In one write, so that nothing flickers."""
        output = f"\r{' ' * self._drawn}\r" if self._drawn else ""
        output += "".join(f"{line}\n" for line in lines)
        if self._typing:
            room, shown = self._width() - len(PROMPT), self._typed
            while sum(map(_columns, shown)) > room:  # the end of it is what matters
                shown = shown[1:]
            self._drawn = len(PROMPT) + sum(map(_columns, shown))
            output += PROMPT + shown
        self._stream.write(output)
        self._stream.flush()

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and text else text


@contextlib.contextmanager
def by_key() -> Iterator[None]:
    """Get each key of the terminal at once and without an echo; Ctrl-C and Ctrl-Z work as ever."""
    if sys.platform == "win32":  # msvcrt does so by itself
        yield
    else:
        before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        try:
            yield
        finally:
            with contextlib.suppress(termios.error):  # the terminal may be gone
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def keys() -> Iterator[str]:
    """What is typed, as it comes, until the input ends. Waits without an end: for a thread of its own."""
    if sys.platform == "win32" and sys.stdin.isatty():
        while True:
            key = msvcrt.getwch()
            if key in "\0\xe0":  # an arrow or a function key, which is two characters
                msvcrt.getwch()
            else:
                yield key
    # Past the buffer: a thread that sits in it would hold its lock when the interpreter ends.
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    with contextlib.suppress(OSError):  # EIO: the terminal is gone
        while chunk := os.read(sys.stdin.fileno(), 4096):
            yield decode(chunk)
