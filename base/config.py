"""Settings: `.env` beside bot.py and the environment, read once into one frozen `Settings`.

The real environment wins over `.env`. No other folder is searched. All problems are reported at once, each
with the setting's name, its value (never the token) and what is expected.
"""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from base.text import parse_amount

T = TypeVar("T")

VERSION = "0.2.0"  # the newest heading of CHANGELOG.md

ENV_FILE = Path(__file__).resolve().parent.parent / ".env"

SOURCE_DEFAULTS = {
    "binance": "https://data-api.binance.vision",
    "binance_api": "https://api.binance.com",
    "coinbase": "https://api.exchange.coinbase.com",
    "kraken": "https://api.kraken.com",
    "okx": "https://www.okx.com",
    "gate": "https://api.gateio.ws",
    "hyperliquid": "https://api.hyperliquid.xyz",
    "coinglass": "https://open-api-v4.coinglass.com",
}
NAMES = (
    "TELEGRAM_BOT_TOKEN",
    "TELEGRAM_API_URL",
    "OWNER_ID",
    "ALLOWED_USERS",
    "DATA_DIR",
    "SYMBOLS",
    "WHALE_MIN_USD",
    "WHALE_INTERVAL",
    "LIQUIDATION_MIN_USD",
    "LIQUIDATION_SUM_USD",
    "FUNDING_ALERT",
    "FUNDING_FLIPS",
    "DERIVATIVES_INTERVAL",
    "COINGLASS_API_KEY",
    *(f"{name.upper()}_URL" for name in SOURCE_DEFAULTS),
    "ON_CONFLICT",
    "CONFLICT_PATIENCE",
    "STALE_AFTER_MINUTES",
    "DROP_PENDING_UPDATES",
    "SEND_RATE",
    "LOCK_SCOPE",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "HEALTH_PORT",
    "HEALTH_HOST",
)
TOKEN, OWNER = "TELEGRAM_BOT_TOKEN", "OWNER_ID"
NOBODY = (
    "OWNER_ID and ALLOWED_USERS are both empty: nobody could use this bot. "
    "Set OWNER_ID to your numeric Telegram user id (the bot @userinfobot tells it to you)."
)
# Names that people bring from other bots; difflib alone would not link them to ours.
_ALIASES = {"BOT_TOKEN": "TELEGRAM_BOT_TOKEN", "TOKEN": "TELEGRAM_BOT_TOKEN", "API_TOKEN": "TELEGRAM_BOT_TOKEN"}

TOKEN_FORM = re.compile(r"^\d{3,}:[A-Za-z0-9_-]{3,}$")
_KEY = re.compile(r"^[A-Za-z0-9_-]{8,128}$")
_AMOUNTS = "`auto`, an amount like 500k or 2m, or BTC=2m,ETH=1m"
_SYMBOL = re.compile(r"^[A-Z0-9]{2,15}$")


class ConfigError(Exception):
    """The settings cannot be used. `problems` holds one sentence each; str() joins them, one a line.

    missing: names that must be set and are not. settings: what could be understood, with the default in place of what
    could not: to look at, not to run with.
    """

    def __init__(self, problems: list[str], settings: Settings | None = None, *, missing: Sequence[str] = ()) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.settings = settings
        self.missing = tuple(missing)


def lines(*names: str) -> str:
    """The lines of a settings file for these names, with what is to be put in."""
    wanted = {TOKEN: "<the token from @BotFather>", OWNER: "<your numeric Telegram user id>"}
    return "\n".join(f"  {name}={wanted[name]}" for name in names)


