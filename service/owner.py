"""The running bot and its owner: messages about the bot itself, and the link that makes someone the owner."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from access import LINK_LIFETIME, Access, Link, OwnerLink, link_url
from base import exit_codes, text
from base.console import show
from base.shell import bot_command
from botapi.client import Telegram
from botapi.errors import TelegramError
from botapi.outbox import Outbox
from commands.context import Keyboard, Reply
from commands.copies import pause_button
from machine import envfile
from store import Store

log = logging.getLogger(__name__)

EXPIRED = (
    "The owner link has expired or was opened in a group. Start the bot again for a new link, or set OWNER_ID in the "
    "settings file."
)


@dataclass
class OwnerMessages:
    """Messages to the owner about the bot itself, if there is an owner. Safe from any thread."""

    store: Store
    access: Access
    outbox: Outbox
    telegram: Telegram
    now: Callable[[], float]
    told_of_trouble: bool = False

    def tell(self, words: str, pauses: str = "") -> None:
        """Send the owner a message. It waits in the store until Telegram takes it. Raises StoreError.

        pauses: the machine whose alerts a button under it pauses.
        """
        self.keep(words, keyboard=((pause_button(pauses),),) if pauses else ())
        self.outbox.wake()

    def keep(self, words: str, *, keyboard: Keyboard = ()) -> None:
        """The same without waking the outbox: inside a transaction the wait for its lock could hang both."""
        owner = self.access.owner_id
        if owner is not None:
            payload = {"text": words} | Reply(text=words).form(keyboard)
            self.store.messages.post(owner, "sendMessage", payload, now=self.now())

    def tell_of_damage(self) -> None:
        """At the start: log and tell when the database was damaged and a new one was begun."""
        aside = self.store.set_aside
        if aside is None:
            return
        words = f"The bot's database was damaged. It was moved to {aside.name} and a new one was started. "
        if self.store.taken_over:
            rows = text.count(self.store.taken_over, "row")
            chats = text.count(self.store.chats.count(), "chat")
            words += f"{rows} could be saved, {chats} with alerts among them. /status shows what is set for a chat."
        else:
            words += "Nothing could be saved: each chat has to send /start and make its settings again."
        log.warning("%s", words)
        self.tell(words)

    def save_database(self) -> None:
        """For a job: notice that someone deleted or replaced the database while the bot runs. Raises StoreError."""
        words = self.store.save_if_deleted()
        if words is not None:
            log.error("%s", words)
            self.tell(words)

    def tell_of_trouble(self) -> None:
        """For a job: tell when the database cannot be used. Not through the outbox, which needs that database."""
        words, owner = self.store.trouble(), self.access.owner_id
        if words is None and self.told_of_trouble:
            self.tell("The database can be written again. Everything that was waiting is being done now.")
            self.told_of_trouble = False
        elif words is not None and not self.told_of_trouble and owner is not None:
            try:
                self.telegram.send("sendMessage", {"chat_id": owner, "text": words})
            except TelegramError as error:
                log.info("The owner cannot be told about the database yet: %s", error)
                return
            self.told_of_trouble = True


class OwnerInvitation:
    """Shows a link on the terminal, and saves whoever opens it in the settings file as the owner.

    nobody: nobody could use the bot yet. end: ends the bot, with an exit code and the reason.
    """

    def __init__(
        self,
        store: Store,
        access: Access,
        env_file: Path,
        *,
        link: Link,
        nobody: bool,
        end: Callable[[int, str], None],
        now: Callable[[], float],
    ) -> None:
        self._link = OwnerLink(store)
        self._access, self._env_file = access, env_file
        self._only = link is Link.ONLY
        self._to_show, self._shown = self._only or (nobody and link is Link.IF_NEEDED), False
        self._end, self._now = end, now
        self._unwritten: int | None = None  # an owner who could not be saved in the settings file
        if access.owner_id == access.configured_owner:
            self._link.forget_owner()  # the settings were changed since that link

    def connected(self, username: str) -> None:
        """The bot's name is known: show the link, once, if it is wanted."""
        if self._to_show:
            show(invitation(username, self._link.offer(now=self._now())))  # nowhere else may it appear
            self._to_show, self._shown = False, True

    def tick(self) -> None:
        """For a job: save who opened the link, and end the bot when the link has done its work or expired."""
        owner = self._access.owner_id
        if owner != self._access.configured_owner and owner is not None and owner != self._unwritten:
            self._write(owner)
        if not self._shown or self._link.is_open(now=self._now()):
            return
        self._shown = False
        if self._link.used_by() is None:
            self._end(exit_codes.BAD_SETTINGS, EXPIRED)
        elif self._only:
            self._end(exit_codes.STOPPED, f"The bot has an owner. Start it: {bot_command()}")

    def _write(self, owner: int) -> None:
        log.info("User %d opened the link and is now the owner", owner)
        try:
            if os.environ.get("OWNER_ID"):
                raise envfile.EnvFileError(
                    "OWNER_ID in the environment overrides the settings file. Change it there."
                )
            envfile.update(self._env_file, {"OWNER_ID": str(owner)})
        except envfile.EnvFileError as error:
            self._unwritten = owner
            log.warning("%s Until then only the bot's database knows the owner (user %d).", error, owner)
            return
        self._access.configured_owner = owner
        self._link.forget_owner()
        log.info("OWNER_ID was saved in %s", self._env_file)


def invitation(username: str, code: str) -> str:
    """What the terminal shows: the link and what it does."""
    return (
        f"\nWho owns this bot? Open this link within {LINK_LIFETIME / 60:g} minutes and press Start in Telegram:\n\n"
        f"  {link_url(username, code)}\n\n"
        f"Whoever opens it first becomes the owner. It works once. Do not share it.\n"
    )
