"""/liq, /funding and /wallet answer from what is kept, in words and tables that fit a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FRIEND, OWNER
from storekit import file_store

from access import Access
from botapi.updates import Update
from commands import context
from commands.dispatch import Commands
from store.coins import Coins
from store.wallets import WalletSnapshot, WatchedWallet
from venues.perpetuals import Interest, Liquidation, Position, Rate
from watch import wallets

NOW = 1_750_000_000.0
ADDRESS = "0x" + "ab" * 20
OTHER = "0x" + "cd" * 20


class Desk:
    """Commands with a real store, in a chat that has alerts on."""

    def __init__(self, folder: Path, *symbols: str) -> None:
        self.store = file_store(folder / "bot.db")
        access = Access(self.store, owner_id=OWNER, allowed_users=frozenset({FRIEND}), now=lambda: NOW)
        desk = context.Context(
            self.store,
            access,
            symbols=Coins(self.store, symbols or ("BTC", "ETH")),
            now=lambda: NOW,
            default_min=lambda monitor, symbol: 500_000.0 if monitor == "liquidations" else 0.0,
        )
        self.commands = Commands(desk)
        self.say("/start")

    def say(self, text: str) -> str:
        (reply,) = self.commands.run(Update(update_id=1, kind="message", chat_id=FRIEND, user_id=FRIEND, text=text))
        return reply.text


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.store.close()


@pytest.mark.parametrize("word", ["pepe", "kPEPE", "kpepe", "1000PEPE", "$1000pepe", "1000PEPEUSDT"])
def test_a_coin_by_any_of_its_names_is_one_that_the_bot_watches(tmp_path: Path, word: str) -> None:
    desk = Desk(tmp_path, "BTC", "PEPE", "S")
    rates = [("OKX", "PEPE-USDT"), ("Hyperliquid", "kPEPE"), ("Binance", "1000PEPE")]
    for venue, contract in rates:
        rate = Rate(venue, "PEPE", contract, 0.0001, 8.0, 0, int(NOW * 1000))
        desk.store.markets.put_rates(venue, [rate])
    assert all(venue in desk.say(f"/funding {word}") for venue, _ in rates)
    desk.say("/unwatch BTC PEPE S")
    assert "PEPE" in desk.say(f"/watch {word}")
    chat = desk.store.chats.get(FRIEND)
    assert chat is not None and chat.symbols == frozenset({"PEPE"})
    assert "S" in desk.say("/watch s")
    desk.store.close()


def liquidation(ago: float, usd: float, *, side: str = "long", coin: str = "BTC", venue: str = "OKX") -> Liquidation:
    return Liquidation(venue, coin, side, usd, 77_000.0, int((NOW - ago) * 1000), f"{ago}")


def test_liq_names_its_venues_the_sums_and_the_latest_large_ones(desk: Desk) -> None:
    desk.store.markets.begin_liquidations(now=NOW - 90_000)
    desk.store.markets.begin_liquidations(now=NOW)
    desk.store.markets.add_liquidations(
        [
            liquidation(10, 600_000),
            liquidation(20, 200_000, side="short", venue="Gate"),
            liquidation(30, 1_000, coin="ETH"),
            liquidation(4000, 3e6, coin="ETH"),
            liquidation(90_000, 9e6),
        ]
    )
    assert desk.say("/liq").splitlines() == [
        "<b>Liquidations on Gate and OKX</b>, in USD (these venues only)",
        "5 min: BTC longs 600k, shorts 200k · ETH longs 1k",
        "24 h: ETH longs 3M · BTC longs 600k, shorts 200k",
        "15:06:30 🔴 BTC long 600k at 77,000 · OKX",
        "15:06:20 🟢 BTC short 200k at 77,000 · Gate",
        "14:00:00 🔴 ETH long 3M at 77,000 · OKX",
    ]
    assert "ETH" not in desk.say("/liq btc")
    assert desk.say("/liq DOGE").startswith("DOGE is not on this bot's list")


def test_liq_of_a_bot_that_is_young_says_since_when_it_counts(desk: Desk) -> None:
    desk.store.markets.begin_liquidations(now=NOW - 600)
    desk.store.markets.add_liquidations([liquidation(10, 600_000), liquidation(700, 900_000)])
    assert "since 14:56:40: BTC longs 600k" in desk.say("/liq")


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (None, "yet; the first check takes a minute"),
        (600, "since 14:56:40 UTC, when the bot was first started"),
        (90_000, "in the last 24 hours"),
    ],
)
def test_liq_without_any_says_since_when_it_looks_and_where_to_ask(desk: Desk, age: int | None, said: str) -> None:
    if age is not None:
        desk.store.markets.begin_liquidations(now=NOW - age)
    assert desk.say("/liq BTC") == f"No liquidations of BTC {said}. Is a source down? See /status."


def rates(desk: Desk) -> None:
    at_ms = int(NOW * 1000)
    desk.store.markets.put_rates(
        "OKX", [Rate("OKX", f"COIN{n}", f"COIN{n}-USDT", (n - 10) / 1e5, 8.0, at_ms, at_ms) for n in range(21)]
    )
    desk.store.markets.put_rates("Hyperliquid", [Rate("Hyperliquid", "COIN3", "COIN3", 0.0001234, 1.0, 0, at_ms)])


def test_funding_shows_the_extremes_in_a_table_that_fits_a_phone(desk: Desk) -> None:
    rates(desk)
    said = desk.say("/funding")
    table = said[said.index("<pre>") + 5 : said.index("</pre>")].splitlines()
    assert table[:2] == ["coin     venue      8 h % year %", "COIN3    Hyperliq +0.0987   +108"]
    assert table[-1] == "COIN0    OKX      -0.0100    -11"
    assert len(table) == 14 and max(map(len, table)) <= 32


def test_funding_of_a_coin_compares_its_venues(desk: Desk) -> None:
    rates(desk)
    said = desk.say("/funding coin3")
    assert said[said.index("<pre>") + 5 : said.index("</pre>")].splitlines() == [
        "venue          8 h % year % each",
        "Hyperliquid  +0.0987   +108  1 h",
        "OKX          -0.0070     -8  8 h",
    ]
    assert desk.say("/funding nothing").startswith("No funding rates for NOTHING.")


def test_a_rate_that_is_shown_as_nothing_has_no_minus(desk: Desk) -> None:
    desk.store.markets.put_rates("OKX", [Rate("OKX", "BTC", "BTC-USDT", -0.0000000001, 8.0, 0, int(NOW * 1000))])
    assert "-0" not in desk.say("/funding BTC").partition("<pre>")[2]


def test_funding_before_the_first_look_says_so(desk: Desk) -> None:
    assert desk.say("/funding").startswith("No funding rates yet")


def test_a_wallet_is_added_named_listed_and_removed(desk: Desk) -> None:
    assert desk.say("/wallet") == "No wallets yet. Add one: /wallet add 0x… NAME"
    assert desk.say(f"/wallet add {ADDRESS.upper().replace('X', 'x')} the  <big> one").startswith(
        "Following the <big> one."
    )
    assert desk.say(f"/wallet add {OTHER}").startswith("Following 0xcdcd…cdcd.")
    said = desk.say("/wallet list")
    assert "not read yet" in said and said.count("0xcdcd…cdcd") == 1
    held = [
        Position("BTC", -2.0, 154_000.0, 76_000.0, 90_000.0, 20.0),
        Position("ETH", 1.0, 2500.0, 2400.0, 0.0, 5.0),
    ]
    desk.store.wallets.put_look(ADDRESS, WalletSnapshot(wallets.first_sight(held), NOW))
    said = desk.say("/wallet list")
    assert "<b>the &lt;big&gt; one</b>" in said
    assert "BTC short 154k USD at 77,000, 17% to liquidation\nETH long 2.5k USD at 2,500" in said
    assert desk.say(f"/wallet add {ADDRESS} boss") == "Wallet 0xabab…abab is now called boss."
    assert desk.say("/wallet remove BOSS") == "No longer following boss."
    assert desk.say(f"/wallet remove {OTHER}") == "No longer following 0xcdcd…cdcd."
    assert desk.say("/wallet remove boss").startswith("No wallet here is called “boss”")


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("/wallet add", "Use add with an address"),
        ("/wallet add 0x12", "A Hyperliquid address is 0x followed by 40"),
        (f"/wallet add {ADDRESS} {'x' * 25}", "A name can have up to 24 characters."),
        ("/wallet what", "Use add with an address"),
        ("/wallet list all", "Use add with an address"),
        ("/liq BTC ETH", "Give one coin"),
        ("/funding BTC ETH", "Give one coin"),
    ],
)
def test_wrong_arguments_get_a_sentence_and_an_example_and_change_nothing(
    desk: Desk, typed: str, answer: str
) -> None:
    said = desk.say(typed)
    assert said.startswith(answer) and "Example: /" in said
    assert desk.store.wallets.of_chat(FRIEND) == []


def test_a_chat_watches_at_most_ten_wallets_each_by_a_name_of_its_own(desk: Desk) -> None:
    for number in range(10):
        assert desk.say(f"/wallet add 0x{number:040x} w{number}").startswith("Following")
    assert desk.say(f"/wallet add {ADDRESS}").startswith("A chat can follow up to 10 wallets")
    desk.say("/wallet remove w3")
    assert desk.say(f"/wallet add {ADDRESS} W4").startswith("Another wallet in this chat is already called “W4”.")
    assert desk.say(f"/wallet add {ADDRESS} w3").startswith("Following")


def test_a_group_that_became_a_supergroup_keeps_its_wallets(desk: Desk) -> None:
    desk.say(f"/wallet add {ADDRESS} whale")
    desk.store.migrate_chat(FRIEND, -1001)
    assert [one.name for one in desk.store.wallets.of_chat(-1001)] == ["whale"]
    assert desk.store.wallets.watchers() == {ADDRESS: [WatchedWallet(-1001, ADDRESS, "whale")]}


def test_help_names_the_commands(desk: Desk) -> None:
    assert re.findall(r"^/(?:liq|funding|wallet) .*$", desk.say("/help"), re.MULTILINE)


# Open interest


def test_open_interest_is_a_table_of_dollars_with_the_changes_of_positions(desk: Desk) -> None:
    assert "No open interest yet" in desk.say("/oi")
    for hours, coins in ((24, 40_000.0), (1, 30_000.0), (0, 31_500.0)):
        at_ms = int((NOW - hours * 3600) * 1000)
        with desk.store.transaction():
            desk.store.markets.note_interest("OKX", [Interest("OKX", "BTC", coins, coins * 70_000, at_ms)])
            if hours < 24:
                found = [Interest("Hyperliquid", "BTC", 30_000, 2.1e9, at_ms)]
                desk.store.markets.note_interest("Hyperliquid", found)
    of_btc = desk.say("/oi btc")
    assert "<b>Open interest of BTC on Hyperliquid and OKX</b>" in of_btc
    assert re.search(r"Hyperliquid +2\.1B +0\.0 % +–\nOKX +2\.2[01]B +\+5\.0 % +-21\.[23] %", of_btc)
    assert re.search(r"BTC +4\.3[01]?B +\+2\.5 % +–<", desk.say("/oi")), "Hyperliquid was not read a day ago"
    assert "No open interest of ETH yet" in desk.say("/oi ETH")
    assert "Give one coin" in desk.say("/oi BTC ETH")
