"""Settings: `.env` beside bot.py and the environment, read once into one frozen `Settings`.

Each setting is stated once, as a field of `Settings`; a test compares docs/settings.md with these fields.
The environment wins over `.env`, where it is not empty. No other folder is searched. All problems are reported at
once, each with the setting's name, its value (never a secret) and what is expected.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from base import kinds
from base.env import Environment, Unreadable
from base.kinds import ROOT, Setting, WhaleMin, setting
from base.secrets import know, passwords, redact
from base.shell import quoted

ENV_FILE = ROOT / ".env"


_newest = re.search(r"^## (\S+)(.*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
assert _newest is not None, "CHANGELOG.md has a heading for each version"
VERSION = f"{_newest[1]}.dev" if "unreleased" in _newest[2] else _newest[1]

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
# Not ours: `requests` reads these from the environment.
NETWORK = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE")
TOKEN, OWNER = "TELEGRAM_BOT_TOKEN", "OWNER_ID"
NOBODY = (
    "OWNER_ID and ALLOWED_USERS are both empty, so nobody could use this bot. "
    "Set OWNER_ID to your numeric Telegram user id (the bot @userinfobot shows it)."
)
# Names that people bring from other bots; difflib alone would not link them to ours.
_ALIASES = {"BOT_TOKEN": TOKEN, "TOKEN": TOKEN, "API_TOKEN": TOKEN}


class ConfigError(Exception):
    """The settings cannot be used. `problems` holds one sentence each; str() joins them, one per line.

    missing: names that must be set and are not. settings: what could be read, with defaults for the rest; only to
    look at.
    """

    def __init__(self, problems: list[str], settings: Settings | None = None, *, missing: Sequence[str] = ()) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.settings = settings
        self.missing = tuple(missing)


def lines(*names: str) -> str:
    """The lines of a settings file for these names, with placeholders for the values."""
    wanted = {TOKEN: "<the token from @BotFather>", OWNER: "<your numeric Telegram user id>"}
    return "\n".join(f"  {name}={wanted[name]}" for name in names)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set. `warnings` are sentences to log once the log is open.

    The text below each setting is its row in docs/settings.md.
    """

    token: str = setting("TELEGRAM_BOT_TOKEN", "", kinds.TOKEN, secret=True)
    """the bot's token, from @BotFather"""
    owner_id: int | None = setting("OWNER_ID", "", kinds.USER_ID)
    """your Telegram user id; you get status messages and decide who may use the bot"""
    allowed_users: frozenset[int] = setting("ALLOWED_USERS", "", kinds.USER_IDS)
    """more people who may use the bot: user ids, separated by commas"""
    symbols: tuple[str, ...] = setting("SYMBOLS", "BTC,ETH,SOL,BNB,XRP,DOGE,ADA,AVAX,LINK,TON", kinds.SYMBOLS)
    """coins to watch"""
    whale_min: WhaleMin = setting("WHALE_MIN_USD", "auto", kinds.THRESHOLDS)
    """minimum size of a whale order: `500k`, `2m`, `BTC=2m,ETH=1m`; auto: 0.05 % of the coin's 24-hour volume,
    from 100k to 5m"""
    whale_interval_seconds: float | None = setting("WHALE_INTERVAL", "auto", kinds.AUTO_INTERVAL)
    """seconds between two checks for whale orders; auto: as often as a tenth of what the exchange allows (10 coins on
    Binance: 4 s), at least 2, and more while it asks for fewer requests"""
    liquidation_min: WhaleMin = setting("LIQUIDATION_MIN_USD", "auto", kinds.THRESHOLDS)
    """minimum size of a single liquidation; auto: 500k for BTC and ETH, 200k for others"""
    liquidation_sum: WhaleMin = setting("LIQUIDATION_SUM_USD", "auto", kinds.THRESHOLDS)
    """minimum total of a coin's liquidations on one side within 5 minutes; auto: 2m for BTC and ETH, 500k for
    others"""
    funding_alert_percent: float = setting("FUNDING_ALERT", "0.05", kinds.PERCENT)
    """alert when a funding rate goes above this many percent per 8 hours, or below minus this, where a chat has set
    nothing else with /threshold funding"""
    funding_flips: bool = setting("FUNDING_FLIPS", "false", kinds.YES_NO)
    """true: also alert when a funding rate changes sign"""
    derivatives_interval_seconds: float = setting("DERIVATIVES_INTERVAL", "60", kinds.INTERVAL)
    """seconds between two checks of liquidations, funding, open interest and wallets"""
    coinglass_key: str = setting("COINGLASS_API_KEY", "", kinds.API_KEY, secret=True)
    """optional and paid: liquidations and funding of Binance and Bybit, whale positions on Hyperliquid"""
    bot_name: str = setting("BOT_NAME", "", kinds.NAME)
    """what messages about two copies call this one; empty: the computer's name (in a container: a number)"""
    on_conflict: str = setting("ON_CONFLICT", "keep-alerting", kinds.one_of("keep-alerting", "pause", "exit"))
    """what this copy does while another copy answers commands: `keep-alerting`, `pause` (no alerts from this copy)
    or `exit` (code 69)"""
    conflict_patience_minutes: float = setting("CONFLICT_PATIENCE", "15", kinds.number(0.05, 10080, "minutes"))
    """minutes that `ON_CONFLICT=exit` waits before it exits"""
    stale_after_minutes: float = setting("STALE_AFTER_MINUTES", "10", kinds.number(0.05, 1440, "minutes"))
    """commands sent longer ago, while the bot was offline, are skipped; the chat gets their number"""
    drop_pending_updates: bool = setting("DROP_PENDING_UPDATES", "false", kinds.YES_NO)
    """true: skip everything that was sent while the bot was offline"""
    data_dir: Path | None = setting("DATA_DIR", "", kinds.FOLDER)
    """folder for the bot's lock, database and log; empty: `~/.local/state/cryptosat`"""
    database_url: str = setting("DATABASE_URL", "", kinds.DATABASE, secret=True)
    """PostgreSQL instead of the file `bot.db`, for one bot on several machines: `postgresql://user:password@host/name`"""
    sends_per_second: float = setting("SEND_RATE", "30", kinds.number(0, 1000, "messages per second"))
    """limit on messages per second, all chats together; 0: no limit (for tests)"""
    log_level: str = setting("LOG_LEVEL", "INFO", kinds.LEVEL)
    """DEBUG, INFO, WARNING or ERROR"""
    log_format: str = setting("LOG_FORMAT", "text", kinds.one_of("text", "json"))
    """`json`: one object per line, on the console and in `bot.log`, for log collectors"""
    health_port: int = setting("HEALTH_PORT", "0", kinds.PORT)
    """port of the status page, `/healthz` and `/metrics`; 0: off"""
    health_host: str = setting("HEALTH_HOST", "127.0.0.1", kinds.HOST)
    """who can open that port: only this machine, or with `0.0.0.0` everyone who can reach the machine"""
    health_token: str = setting("HEALTH_TOKEN", "", kinds.PASSWORD, secret=True)
    """if set, the page and `/metrics` open only with it: `http://127.0.0.1:8080/?token=...`"""
    out_private: bool = setting("OUT_PRIVATE", "false", kinds.YES_NO)
    """true: `/out` may also send alerts to addresses of this machine and of private networks"""
    machine_wide_lock: bool = setting("LOCK_SCOPE", "machine", kinds.SCOPE)
    """`folder`: only copies with the same `DATA_DIR` exclude each other"""
    api_url: str = setting("TELEGRAM_API_URL", "https://api.telegram.org", kinds.API_URL)
    """your own Bot API server, if you run one"""
    source_urls: Mapping[str, str] = field(default_factory=lambda: dict(SOURCE_DEFAULTS))
    warnings: tuple[str, ...] = ()

    @property
    def bot_id(self) -> int:
        """The public, numeric half of the token: the key of everything kept for this bot."""
        return int(self.token.split(":", 1)[0])

    @property
    def host(self) -> str:
        """Where this copy runs, for people: `BOT_NAME`, or the computer's name."""
        return self.bot_name or socket.gethostname()


