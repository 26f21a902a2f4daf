"""`python bot.py restore FILE`: puts a backup in the database's place. The present database is kept beside it.

It takes the lock, so the bot must be stopped and no start comes between. Commands that were handled after the backup
come no second time: for Telegram they are done.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from base import config, exit_codes
from base.shell import bot_command
from botapi.storage import StoreError
from lock import InstanceLock, LockError
from machine import accounts
from machine.folders import DATABASE, FolderError, bot_folder
from manage import server
from store import backup


def run(env_file: Path, arguments: argparse.Namespace) -> int:
    """0: the next start uses the backup. 1: nothing was changed, and a sentence says why."""
    os.umask(0o077)  # all that is written is for this account
    settings, file = config.place(env_file), arguments.file.absolute()
    if settings.database_url:
        command = server.by_hand(settings, "pg_restore", "--clean", "--if-exists", str(file))
        return exit_codes.problem(
            "The bot stores everything on a PostgreSQL server (DATABASE_URL).\n"
            f"To go back to what pg_dump saved, stop every copy of the bot and run: {command}"
        )
    try:
        backup.check(file)
        if settings.data_dir is None:
            accounts.check(settings.bot_id, env_file, "restore", str(file))
        folder = bot_folder(settings.bot_id, settings.data_dir)
        with InstanceLock(folder, settings.token, machine_wide=settings.machine_wide_lock):
            kept = backup.bring_back(file, folder / DATABASE)
    except (FolderError, LockError, StoreError, OSError) as error:
        return exit_codes.problem(f"{error}\nNothing was changed.")
    print(f"Restored from {file}. Start the bot: {bot_command()}")
    if kept is not None:
        print(f"The database that was there is kept as {kept}.")
    return exit_codes.STOPPED