@dataclass(frozen=True)
class WhaleMin:
    """Thresholds of a setting like WHALE_MIN_USD: call it with a symbol for its US dollars, None for automatic."""

    default: float | None = None
    per_symbol: Mapping[str, float | None] = field(default_factory=dict)

    def __call__(self, symbol: str) -> float | None:
        return self.per_symbol.get(symbol, self.default)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything the bot was told. `warnings` are sentences to log once the log is open."""

    token: str = field(repr=False)
    api_url: str = "https://api.telegram.org"
    owner_id: int | None = None
    allowed_users: frozenset[int] = frozenset()
    data_dir: Path | None = None
    symbols: tuple[str, ...] = ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "AVAX", "LINK", "TON")
    whale_min: WhaleMin = WhaleMin()
    whale_interval: float = 15.0
    liquidation_min: WhaleMin = WhaleMin()
    liquidation_sum: WhaleMin = WhaleMin()
    funding_alert: float = 0.05  # percent for eight hours
    funding_flips: bool = False
    derivatives_interval: float = 60.0
    coinglass_key: str = field(default="", repr=False)
    source_urls: Mapping[str, str] = field(default_factory=lambda: dict(SOURCE_DEFAULTS))
    on_conflict: str = "keep-alerting"
    conflict_patience: float = 15.0
    stale_after_minutes: float = 10.0
    drop_pending_updates: bool = False
    send_rate: float = 30.0
    machine_wide_lock: bool = True
    log_level: str = "INFO"
    log_format: str = "text"
    health_port: int = 0  # 0: no health server
    health_host: str = "127.0.0.1"
    warnings: tuple[str, ...] = ()

    @property
    def bot_id(self) -> int:
        """The public, numeric half of the token: the key of everything kept for this bot."""
        return int(self.token.split(":", 1)[0])


def command_line(env_file: Path, command: str = "") -> str:
    """What to type for a command of bot.py so that it means the same bot: `python bot.py stop --env-file ...`."""
    option = "" if env_file == ENV_FILE else f" --env-file {env_file}"
    return f"python bot.py {command}".rstrip() + option


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which bot, and where it keeps its files: all that is needed to look at one from outside."""

    bot_id: int
    data_dir: Path | None = None
    machine_wide_lock: bool = True


def place(env_file: Path = ENV_FILE, *, environ: Mapping[str, str] | None = None) -> Place:
    """Like `load`, but only what a look from outside needs: raises ConfigError for problems with that alone."""
    reader = _Reader(env_file, os.environ if environ is None else environ)
    found = Place(
        bot_id=int(reader.token().partition(":")[0]),
        data_dir=_data_dir(reader),
        machine_wide_lock=_machine_wide_lock(reader),
    )
    if reader.problems:
        raise ConfigError(reader.problems, missing=reader.missing)
    return found


