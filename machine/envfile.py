"""Changes settings in `.env` and leaves everything else as it was: comments, order, unknown names, line ends, a BOM.

The file is replaced as a whole; afterwards only its owner can read it. A value never appears in an error.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from base import files
from machine.holder import user_name

_HEAD = "# Settings of the bot; docs/settings.md lists them all. Whoever reads this file can run the bot.\n"
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@%+,-]*")
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_BOM = b"\xef\xbb\xbf"


class EnvFileError(Exception):
    """The file was not changed. str() says why and what to do, and shows no value."""


def check(path: Path) -> None:
    """Raise EnvFileError if `update` could not change this file. Changes nothing."""
    _content(path)


def update(path: Path, values: Mapping[str, str]) -> None:
    """Set these names in the file, which is created if missing. Raises EnvFileError."""
    bom, content = _content(path)
    for name, value in values.items():
        content = _with(content, name, value)
    try:
        # Resolved: a link to a file kept elsewhere stays a link.
        files.write(path.resolve(), bom + content.encode("utf-8"), durable=True)
    except OSError as error:
        raise _failure(path, error.strerror or str(error), values) from None


def _content(path: Path) -> tuple[bytes, str]:
    """BOM and text of the file, line ends as they are."""
    try:
        raw = path.read_bytes()
        if not path.stat().st_mode & 0o222:  # it could be replaced, but somebody protected it
            raise _failure(path, "it is read-only", {})
        return (_BOM, raw[3:].decode("utf-8")) if raw.startswith(_BOM) else (b"", raw.decode("utf-8"))
    except FileNotFoundError:
        return b"", _HEAD
    except UnicodeDecodeError:
        raise _failure(path, "it is not UTF-8 text", {}) from None
    except OSError as error:
        raise _failure(path, error.strerror or str(error), {}) from None


def _failure(path: Path, reason: str, values: Mapping[str, str]) -> EnvFileError:
    by_hand = f", or put {' and '.join(f'{name}=...' for name in values)} into it by hand" if values else ""
    fix = f"Make it a UTF-8 file that {user_name()} may write{by_hand}."
    return EnvFileError(f"The settings file {path} was not changed: {reason}. {fix}")


def _with(content: str, name: str, value: str) -> str:
    bindings = list(parse_stream(io.StringIO(content, newline="")))
    ours = [number for number, binding in enumerate(bindings) if binding.key == name]
    newline = "\r\n" if "\r\n" in content else "\n"
    if not ours:
        gap = "" if content.endswith(("\n", "\r")) or not content else newline
        return f"{content}{gap}{name}={_quoted(value)}{newline}"
    parts = [binding.original.string for binding in bindings]
    parts[ours[-1]] = _replaced(bindings[ours[-1]], value)  # of several the last one counts
    return "".join(parts)


def _replaced(binding: Binding, value: str) -> str:
    original = binding.original.string
    head = re.match(r"\s*(?:export[^\S\r\n]+)?[^=#\s]+", original)
    tail = re.search(r"[^\S\r\n]*(?:\r\n|\n|\r|$)\Z", original)
    assert head is not None and tail is not None, "python-dotenv read it as NAME=VALUE"
    rest = original[head.end() : tail.start()].lstrip().removeprefix("=")
    unquoted = _QUOTED.sub("", rest, count=1) if rest.lstrip().startswith(("'", '"')) else rest
    comment = re.search(r"\s+#.*", unquoted)
    return f"{head[0]}={_quoted(value)}{comment[0] if comment else ''}{tail[0]}"


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
