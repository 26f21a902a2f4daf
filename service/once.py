"""`python bot.py --once`: check the markets once, send the alerts, exit. For cron and Task Scheduler.

Alone, it holds the bot's lock meanwhile, and reads what was typed and pressed since the last round, unless another
computer's copy does. Next to a running bot of the same folder it only waits for that bot's next round, so no alert is
sent twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from base import exit_codes, text
from base.config import Settings
from base.shell import bot_command
from botapi.client import Telegram
from botapi.errors import TelegramError, TokenRefused
from botapi.outage import REFUSALS, REFUSED_REST
from botapi.poller import Poller
from botapi.polling_state import PAUSED, PollingState
from monitors import ROUND_BEGAN, ROUND_WANTED
from service import state
from store import Store

if TYPE_CHECKING:
    from service.app import Bot

log = logging.getLogger(__name__)

ROUND_TIME = 60.0  # seconds within which everything has to be delivered
SETTLE = 4.0  # seconds until an order at the end of a feed is complete: one by the venue's clock, which is coarse
LOOK_AGAIN = 0.5
UNREAD_FOR = 3.0  # seconds: a copy that polls would have read them by then
READ_TIME = 20.0  # seconds within which they are read
STALE_AFTER = 1440.0  # minutes: rounds may be rare, and what was typed meanwhile is meant for the next one

Pause = Callable[[float], bool]  # rest so many seconds; True when a signal asks to stop


def for_a_round(settings: Settings) -> Settings:
    """The settings of a running bot as a round needs them."""
    return replace(settings, stale_after_minutes=max(settings.stale_after_minutes, STALE_AFTER))


def alone(bot: Bot, *, pause: Pause) -> int:
    """Read commands and check the markets once, then deliver all that waits; returns the exit code.

    Commands come first: who muted a coin an hour ago gets no alert for what happened since. What cannot be
    delivered in time stays in the store for the next round.
    """
    began, store, jobs, watchers = time.monotonic(), bot.jobs.store, bot.jobs, bot.watchers
    error = _refusal(bot.telegram, pause)  # this also sets the clock, and cron must not hide a revoked token
    if error:
        bot.refused.set()
        log.error("%s. %s.", error.says, error.remedy)
    if not error and _unread(bot.telegram, pause):
        _read(bot.poller, pause, until=began + READ_TIME)
    for watcher in (watchers.liquidations, watchers.funding, watchers.wallets):
        watcher.tick()
    jobs.check_spot()
    settled = time.monotonic() + SETTLE
    while watchers.whales.unfinished() and time.monotonic() < settled and not pause(LOOK_AGAIN):
        jobs.check_spot()
    before = store.messages.pending_count()
    if not error:
        _deliver(bot, pause, until=began + ROUND_TIME)
    while bot.places.step() == 0 and time.monotonic() - began < ROUND_TIME:
        pass
    left = store.messages.pending_count()
    bot.outbox.stop(1.0)
    took = text.duration(time.monotonic() - began)
    if left:
        why, code = "Telegram cannot be reached. Check the internet connection", exit_codes.UNAVAILABLE
        if bot.refused.is_set():
            why, code = "the token in .env is not valid", exit_codes.TOKEN_REFUSED
        waiting = text.count(left, "message")
        log.error("Checked in %s, but %s. Not delivered: %s, kept for the next round.", took, why, waiting)
        return code
    log.info("Checked and delivered in %s: %s", took, text.count(before, "message"))
    return exit_codes.TOKEN_REFUSED if bot.refused.is_set() else exit_codes.STOPPED


def _deliver(bot: Bot, pause: Pause, *, until: float) -> None:
    """Send all that waits, until that time, or until Telegram is away or refuses the token."""
    bot.outbox.start()
    while bot.jobs.store.messages.pending_count() and time.monotonic() < until and not pause(0.05):
        if bot.refused.is_set():
            bot.refused.clear()
            if _refusal(bot.telegram, pause):
                bot.refused.set()
                return
            bot.outbox.try_again()
            pause(LOOK_AGAIN)
        elif bot.outbox.unreachable_since() is not None:
            return


def _unread(telegram: Telegram, pause: Pause) -> bool:
    """Do updates wait that no copy elsewhere reads?"""
    try:
        return telegram.webhook().pending > 0 and not pause(UNREAD_FOR) and telegram.webhook().pending > 0
    except TelegramError:
        return False


def _read(poller: Poller, pause: Pause, *, until: float) -> None:
    """Handle what was typed and pressed, until all is read, another copy polls, or it is that time."""
    poller.start()
    while not poller.read_all and poller.polling_state().state is not PollingState.STANDBY:
        if time.monotonic() >= until or pause(0.05):
            break
    poller.stop(2.0)


def _refusal(telegram: Telegram, pause: Pause) -> TokenRefused | None:
    """getMe's refusal of the token, if it says so again and again; None when it answers, or nothing does."""
    for asked in range(1, REFUSALS + 1):
        try:
            telegram.me(within=5.0)
        except TokenRefused as error:
            if asked == REFUSALS or pause(REFUSED_REST):
                return error
        except TelegramError:
            break
        else:
            break
    return None


def beside(store: Store, folder: Path, *, since: float, patience: float, pause: Pause) -> int:
    """Wait until the running bot has finished a round that began after `since` and sent its alerts.

    since: by the computer's clock, as the bot notes its rounds. folder: where that bot writes its status.
    """
    log.info("The bot is already running: waiting for its next round")
    store.set_value(ROUND_WANTED, str(since))
    ends_at = time.monotonic() + patience
    while time.monotonic() < ends_at:
        if float(store.value(ROUND_BEGAN) or 0) > since and not store.messages.pending_count():
            log.info("It has just checked and delivered. Nothing was left to do.")
            return exit_codes.STOPPED
        if (state.read(folder) or {}).get("alerts_paused"):
            log.error("Its alerts are %s: that copy sends them.", PAUSED)
            return exit_codes.UNAVAILABLE
        if pause(0.2):
            return exit_codes.STOPPED
    log.error(
        "It has not checked and delivered within %s: it hangs, or a connection is slow. See: %s",
        text.duration(patience),
        bot_command("status"),
    )
    return exit_codes.UNAVAILABLE