def load(
    env_file: Path = ENV_FILE, *, environ: Mapping[str, str] | None = None, owner_may_come: bool = False
) -> Settings:
    """Read `env_file` and the environment. Raises ConfigError with every problem found; changes nothing.

    owner_may_come: that nobody could use the bot is no problem by itself; somebody may have opened the owner's link.
    """
    reader = _Reader(env_file, os.environ if environ is None else environ)
    owner_id = reader.get("OWNER_ID", _user_id, None, "your numeric Telegram user id, like 123456789")
    nobody: frozenset[int] = frozenset()
    allowed_users = reader.get(
        "ALLOWED_USERS", _user_ids, nobody, "numeric user ids separated by commas, like 123456789,987654321"
    )
    if owner_id is None and not allowed_users and not reader.bad & {"OWNER_ID", "ALLOWED_USERS"}:
        reader.problems.append(NOBODY)
        reader.missing.append("OWNER_ID")
    settings = Settings(
        token=reader.token(),
        api_url=reader.get("TELEGRAM_API_URL", _url, Settings.api_url, "a URL like https://api.telegram.org"),
        owner_id=owner_id,
        allowed_users=allowed_users,
        data_dir=_data_dir(reader),
        symbols=reader.get("SYMBOLS", _symbols, Settings.symbols, "coins separated by commas, like BTC,ETH,SOL"),
        whale_min=reader.get("WHALE_MIN_USD", _whale_min, Settings.whale_min, _AMOUNTS),
        whale_interval=reader.get("WHALE_INTERVAL", _between(0.2, 3600), 15.0, "seconds from 0.2 to 3600"),
        liquidation_min=reader.get("LIQUIDATION_MIN_USD", _whale_min, WhaleMin(), _AMOUNTS),
        liquidation_sum=reader.get("LIQUIDATION_SUM_USD", _whale_min, WhaleMin(), _AMOUNTS),
        funding_alert=reader.get("FUNDING_ALERT", _percent, 0.05, "percent for 8 hours from 0.001 to 10, like 0.05"),
        funding_flips=reader.get("FUNDING_FLIPS", _yes_no, False, "true or false"),
        derivatives_interval=reader.get(
            "DERIVATIVES_INTERVAL", _between(0.2, 3600), 60.0, "seconds from 0.2 to 3600"
        ),
        coinglass_key=reader.coinglass_key(),
        source_urls={
            name: reader.get(f"{name.upper()}_URL", _url, default, f"a URL like {default}")
            for name, default in SOURCE_DEFAULTS.items()
        },
        on_conflict=reader.get(
            "ON_CONFLICT",
            _one_of("keep-alerting", "pause", "exit"),
            Settings.on_conflict,
            "keep-alerting, pause or exit",
        ),
        conflict_patience=reader.get("CONFLICT_PATIENCE", _between(0.05, 10080), 15.0, "minutes from 0.05 to 10080"),
        stale_after_minutes=reader.get(
            "STALE_AFTER_MINUTES", _between(0.05, 1440), 10.0, "minutes from 0.05 to 1440 (Telegram keeps 24 h)"
        ),
        drop_pending_updates=reader.get("DROP_PENDING_UPDATES", _yes_no, False, "true or false"),
        send_rate=reader.get("SEND_RATE", _between(0, 1000), 30.0, "messages a second from 0 (no pacing) to 1000"),
        machine_wide_lock=_machine_wide_lock(reader),
        log_level=reader.get("LOG_LEVEL", _level, Settings.log_level, "DEBUG, INFO, WARNING or ERROR"),
        log_format=reader.get("LOG_FORMAT", _one_of("text", "json"), Settings.log_format, "text or json"),
        health_port=reader.get("HEALTH_PORT", _port, Settings.health_port, "a port from 1 to 65535, or 0 for off"),
        health_host=reader.get(
            "HEALTH_HOST",
            _host,
            Settings.health_host,
            "an address of this machine like 127.0.0.1, or 0.0.0.0 for all",
        ),
        warnings=reader.typos(),
    )
    alone = owner_may_come and not {*reader.problems} - {NOBODY, *settings.warnings}
    if reader.problems and not alone:
        raise ConfigError(reader.problems, settings, missing=reader.missing)
    return settings


def bot_id_in(env_file: Path) -> int | None:
    """The bot id of the token in a settings file; None when the file or a token in it is missing or unreadable."""
    token = _Reader(env_file, {}).raw("TELEGRAM_BOT_TOKEN")
    return int(token.partition(":")[0]) if TOKEN_FORM.match(token) else None


def unknown_names(env_file: Path) -> list[str]:
    """Names in a settings file that are no settings of this bot."""
    return sorted(set(_Reader(env_file, {}).names()) - set(NAMES))


class _Reader:
    def __init__(self, env_file: Path, environ: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self.missing: list[str] = []
        self.bad: set[str] = set()
        self._env_file = env_file
        self._file: dict[str, str | None] = {}
        self._environ = environ
        try:
            if env_file.exists():
                # No interpolation: a `$` in a value is a `$`. utf-8-sig: Notepad writes a BOM.
                from dotenv import dotenv_values  # here: without the package `doctor` still says that it is missing

                content = io.StringIO(env_file.read_text(encoding="utf-8-sig"))
                self._file = dotenv_values(stream=content, interpolate=False)
        except (OSError, UnicodeDecodeError) as error:
            reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
            self.problems.append(f"{env_file} could not be read: {reason}. Save it as UTF-8, readable by this user.")

    def names(self) -> list[str]:
        return list(self._file)

    def raw(self, name: str) -> str:
        value = self._environ.get(name)
        return (self._file.get(name) or "" if value is None else value).strip()

    def get(self, name: str, parse: Callable[[str], T], default: T, expected: str) -> T:
        value = self.raw(name)
        if not value:
            return default
        try:
            return parse(value)
        except ValueError:
            self.bad.add(name)
            self.problems.append(f"{name}={_shown(value)}: expected {expected}.")
            return default

    def token(self) -> str:
        value = self.raw(TOKEN)
        if TOKEN_FORM.match(value):
            return value
        if value:
            self.problems.append(
                "TELEGRAM_BOT_TOKEN does not look like a token (the value is not shown here): expected digits, "
                "a colon and letters, as @BotFather gave it."
            )
        else:
            self.missing.append(TOKEN)
            self.problems.append(
                f"TELEGRAM_BOT_TOKEN is not set: without it there is no bot to run. Get a token from @BotFather in "
                f"Telegram and put the line TELEGRAM_BOT_TOKEN=<token> into {self._env_file}."
            )
        return "0:none"

    def coinglass_key(self) -> str:
        value = self.raw("COINGLASS_API_KEY")
        if value and not _KEY.match(value):
            self.problems.append(
                "COINGLASS_API_KEY does not look like a key (the value is not shown here): expected letters and "
                "digits, as coinglass.com gave it."
            )
            return ""
        return value

    def typos(self) -> tuple[str, ...]:
        """Names that are not ours but look like ours, with the name that was probably meant."""
        found = []
        for name in sorted({*self._file, *self._environ} - set(NAMES)):
            meant = _ALIASES.get(name) if name in self._file else None
            close = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.88)
            meant = meant or (close[0] if close else None)
            if meant is not None and not self.raw(meant):
                found.append(f"{name} is not a setting of this bot and is ignored; did you mean {meant}?")
        if self.problems:
            self.problems += found
        return tuple(found)


