"""The questions on the terminal that create the settings file: token and owner. `python bot.py setup` asks again.

The token is never shown. Ctrl-C or Ctrl-D at any question changes nothing.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote

from access import Link, OwnerLink
from base import config, console, exit_codes, text, typed
from base.config import OWNER, TOKEN, ConfigError, Settings
from base.kinds import TOKEN_FORM
from base.secrets import TOKEN_LIKE
from base.shell import bot_command
from botapi.client import Telegram
from botapi.errors import TelegramError, TokenRefused
from botapi.storage import StoreError
from machine import envfile
from machine.folders import DATABASE
from machine.holder import Holder, stop_command, user_name
from manage import instance
from service import state
from service.owner import invitation
from store import Store, place

EVERY = 0.5  # seconds between two looks at whether the link was opened
_LEFT = "Nothing was changed."
_TRY = "100:none"  # has a token's form; stands in for one while the other settings are looked at
_NOT_TYPED = re.compile(r"\x1b\[20[01]~|[\s'\"`\u200b-\u200f\u2028-\u202e\u2060\ufeff]")

_HOW_TO_GET_A_TOKEN = """
CryptoSat needs a bot token from Telegram. To get one:

  1. Open https://t.me/BotFather in Telegram and send /newbot.
  2. Choose a name, and a username that ends in "bot".
  3. The reply contains the token: a number, a colon, and 35 letters and digits.

For a bot you already have: send /mybots, choose it, then "API Token".
"""


class Left(Exception):
    """The person at the terminal left the dialogue: nothing was changed."""


def begin(env_file: Path, error: ConfigError) -> Settings | None:
    """The first run, when settings failed with `error`: asks for a token, writes it, returns the settings with it.

    None when the person left, or the file could not be written (both are printed). Raises `error` when more than the
    token is wrong.
    """
    if os.environ.get(TOKEN):
        here = f"{TOKEN} is set in the environment, which overrides {env_file}: correct it or unset it there."
        raise ConfigError([*error.problems, here], missing=error.missing)
    try:
        config.load(env_file, environ={**os.environ, TOKEN: _TRY}, owner_may_come=True)
    except ConfigError:
        raise error from None
    try:
        envfile.check(env_file)
        print("Welcome to CryptoSat.")
        print(_HOW_TO_GET_A_TOKEN)
        token, _ = _ask_token(env_file)
        envfile.update(env_file, {TOKEN: token})
    except envfile.EnvFileError as failure:
        print(failure, file=sys.stderr)
        return None
    except Left:
        print(_LEFT)
        return None
    alone = "" if sys.platform == "win32" else f", which only {user_name()} can read"  # Windows: as its folder is
    print(f"The token is saved in {env_file}{alone}.\n")
    return config.load(env_file, owner_may_come=True)


def run(env_file: Path, arguments: argparse.Namespace) -> int:
    """`python bot.py setup`: change token or owner, keep the rest."""
    if not console.interactive():
        in_terminal = f"Run it in a terminal, not in the background: {bot_command('setup')}"
        print(f"Setup asks questions. {in_terminal}", file=sys.stderr)
        print(f"Without a terminal, add these lines to {env_file}:\n{config.lines(TOKEN, OWNER)}", file=sys.stderr)
        return exit_codes.BAD_SETTINGS
    try:
        envfile.check(env_file)
        return _set_up(env_file)
    except envfile.EnvFileError as failure:
        print(failure, file=sys.stderr)
    except Left:
        print(_LEFT)
    return exit_codes.BAD_SETTINGS


def _set_up(env_file: Path) -> int:
    try:
        present = config.load(env_file, owner_may_come=True)
    except ConfigError:
        present = None
        config.load(env_file, environ={**os.environ, TOKEN: _TRY}, owner_may_come=True)  # the rest must be right
    print(f"Settings file: {env_file}")
    changed: dict[str, str] = {}
    username = ""
    if os.environ.get(TOKEN):
        print(f"{TOKEN} is set in the environment, which overrides the file. It stays unchanged.")
    else:
        print(_HOW_TO_GET_A_TOKEN if present is None else f"Token: bot {present.bot_id}. Press Enter to keep it.")
        token, username = _ask_token(env_file, keep=present is not None)
        changed = {TOKEN: token} if token else {}
    settings = config.load(env_file, environ={**os.environ, **changed}, owner_may_come=True)
    owner: int | None = settings.owner_id
    if os.environ.get(OWNER):
        print(f"{OWNER} is set in the environment, which overrides the file. It stays unchanged.")
    else:
        owner = _ask_owner(settings.owner_id)
        if owner is not None and owner != settings.owner_id:
            changed[OWNER] = str(owner)
    if changed:
        envfile.update(env_file, changed)
        print(f"Saved in {env_file}: {', '.join(changed)}.")
    return _finish(env_file, settings, username, link=owner is None, changed=bool(changed))


def _finish(env_file: Path, settings: Settings, username: str, *, link: bool, changed: bool) -> int:
    """The link where one was asked for, and what is to be done with a bot that runs already."""
    running = instance.look(settings)
    holder = running.holder
    if link:
        if holder is not None:
            return _link_of_running(settings, running.folder, holder, username)
        from service import run as process  # the whole bot, only to be claimed

        return process.run(settings, env_file=env_file, link=Link.ONLY)
    if not changed:
        print("Nothing was changed.")
    elif holder is not None:
        print(f"The running bot uses this after a restart. To stop it: {stop_command(holder)}")
    else:
        print(f"Start the bot: {bot_command()}")
    return exit_codes.STOPPED


def _link_of_running(settings: Settings, folder: Path, holder: Holder, username: str) -> int:
    """Have the bot that runs already take the owner; this process only shows the link and waits."""
    if holder.user not in ("", user_name()):
        return exit_codes.problem(
            f"The bot runs as user {holder.user}. Run this as that user, or set {OWNER} and restart the bot."
        )
    status = state.read(folder) or {}
    if status.get("version") != config.VERSION:
        return exit_codes.problem(
            f"The running bot is a different version: restart it first. To stop it: {stop_command(holder)}"
        )
    try:
        store = Store(place(settings.database_url, folder / DATABASE, bot_id=settings.bot_id))
    except StoreError as error:
        return exit_codes.problem(error)
    link, pause = OwnerLink(store), threading.Event()
    try:
        print(invitation(username or holder.username or str(status.get("username")), link.offer(now=time.time())))
        print("Waiting for you to open it. Ctrl-C cancels the link.")
        while link.is_open(now=time.time()):
            pause.wait(EVERY)
    except KeyboardInterrupt:
        link.void()
        print()
    finally:
        owner = link.used_by()
        store.close()
    print(f"User {owner} is the owner now." if owner else "The link has expired. The owner has not changed.")
    return exit_codes.STOPPED if owner else exit_codes.BAD_SETTINGS


# Questions


def _ask(prompt: str, *, hidden: bool = False) -> str:
    try:
        return getpass.getpass(prompt) if hidden else input(prompt)
    except (KeyboardInterrupt, EOFError):
        print()
        raise Left from None


def _ask_token(env_file: Path, *, keep: bool = False) -> tuple[str, str]:
    """A token that Telegram knows, or that is to be saved unchecked, and its bot's user name ("" when unchecked).

    keep: Enter keeps the present one: ("", "").
    """
    prompt = "Paste the token (it is not shown), then press Enter: "
    while True:
        pasted = _ask(prompt, hidden=True)
        token = find_token(pasted)
        if token is None:
            if keep and not pasted.strip():
                return "", ""
            print(
                "That is not a token. It looks like 123456789:AAE... Copy all of it from BotFather. (Ctrl-C quits)\n"
            )
            continue
        username = _check(env_file, token)
        if username is not None:
            return token, username


def _ask_owner(present: int | None) -> int | None:
    """The owner's id; None for a link that decides it."""
    question = "Owner: none yet. Press Enter for a one-time link, or type a Telegram user id: "
    if present:
        question = f"Owner: user {present}. Press Enter to keep it, type `link` for a one-time link, or a user id: "
    while True:
        answer = _ask(question).strip()
        if not answer:
            return present
        if answer.lower() == "link":
            return None
        try:
            return typed.user_id(answer)
        except ValueError:
            print("A user id is a number like 123456789. @userinfobot shows you yours.")


