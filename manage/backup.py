"""`python bot.py backup FILE`: a copy of the database, complete also while the bot runs. It overwrites nothing.

The copy holds chats, settings, history and what waits to be sent. `.env`, with the token, is not in it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from base import config, exit_codes, text
from base.shell import bot_command
from botapi.storage import StoreError
from machine.folders import DATABASE
from manage import instance, server
from store import backup


def run(env_file: Path, arguments: argparse.Namespace) -> int:
    """0: the copy is complete. 1: there is none, and a sentence says why."""
    settings, target = config.place(env_file), arguments.file.absolute()
    if settings.database_url:
        command = server.by_hand(settings, "pg_dump", "--format=custom", f"--file={target}")
        return exit_codes.problem(
            f"The bot stores everything on a PostgreSQL server (DATABASE_URL). To save it: {command}"
        )
    database = instance.look(settings).folder / DATABASE
    if not database.exists():
        return exit_codes.problem(
            f"There is no database at {database} yet, so there is nothing to copy. Start the bot once."
        )
    try:
        chats = backup.save(database, target)
    except StoreError as error:
        return exit_codes.problem(str(error))
    print(f"Saved {target} ({target.stat().st_size / 1e6:.1f} MB, {text.count(chats, 'chat')}).")
    print(f"The token is not in it: keep a copy of {env_file}, too.")
    print(f"To go back to it: {bot_command('restore', str(target))}")
    return exit_codes.STOPPED
