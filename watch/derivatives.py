"""The watchers of perpetual contracts as one part of the bot: liquidations, funding, wallets."""

from __future__ import annotations

from collections.abc import Callable

from base.config import Settings
from store import Store
from venues.availability import SourceHealth
from venues.coinglass import CoinGlass
from venues.gate import Gate
from venues.hyperliquid import Hyperliquid
from venues.okx import Okx
from watch.funding_monitor import FundingMonitor
from watch.liquidation_monitor import LiquidationMonitor
from watch.wallet_monitor import WalletMonitor


class Derivatives:
    """Three monitors, each with connections of its own: a `requests` session is for one thread."""

    def __init__(self, settings: Settings, store: Store, *, notify_owner: Callable[[str], None]) -> None:
        urls = settings.source_urls

        def coinglass() -> CoinGlass | None:
            return CoinGlass(urls["coinglass"], settings.coinglass_key) if settings.coinglass_key else None

        self.liquidations = LiquidationMonitor(
            *(settings, store, Okx(urls["okx"]), Gate(urls["gate"]), coinglass()), notify_owner=notify_owner
        )
        self.funding = FundingMonitor(
            *(settings, store, Okx(urls["okx"]), Hyperliquid(urls["hyperliquid"]), coinglass()),
            notify_owner=notify_owner,
        )
        self.wallets = WalletMonitor(
            *(settings, store, Hyperliquid(urls["hyperliquid"]), coinglass()), notify_owner=notify_owner
        )

    def checks(self) -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
        """Liquidations, funding, wallets: what is to be done at each interval, each in a thread of its own."""
        return self.liquidations.tick, self.funding.tick, self.wallets.tick

    def default_threshold(self, monitor: str, symbol: str) -> float:
        """US dollars from which chats without an amount of their own hear of it; 0: of all."""
        return self.liquidations.default_threshold(symbol) if monitor == "liquidations" else 0.0

    def health(self) -> list[SourceHealth]:
        return [*self.liquidations.health(), *self.funding.health(), *self.wallets.health()]

    def stop(self) -> None:
        for monitor in (self.liquidations, self.funding, self.wallets):
            monitor.stop()
