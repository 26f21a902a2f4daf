"""All watchers of the markets as one part of the bot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from base.config import Settings
from store import Store
from store.coins import Coins
from venues.availability import SourceHealth
from venues.coinglass import CoinGlass
from venues.gate import Gate
from venues.hyperliquid import Hyperliquid
from venues.okx import Okx
from venues.spot import spot_venues
from watch import interest
from watch.feeds import Context, Feeds
from watch.funding_monitor import FundingMonitor
from watch.liquidation_monitor import LiquidationMonitor
from watch.wallet_monitor import WalletMonitor
from watch.whale_monitor import WhaleMonitor


class Watcher(Protocol):
    """What every watcher has: `feeds`, how it asks its venues."""

    feeds: Feeds[Any]


class Watchers:
    """Four monitors, each with connections of its own: a `requests` session is for one thread.

    Each `tick` is for one thread; everything else is for any. notify_owner: gets sentences about sources. published:
    called when an alert is to be sent before the end of a tick.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        coins: Coins,
        *,
        now: Callable[[], float],
        notify_owner: Callable[[str], None],
        published: Callable[[], None] = lambda: None,
    ) -> None:
        urls = settings.source_urls
        self._funding_mark = settings.funding_alert_percent

        def no_such_coin(coin: str) -> bool:
            if coin in coins.added():
                coins.remove(coin)
                said = f"No exchange of this bot has {coin}, so it is off the list again."
                if coin.startswith("K"):  # typed as Hyperliquid writes it, but not with its small k
                    said += f" If you mean {coin[1:]} by the thousand: /coins add {coin[1:]}"
                notify_owner(said)
                return False
            notify_owner(f"No source has {coin}, so the bot cannot watch its whale orders. Check SYMBOLS in .env.")
            return True

        context = Context(
            settings=settings,
            store=store,
            now=now,
            published=published,
            notify_owner=notify_owner,
            coins=coins,
            no_such_coin=no_such_coin,
        )
        okx, gate = partial(Okx, urls["okx"], now=now), Gate(urls["gate"], now=now)
        hyperliquid = partial(Hyperliquid, urls["hyperliquid"], now=now)

        def coinglass() -> CoinGlass | None:
            key = settings.coinglass_key
            return CoinGlass(urls["coinglass"], key, now=now) if key else None

        self.whales = WhaleMonitor(context, spot_venues(urls))
        self.liquidations = LiquidationMonitor(context, okx(), gate, coinglass())
        self.funding = FundingMonitor(context, okx(), hyperliquid(), coinglass())
        self.wallets = WalletMonitor(context, hyperliquid(), coinglass())
        self._feeds = [watcher.feeds for watcher in (self.whales, self.liquidations, self.funding, self.wallets)]

    def default_threshold(self, monitor: str, symbol: str) -> float:
        """From when chats that set nothing get alerts of this kind: US dollars, or percent; 0: all of them."""
        if monitor == "funding":
            return self._funding_mark
        if monitor == "oi":
            return interest.DEFAULT
        if monitor == "whales":
            return self.whales.default_threshold(symbol)
        return self.liquidations.default_threshold(symbol) if monitor == "liquidations" else 0.0

    def health(self) -> list[SourceHealth]:
        return [health for feeds in self._feeds for health in feeds.health()]

    def stop(self) -> None:
        """End the ticks in progress before their next request. Returns at once."""
        for feeds in self._feeds:
            feeds.stop()
