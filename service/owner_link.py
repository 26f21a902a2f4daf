"""A running bot comes to an owner: shows the link, and writes who opened it into the settings file."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from access import LINK_LIFETIME, Access, OwnerLink, link_url
from machine import envfile
from store import Store

log = logging.getLogger(__name__)


class Ownership:
    """Called by the bot's own jobs. `show` prints on the terminal, which alone may see the code.

    offered: whether a link is shown once the bot's name is known.
    """

    def __init__(
        self,
        store: Store,
        access: Access,
        env_file: Path,
        *,
        offered: bool,
        now: Callable[[], float] = time.time,
        show: Callable[[str], None] = print,
    ) -> None:
        self._store = store
        self._access = access
        self._env_file = env_file
        self._now = now
        self._show = show
        self._offered, self._shown = offered, False
        self._unwritten: int | None = None  # an owner whom the settings file could not be made to name
        if access.owner_id == access.configured_owner:
            OwnerLink(store).forget_owner()  # the settings were changed since that link

    def connected(self, username: str) -> None:
        """The bot's name is known: the link can be shown."""
        if self._offered and not self._shown:
            code = OwnerLink(self._store).offer(now=self._now())
            self._show(invitation(username, code))
            self._shown = True

    def look(self) -> bool | None:
        """For every second: writes down who opened a link. True, once: the shown link was; False: it lapsed."""
        owner = self._access.owner_id
        if owner != self._access.configured_owner and owner is not None and owner != self._unwritten:
            self._write(owner)
        if not self._shown or OwnerLink(self._store).is_open(now=self._now()):
            return None
        self._offered = self._shown = False
        return OwnerLink(self._store).used_by() is not None

    def _write(self, owner: int) -> None:
        log.info("The owner is user %d now, who opened the link", owner)
        try:
            if os.environ.get("OWNER_ID"):
                raise envfile.EnvFileError(
                    "OWNER_ID is set in the environment, which wins over the settings file. Change it there."
                )
            envfile.update(self._env_file, {"OWNER_ID": str(owner)})
        except envfile.EnvFileError as error:
            self._unwritten = owner
            log.warning("%s Until then the bot's own database knows the owner (user %d).", error, owner)
            return
        self._access.configured_owner = owner
        OwnerLink(self._store).forget_owner()
        log.info("OWNER_ID was written into %s", self._env_file)


def invitation(username: str, code: str) -> str:
    """What the terminal shows: the link and what it does."""
    return (
        f"\nWho owns this bot? Open this link within {LINK_LIFETIME / 60:g} minutes and press Start in Telegram:\n\n"
        f"  {link_url(username, code)}\n\n"
        f"Whoever opens it first becomes the owner. It works once; show it to nobody else.\n"
    )
