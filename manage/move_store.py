"""`python bot.py move-store URL`: all that is stored goes to a PostgreSQL server; `move-store file`: back to a file.

The bot must be stopped, everywhere. What was stored stays where it was, too. The setting is written last.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

from base import config, exit_codes, kinds, text
from base.secrets import know, passwords, redact
from base.shell import bot_command
from botapi.storage import StoreError
from lock import InstanceLock, LockError
from machine import accounts, envfile
from machine.folders import DATABASE, FolderError, bot_folder

NAME = "DATABASE_URL"
FILE = "file"


def run(env_file: Path, arguments: argparse.Namespace) -> int:
    """0: moved, and the next start uses it. 1: nothing was changed, and a sentence says why."""
    target = str(arguments.target)
    know(target, *passwords(target))
    settings = config.place(env_file)
    if target != FILE:
        try:
            kinds.DATABASE.parse(target)
        except ValueError:
            return exit_codes.problem(f"Where to? Say {FILE}, or {kinds.DATABASE.expected}.")
    if target in (settings.database_url, settings.database_url or FILE):
        return exit_codes.problem("The bot stores everything there already.")
    try:
        envfile.check(env_file)
        if settings.data_dir is None:
            # The URL may have a password in it.
            accounts.check(settings.bot_id, env_file, "move-store", target if target == FILE else "URL")
        folder = bot_folder(settings.bot_id, settings.data_dir)
        with InstanceLock(folder, settings.token, machine_wide=settings.machine_wide_lock):
            return _move(settings, env_file, folder / DATABASE, target)
    except (FolderError, LockError, StoreError, OSError, envfile.EnvFileError) as error:
        return exit_codes.problem(f"{redact(str(error))}\nNothing was changed.")


def _move(settings: config.Settings, env_file: Path, file: Path, target: str) -> int:
    from store import move  # with the driver, which a bot with a file does not need
    from store.postgres import Server

    def progress(rows: int) -> None:
        if sys.stdout.isatty():
            print(f"\rCopied: {rows:,} rows", end="", flush=True)

    to_file, kept, end = target == FILE, None, "\n" if sys.stdout.isatty() else ""
    url = settings.database_url if to_file else _with_password(target)
    server = Server(url, bot_id=settings.bot_id, name=f"CryptoSat move-store {settings.bot_id}")
    try:
        if to_file:
            rows, kept = move.to_file(server, file, bot_id=settings.bot_id, progress=progress)
        else:
            rows = move.to_server(file, server, bot_id=settings.bot_id, progress=progress)
        print(f"{end}Copied and compared: {text.count(rows, 'row')} of {len(move.tables())} tables.")
        by_hand = bool(os.environ.get(NAME))
        if not by_hand:
            envfile.update(env_file, {NAME: "" if to_file else url})
        if not to_file:
            move.finish(server)
    finally:
        server.close()
    if by_hand:
        where = "unset it there" if to_file else "set it there to the new URL"
        print(f"{NAME} comes from the environment, which overrides {env_file}: {where}.")
    else:
        print(f"{NAME} is {'empty' if to_file else 'set'} in {env_file}.")
    if kept is not None:
        print(f"The database file that was there is kept as {kept}.")
    stays = f"The database {server.name} on {server.server}" if to_file else str(file)
    print(f"{stays} stays as it is; nothing uses it any more. Start the bot: {bot_command()}")
    return exit_codes.STOPPED


def _with_password(url: str) -> str:
    """The URL, with the password asked for where a terminal can answer and the URL has a user and none."""
    parts = urlsplit(url)
    if parts.username is None or parts.password is not None or not sys.stdin.isatty() or "PGPASSWORD" in os.environ:
        return url
    typed = getpass.getpass(f"Password of {parts.username} at {parts.hostname} (Enter for none): ")
    know(typed, quote(typed, safe=""))
    login, _, rest = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}:{quote(typed, safe='')}@{rest}").geturl() if typed else url
