"""What a setting is, and the kinds of values: how each is read, and what an error says is expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from base.text import parse_amount, parse_number

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
_SYMBOL = re.compile(r"^[A-Z0-9]{2,15}$")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """parse: raises ValueError for text that is not as `expected`."""

    parse: Callable[[str], T]
    expected: str


@dataclass(frozen=True)
class WhaleMin:
    """Thresholds of a setting like WHALE_MIN_USD: call it with a symbol for its US dollars, None for automatic."""

    default: float | None = None
    per_symbol: Mapping[str, float | None] = field(default_factory=dict)

    def __call__(self, symbol: str) -> float | None:
        return self.per_symbol.get(symbol, self.default)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting and its row in docs/settings.md. secret: its value is never shown."""

    name: str
    kind: Kind[Any]
    default: Any
    about: str
    shown: str  # the default as the documentation shows it
    secret: bool = False


def setting(name: str, default: object, kind: Kind[Any], about: str, *, shown: str = "", secret: bool = False) -> Any:
    """A field of `Settings`, filled by the setting `name`."""
    if isinstance(default, float | str):
        shown = f"{default:g}" if isinstance(default, float) else default
    row = Setting(name=name, kind=kind, default=default, about=about, shown=shown, secret=secret)
    return field(default=default, repr=not secret, metadata={"setting": row})


def number(low: float, high: float, unit: str) -> Kind[float]:
    """A number from `low` to `high`."""
    return Kind(lambda value: parse_number(value, low, high), f"{unit} from {low:g} to {high:g}")


def one_of(*words: str) -> Kind[str]:
    """One of these words, which are in lower case."""

    def parse(value: str) -> str:
        if value.lower() not in words:
            raise ValueError(value)
        return value.lower()

    return Kind(parse, f"{', '.join(words[:-1])} or {words[-1]}")


def matching(form: re.Pattern[str], expected: str) -> Kind[str]:
    """Text of this form."""

    def parse(value: str) -> str:
        if not form.match(value):
            raise ValueError(value)
        return value

    return Kind(parse, expected)


def parse_user_id(value: str) -> int:
    """A Telegram user id: a positive whole number. Raises ValueError for anything else."""
    if not re.fullmatch(r"\d{1,15}", value, re.ASCII) or int(value) == 0:
        raise ValueError(value)
    return int(value)


def _user_ids(value: str) -> frozenset[int]:
    return frozenset(parse_user_id(part.strip()) for part in value.split(",") if part.strip())


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(value)
    return value.rstrip("/")


def _folder(value: str) -> Path:
    path = Path(value).expanduser()
    # A relative folder would depend on where the bot is started from, and two starts would not meet.
    return path if path.is_absolute() else ROOT / path


def _symbols(value: str) -> tuple[str, ...]:
    symbols = tuple(dict.fromkeys(part.strip().upper() for part in value.split(",") if part.strip()))
    if not symbols or not all(_SYMBOL.match(symbol) for symbol in symbols):
        raise ValueError(value)
    return symbols


def _thresholds(value: str) -> WhaleMin:
    amounts: dict[str, float | None] = {}  # "" is the one for every other coin
    for part in value.split(","):
        name, equals, amount = part.strip().rpartition("=")
        symbol = name.strip().upper()
        # A second amount of one kind is a mistake, often a comma inside a number.
        if symbol in amounts or (equals and not _SYMBOL.match(symbol)):
            raise ValueError(value)
        amounts[symbol] = None if amount.strip().lower() == "auto" else parse_amount(amount)
    return WhaleMin(amounts.pop("", None), amounts)


def _port(value: str) -> int:
    return int(parse_number(value, 0, 65535, whole=True))


def _host(value: str) -> str:
    # An address and no name: what a name means could change, and with it who can look in.
    return str(ip_address("127.0.0.1" if value.lower() == "localhost" else value))


def _percent(value: str) -> float:
    return parse_number(value.removesuffix("%").strip(), 0.001, 10)


def url(example: str) -> Kind[str]:
    """The address of a server; a slash at its end is taken off."""
    return Kind(_url, f"a URL like {example}")


USER_ID = Kind(parse_user_id, "your numeric Telegram user id, like 123456789")
USER_IDS = Kind(_user_ids, "numeric user ids separated by commas, like 123456789,987654321")
SYMBOLS = Kind(_symbols, "coins separated by commas, like BTC,ETH,SOL")
THRESHOLDS = Kind(_thresholds, "`auto`, an amount like 500k or 2m, or BTC=2m,ETH=1m")
PERCENT = Kind(_percent, "percent per 8 hours from 0.001 to 10, like 0.05")
INTERVAL = number(0.2, 3600, "seconds")
FOLDER = Kind(_folder, "a folder's full path")
PORT = Kind(_port, "a port from 1 to 65535, or 0 for off")
HOST = Kind(_host, "an address of this machine like 127.0.0.1, or 0.0.0.0 for all")
_YES = ("true", "yes", "on", "1")
_WORDS = one_of(*_YES, "false", "no", "off", "0")
YES_NO = Kind(lambda value: _WORDS.parse(value) in _YES, "true or false")
LEVEL = Kind(
    lambda value: one_of("debug", "info", "warning", "error").parse(value).upper(), "DEBUG, INFO, WARNING or ERROR"
)
SCOPE = Kind(lambda value: one_of("machine", "folder").parse(value) == "machine", "machine or folder")