def _check(env_file: Path, token: str) -> str | None:
    """The bot's user name, "" if it is to be saved unchecked, None if another token is to be pasted."""
    settings = config.load(env_file, environ={**os.environ, TOKEN: token}, owner_may_come=True)
    telegram = Telegram(token, settings.api_url)
    while True:
        print("Checking with Telegram ...")
        try:
            username = str(telegram.me()[0].get("username") or "")
        except TokenRefused as error:
            print(f"{error.says}. {error.remedy}, or copy it again here.\n")
            return None
        except TelegramError as error:
            print(f"Telegram cannot be reached: {error}. Check the internet connection.")
            print(f"If this network needs a proxy, put the line HTTPS_PROXY=http://host:port into {env_file}.")
            answer = _ask("Press Enter to try again, s to save the token unchecked, Ctrl-C to quit: ")
            if answer.strip().lower() in ("s", "save"):
                return ""
        except KeyboardInterrupt:
            print()
            raise Left from None
        else:
            print(f"This is {text.handle(username)}.")
            return username


def find_token(pasted: str) -> str | None:
    """The token in what was pasted: with blanks, quotes, `bot` before it, as a line of `.env`, in a whole message."""
    bare = _NOT_TYPED.sub("", pasted)
    bare = bare.removeprefix("export").removeprefix(f"{TOKEN}=").removeprefix("bot")
    if TOKEN_FORM.match(bare):
        return bare
    found = set(TOKEN_LIKE.findall(unquote(pasted)))
    return found.pop() if len(found) == 1 else None
