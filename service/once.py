"""`python bot.py --once`: one round of checks, what it found delivered, and out. For cron and Task Scheduler.

Alone, it holds the bot's lock for the seconds of its round. Beside a running bot of the same folder it checks and
sends nothing: that bot's next round is this round, and is waited for. So no alert can come twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from base import exit_codes, text
from botapi.outbox import Outbox
from store import Store

log = logging.getLogger(__name__)

ROUND_TIME = 60.0  # seconds within which everything has to be delivered
SETTLE = 4.0  # an order still open at the end of a feed closes after a second of the venue's clock, which is coarse
LOOK_AGAIN = 0.5
CHECKED = "checked"  # fact of the store: when a running bot last ended a round, unix seconds

Pause = Callable[[float], bool]  # rest so many seconds; True when a signal asks to stop


def alone(
    checks: Sequence[Callable[[], object]],
    unfinished: Callable[[], bool],
    store: Store,
    outbox: Outbox,
    *,
    pause: Pause,
    refused: Callable[[], bool],
    monotonic: Callable[[], float] = time.monotonic,
) -> int:
    """Run every check, then deliver all that waits. `unfinished`: an order is still open, look once more.
    `refused`: Telegram does not take the token.

    Returns the exit code. What could not be delivered in time stays in the store for the next round.
    """
    began = monotonic()
    for check in checks:
        check()
    settled = monotonic() + SETTLE
    while unfinished() and monotonic() < settled and not pause(LOOK_AGAIN):
        for check in checks:
            check()
    before = len(store.pending())
    outbox.start()
    while store.pending() and monotonic() - began < ROUND_TIME and not pause(0.05):
        if outbox.unreachable_since() is not None:
            break
    left = len(store.pending())
    outbox.stop(1.0)
    took = text.duration(monotonic() - began)
    if left and refused():
        log.error("Round done in %s, %s not delivered: they wait for a good token", took, text.count(left, "message"))
        return exit_codes.TOKEN_REFUSED
    if left:
        log.error(
            "Round done in %s, but Telegram could not be reached: %s not delivered. Nothing is lost; the next round "
            "sends them. Check the connection to the internet.",
            *(took, text.count(left, "message")),
        )
        return exit_codes.UNAVAILABLE
    log.info("Round done in %s, %s delivered", took, text.count(before, "message"))
    return exit_codes.STOPPED


def beside(store: Store, *, since: float, patience: float, pause: Pause, now: Callable[[], float] = time.time) -> int:
    """Wait until the running bot has ended a round that began after `since` and has sent what it found."""
    while now() - since < patience:
        checked = float(store.value(CHECKED) or 0)
        if checked > since and not store.pending():
            log.info("A bot runs already and has just done this round: nothing was left to do")
            return exit_codes.STOPPED
        if pause(0.2):
            return exit_codes.STOPPED
    log.error(
        "A bot runs already, but has ended no round within %s. `python bot.py status` shows what it waits for.",
        text.duration(patience),
    )
    return exit_codes.UNAVAILABLE