def _data_dir(reader: _Reader) -> Path | None:
    return reader.get("DATA_DIR", _folder, None, "a folder's full path")


def _machine_wide_lock(reader: _Reader) -> bool:
    scope = reader.get("LOCK_SCOPE", _one_of("machine", "folder"), "machine", "machine or folder")
    return scope == "machine"


def _shown(value: str) -> str:
    # A token pasted into the wrong line must not be echoed.
    return "(hidden: it looks like a token)" if re.search(r"\d{5,}(?::|%3A)[\w-]{20,}", value) else repr(value)


def _user_id(value: str) -> int:
    if not re.fullmatch(r"\d{1,15}", value) or int(value) == 0:
        raise ValueError(value)
    return int(value)


def _user_ids(value: str) -> frozenset[int]:
    return frozenset(_user_id(part.strip()) for part in value.split(",") if part.strip())


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(value)
    return value.rstrip("/")


def _folder(value: str) -> Path:
    path = Path(value).expanduser()
    # A relative folder would depend on where the bot is started from, and two starts would not meet.
    return path if path.is_absolute() else ENV_FILE.parent / path


def _symbols(value: str) -> tuple[str, ...]:
    symbols = tuple(dict.fromkeys(part.strip().upper() for part in value.split(",") if part.strip()))
    if not symbols or not all(_SYMBOL.match(symbol) for symbol in symbols):
        raise ValueError(value)
    return symbols


def _whale_min(value: str) -> WhaleMin:
    amounts: dict[str, float | None] = {}  # "" is the one for every other coin
    for part in value.split(","):
        name, equals, amount = part.strip().rpartition("=")
        symbol = name.strip().upper()
        # A second amount of one kind is a mistake, often a comma inside a number.
        if symbol in amounts or (equals and not _SYMBOL.match(symbol)):
            raise ValueError(value)
        amounts[symbol] = None if amount.strip().lower() == "auto" else parse_amount(amount)
    return WhaleMin(amounts.pop("", None), amounts)


def _between(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        number = float(value)
        if not low <= number <= high:
            raise ValueError(value)
        return number

    return parse


def _port(value: str) -> int:
    if not re.fullmatch(r"\d{1,5}", value, re.ASCII) or int(value) > 65535:
        raise ValueError(value)
    return int(value)


def _host(value: str) -> str:
    # An address and no name: what a name means could change, and with it who can look in.
    return str(ip_address("127.0.0.1" if value.lower() == "localhost" else value))


def _percent(value: str) -> float:
    return _between(0.001, 10)(value.removesuffix("%").strip())


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in words:
            raise ValueError(value)
        return value.lower()

    return parse


def _yes_no(value: str) -> bool:
    if value.lower() in ("true", "yes", "on", "1"):
        return True
    if value.lower() in ("false", "no", "off", "0"):
        return False
    raise ValueError(value)


def _level(value: str) -> str:
    return _one_of("debug", "info", "warning", "error")(value).upper()
