"""Answers that do not end, or are much larger than they look: what a broken or hostile server may send."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator

from simulation.http import Answer

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_PARTS = {  # what comes first, and what then comes again and again
    "headers": (_HEAD, b"X-More: 1\r\n"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (_HEAD + b"Content-Length: 1000000000000\r\n\r\n", b" "),
    "chunks": (_CHUNKED, b"1\r\n \r\n"),
    "chunk_size": (_CHUNKED, b"0"),
    "trailers": (_CHUNKED + b"4\r\nnull\r\n0\r\n", b"X-More: 1\r\n"),
}
DRIPS = tuple(f"drip_{part}" for part in _PARTS)  # a few bytes every 20 ms
FLOODS = tuple(f"flood_{part}" for part in _PARTS)  # as fast as the network takes them
LARGE = ("gzip_bomb", "deep_json")
KINDS = (*DRIPS, *FLOODS, *LARGE)


def answer(kind: str, *, until: threading.Event) -> Answer:
    """An answer of this kind; one that does not end ends then."""
    if kind == "deep_json":
        return Answer(200, b'{"ok":true,"result":' + b"[" * 200_000)
    if kind == "gzip_bomb":
        packed = gzip.compress(b" " * 64_000_000, 1)
        return Answer(200, packed, headers=(("Content-Encoding", "gzip"),))
    how, _, part = kind.partition("_")
    return Answer(200, b"", raw=_endless(*_PARTS[part], drips=how == "drip", until=until))


def _endless(first: bytes, again: bytes, *, drips: bool, until: threading.Event) -> Iterator[bytes]:
    yield first
    while not until.wait(0.02 if drips else 0.0):
        yield again if drips else again * 5_000