_FIELDS: dict[str, Setting] = {
    part.name: part.metadata["setting"] for part in dataclasses.fields(Settings) if "setting" in part.metadata
}
_URLS = {name: Setting(f"{name.upper()}_URL", url, kinds.url(url)) for name, url in SOURCE_DEFAULTS.items()}
TABLE = (*_FIELDS.values(), *_URLS.values())
NAMES = tuple(row.name for row in TABLE)


def place(env_file: Path = ENV_FILE) -> Settings:
    """Only the settings that say which bot it is and where it keeps its files; the others have their defaults.

    Raises ConfigError for problems with these only.
    """
    reader, wanted = _Reader(env_file, os.environ), ("token", "data_dir", "database_url", "machine_wide_lock")
    reader.tell(line for line in reader.text.unreadable if line.names & {_FIELDS[name].name for name in wanted})
    found = Settings(**{name: reader.get(_FIELDS[name]) for name in wanted})
    if reader.problems:
        raise ConfigError(reader.problems, missing=reader.missing)
    return found


def load(
    env_file: Path = ENV_FILE, *, environ: Mapping[str, str] | None = None, owner_may_come: bool = False
) -> Settings:
    """Read `env_file` and the environment. Raises ConfigError with every problem found; changes nothing.

    owner_may_come: accept settings without anyone who may use the bot; somebody may have opened the owner link.
    """
    reader = _Reader(env_file, os.environ if environ is None else environ)
    reader.tell(reader.text.unreadable)
    values = {name: reader.get(row) for name, row in _FIELDS.items()}
    urls = {name: reader.get(row) for name, row in _URLS.items()}
    settings = Settings(
        **values, source_urls=urls, warnings=(*reader.text.repeated, *reader.typos(), *reader.exposed(values, urls))
    )
    nobody = settings.owner_id is None and not settings.allowed_users and not reader.bad & {OWNER, "ALLOWED_USERS"}
    if nobody and (reader.problems or not owner_may_come):
        reader.problems.append(NOBODY)
        reader.missing.append(OWNER)
    if reader.problems:
        raise ConfigError([*reader.problems, *settings.warnings], settings, missing=reader.missing)
    return settings


