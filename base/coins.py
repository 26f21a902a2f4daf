"""One coin, one name: exchanges list cheap coins by the thousand (kPEPE, 1000PEPE, 1MBABYDOGE)."""

from __future__ import annotations

import difflib
import re

# Names that people type instead of the exchanges' symbols.
_NAMES = {
    "BITCOIN": "BTC",
    "XBT": "BTC",
    "ETHEREUM": "ETH",
    "ETHER": "ETH",
    "SOLANA": "SOL",
    "RIPPLE": "XRP",
    "DOGECOIN": "DOGE",
    "CARDANO": "ADA",
    "AVALANCHE": "AVAX",
    "CHAINLINK": "LINK",
    "TONCOIN": "TON",
    "LITECOIN": "LTC",
    "POLKADOT": "DOT",
    "TETHER": "USDT",
    "₿": "BTC",
}
_UNITS = re.compile(r"(k|10{3,7}|1M(?=[A-Z]{3}))(?=[A-Z]{2})")


def coin(name: str) -> tuple[str, int]:
    """The coin behind an exchange's name, and how many of it one unit is: `kPEPE` is 1000 PEPE."""
    match = _UNITS.match(name)
    if match is None:
        return name, 1
    return name[match.end() :], {"k": 1000, "1M": 1_000_000}.get(match[1]) or int(match[1])


def near(word: str) -> str:
    """The coin whose name is written almost like this word; "" if there is none."""
    found = difflib.get_close_matches(word.upper(), _NAMES, 1, 0.8) if len(word) > 4 else []
    return _NAMES[found[0]] if found else ""


def typed(word: str) -> str:
    """The coin that people mean by `pepe`, `kPEPE`, `1000pepe` or `bitcoin`, in upper case."""
    found, units = coin(word)
    found = found if units > 1 else coin(word.upper())[0]
    return _NAMES.get(found, found)
