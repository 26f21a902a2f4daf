"""Settings: where they come from, what is refused, and that every problem is told at once without the token."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from conftest import OTHER_TOKEN, ROOT, SECRETS, TOKEN

from base import config
from base.config import ConfigError, Settings

GOOD = {"TELEGRAM_BOT_TOKEN": TOKEN, "OWNER_ID": "7"}


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def load(env_file: Path, **environ: str) -> Settings:
    return config.load(env_file, environ={**GOOD, **environ})


def problems(env_file: Path, **environ: str) -> list[str]:
    """What is said about a setting; there must be something."""
    with pytest.raises(ConfigError) as caught:
        config.load(env_file, environ=environ)
    return caught.value.problems


def test_token_and_owner_are_enough_and_the_rest_has_the_defaults_that_are_promised(env_file: Path) -> None:
    settings = load(env_file)
    assert settings.bot_id == int(TOKEN.partition(":")[0])
    assert settings.owner_id == 7
    assert settings.symbols == ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "AVAX", "LINK", "TON")
    assert settings.whale_min("BTC") is None
    assert settings.whale_interval_seconds is None
    assert settings.api_url == "https://api.telegram.org"
    assert settings.on_conflict == "keep-alerting"
    assert settings.stale_after_minutes == 10
    assert settings.sends_per_second == 30
    assert not settings.drop_pending_updates
    assert settings.machine_wide_lock
    assert (settings.health_port, settings.health_host) == (0, "127.0.0.1")
    assert settings.warnings == ()


def test_all_problems_are_told_at_once_each_with_name_value_and_what_is_expected(env_file: Path) -> None:
    told = problems(
        env_file,
        OWNER_ID="me",
        ALLOWED_USERS="1;2",
        TELEGRAM_API_URL="telegram.org",
        SYMBOLS="BTC/USDT",
        WHALE_MIN_USD="much",
        WHALE_INTERVAL="0",
        BINANCE_URL="ftp://x",
        ON_CONFLICT="fight",
        HEALTH_PORT="80000",
        HEALTH_HOST="health.example.org",
        CONFLICT_PATIENCE="nan",
        STALE_AFTER_MINUTES="-1",
        DROP_PENDING_UPDATES="maybe",
        SEND_RATE="1001",
        LOCK_SCOPE="city",
        LOG_LEVEL="loud",
        LOG_FORMAT="xml",
    )
    names = {line.split("=")[0] for line in told}
    assert names >= {
        *("OWNER_ID", "ALLOWED_USERS", "TELEGRAM_API_URL", "SYMBOLS", "WHALE_MIN_USD", "WHALE_INTERVAL"),
        *("BINANCE_URL", "ON_CONFLICT", "CONFLICT_PATIENCE", "STALE_AFTER_MINUTES", "DROP_PENDING_UPDATES"),
        *("SEND_RATE", "LOCK_SCOPE", "LOG_LEVEL", "LOG_FORMAT", "HEALTH_PORT", "HEALTH_HOST"),
    }
    assert any(line.startswith("TELEGRAM_BOT_TOKEN is not set") for line in told)
    assert all("expected" in line for line in told if "=" in line.split(" ")[0])
    assert "SEND_RATE='1001': expected messages per second from 0 to 1000." in told


@pytest.mark.parametrize("name", ["TELEGRAM_BOT_TOKEN", "OWNER_ID", "ALLOWED_USERS", "TELEGRAM_API_URL", "SYMBOLS"])
def test_a_token_in_the_wrong_place_or_form_is_never_shown(env_file: Path, name: str) -> None:
    value = f"bot{OTHER_TOKEN}"
    with pytest.raises(ConfigError) as caught:
        load(env_file, **{name: value})
    assert name in str(caught.value)
    assert SECRETS[1] not in str(caught.value)


def test_the_settings_object_does_not_show_the_token(env_file: Path) -> None:
    assert SECRETS[0] not in repr(load(env_file))


def test_a_bot_that_nobody_may_use_is_refused_with_the_way_out(env_file: Path) -> None:
    (told,) = problems(env_file, TELEGRAM_BOT_TOKEN=TOKEN)
    assert "nobody could use this bot" in told
    assert "OWNER_ID" in told


def test_allowed_users_without_an_owner_are_enough(env_file: Path) -> None:
    settings = config.load(env_file, environ={"TELEGRAM_BOT_TOKEN": TOKEN, "ALLOWED_USERS": " 8, 9,,8 "})
    assert settings.owner_id is None
    assert settings.allowed_users == {8, 9}


def test_the_environment_wins_over_the_file(env_file: Path) -> None:
    env_file.write_text(f"TELEGRAM_BOT_TOKEN={OTHER_TOKEN}\nOWNER_ID=1\nLOG_LEVEL=debug\n", encoding="utf-8")
    settings = load(env_file)
    assert settings.token == TOKEN
    assert settings.owner_id == 7
    assert settings.log_level == "DEBUG", "what the environment does not name comes from the file"


def test_no_other_folder_is_searched(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("LOG_LEVEL=debug\n", encoding="utf-8")
    (env_file.parent / "below").mkdir()
    monkeypatch.chdir(env_file.parent)
    assert load(env_file.parent / "below" / ".env").log_level == "INFO"


def test_a_dollar_and_quotes_in_the_file_mean_themselves(env_file: Path) -> None:
    env_file.write_text("A=x\nDATA_DIR='/srv/${A}/$HOME'\nexport SYMBOLS = \"btc, eth\"  # ours\n", encoding="utf-8")
    settings = load(env_file)
    assert settings.data_dir == Path("/srv/${A}/$HOME").absolute()
    assert settings.symbols == ("BTC", "ETH")


def test_a_file_that_notepad_wrote_is_read(env_file: Path) -> None:
    env_file.write_bytes(b"\xef\xbb\xbfTELEGRAM_BOT_TOKEN=" + TOKEN.encode() + b"\r\nOWNER_ID=7\r\n")
    assert config.load(env_file, environ={}).token == TOKEN


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("WHALE_MIN_USD: 5m", "line 3 (WHALE_MIN_USD) cannot be read"),
        ("WHALE_MIN_USD 5m", "line 3 (WHALE_MIN_USD) cannot be read"),
        ("WHALE_MIN_USD", "line 3 (WHALE_MIN_USD) cannot be read"),
        ("WHALE_MIN_USD='5m", "line 3 (WHALE_MIN_USD) has a quote that is not closed"),
        ("WHALE_MIN_USD='5m\n# don't", "line 3 (WHALE_MIN_USD) has a quote that is not closed"),
        ("WHALE_MIN_USD='5m\nLOG_LEVEL='debug'", "line 3 (WHALE_MIN_USD) has a quote that is not closed"),
        ("\n\nset whales to 5m", "line 5 cannot be read"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_its_number(env_file: Path, line: str, told: str) -> None:
    env_file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\n{line}\n", encoding="utf-8")
    assert [problem for problem in problems(env_file) if f"{env_file}, {told}" in problem]


def test_a_line_that_cannot_be_read_shows_no_secret_and_is_not_said_to_be_missing(env_file: Path) -> None:
    env_file.write_text(f"TELEGRAM_BOT_TOKEN: {TOKEN}\nOWNER_ID=7\n", encoding="utf-8")
    (told,) = problems(env_file)
    assert "line 1 (TELEGRAM_BOT_TOKEN)" in told
    assert SECRETS[0] not in told


def test_which_bot_it_is_can_be_read_although_another_line_cannot(env_file: Path) -> None:
    env_file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nWHALE_MIN_USD: 5m\nwhat is this\n", encoding="utf-8")
    assert config.place(env_file).token == TOKEN
    env_file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nDATA_DIR '/srv/bot'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2"):
        config.place(env_file)


def test_a_setting_on_two_lines_is_pointed_out(env_file: Path) -> None:
    env_file.write_text("SYMBOLS=BTC\nLOG_LEVEL=info\nSYMBOLS=ETH\nLOG_LEVEL=info\n", encoding="utf-8")
    settings = load(env_file)
    assert settings.symbols == ("ETH",)
    assert settings.warnings == (f"SYMBOLS is on lines 1 and 3 of {env_file}; the last one counts.",)


def test_an_empty_variable_does_not_hide_the_line_of_the_file(env_file: Path) -> None:
    """A compose file with `OWNER_ID=${OWNER_ID}` makes such variables."""
    env_file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\nLOG_LEVEL=debug\n", encoding="utf-8")
    settings = config.load(env_file, environ={"TELEGRAM_BOT_TOKEN": "", "OWNER_ID": " ", "LOG_LEVEL": ""})
    assert (settings.token, settings.owner_id, settings.log_level) == (TOKEN, 7, "DEBUG")


def test_a_line_means_the_same_in_the_file_and_as_docker_passes_it_on(env_file: Path) -> None:
    """`docker run --env-file` passes everything behind the = on: quotes, and a comment."""
    written = {
        "TELEGRAM_BOT_TOKEN": f'"{TOKEN}"',
        "OWNER_ID": "7  # me",
        "SYMBOLS": "'BTC,ETH' # two",
        "LOG_LEVEL": '""',
    }
    env_file.write_text("\n".join(f"{name}={value}" for name, value in written.items()), encoding="utf-8")
    env_file.chmod(0o600)
    assert config.load(env_file, environ={}) == config.load(env_file.with_name("none"), environ=written)
    with pytest.raises(ConfigError, match="SYMBOLS"):
        load(env_file, SYMBOLS="'BTC")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_that_is_not_utf_8_is_told_with_the_fix(env_file: Path, encoding: str) -> None:
    env_file.write_text(f"TELEGRAM_BOT_TOKEN={TOKEN}\nOWNER_ID=7\n# gruß\n", encoding=encoding)
    told = problems(env_file)
    assert any("not UTF-8" in line and str(env_file) in line for line in told)
    assert SECRETS[0] not in "".join(told)


def test_a_file_that_cannot_be_read_is_told(env_file: Path) -> None:
    env_file.mkdir()
    assert any("could not be read" in line for line in problems(env_file))


def test_names_that_look_like_ours_are_pointed_out(env_file: Path) -> None:
    env_file.write_text("ALOWED_USERS=8\n", encoding="utf-8")
    assert load(env_file).warnings == (
        "ALOWED_USERS is not a setting of this bot and is ignored; did you mean ALLOWED_USERS?",
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("TELEGRAM_TOKEN", "TELEGRAM_BOT_TOKEN"), ("telegram_bot_token", "TELEGRAM_BOT_TOKEN"), ("OWNER", "OWNER_ID")],
)
def test_a_name_in_the_file_may_differ_more(env_file: Path, typed: str, meant: str) -> None:
    env_file.write_text(f"{typed}=x\n", encoding="utf-8")
    assert any(
        f"{typed} is not a setting" in line and f"did you mean {meant}?" in line for line in problems(env_file)
    )


def test_a_token_under_another_bots_name_is_pointed_out_with_the_problems(env_file: Path) -> None:
    env_file.write_text(f"BOT_TOKEN={TOKEN}\nOWNER_ID=7\n", encoding="utf-8")
    told = problems(env_file)
    assert any("BOT_TOKEN is not a setting" in line and "did you mean TELEGRAM_BOT_TOKEN?" in line for line in told)
    assert SECRETS[0] not in "".join(told)


def test_names_of_other_programs_in_the_environment_are_not_our_business(env_file: Path) -> None:
    assert load(env_file, TOKEN="x", HOME="/root", SYMBOL_PATH="x", PYTHONPATH="x").warnings == ()


@pytest.mark.parametrize(
    ("value", "btc", "eth"),
    [
        ("auto", None, None),
        ("500k", 5e5, 5e5),
        ("BTC=2m,ETH=1m", 2e6, 1e6),
        ("btc = $2m , 500k", 2e6, 5e5),
        ("500k,BTC=auto", None, 5e5),
        ("BTC=2m", 2e6, None),
    ],
)
def test_whale_minimum_is_one_amount_or_one_for_each_coin(
    env_file: Path, value: str, btc: float | None, eth: float | None
) -> None:
    whale_min = load(env_file, WHALE_MIN_USD=value).whale_min
    assert (whale_min("BTC"), whale_min("ETH")) == (btc, eth)


@pytest.mark.parametrize(
    "value", ["0", "-5", "BTC:2m", "BTC=", "=2m", "BTC=2m,,", "500k,1m", "1,500k", "BTC=1m,BTC=2m"]
)
def test_a_whale_minimum_that_could_mean_two_things_is_refused(env_file: Path, value: str) -> None:
    """`1,500k` is one and a half million to its writer: taking the last part would be half a million."""
    with pytest.raises(ConfigError, match="WHALE_MIN_USD"):
        load(env_file, WHALE_MIN_USD=value)


@pytest.mark.parametrize("value", ["true", "YES", "on", "1"])
def test_yes_has_many_words(env_file: Path, value: str) -> None:
    assert load(env_file, DROP_PENDING_UPDATES=value).drop_pending_updates


def test_a_url_loses_its_last_slash_so_that_paths_can_be_added(env_file: Path) -> None:
    assert load(env_file, TELEGRAM_API_URL="http://localhost:8081/").api_url == "http://localhost:8081"


@pytest.mark.parametrize("path", ["/bot", "/bot/", "/botTOKEN", "/bot<token>/getMe", "/x/bot{0}/{1}"])
def test_a_server_address_with_what_the_bot_adds_itself_is_refused(env_file: Path, path: str) -> None:
    """It would be answered with 404, which a wrong token is, too."""
    with pytest.raises(ConfigError, match="without /bot and the token") as caught:
        load(env_file, TELEGRAM_API_URL=f"https://api.telegram.org{path.replace('TOKEN', OTHER_TOKEN)}")
    assert SECRETS[1] not in str(caught.value)
    assert load(env_file, TELEGRAM_API_URL="https://example.org/botapi").api_url == "https://example.org/botapi"


@pytest.mark.parametrize("host", [f"{'a' * 64}.org", "api..org", ".telegram.org", "api.telegram.org:99999"])
def test_an_address_that_no_server_can_have_is_refused(env_file: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="BINANCE_URL"):
        load(env_file, BINANCE_URL=f"https://{host}")


def test_an_empty_value_is_the_default(env_file: Path) -> None:
    assert load(env_file, SYMBOLS=" ", LOG_LEVEL="").symbols == Settings.symbols


def test_a_relative_folder_does_not_depend_on_where_the_bot_is_started(
    env_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = load(env_file, DATA_DIR="data").data_dir
    monkeypatch.chdir(tmp_path)
    assert load(env_file, DATA_DIR="data").data_dir == here
    assert here is not None
    assert here.is_absolute()


def test_coins_are_named_once_in_upper_case_in_the_order_given(env_file: Path) -> None:
    assert load(env_file, SYMBOLS="eth, btc ,ETH").symbols == ("ETH", "BTC")
    assert load(env_file, SYMBOLS="BTC,S,币安人生,1INCH").symbols == ("BTC", "S", "币安人生", "1INCH")
    assert load(env_file, SYMBOLS="kPEPE,1000pepe,PEPE,1MBABYDOGE").symbols == ("PEPE", "BABYDOGE")
    assert load(env_file, WHALE_MIN_USD="1000PEPE=2m").whale_min("PEPE") == 2e6
    with pytest.raises(ConfigError, match="'ETH/USDT' is not") as caught:
        load(env_file, SYMBOLS="BTC,ETH/USDT,SOL")
    assert "'BTC' is not" not in str(caught.value)


def meanings() -> list[str]:
    """The text below each setting in the table."""
    tree = ast.parse((ROOT / "base" / "config.py").read_text(encoding="utf-8"))
    (table,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    texts = [node.value.value for node in table.body[1:] if isinstance(node, ast.Expr)]  # type: ignore[attr-defined]
    return [" ".join(text.split()) for text in texts]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hunter22-long@db.example.org:5432/bot",
        "postgres://ann@db.example.org/bot?sslmode=require&options=-csearch_path%3Dbot",
        "postgresql://ann:p%40ss%2Fw%3Ard@[::1]:6432/bot",
        "postgresql://one.example.org:5432,two.example.org:5433/bot?target_session_attrs=read-write",
        "postgresql:///bot?host=%2Fvar%2Frun%2Fpostgresql",
    ],
)
def test_the_url_of_a_database_is_taken_as_it_is(env_file: Path, url: str) -> None:
    assert load(env_file, DATABASE_URL=url).database_url == url
    assert url not in repr(load(env_file, DATABASE_URL=url))


@pytest.mark.parametrize(
    "url",
    [
        "db.example.org",
        "mysql://ann:hunter22-long@db.example.org/bot",
        "postgresql://ann:hunter22-long@db.example.org",
        "postgresql://ann:hunter22-long@db.example.org:port/bot",
        "postgresql://ann:hunter22-long@db.example.org:70000/bot",
        "postgresql://ann:hunter22@long@db.example.org/bot",
        "postgresql://ann:hunter22/long@db.example.org/bot",
        "postgresql://ann:hunter22?long@db.example.org/bot",
        "postgresql://ann:hunter22#long@db.example.org/bot",
        "postgresql://ann:hunter22 long@db.example.org/bot",
        "postgresql://ann:hunter22-long@db.example.org/bot/more",
        "postgresql://ann:hunter22-long@db.example.org/bot?sslmode",
    ],
)
def test_the_url_of_a_database_that_cannot_be_one_is_refused_without_a_word_of_its_password(
    env_file: Path, url: str
) -> None:
    (told,) = problems(env_file, **GOOD, DATABASE_URL=url)
    assert told.startswith("DATABASE_URL=(hidden): expected a URL like postgresql://user:password@host:5432/database")
    assert "hunter" not in told and "long" not in told


def documentation() -> str:
    markets = len(config.SOURCE_DEFAULTS)
    about = [*meanings(), *["where this market is read"] * markets]
    rows = [f"| `{row.name}` | {row.written} | {text} |" for row, text in zip(config.TABLE, about, strict=True)]
    return "\n".join(
        [
            "# All settings\n",
            "Put them into `.env` beside `bot.py`, one `NAME=value` a line, or into the environment, which wins",
            "unless it is empty. Only the first two are needed. If a value or a line cannot be used, the bot does",
            "not start and lists everything that needs a change.\n",
            f"Proxies and certificates go by the usual names: {', '.join(config.NETWORK)}.\n",
            "<!-- Made by: PYTHONPATH=. python tests/test_base_config.py > docs/settings.md -->",
            "| name | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def test_the_page_of_all_settings_is_made_from_their_table() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == documentation(), "PYTHONPATH=. python tests/test_base_config.py > docs/settings.md"


def test_the_example_names_only_settings_that_exist_with_their_defaults(env_file: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    given = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example, re.MULTILINE))
    assert set(given) <= set(config.NAMES)
    assert load(env_file, **{name: value for name, value in given.items() if value}) == load(env_file)


def test_the_version_is_the_newest_of_the_changelog_and_no_release_before_it_is_one() -> None:
    newest = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1].startswith(config.VERSION.removesuffix(".dev"))
    assert config.VERSION.endswith(".dev") == ("unreleased" in newest[1])


if __name__ == "__main__":
    sys.stdout.write(documentation())
