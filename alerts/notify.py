"""One alert through the package apprise, in a process of its own: run with its wish as JSON on stdin.

A process, because apprise connects from threads of its own, keeps no time limit and takes 30 MB. Here no thread
connects to an address that is not public, and the caller can end it. The address is on stdin, so it is in no list of
processes.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import apprise

from base.public import Guard, public_from_now_on


def notify(wish: dict[str, Any]) -> dict[str, Any]:
    """wish: url, title, body, private. The answer: took, unreadable (the address), refused (it is private), why."""
    guard = Guard() if wish["private"] else public_from_now_on()
    one = apprise.Apprise(asset=apprise.AppriseAsset(app_id="CryptoSat"))
    with apprise.LogCapture(level=logging.WARNING) as said:  # type: ignore[no-untyped-call]
        readable = one.add(wish["url"])
        took = bool(readable and one.notify(title=wish["title"], body=wish["body"]))
        why = said.getvalue().strip().rpartition("\n")[2].rpartition(" - ")[2]
    return {"took": took, "unreadable": not readable, "refused": bool(guard.refused), "why": why}


if __name__ == "__main__":
    answer = notify(json.load(sys.stdin.buffer))
    sys.stdout.write(json.dumps(answer))
