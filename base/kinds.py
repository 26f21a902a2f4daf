"""The kinds of settings: how the text of a value is read, and what an error says is expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from base import coins, text, typed

ROOT = Path(__file__).resolve().parent.parent
TOKEN_FORM = re.compile(r"^\d{3,}:[A-Za-z0-9_-]{3,}$")
SYMBOL = re.compile(r"[^\W_]{1,15}")  # of any script: exchanges list coins with Chinese names, and one called S
ALL = ("all", "any", "every", "everything", "*")  # all coins, or all that there is
_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Kind(NamedTuple):
    """parse: raises ValueError for text that is not as `expected`. unset: the value when there is no text."""

    parse: Callable[[str], Any]
    expected: str
    unset: Any = None


class WhaleMin(NamedTuple):
    """Thresholds of a setting like WHALE_MIN_USD: call it with a symbol for its US dollars, None for automatic."""

    default: float | None = None
    per_symbol: Mapping[str, float | None] = MappingProxyType({})

    def __call__(self, symbol: str) -> float | None:
        return self.per_symbol.get(symbol, self.default)


class Setting(NamedTuple):
    """One setting: its name, its default as people write it, its kind. secret: its value is never shown."""

    name: str
    written: str
    kind: Kind
    secret: bool = False

    @property
    def default(self) -> Any:
        """The value when nothing is set."""
        return self.kind.parse(self.written) if self.written else self.kind.unset


def setting(name: str, written: str, kind: Kind, *, secret: bool = False) -> Any:
    """A field of `Settings`, filled by the setting `name`."""
    row = Setting(name, written, kind, secret)
    return field(default=row.default, repr=not secret, metadata={"setting": row})


def number(low: float, high: float, unit: str) -> Kind:
    """A number from `low` to `high`."""
    return Kind(lambda value: typed.number(value, low, high), f"{unit} from {low:g} to {high:g}")


def one_of(*words: str) -> Kind:
    """One of these words, which are in lower case."""

    def parse(value: str) -> str:
        if value.lower() not in words:
            raise ValueError(value)
        return value.lower()

    return Kind(parse, text.enumerated(words, "or"))


def matching(form: str, expected: str, *, unset: str) -> Kind:

    def parse(value: str) -> str:
        if not re.match(form, value):
            raise ValueError(value)
        return value

    return Kind(parse, expected, unset)


def url(example: str, *, path: str = ".*", note: str = "") -> Kind:
    """The address of a server; a slash at its end is taken off. path: the pattern of what may follow the host."""

    def parse(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not is_address(value) or parts.query or parts.fragment:
            raise ValueError(value)
        if not re.fullmatch(path, parts.path):
            raise ValueError(value)
        return value.rstrip("/")

    return Kind(parse, f"a URL like {example}{note}")


def _database(value: str) -> str:
    parts = urlsplit(value)
    login, _, hosts = parts.netloc.rpartition("@")
    ports = [re.fullmatch(r"(?:[^\s:/@\[\]]+|\[[0-9a-fA-F:.]+\])?(?::(\d+))?", host) for host in hosts.split(",")]
    written = "@" not in f"{login}{parts.path}{parts.query}" and not re.search(r"\s", value) and not parts.fragment
    if parts.scheme not in ("postgresql", "postgres") or not written or not re.fullmatch("/[^/]+", parts.path):
        raise ValueError(value)
    if not all(port and 0 < int(port[1] or 5432) < 65536 for port in ports):
        raise ValueError(value)
    parse_qsl(parts.query, strict_parsing=bool(parts.query))
    return value


def is_address(value: str) -> bool:
    """Whether a URL's host and port can be a server's: no part of a name is empty or longer than 63 letters."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
        return bool(re.fullmatch(r"[^\s/]+", host)) and bool(host.encode("idna"))
    except ValueError:  # UnicodeError is one
        return False


def _folder(value: str) -> Path:
    # A relative folder would depend on where the bot is started from, and two starts would not meet.
    return ROOT / Path(value).expanduser()


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _symbols(value: str) -> tuple[str, ...]:
    for part in _parts(value):
        if not SYMBOL.fullmatch(part):
            raise ValueError(part)
    if not _parts(value):
        raise ValueError(value)
    return tuple(dict.fromkeys(coins.typed(part) for part in _parts(value)))


def _thresholds(value: str) -> WhaleMin:
    amounts: dict[str, float | None] = {}  # "" is the one for every other coin
    for part in value.split(","):
        name, equals, amount = part.strip().rpartition("=")
        symbol = coins.typed(name.strip())
        # A second amount of one kind is a mistake, often a comma inside a number.
        if symbol in amounts or (equals and not SYMBOL.fullmatch(symbol)):
            raise ValueError(part.strip())
        amounts[symbol] = None if amount.strip().lower() == "auto" else typed.amount(amount)
    return WhaleMin(amounts.pop("", None), amounts)


def _host(value: str) -> str:
    # An address and no name: what a name means could change, and with it who can look in.
    return str(ip_address("127.0.0.1" if value.lower() == "localhost" else value))


def _yes_no(value: str) -> bool:
    return one_of(*_YES, *_NO).parse(value) in _YES


TOKEN = matching(TOKEN_FORM.pattern, "digits, a colon and letters, as @BotFather shows it", unset="0:none")
API_KEY = matching(r"^[A-Za-z0-9_-]{8,128}$", "letters and digits, as coinglass.com shows it", unset="")
NAME = matching(r"^[^\x00-\x1f@]{1,32}$", "up to 32 characters without @", unset="")
PASSWORD = matching(r"^[A-Za-z0-9_-]{12,128}$", "at least 12 letters and digits", unset="")
USER_ID = Kind(typed.user_id, "your numeric Telegram user id, like 123456789")
USER_IDS = Kind(
    lambda value: frozenset(map(typed.user_id, _parts(value))),
    "numeric user ids separated by commas, like 123456789,987654321",
    frozenset(),
)
SYMBOLS = Kind(_symbols, "coins separated by commas, like BTC,ETH,SOL")
THRESHOLDS = Kind(_thresholds, "`auto`, an amount like 500k or 2m, or BTC=2m,ETH=1m")
PERCENT = Kind(
    lambda value: typed.number(value.removesuffix("%").strip(), 0.001, 10),
    "percent per 8 hours from 0.001 to 10, like 0.05",
)
INTERVAL = number(0.2, 3600, "seconds")
AUTO_INTERVAL = Kind(
    lambda value: None if value.lower() == "auto" else INTERVAL.parse(value), f"auto or {INTERVAL.expected}"
)
FOLDER = Kind(_folder, "a folder's full path")
PORT = Kind(lambda value: typed.whole(value, 0, 65535), "a port from 1 to 65535, or 0 for off")
HOST = Kind(_host, "an address of this machine like 127.0.0.1, or 0.0.0.0 for all")
YES_NO = Kind(_yes_no, "true or false")
LEVEL = Kind(
    lambda value: one_of("debug", "info", "warning", "error").parse(value).upper(), "DEBUG, INFO, WARNING or ERROR"
)
# The bot adds /bot and the token itself: with them in the address too, each call would be answered "Not Found".
API_URL = url("https://api.telegram.org", path=r"(?!.*/bot(/|[\d{<%]|$)).*", note=", without /bot and the token")
DATABASE = Kind(
    _database,
    "a URL like postgresql://user:password@host:5432/database, in whose password @ is written %40, / %2F and : %3A",
    "",
)
SCOPE = Kind(lambda value: one_of("machine", "folder").parse(value) == "machine", "machine or folder")
