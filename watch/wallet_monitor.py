"""Watching wallets: positions of Hyperliquid addresses that chats named, and with a key the moves of all its whales.

A wallet is asked for once, however many chats watch it. What was seen of it, and the alerts made of that, are one
transaction: a restart repeats nothing, and what changed meanwhile is told at the next look. Only the chats that watch
a wallet hear of it, by the name they gave it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from functools import partial

from alerts.publish import publish
from alerts.wording import short
from base import text
from base.config import Settings
from store import Store
from store.rows import Alert, WalletSnapshot, WatchedWallet
from venues.availability import SourceHealth
from venues.coinglass import CoinGlass, WhaleMove
from venues.hyperliquid import Hyperliquid, Snapshot, wallet_url
from watch import wallets
from watch.feeds import Feed, Feeds
from watch.wallets import Change

log = logging.getLogger(__name__)

MOVE_MIN = 5e6  # dollars from which chats without an amount of their own hear of whales that nobody watches
LONG_AGO = 600.0  # seconds between two looks after which an alert says how long that was
REPLAY = 1800.0  # seconds: older moves are no news


class WalletMonitor:
    """`tick` is for one thread; `health` and `stop` for any. coinglass: None without a key."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        hyperliquid: Hyperliquid,
        coinglass: CoinGlass | None,
        *,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        notify_owner: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._hyperliquid, self._coinglass = hyperliquid, coinglass
        self._now = now
        every: list[Feed] = [hyperliquid, *([coinglass] if coinglass else [])]
        self._feeds = Feeds("wallets", every, store, now=now, jitter=jitter, notify_owner=notify_owner)
        self._failed: set[str] = set()
        self._stopping = False

    def health(self) -> list[SourceHealth]:
        return self._feeds.health()

    def stop(self) -> None:
        """Let the tick in progress end before its next request."""
        self._stopping = True

    def tick(self) -> None:
        """Look at every wallet once. Failures of hosts are kept in `health`, never raised."""
        self._feeds.begin_tick()
        self._store.markets.forget_unwatched()
        watchers = self._store.markets.watchers()
        # What failed comes last: one wallet that cannot be read must not starve the others.
        for address in sorted(watchers, key=self._failed.__contains__):
            if self._stopping or not self._feeds.may_ask(self._hyperliquid):
                break
            snapshot = self._feeds.ask(self._hyperliquid, partial(self._hyperliquid.positions, address))
            if snapshot is None:
                self._failed.add(address)
            else:
                self._failed.discard(address)
                self._see(address, watchers[address], snapshot)
        if self._coinglass is not None and not self._stopping:
            self._see_moves(self._coinglass)
        covers = {"coinglass": "whale positions"}
        if watchers:
            covers["hyperliquid"] = text.count(len(watchers), "wallet")
        self._feeds.end_tick(covers)

    # Wallets that chats watch

    def _see(self, address: str, chats: Sequence[WatchedWallet], snapshot: Snapshot) -> None:
        now, book = self._now(), self._store.markets
        at_ms = snapshot.venue_ms or int(now * 1000)
        with self._store.transaction():
            before = book.look(address)
            if before is None:
                if snapshot.unread != frozenset():
                    return  # a first sight with holes would make an opening of what cannot be read now
                book.put_look(address, WalletSnapshot(wallets.first_sight(snapshot.positions), now))
                return
            changes, known = wallets.compare(before.positions, snapshot.positions, unread=snapshot.unread)
            since = now - before.at
            for number, change in enumerate(changes):
                for chat in chats:
                    alert = _wallet_alert(change, chat, at_ms=at_ms, since=since, number=number)
                    publish(self._store, alert, now=now, default_min=0.0, only=chat.chat_id)
            book.put_look(address, WalletSnapshot(known, now))

    # Whales that nobody watches

    def _see_moves(self, coinglass: CoinGlass) -> None:
        stored = self._store.markets.cursor(coinglass.venue, "whale moves")
        since_ms = None if stored is None else int(stored.text)
        found = self._feeds.ask(coinglass, partial(coinglass.whale_moves, since_ms=since_ms))
        if found is None:
            return
        self._feeds.count_poison(coinglass, "", found.unreadable)
        now = self._now()
        clock = found.venue_ms or int(now * 1000)
        newest = max((move.at_ms for move in found.rows), default=0)
        with self._store.transaction():
            if since_ms is not None:
                for move in sorted(found.rows, key=lambda move: move.at_ms):
                    # All of the last half hour at each look, as the venue may publish late: known keys add nothing.
                    fresh = move.at_ms > max(clock - REPLAY * 1000, self._began_ms())
                    if fresh and move.symbol in self._settings.symbols:
                        publish(self._store, _move_alert(move, coinglass), now=now, default_min=MOVE_MIN)
                if found.gap_from is not None:
                    log.warning("%s: more whale moves than it shows; some are missing", coinglass.host)
                    for symbol in self._settings.symbols:
                        self._store.markets.add_gap(
                            coinglass.venue, symbol, missed=None, start=since_ms / 1000, end=found.gap_from / 1000
                        )
            else:
                self._store.set_value("wallets:moves_began", str(newest))
            self._store.markets.set_cursor(coinglass.venue, "whale moves", str(max(newest, since_ms or 0)), at=now)

    def _began_ms(self) -> int:
        """The newest move at the first look: it and all before it are no news."""
        return int(self._store.value("wallets:moves_began") or 0)


