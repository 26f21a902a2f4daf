"""The checks of `doctor` that ask the network: Telegram, the token, webhook and waiting updates, clock, markets.

Only questions that disturb nobody: getMe, getWebhookInfo, the newest trade. Never getUpdates: it would take updates
away from a running bot and put a conflict on it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from base import text
from base.shell import bot_command
from manage.checks import Subject
from manage.findings import Finding, Level, at_once

if TYPE_CHECKING:
    from botapi.client import Telegram
    from venues.spot import SpotVenue

WITHIN = 6.0  # seconds for one answer
SLOW = 2.0
_CHECK = "check this machine's internet connection, firewall and HTTPS_PROXY"
ANSWERED = (400, 401, 404, 405, 422)  # statuses that a working host gives to a question without parameters
# The hosts without spot trades: the name and a cheap public path of each, and what the bot gets there.
_PROBES = {
    "okx": ("OKX", "/api/v5/public/time", "liquidations, funding, open interest"),
    "gate": ("Gate", "/api/v4/spot/time", "liquidations"),
    "hyperliquid": ("Hyperliquid", "/info", "funding, open interest, wallets"),
    "coinglass": ("CoinGlass", "/api/futures/supported-coins", "liquidations, whale positions"),
}
CLOCK_OFF, CLOCK_WRONG = 5.0, 300.0  # seconds


def telegram(subject: Subject) -> Iterator[Finding]:
    """Server, token, clock, webhook, waiting updates. One client, two questions at the same time."""
    if subject.settings is None or not subject.settings.bot_id:
        yield Finding("Telegram", "warning", "not checked: there is no usable token")
        return
    from botapi.client import Telegram
    from botapi.errors import TelegramError, TokenRefused, TooManyRequests

    client = Telegram(subject.settings.token, subject.settings.api_url)
    host = urlsplit(subject.settings.api_url).netloc.rpartition("@")[2]
    began = time.monotonic()
    answers = at_once(
        {"me": lambda: _me(client, subject), "webhook": lambda: _webhook(client, subject)}, deadline=WITHIN + 1
    )
    for answer in answers.values():
        if isinstance(answer, TokenRefused):
            yield Finding("token", "problem", answer.says, f"{answer.remedy}, or run: {bot_command('setup')}")
            return
        if isinstance(answer, TooManyRequests):
            yield Finding("Telegram", "warning", f"{host}: {answer}", "run doctor again after that")
            return
        if isinstance(answer, (TelegramError, TimeoutError)):
            seconds = f" after {time.monotonic() - began:.1f} s"
            yield Finding("Telegram", "problem", f"{host} cannot be reached: {answer}{seconds}", _CHECK)
            return
        if isinstance(answer, Exception):
            raise answer
        yield from answer


def _me(client: Telegram, subject: Subject) -> list[Finding]:
    sent, began = time.time(), time.monotonic()
    me, server_time = client.me(within=WITHIN)
    took = time.monotonic() - began
    host = urlsplit(subject.settings.api_url if subject.settings else "").netloc.rpartition("@")[2]
    level: Level = "warning" if took > SLOW else "ok"
    found = [
        Finding("Telegram", level, f"{host} answers in {took * 1e3:,.0f} ms" + (": slow" if took > SLOW else "")),
        Finding("token", "ok", f"it is {text.handle(me.get('username') or '')} (bot {me.get('id', '?')})"),
    ]
    if server_time is not None:
        found.append(_clock(sent + took / 2 - server_time))
    return found


def _clock(ahead: float) -> Finding:
    """`ahead`: seconds this machine's clock is ahead of Telegram's, which is given in whole seconds."""
    off = max(0.0, abs(ahead) - 1)
    if off < CLOCK_OFF:
        return Finding("clock", "ok", "correct to the second" if off < 1 else f"{off:.0f} s off")
    words = f"this machine's clock is {text.duration(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} Telegram's"
    fix = "w32tm /resync" if sys.platform == "win32" else "sudo timedatectl set-ntp true"
    return Finding("clock", "problem" if off > CLOCK_WRONG else "warning", words, fix)


def _webhook(client: Telegram, subject: Subject) -> list[Finding]:
    hook = client.webhook(within=WITHIN)
    runs = subject.holder is not None
    waiting = text.count(hook.pending, "update")
    found = []
    if hook.url:
        fix = f"stop using this bot at {hook.host}; if you do not know it, send /revoke to @BotFather"
        what = "the running bot removes it, but it comes back" if runs else "the bot removes it when it starts"
        words = f"one is set to {hook.host}, which blocks the bot's updates; {what}"
        found.append(Finding("webhook", "problem" if runs else "warning", words, fix))
    else:
        found.append(Finding("webhook", "ok", "none is set"))
    if not hook.pending:
        found.append(Finding("updates", "ok", "none waiting"))
    elif runs:
        words = f"{waiting} waiting although the bot is running; for a few seconds that is normal"
        fix = f"run doctor again; if it stays, run: {bot_command('status')}"
        found.append(Finding("updates", "warning", words, fix))
    else:
        words = f"{waiting} waiting for the next start; commands that are too old by then are skipped"
        found.append(Finding("updates", "ok", words))
    return found


def markets(subject: Subject) -> Iterator[Finding]:
    """The newest trade of each trade source, and whether the other hosts answer. One that fails is a warning."""
    settings = subject.settings
    if settings is None:
        return
    from venues.spot import spot_venues

    sources = spot_venues(settings.source_urls)
    hosts = [name for name in _PROBES if name != "coinglass" or settings.coinglass_key]
    questions = {source.name: _timed(_trade, source, settings.symbols[0]) for source in sources}
    questions |= {name: _timed(_probe, settings.source_urls[name], _PROBES[name][1]) for name in hosts}
    answers = at_once(questions, deadline=WITHIN + 1)
    found = [
        _reached(f"{source.venue}, {source.host}", answers[source.name], otherwise="the next source is used")
        for source in sources
    ]
    if all(finding.level != "ok" for finding in found):
        words = "no source of trades can be reached, so there are no whale alerts"
        yield Finding("markets", "problem", words, _CHECK)
    yield from found
    for name in hosts:
        host = urlsplit(settings.source_urls[name]).netloc.rpartition("@")[2]
        venue, _, brings = _PROBES[name]
        yield _reached(f"{venue}, {host}", answers[name], otherwise=f"missing without it: {brings}")


def _reached(where: str, answer: float | Exception, *, otherwise: str) -> Finding:
    from venues.trades import SourceError

    if isinstance(answer, (SourceError, TimeoutError)):
        why = answer.reason if isinstance(answer, SourceError) else answer
        return Finding("markets", "warning", f"{where}: {why}; {otherwise}")
    if isinstance(answer, Exception):
        raise answer
    return Finding("markets", "ok", f"{where}: {answer * 1e3:,.0f} ms")


def _trade(source: SpotVenue, symbol: str) -> None:
    from venues.trades import UnknownSymbol

    with contextlib.closing(source), contextlib.suppress(UnknownSymbol):  # it answers, and that is the question
        source.head(symbol)


def _probe(url: str, path: str) -> None:
    from venues.fetch import Host
    from venues.trades import SourceError, UnknownSymbol

    try:
        # Any answer of its own will do, "no such path" too; "blocked here" and "too many requests" will not.
        with contextlib.closing(Host(url, deadline=WITHIN)) as host, contextlib.suppress(UnknownSymbol):
            host.get(path, {}, explain=lambda status, _: UnknownSymbol(url, "") if status in ANSWERED else None)
    except SourceError as error:
        if "JSON" not in error.reason:
            raise


def _timed(ask: Callable[..., None], *arguments: object) -> Callable[[], float]:
    """`ask` as a question whose answer is the seconds it took."""

    def question() -> float:
        began = time.monotonic()
        ask(*arguments)
        return time.monotonic() - began

    return question
