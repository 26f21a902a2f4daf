"""Changed positions of wallets added with /wallet become alerts; with a CoinGlass key other whales' moves do, too.

Positions come from Hyperliquid's `clearinghouseState` (docs, "Info endpoint"), moves from CoinGlass'
`hyperliquid/whale-alert` (API v4). A wallet is read once, however many chats watch it. Its positions and the alerts
about them are stored in one transaction: a restart repeats nothing, and what changed meanwhile is an alert at the
next look. Only the chats that watch a wallet get its alerts, under the name they gave it.
"""

from __future__ import annotations

import logging
from functools import partial

from alerts.publish import publish
from alerts.wording import short
from base import coins, text
from store.rows import Alert
from store.wallets import WalletSnapshot, WatchedWallet
from venues.availability import Use
from venues.coinglass import CoinGlass, WhaleMove
from venues.hyperliquid import Hyperliquid, Snapshot, wallet_url
from watch import wallets
from watch.feeds import Context, Feeds
from watch.gaps import Gap, keep_gaps
from watch.wallets import Change

log = logging.getLogger(__name__)

MOVE_MIN = 5e6  # US dollars: default threshold for moves of wallets that nobody watches
LONG_AGO = 600.0  # seconds without a look, from which an alert says how long it was
REPLAY = 1800.0  # seconds: older moves make no alert


class WalletMonitor:
    """Finds changed positions. `tick` is for one thread, `feeds` for any. coinglass: None without a key."""

    def __init__(self, context: Context, hyperliquid: Hyperliquid, coinglass: CoinGlass | None) -> None:
        self._settings, self._store, self._now = context.settings, context.store, context.now
        self._symbols = context.symbols
        self._hyperliquid, self._coinglass = hyperliquid, coinglass
        self.feeds: Feeds[Hyperliquid | CoinGlass] = Feeds("wallets", (hyperliquid, coinglass), context)

    def tick(self) -> None:
        """Read every wallet once. Failures of venues are in `feeds.health()`, never raised. Raises StoreError."""
        self.feeds.begin_tick()
        self._store.wallets.forget_unwatched()
        watchers = self._store.wallets.watchers()
        for address in self.feeds.in_turn(watchers):
            snapshot = self.feeds.ask(self._hyperliquid, partial(self._hyperliquid.positions, address), feed=address)
            if snapshot is not None:
                self._see(address, snapshot)
        if self._coinglass is not None:
            self._see_moves(self._coinglass)
        uses = {"coinglass": Use("whale positions")}
        if watchers:
            uses["hyperliquid"] = Use(text.count(len(watchers), "wallet"))
        self.feeds.end_tick(uses)

    # Wallets that chats watch

    def _see(self, address: str, snapshot: Snapshot) -> None:
        now, kept = self._now(), self._store.wallets
        at_ms = snapshot.venue_ms or int(now * 1000)
        with self._store.transaction():
            before = kept.look(address)
            if before is None:
                if snapshot.unread != frozenset():
                    return  # a position that cannot be read now would look new at the next look
                kept.put_look(address, WalletSnapshot(wallets.first_sight(snapshot.positions), now))
                return
            changes, known = wallets.compare(before.positions, snapshot.positions, unread=snapshot.unread)
            since = now - before.at
            # Asked again: the answer took its time, and a chat may have stopped watching meanwhile.
            chats = kept.watchers().get(address, [])
            for number, change in enumerate(changes):
                for chat in chats:
                    alert = _wallet_alert(change, chat, at_ms=at_ms, since=since, number=number)
                    publish(self._store, alert, now=now, default_min=0.0, only=chat.chat_id)
            kept.put_look(address, WalletSnapshot(known, now))

    # Whales that nobody watches

    def _see_moves(self, coinglass: CoinGlass) -> None:
        stored = self._store.markets.cursor(coinglass.venue, "whale moves")
        since_ms = int(stored.text) if stored is not None and stored.text.isdecimal() else None
        found = self.feeds.ask(coinglass, partial(coinglass.whale_moves, since_ms=since_ms), feed="whale moves")
        if found is None:
            return
        self.feeds.count_unreadable(coinglass, found.unreadable)
        now = self._now()
        clock = found.venue_ms or int(now * 1000)
        newest = max((move.at_ms for move in found.rows), default=0)
        with self._store.transaction():
            if since_ms is not None:
                # Every move of the last half hour at each look, as CoinGlass may publish late: known ones add none.
                # Those of the first look and before make no alert.
                oldest = max(clock - REPLAY * 1000, self._store.read_value("wallets:moves_began", int, 0))
                for move in sorted(found.rows, key=lambda move: move.at_ms):
                    if move.at_ms > oldest and coins.coin(move.symbol)[0] in self._symbols():
                        publish(self._store, _move_alert(move, coinglass), now=now, default_min=MOVE_MIN)
                if found.gap_from is not None:
                    log.warning("%s shows only the newest whale moves; some older ones are missing", coinglass.host)
                    start, end = since_ms / 1000, found.gap_from / 1000
                    gaps = [Gap(coinglass.venue, symbol, None, start, end) for symbol in self._symbols()]
                    keep_gaps(self._store, gaps, now=now, monitor="wallets", least=LONG_AGO)
            else:
                self._store.set_value("wallets:moves_began", str(newest))
            self._store.markets.set_cursor(coinglass.venue, "whale moves", str(max(newest, since_ms or 0)), at=now)