def _wallet_alert(change: Change, chat: WatchedWallet, *, at_ms: int, since: float, number: int) -> Alert:
    position, coin = change.shown, change.coin
    facts = [f"entry {text.price(position.entry)}", f"{position.leverage:g}x"]
    if position.liquidation:
        facts.append(f"liquidation at {text.price(position.liquidation)}, {position.distance:.1%} away")
    if since > LONG_AGO:
        facts.append(f"seen {text.duration(since)} after the last look")
    return Alert(
        # Alerts of one time stand in the order of their keys.
        key=f"wallet:{chat.chat_id}:{chat.address}:{at_ms}:{number:03}",
        monitor="wallets",
        symbol=coin,
        side=_order_side(change),
        usd=change.usd,
        headline=f"{chat.name} {_what(change)}",
        facts=" · ".join(facts),
        at_ms=at_ms,
        venue="Hyperliquid",
        url=wallet_url(chat.address),
        price=position.price,
        late=False,
    )


def _what(change: Change) -> str:
    position, coin = change.shown, change.coin
    worth, at = f"{text.usd(position.usd)} USD", f"at {text.price(position.price)}"
    side = position.side
    if change.kind == "open":
        return f"opened a {coin} {side}: {worth} {at}"
    if change.kind == "close":
        return f"closed a {coin} {side}: {worth} {at}"
    if change.kind == "flip":
        return f"turned from {_other(side)} to {side} in {coin}: now {worth} {at}"
    if change.kind == "near":
        return f"is near liquidation with a {coin} {side} of {worth}: {position.distance:.1%} away"
    verb = "added to" if change.kind == "more" else "reduced"
    moved = abs(position.size / change.told) - 1
    return f"{verb} a {coin} {side}: {moved:+.0%}, now {worth} {at}"


def _order_side(change: Change) -> str:
    """The side of the market order behind it: closing a short is buying."""
    if change.kind == "near":
        return ""
    grew = change.kind in ("open", "more", "flip")
    return "buy" if grew == (change.shown.size > 0) else "sell"


def _other(side: str) -> str:
    return "short" if side == "long" else "long"


def _move_alert(move: WhaleMove, coinglass: CoinGlass) -> Alert:
    bought = move.opened == (move.size > 0)
    facts = [f"wallet {short(move.wallet)}", f"entry {text.price(move.entry)}"]
    if move.liquidation > 0 and move.opened:
        facts.append(f"liquidation at {text.price(move.liquidation)}")
    return Alert(
        key=f"move:{move.key}",
        monitor="wallets",
        symbol=move.symbol,
        side="buy" if bought else "sell",
        usd=move.usd,
        headline=(
            f"A Hyperliquid whale {'opened' if move.opened else 'closed'} a {move.symbol} {move.side}: "
            f"{text.usd(move.usd)} USD"
        ),
        facts=" · ".join(facts),
        at_ms=move.at_ms,
        venue=f"Hyperliquid via {coinglass.venue}",
        url=wallet_url(move.wallet),
    )
