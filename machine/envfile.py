"""Changes in `.env`: one setting set, everything else left as its writer put it.

Comments, blank lines, unknown names, order, line endings and a BOM stay. The file is replaced as a whole and is then
open to its owner only. A value never appears in an error.
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
    """The file was not changed. str() says what happened and what to do, and shows no value."""


def check(path: Path) -> None:
    """Raises EnvFileError when `update` could not change this file. Changes nothing."""
    _content(path)


def update(path: Path, values: Mapping[str, str]) -> None:
    """Set these names in the file, which is made when there is none. Raises EnvFileError."""
    bom, content = _content(path)
    for name, value in values.items():
        content = _with(content, name, value)
    try:
        # Through a link: a settings file kept elsewhere stays there.
        files.write(path.resolve(), bom + content.encode("utf-8"), durable=True)
    except OSError as error:
        raise _failure(path, error.strerror or str(error), values) from None


def _content(path: Path) -> tuple[bytes, str]:
    """BOM and text of the file, line endings as they are."""
    try:
        raw = path.read_bytes()
        if not path.stat().st_mode & 0o222:  # replacing it would be allowed, but somebody meant it to stay
            raise _failure(path, "it is read-only", {})
        return (_BOM, raw[3:].decode("utf-8")) if raw.startswith(_BOM) else (b"", raw.decode("utf-8"))
    except FileNotFoundError:
        return b"", _HEAD
    except UnicodeDecodeError:
        raise _failure(path, "it is not UTF-8 text", {}) from None
    except OSError as error:
        raise _failure(path, error.strerror or str(error), {}) from None


def _failure(path: Path, reason: str, values: Mapping[str, str]) -> EnvFileError:
    lines = " and ".join(f"{name}=..." for name in values)
    by_hand = f", or put {lines} into it by hand" if lines else ""
    return EnvFileError(
        f"The settings file {path} could not be written ({reason}); it is as it was. Make it a UTF-8 file that "
        f"{user_name()} may write{by_hand}."
    )


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