def _wallet_alert(change: Change, chat: WatchedWallet, *, at_ms: int, since: float, number: int) -> Alert:
    position, coin = change.shown, change.coin
    facts = [f"entry {text.price(position.entry)}", f"{position.leverage:g}x"]
    if position.liquidation:
        facts.append(f"liquidation at {text.price(position.liquidation)}, {position.distance:.1%} away")
    if since > LONG_AGO:
        facts.append(f"last checked {text.duration(since)} earlier")
    return Alert(
        # Alerts of the same time are shown in the order of their keys.
        key=f"wallet:{chat.chat_id}:{chat.address}:{at_ms}:{number:03}",
        monitor="wallets",
        symbol=coins.coin(coin)[0],
        side=_order_side(change),
        usd=change.usd,
        headline=f"{chat.name} {_what(change)}",
        facts=" · ".join(facts),
        at_ms=at_ms,
        venue="Hyperliquid",
        url=wallet_url(chat.address),
        price=position.price,
    )


def _what(change: Change) -> str:
    position, coin = change.shown, change.coin
    worth, at = f"{text.usd(position.usd)} USD", f"at {text.price(position.price)}"
    side = position.side
    if change.kind in ("open", "close"):
        return f"{'opened' if change.kind == 'open' else 'closed'} a {coin} {side}: {worth} {at}"
    if change.kind == "flip":
        return f"flipped from {'short' if side == 'long' else 'long'} to {side} in {coin}: now {worth} {at}"
    if change.kind == "near":
        return f"is close to liquidation: {coin} {side} of {worth}, {position.distance:.1%} away"
    verb = "added to" if change.kind == "more" else "reduced"
    moved = abs(position.size / change.alerted) - 1
    return f"{verb} a {coin} {side}: {moved:+.0%}, now {worth} {at}"


def _order_side(change: Change) -> str:
    """The taker side of the order behind it (closing a short is a buy); "" for none."""
    if change.kind == "near":
        return ""
    grew = change.kind in ("open", "more", "flip")
    return "buy" if grew == (change.shown.size > 0) else "sell"


def _move_alert(move: WhaleMove, coinglass: CoinGlass) -> Alert:
    bought = move.opened == (move.size > 0)
    facts = [f"wallet {short(move.wallet)}", f"entry {text.price(move.entry)}"]
    if move.liquidation > 0 and move.opened:
        facts.append(f"liquidation at {text.price(move.liquidation)}")
    return Alert(
        key=f"move:{move.key}",
        monitor="wallets",
        symbol=coins.coin(move.symbol)[0],
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
