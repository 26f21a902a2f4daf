"""`python bot.py logs [-f] [-n N]`: the last lines of the bot's log, and new lines as they come, across rotations.

Each look opens the file, reads what is new and closes it again: on Windows a reader that keeps it open would keep
the bot from rotating it. Reads only; the bot may run or not.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from base import config, exit_codes, text
from base.logs import CHUNK, last_lines
from base.shell import bot_command
from manage import instance

EVERY = 0.25  # seconds between two looks; on Windows also how long a Ctrl-C may take


def run(env_file: Path, arguments: argparse.Namespace) -> int:
    """Print the last lines, then with `--follow` new ones. Ctrl-C ends it with exit code 0."""
    path = instance.look(config.place(env_file)).folder / "bot.log"
    try:
        return _show(path, arguments.lines, follow=arguments.follow)
    except PermissionError:
        return exit_codes.problem(f"This user may not read the log {path}. Run this as the user that runs the bot.")
    except KeyboardInterrupt:
        return exit_codes.STOPPED


def _show(path: Path, lines: int, *, follow: bool) -> int:
    last, follower = last_lines(path, lines)
    if last is None and not follow:
        return exit_codes.problem(
            f"No log at {path} yet: only the running bot writes one, not --once. Start it: {bot_command()}"
        )
    if last is None:
        print(f"No log at {path} yet; waiting for it. Press Ctrl-C to quit.", file=sys.stderr)
    sys.stdout.write(_plain(last or ""))
    sys.stdout.flush()
    pause = threading.Event()
    while follow:
        more = follower.more()
        sys.stdout.write(_plain(more))
        sys.stdout.flush()
        if len(more) < CHUNK // 4:
            pause.wait(EVERY)
    return exit_codes.STOPPED


def _plain(lines: str) -> str:
    """Without control characters: the log may be another account's, and a terminal obeys them."""
    return "\n".join(map(text.plain, lines.split("\n")))
