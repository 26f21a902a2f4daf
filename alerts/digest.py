"""Digests: what a stretch of time held, in one message, at the times a chat asked for.

A chat's next time is in the store, so a restart forgets none; after an outage one digest covers all of it. The
message and the next time are committed together: a kill neither loses nor doubles a digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from alerts import held_back, preferences, publish
from alerts.wording import sums
from base import schedules, text
from botapi.storage import ALERTS
from store import Store, markets
from store.rows import Alert, Chat
from venues.trades import BAR_SECONDS

TOP = 5  # orders, coins and liquidations that get a line


def plan(chat: Chat, now: float) -> Chat:
    """The chat with the time of its next digest, by its rule and its zone; to be done when either changes."""
    if not chat.digest:
        return replace(chat, digest_at=None)
    return replace(chat, digest_at=schedules.parse(chat.digest).next(now, zone=chat.timezone))


class Digests:
    """Writes the digests that are due. `default_min`: dollars from which an order of a coin is a whale."""

    def __init__(
        self,
        store: Store,
        *,
        symbols: Sequence[str],
        default_min: Callable[[str], float],
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._symbols = tuple(symbols)
        self._default_min = default_min
        self._now = now

    def tick(self) -> bool:
        """Enqueue every digest that is due; True when there was one."""
        due = self._store.chats.digests_due(self._now())
        for chat_id in due:
            with self._store.transaction():
                chat = self._store.chats.get(chat_id)
                if chat is not None:
                    self._tell(chat)
        return bool(due)

    def _tell(self, chat: Chat) -> None:
        now = self._now()
        assert chat.digest_at is not None
        since = schedules.parse(chat.digest).previous(chat.digest_at, zone=chat.timezone)
        for part in text.split(self._words(chat, since=since, until=now)):
            # A time that a person chose is kept to; in quiet hours without a sound.
            quiet = {"disable_notification": True} if preferences.is_quiet(chat, now) else {}
            payload = publish.addressed(chat, {"text": part, "parse_mode": "HTML"} | quiet)
            self._store.messages.enqueue(chat.chat_id, "sendMessage", payload, now=now, lane=ALERTS)
        self._store.chats.put(plan(chat, now))

    def _words(self, chat: Chat, *, since: float, until: float) -> str:
        kept_back = held_back.take(self._store, chat, now=until)
        told = self.compose(chat, since=since, until=until)
        return f"{told}\n\n{kept_back}" if kept_back else told

    def compose(self, chat: Chat, *, since: float, until: float) -> str:
        """The digest of a time (unix seconds) as this chat follows the markets, in Telegram HTML."""
        zone = chat.zone

        def clock(at: float) -> str:
            moment = datetime.fromtimestamp(at, zone)
            return moment.strftime("%H:%M") if until - since <= 86400 else moment.strftime("%a %H:%M")

        ends = datetime.fromtimestamp(until, zone).strftime("%a %d %b %H:%M")
        lines = [f"<b>Digest of {text.duration(until - since)} to {ends} {text.escape(chat.timezone)}</b>"]
        happened = [Alert(**body) for body in self._store.messages.alerts_between(since, until)]
        heard = [alert for alert in happened if preferences.follows(chat, alert)]
        lines += self._whales(chat, [alert for alert in heard if alert.monitor == "whales"], clock)
        lines += self._flows(chat, since)
        lines += self._liquidations(chat, since)
        lines += self._funding(chat)
        lines += self._gaps(chat, since, clock)
        return "\n".join(lines)

    def _whales(self, chat: Chat, found: Sequence[Alert], clock: Callable[[float], str]) -> list[str]:
        if chat.levels.get("whales") == "off":
            return []
        orders = [
            order
            for order in found
            if order.usd >= chat.threshold("whales", order.symbol, self._default_min(order.symbol))
        ]
        if not orders:
            return ["No whale orders."]
        total = sum(order.usd for order in orders)
        net = sum(order.usd if order.side == "buy" else -order.usd for order in orders)
        lines = [f"<b>{text.count(len(orders), 'whale order')}</b>, {text.usd(total)} USD, net {signed(net)}"]
        biggest = sorted(orders, key=lambda order: order.usd, reverse=True)[:TOP]
        return [*lines, *(f"{clock(order.at)} {publish.headline(order)}" for order in biggest)]

    def _flows(self, chat: Chat, since: float) -> list[str]:
        rows = []
        for symbol in self._symbols:
            seen = self._store.markets.bars(symbol, since=since) if chat.follows(symbol) else []
            if not seen:
                continue
            bought, sold = sum(bar.buy_usd for bar in seen), sum(bar.sell_usd for bar in seen)
            moved = (seen[-1].close / seen[0].open - 1) * 100
            line = f"{symbol} {signed(bought - sold)} of {text.usd(bought + sold)}, price {moved:+.1f} %"
            rows.append((abs(bought - sold), text.escape(line)))
        if not rows:
            return []
        rows.sort(reverse=True)
        more = f"and {text.count(len(rows) - TOP, 'more coin')} with less" if len(rows) > TOP else ""
        lines = ["<b>Net taker flow</b> (all trades seen, USD)", *(line for _, line in rows[:TOP])]
        return [*lines, more] if more else lines

    def _liquidations(self, chat: Chat, since: float) -> list[str]:
        since = max(since, self._now() - markets.LIQUIDATIONS_KEPT)
        seen = [event for event in self._store.markets.liquidations(since=since) if chat.follows(event.symbol)]
        if not seen or chat.levels.get("liquidations") == "off":
            return []
        venues = " and ".join(sorted({event.venue for event in seen}))
        coins = sums(seen)
        more = f"and {text.count(len(coins) - TOP, 'more coin')} with less" if len(coins) > TOP else ""
        lines = [f"<b>Liquidations</b> (USD, of {text.escape(venues)})", *map(text.escape, coins[:TOP])]
        return [*lines, more] if more else lines

    def _funding(self, chat: Chat) -> list[str]:
        followed = [rate for rate in self._store.markets.rates() if chat.follows(rate.symbol)]
        if not followed or chat.levels.get("funding") == "off":
            return []
        ordered = sorted(followed, key=lambda rate: rate.eight_hours)
        told = [
            f"{r.symbol} {r.eight_hours * 100:+.4f} % ({r.venue})" for r in dict.fromkeys((ordered[-1], ordered[0]))
        ]
        return [f"<b>Funding per 8 h</b>, highest and lowest now: {text.escape(', '.join(told))}"]

    def _gaps(self, chat: Chat, since: float, clock: Callable[[float], str]) -> list[str]:
        gaps = [gap for gap in self._store.markets.gaps(since=since) if chat.follows(gap.symbol)]
        lines = []
        for venue in dict.fromkeys(gap.venue for gap in gaps):
            mine = [gap for gap in gaps if gap.venue == venue]
            coins = ", ".join(sorted({gap.symbol for gap in mine}))
            start, end = min(gap.start for gap in mine), max(gap.end for gap in mine)
            missed = sum(gap.missed or 0 for gap in mine)
            number = f", {text.count(missed, 'trade')}" if missed else ""
            lines.append(f"{text.escape(venue)}: {clock(start)} to {clock(end)}, {text.escape(coins)}{number}")
        began = self._store.markets.bars_from()
        if began is None:
            lines.append("everything: I have just begun to look")
        elif began > since + BAR_SECONDS:
            lines.append(f"what came before {clock(began)}, when I began to look")
        return ["<b>Not seen</b>", *lines] if lines else []


def signed(usd: float) -> str:
    """A dollar amount with its sign: +1.25M, -840k."""
    return f"{'-' if usd < 0 else '+'}{text.usd(abs(usd))}"