def bot_id_in(env_file: Path) -> int | None:
    """The bot id of the token in a settings file; None if there is no readable token."""
    token = Environment(env_file, {}, NAMES).value(TOKEN)
    return int(token.partition(":")[0]) if kinds.TOKEN_FORM.match(token) else None


def unknown_names(env_file: Path) -> list[str]:
    """Names in a settings file that are not settings of this bot."""
    return sorted(
        name for name in Environment(env_file, {}, NAMES).file if name not in NAMES and not _is_network(name)
    )


def _is_network(name: str) -> bool:
    return name.upper() in NETWORK


def export_network(env_file: Path) -> None:
    """Put the proxies and the certificates of the settings file into this process's environment, which wins."""
    text = Environment(env_file, os.environ, NAMES)
    for both in ((name.lower(), name) for name in NETWORK):
        given = next((name for where in (os.environ, text.file) for name in both if where.get(name)), None)
        if given is not None:
            os.environ[given] = text.value(given)


def open_to_others(env_file: Path) -> str:
    """A sentence if other accounts can read the settings file, "" if not, or where its mode does not say so."""
    try:
        if os.name != "posix" or not env_file.stat().st_mode & 0o077:
            return ""
    except OSError:
        return ""
    close = quoted("chmod", "600", str(env_file))
    return f"Others on this computer can read {env_file}, and it holds your token. Run: {close}"


class _Reader:
    def __init__(self, env_file: Path, environ: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self.missing: list[str] = []
        self.bad: set[str] = set()  # settings with a value, or a line, that cannot be used
        self.text = Environment(env_file, environ, NAMES)
        self._env_file = env_file
        self._environ = environ

    def tell(self, unreadable: Iterable[Unreadable]) -> None:
        """Make a problem of each of these lines of the file."""
        for line in unreadable:
            self.problems.append(line.sentence)
            self.bad |= line.names

    def get(self, row: Setting) -> Any:
        value = self.text.value(row.name)
        if not value:
            if row.name == TOKEN and TOKEN not in self.bad:
                self.missing.append(TOKEN)
                self.problems.append(
                    "TELEGRAM_BOT_TOKEN is not set, and without a token there is no bot to run. Get one from "
                    f"@BotFather in Telegram and put the line TELEGRAM_BOT_TOKEN=<token> into {self._env_file}."
                )
            return row.default
        if row.secret:
            know(value, *passwords(value))  # also a wrong one: it may be half of the right one
        try:
            return row.kind.parse(value)
        except ValueError as error:
            # A token pasted into the wrong line must not be echoed.
            hidden, part = row.secret or redact(value) != value, str(error)
            shown = "(hidden)" if hidden else repr(value)
            wrong = f" {part!r} is not." if part != value and part in value and part and not hidden else ""
            self.bad.add(row.name)
            self.problems.append(f"{row.name}={shown}: expected {row.kind.expected}.{wrong}")
            return row.default

    def exposed(self, values: Mapping[str, Any], urls: Mapping[str, str]) -> Iterator[str]:
        """Where others could read a secret: on their way over the network, or in the file."""
        asked = [("token", "TELEGRAM_API_URL", values["api_url"])]
        asked += [("key", "COINGLASS_URL", urls["coinglass"])] if values["coinglass_key"] else []
        for what, name, url in asked:
            parts = urlsplit(url)
            if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
                yield f"{name} is http: everyone between here and {parts.hostname} can read your {what}. Use https."
        if self.text.file.get(TOKEN) and (words := open_to_others(self._env_file)):
            yield words

    def typos(self) -> tuple[str, ...]:
        """Names that are not ours but look like ours, with the name that was probably meant."""
        found = []
        for name in sorted({*self.text.file, *self._environ} - set(NAMES)):
            ours = name in self.text.file  # the environment is full of other programs' names
            alias = [_ALIASES[name]] if name in _ALIASES and ours else []
            close = difflib.get_close_matches(name.upper(), NAMES, n=1, cutoff=0.75 if ours else 0.88)
            meant = [*alias, *close, ""][0]
            if meant and not self.text.value(meant):
                found.append(f"{name} is not a setting of this bot and is ignored; did you mean {meant}?")
        return tuple(found)
