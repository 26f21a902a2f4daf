"""What a client asks the simulator: a request's bytes as a path and parameters."""

from __future__ import annotations

import json
import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

_TYPE = re.compile(rb"\r\ncontent-type:\s*([^\r]*)", re.IGNORECASE)
_FIELD = re.compile(rb';\s*name="([^"]*)"')
_FILE = re.compile(rb';\s*filename="([^"]*)"')


class Upload(NamedTuple):
    """A file in a multipart request."""

    name: str
    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)


Params = dict[str, "str | Upload"]


class Request(NamedTuple):
    """A client's request. path: unquoted. params: query and body as text (JSON values as JSON). port: the client's.

    head: the request line and the headers as they came.
    """

    path: str
    params: Params
    port: int
    method: str = "GET"
    head: bytes = b""


def read(head: bytes, body: bytes, port: int) -> Request | None:
    """The request; None for what is not one."""
    words = head[: head.find(b"\r\n")].split(b" ")
    if len(words) != 3:
        return None
    target = words[1].decode("latin-1")
    path, _, query = target.partition("?")
    params: Params = {}
    if query:
        params.update(parse_qsl(query, keep_blank_values=True))
    if body:
        kind = match[1] if (match := _TYPE.search(head)) else b""
        if kind.startswith(b"multipart/form-data"):
            params.update(_multipart(kind, body))
        elif kind.startswith(b"application/json"):
            params.update(_json(body))
        else:
            params.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return Request(unquote(path) if "%" in path else path, params, port, words[0].decode("latin-1"), head)


def _json(body: bytes) -> dict[str, str]:
    try:
        values = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(values, dict):
        return {}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }


def _multipart(kind: bytes, body: bytes) -> Params:
    params: Params = {}
    boundary = b"--" + kind.partition(b"boundary=")[2].split(b";")[0].strip(b' "')
    for part in body.split(boundary)[1:]:
        head, found, data = part.partition(b"\r\n\r\n")
        name = _FIELD.search(head)
        if not found or name is None:
            continue
        data = data.removesuffix(b"\r\n")
        file = _FILE.search(head)
        key = name[1].decode("utf-8", "replace")
        params[key] = (
            data.decode("utf-8", "replace") if file is None else Upload(file[1].decode("utf-8", "replace"), data)
        )
    return params
