"""The simulated perpetual contracts: liquidations, funding and wallets, as tests or the demo set them.

perpetual_feeds.py shows them over HTTP. Venues: okx, gate, hyperliquid, and the exchanges that CoinGlass reports. All
of it is synthetic.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from simulation.http import Hub

# Coins in one contract.
OKX_CONTRACTS = {
    "BTC": 0.01,
    "ETH": 0.1,
    "SOL": 1.0,
    "BNB": 0.01,
    "XRP": 100.0,
    "DOGE": 1000.0,
    "ADA": 100.0,
    "AVAX": 1.0,
    "LINK": 1.0,
    "TON": 1.0,
}
OKX_INVERSE = {"BTC": 100.0, "ETH": 10.0}  # US dollars in one contract
GATE_CONTRACTS = {
    "BTC": 0.0001,
    "ETH": 0.01,
    "SOL": 1.0,
    "BNB": 0.001,
    "XRP": 10.0,
    "DOGE": 10.0,
    "ADA": 10.0,
    "AVAX": 1.0,
    "LINK": 1.0,
    "TON": 1.0,
}
PLANS = ("HOBBYIST", "STARTUP", "STANDARD", "PROFESSIONAL")
ADDRESS = "0x" + "ab" * 20  # a wallet for tests


@dataclass(frozen=True)
class Liquidation:
    """One order that closes a position by force. size, left, position: contracts, without a sign.

    family: `BTC-USDT`, or `BTC-USD` for OKX's inverse ones. net: shown without the position's side. ms: unix ms.
    """

    venue: str
    coin: str
    family: str
    side: str
    size: float
    left: float
    position: float
    price: float
    ms: int
    net: bool = False
    poison: str = ""


@dataclass
class Perpetuals:
    """The state of all venues of perpetual contracts. Rates are fractions for one interval of `hours`."""

    hub: Hub
    prices: dict[str, float]
    liquidations: list[Liquidation] = field(default_factory=list)  # as they happened
    rates: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)  # (venue, coin) -> rate, hours
    interest: dict[tuple[str, str], float] = field(default_factory=dict)  # (venue, coin) -> coins in open positions
    wallets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    sizes: dict[tuple[str, str], float] = field(default_factory=dict)  # (venue, coin) -> coins in a contract
    without_multiplier: set[tuple[str, str]] = field(default_factory=set)  # (venue, coin) missing from its contracts
    coinglass_key: str = "TEST-coinglass-key-of-nobody"
    coinglass_plan: str = "STANDARD"
    coinglass_moves: list[dict[str, Any]] = field(default_factory=list)
    coinglass_orders: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sizes |= {("okx", coin): unit for coin, unit in OKX_CONTRACTS.items()}
        self.sizes |= {("gate", coin): unit for coin, unit in GATE_CONTRACTS.items()}
        for coin in OKX_CONTRACTS:
            self.interest["okx", coin] = 2e9 / self.prices[coin]
            self.interest["hyperliquid", coin] = 1e9 / self.prices[coin]
            self.rates["okx", coin] = (0.0001, 4.0 if coin == "TON" else 8.0)
            self.rates["hyperliquid", coin] = (0.0000125, 1.0)
            self.rates["Binance", coin] = (0.0001, 8.0)
            self.rates["Bybit", coin] = (0.0001, 8.0)

    def liquidate(
        self,
        venue: str,
        coin: str,
        side: str,
        *,
        usd: float,
        price: float | None = None,
        at_ms: int | None = None,
        inverse: bool = False,
        left: float = 0.0,
        times: int = 1,
        net: bool = False,
        poison: str = "",
    ) -> Liquidation:
        """Liquidate `usd` dollars of a `long` or `short` at okx or gate. Raises ValueError for anything else.

        left: contracts that the order did not fill. times: equal orders. The rest as in Liquidation.
        """
        at = self.prices[coin] if price is None else price
        if venue not in ("okx", "gate"):
            raise ValueError(f"okx or gate liquidate, not {venue!r}")
        unit = OKX_INVERSE[coin] if inverse else self.sizes[venue, coin] * at
        if side not in ("long", "short"):
            raise ValueError(f"side is long or short, not {side!r}")
        size = usd / unit
        ms = int(time.time() * 1000) if at_ms is None else at_ms
        family = f"{coin}-USD" if inverse else f"{coin}-USDT"
        made = Liquidation(venue, coin, family, side, size + left, left, size + left, at, ms, net, poison)
        with self.hub.lock:
            self.liquidations += [made] * times
            self.liquidations.sort(key=lambda event: event.ms)
            self.hub.touch()
        return made

    def liquidate_in_parts(self, coin: str, side: str, parts: list[float], *, price: float, at_ms: int) -> None:
        """Gate closes one position in several orders, `parts` dollars each; each row shows the shrinking position."""
        sizes = [usd / self.sizes["gate", coin] / price for usd in parts]
        with self.hub.lock:
            for number, size in enumerate(sizes):
                position, ms = sum(sizes[number:]), at_ms + 6000 * number
                made = Liquidation("gate", coin, f"{coin}-USDT", side, size, 0.0, position, price, ms)
                self.liquidations.append(made)
            self.liquidations.sort(key=lambda event: event.ms)

    def set_rate(self, venue: str, coin: str, rate: float, *, hours: float | None = None) -> None:
        """The funding rate of okx, hyperliquid, Binance or Bybit from now on: a fraction for one interval."""
        with self.hub.lock:
            known = self.rates.get((venue, coin), (0.0, 8.0))
            self.rates[venue, coin] = (rate, known[1] if hours is None else hours)

    def set_interest(self, venue: str, coin: str, usd: float) -> None:
        """The open interest of okx or hyperliquid from now on, US dollars at the present price."""
        with self.hub.lock:
            self.interest[venue, coin] = usd / self.prices[coin]

    def hold(
        self,
        address: str,
        coin: str,
        size: float,
        *,
        entry: float | None = None,
        liquidation: float | None = None,
        poison: str = "",
    ) -> None:
        """A wallet's position in a coin from now on. size: coins, negative for a short, 0 for none."""
        with self.hub.lock:
            others = [held for held in self.wallets.get(address.lower(), []) if held["coin"] != coin]
            held = {"coin": coin, "size": size, "entry": entry, "liquidation": liquidation, "poison": poison}
            self.wallets[address.lower()] = [*others, held] if size else others

    def whale_move(self, address: str, coin: str, *, size: float, opened: bool, at_ms: int | None = None) -> None:
        """A large position opened or closed, for CoinGlass's whale-alert. size: coins, negative for a short."""
        price = self.prices[coin]
        row = {
            "user": address,
            "symbol": coin,
            "position_size": size,
            "entry_price": price,
            "liq_price": price * (0.5 if size > 0 else 1.5),
            "position_value_usd": abs(size) * price,
            "position_action": 1 if opened else 2,
            "create_time": int(time.time() * 1000) if at_ms is None else at_ms,
        }
        with self.hub.lock:
            self.coinglass_moves.insert(0, row)

    def foreign_liquidation(
        self, exchange: str, coin: str, side: str, *, usd: float, at_ms: int | None = None
    ) -> None:
        """A liquidation at another exchange, for CoinGlass's liquidation orders."""
        row = {
            "exchange_name": exchange.upper(),
            "symbol": f"{coin}USDT",
            "base_asset": coin.removeprefix("1000"),
            "price": self.prices[coin],
            "usd_value": usd,
            "side": 2 if side == "long" else 1,
            "time": int(time.time() * 1000) if at_ms is None else at_ms,
        }
        with self.hub.lock:
            self.coinglass_orders.append(row)

    def poison(self, venue: str, coin: str, kind: str = "missing") -> Liquidation:
        """A liquidation with an unreadable row: missing (its price), text, nan, negative or null."""
        return self.liquidate(venue, coin, "long", usd=1000, poison=kind)
