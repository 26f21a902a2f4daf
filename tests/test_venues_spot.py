"""The market feeds against the simulator's real shapes, and against servers that break every promise."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.connection import HTTPConnection

from base.config import SOURCE_DEFAULTS
from simulation.simulator import Simulator
from venues.fetch import BODY_LIMIT, Host
from venues.kraken import Kraken
from venues.spot import BinanceSpot, CoinbaseExchange, SpotVenue, spot_venues
from venues.trades import SourceError, Trade, UnknownSymbol

FEEDS: dict[str, Callable[..., SpotVenue]] = {"binance": BinanceSpot, "coinbase": CoinbaseExchange, "kraken": Kraken}


class Scripted:
    """A server whose every answer is written by the test. `write(handler)` answers one request."""

    def __init__(self, write: Callable[[BaseHTTPRequestHandler], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                try:
                    write(self)
                except OSError:
                    pass  # the client hung up, as it should

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def reply(body: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


def error_of(body: bytes, status: int = 200, feed: str = "binance", **headers: str) -> SourceError:
    with Scripted(reply(body, status, **headers)) as server, pytest.raises(SourceError) as caught:
        FEEDS[feed](server.url).page("BTC", "0:0" if feed == "kraken" else "0")
    return caught.value


def row(trade_id: object = 100, **changes: Any) -> dict[str, Any]:
    return {"a": trade_id, "p": "100.0", "q": "2.0", "f": 1, "l": 1, "T": 1_789_308_895_102, "m": False} | changes


def read(rows: list[Any], wanted: int = 100) -> Any:
    return BinanceSpot("http://venue.example")._parser.parse(rows, "BTC", wanted=wanted, venue_ms=0)


# Paging, for each venue alike


def everything(source: SpotVenue, cursor: str) -> tuple[list[Trade], int]:
    trades, missed = [], 0
    for _ in range(50):
        page = source.page("BTC", cursor)
        trades += page.trades
        missed += page.missed
        cursor = page.next_cursor
        if page.head:
            return trades, missed
    raise AssertionError("the head was never reached")


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("feed", FEEDS)
def test_paging_from_a_cursor_gives_every_trade_once_in_order(sim: Simulator, feed: str, inclusive: bool) -> None:
    sim.market.kraken_since_inclusive = inclusive
    source = FEEDS[feed](sim.market_url(feed))
    now = int(time.time() * 1000)
    sim.market.trade(feed, "BTC", "buy", 77_000, 1, at_ms=now - 60_000)
    cursor = source.head("BTC")
    assert source.page("BTC", cursor).trades == []
    made = [
        # Many share one time, so that a page ends in the middle of an instant.
        sim.market.trade(feed, "BTC", ("buy", "sell")[n % 2], 77_000 + n, 0.5, at_ms=now - 50_000 + n // 7)
        for n in range(3456)
    ]
    trades, missed = everything(source, cursor)
    assert missed == 0
    expected = [(t.id, t.price, t.quantity, t.side) for t in made]
    assert [(t.trade_id, t.price, t.quantity, t.taker_side) for t in trades] == expected
    assert all(abs(t.at_ms - m.ms) <= 1 for t, m in zip(trades, made, strict=True))
    assert {(t.venue, t.symbol) for t in trades} == {(source.venue, "BTC")}


@pytest.mark.parametrize("feed", FEEDS)
def test_no_news_is_an_empty_page_at_the_same_cursor(sim: Simulator, feed: str) -> None:
    source = FEEDS[feed](sim.market_url(feed))
    sim.market.trade(feed, "BTC", "buy", 77_000, 1)
    cursor = source.head("BTC")
    page = source.page("BTC", cursor)
    assert (page.trades, page.head, page.missed, page.skipped) == ([], True, 0, 0)
    assert source.page("BTC", page.next_cursor).next_cursor == page.next_cursor
    assert abs(page.venue_ms - time.time() * 1000) < 5000


@pytest.mark.parametrize("feed", FEEDS)
def test_ids_that_are_missing_are_counted(sim: Simulator, feed: str) -> None:
    source = FEEDS[feed](sim.market_url(feed))
    sim.market.trade(feed, "BTC", "buy", 77_000, 1)
    cursor = source.head("BTC")
    sim.market.skip_ids(feed, "BTC", 5)
    sim.market.trade(feed, "BTC", "buy", 77_000, 1)
    sim.market.skip_ids(feed, "BTC", 2)
    sim.market.trade(feed, "BTC", "buy", 77_000, 1)
    page = source.page("BTC", cursor)
    assert (len(page.trades), page.missed, page.skipped) == (2, 7, 0)
    assert source.page("BTC", page.next_cursor).missed == 0


def test_coinbase_counts_a_hole_larger_than_a_page(sim: Simulator) -> None:
    source = CoinbaseExchange(sim.market_url("coinbase"))
    sim.market.trade("coinbase", "BTC", "buy", 77_000, 1)
    cursor = source.head("BTC")
    sim.market.skip_ids("coinbase", "BTC", 5000)
    for _ in range(1200):
        sim.market.trade("coinbase", "BTC", "buy", 77_000, 1)
    trades, missed = everything(source, cursor)
    assert missed + len(trades) == 6200
    assert missed >= 5000


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("kind", ["missing", "text", "nan", "negative", "null", "list"])
def test_a_poison_row_is_skipped_alone_and_never_comes_again(sim: Simulator, feed: str, kind: str) -> None:
    source = FEEDS[feed](sim.market_url(feed))
    sim.market.trade(feed, "BTC", "buy", 77_000, 1)
    cursor = source.head("BTC")
    skipped = missed = 0
    seen: list[int] = []

    def look() -> None:
        nonlocal cursor, skipped, missed
        page = source.page("BTC", cursor)
        skipped, missed, cursor = skipped + page.skipped, missed + page.missed, page.next_cursor
        seen.extend(t.trade_id for t in page.trades)

    good = []
    for _ in range(3):
        good.append(sim.market.trade(feed, "BTC", "buy", 77_000, 1).id)
        sim.market.poison(feed, "BTC", kind)
        good.append(sim.market.trade(feed, "BTC", "sell", 77_000, 1).id)
        look()
        sim.market.poison(feed, "BTC", kind)  # the last row, for two looks
        look()
        look()
    good.append(sim.market.trade(feed, "BTC", "sell", 77_000, 1).id)
    look()
    assert seen == good
    # Kraken's pages overlap the past: a row there that shows nothing at all, alone, is told from an old one
    # only when a later id proves it.
    assert skipped + missed == 6
    assert missed == 0 or feed == "kraken"


@pytest.mark.parametrize("feed", FEEDS)
def test_an_unknown_coin_is_told_from_a_source_that_is_down(sim: Simulator, feed: str) -> None:
    sim.market.delisted.add((feed, "BTC"))
    source = FEEDS[feed](sim.market_url(feed))
    with pytest.raises(UnknownSymbol, match="does not know BTC"):
        source.head("BTC")


@pytest.mark.parametrize("volume", ["NaN", "-1", "", None, 10**400, {}])
def test_a_volume_that_is_no_number_is_left_out(volume: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = CoinbaseExchange("http://127.0.0.1:1")
    monkeypatch.setattr(source, "_get", lambda name, symbol: ({"volume": volume, "last": "50000"}, 0))
    assert source.volume_usd(["BTC"]) == {}


@pytest.mark.parametrize("feed", FEEDS)
def test_volumes_leave_out_coins_the_venue_does_not_know(sim: Simulator, feed: str) -> None:
    sim.market.delisted.add((feed, "DOGE"))
    volumes = FEEDS[feed](sim.market_url(feed)).volume_usd(["BTC", "DOGE", "ETH"])
    assert set(volumes) == {"BTC", "ETH"}
    assert volumes["BTC"] > 1e7


@pytest.mark.parametrize("feed", FEEDS)
def test_quotes_of_several_coins_are_asked_for_where_trades_are_read(sim: Simulator, feed: str) -> None:
    sim.market.books[feed, "DOGE"] = (0.1699, 0.1701)
    quotes = FEEDS[feed](sim.market_url(feed)).quotes(["BTC", "ETH", "DOGE", "SOL"])
    assert set(quotes) == {"BTC", "ETH", "DOGE", "SOL"}
    assert quotes["DOGE"] == (0.1699, 0.1701)
    sim.market.delisted.add((feed, "DOGE"))
    with pytest.raises(UnknownSymbol):
        FEEDS[feed](sim.market_url(feed)).quotes(["DOGE"])


def test_two_threads_keep_krakens_distance_between_two_requests(sim: Simulator) -> None:
    kraken = Kraken(sim.market_url("kraken"), spacing=0.2)
    asking = [threading.Thread(target=kraken.quotes, args=(["BTC"],)) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)
    at = [call.at for call in sim.market.calls if call.venue == "kraken"]
    assert len(at) == 4
    assert at[-1] - at[0] >= 0.5


@pytest.mark.parametrize("feed", ["binance", "kraken"])
def test_a_time_can_be_looked_up(sim: Simulator, feed: str) -> None:
    now = int(time.time() * 1000)
    made = [sim.market.trade(feed, "BTC", "buy", 77_000, 1, at_ms=now - 10_000 + n * 1000) for n in range(5)]
    source = FEEDS[feed](sim.market_url(feed))
    cursor = source.at("BTC", made[2].ms)
    assert cursor is not None
    page = source.page("BTC", cursor)
    assert [t.trade_id for t in page.trades] == [t.id for t in made[2:]]
    again = source.page("BTC", source.cursor_at(page.trades[1]))
    assert [t.trade_id for t in again.trades] == [t.id for t in made[3:]]


@pytest.mark.parametrize("feed", FEEDS)
def test_a_cursor_beyond_the_newest_trade_is_recognised(sim: Simulator, feed: str) -> None:
    source = FEEDS[feed](sim.market_url(feed))
    for _ in range(5):
        trade = sim.market.trade(feed, "BTC", "buy", 77_000, 1)
    head = source.head("BTC")
    newest = Trade(source.venue, "BTC", trade.id + 100, 1.0, 1.0, "buy", trade.ms + 100)
    assert source.is_beyond(source.cursor_at(newest), head)
    assert not source.is_beyond(source.page("BTC", head).next_cursor, head)


def test_binance_lists_a_few_coins_by_the_thousand(sim: Simulator) -> None:
    sim.market.volumes["1000SATS"], sim.market.prices["1000SATS"] = 5e6, 0.0002
    binance = FEEDS["binance"](sim.market_url("binance"))
    sim.market.trade("binance", "1000SATS", "buy", 0.0002, 5e9)
    (trade,) = binance.page("SATS", "3000001").trades
    assert (trade.symbol, trade.price, trade.quantity) == ("SATS", 0.0002 / 1000, 5e12)
    assert binance.volume_usd(["SATS"]) == {"SATS": 5e6}
    assert "/1000SATS_USDT" in binance.url("SATS")


@pytest.mark.parametrize("feed", FEEDS)
def test_a_coin_of_tiny_price_trades_by_the_trillion(sim: Simulator, feed: str) -> None:
    sim.market.trade(feed, "DOGE", "buy", 0.00002, 2.4e12)
    page = FEEDS[feed](sim.market_url(feed)).page("DOGE", "0:0" if feed == "kraken" else "0")
    assert ([trade.quantity for trade in page.trades], page.skipped) == ([2.4e12], 0)


def test_a_coin_with_a_name_in_another_script_is_asked_for_and_linked(sim: Simulator) -> None:
    sim.market.volumes["币安人生"], sim.market.prices["币安人生"] = 5e6, 0.2
    for feed, make in FEEDS.items():
        venue = make(sim.market_url(feed))
        trade = sim.market.trade(feed, "币安人生", "buy", 0.2, 5)
        page = venue.page("币安人生", "0:0" if feed == "kraken" else str(trade.id))
        assert [found.symbol for found in page.trades] == ["币安人生"]
        assert venue.url("币安人生").isascii()


# What an answer may be


def test_the_taker_side_is_each_venues_own_rule() -> None:
    sides = [("binance", [row(m=True)], "sell"), ("binance", [row(m=False)], "buy")]
    coinbase = {"time": "2026-09-13T10:00:00.5Z", "trade_id": 100, "price": "1", "size": "2"}
    sides += [("coinbase", [coinbase | {"side": "sell"}], "buy"), ("coinbase", [coinbase | {"side": "buy"}], "sell")]
    for letter, side in (("b", "buy"), ("s", "sell")):
        rows = [["1.0", "2.0", 1688669597.82, letter, "m", "", 100]]
        sides.append(("kraken", {"error": [], "result": {"XXBTZUSD": rows, "last": "1688669597820000000"}}, side))  # type: ignore[arg-type]
    for feed, body, side in sides:
        with Scripted(reply(json.dumps(body).encode())) as server:
            (trade,) = FEEDS[feed](server.url).page("BTC", "0:0" if feed == "kraken" else "0").trades
            assert trade.taker_side == side, feed


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"<html>maintenance</html>", 200, "HTML instead of JSON"),
        (b'[{"a":1,', 200, "broken JSON"),
        (b"", 200, "broken JSON"),
        (b"\xff\xfe\x00", 200, "broken JSON"),
        (b"[" * 100_000, 200, "broken JSON"),
        (b"null", 200, "an answer in an unknown shape"),
        (b'{"ok":false}', 200, "an answer in an unknown shape"),
        (b"<html>520</html>", 520, "HTTP 520"),
        (b"", 302, "HTTP 302"),
        (b'{"code":-1100,"msg":"x"}', 400, "HTTP 400"),
    ],
)
@pytest.mark.parametrize("feed", FEEDS)
def test_an_answer_that_is_not_what_was_promised_is_an_error(
    feed: str, body: bytes, status: int, reason: str
) -> None:
    error = error_of(body, status, feed)
    assert error.reason == reason
    assert not error.blocked
    assert not isinstance(error, UnknownSymbol)
    assert str(error) == f"{error.host}: {reason}"


@pytest.mark.parametrize(("status", "blocked"), [(451, True), (403, True), (429, False), (418, False)])
def test_refusals_say_how_long_to_stay_away(status: int, blocked: bool) -> None:
    error = error_of(b'{"code":0,"msg":"x"}', status, Retry_After="17")
    assert (error.blocked, error.retry_after) == (blocked, 3600.0 if blocked else 17.0)


def test_a_retry_after_may_be_a_date() -> None:
    until = formatdate(time.time() + 120, usegmt=True)
    assert error_of(b"{}", 429, Retry_After=until).retry_after == pytest.approx(120.0, abs=5)


@pytest.mark.parametrize("value", ["soon", "-5", "nan", ""])
def test_a_senseless_retry_after_counts_as_absent(value: str) -> None:
    assert error_of(b"{}", 429, Retry_After=value).retry_after == 60.0
    assert error_of(b"{}", 418, Retry_After=value).retry_after == 300.0
    assert error_of(b"{}", 503, Retry_After=value).retry_after is None


@pytest.mark.parametrize(
    ("feed", "status", "body"),
    [
        ("binance", 400, b'{"code":-1121,"msg":"Invalid symbol."}'),
        (
            "binance",
            400,
            b'{"code":-1100,"msg":"Illegal characters found in parameter \'symbol\'; legal range is x"}',
        ),
        ("coinbase", 404, b'{"message":"NotFound"}'),
        ("coinbase", 400, b'{"message":"Not allowed for delisted products"}'),
        ("kraken", 200, b'{"error":["EQuery:Unknown asset pair"]}'),
    ],
)
def test_a_coin_that_a_venue_does_not_have_is_no_failure_of_its_host(feed: str, status: int, body: bytes) -> None:
    assert isinstance(error_of(body, status, feed), UnknownSymbol)


def test_kraken_errors_inside_http_200_are_errors() -> None:
    assert error_of(b'{"error":["EGeneral:Too many requests"]}', feed="kraken").reason == "EGeneral:Too many requests"
    for body in (b'{"error":[],"result":{"XXBTZUSD":[]}}', b'{"error":[],"result":{"XXBTZUSD":[],"last":17.5}}'):
        assert error_of(body, feed="kraken").reason == "an answer without its cursor"


def test_a_host_that_does_not_exist_is_blocked_but_asked_again_soon() -> None:
    # The library's own exceptions, made by hand: a real look-up would leave this machine.
    pool = urllib3.HTTPConnectionPool("venue.example")
    cause = urllib3.exceptions.NameResolutionError("venue.example", HTTPConnection("x"), socket.gaierror("unknown"))
    error = requests.ConnectionError(urllib3.exceptions.MaxRetryError(pool, "/", cause))
    known = Host("http://venue.example", deadline=1)._broken(error)
    told = "the server's name was not found (DNS)"
    assert (known.reason, known.blocked, known.retry_after) == (told, True, 5.0)


def test_a_server_that_is_off_or_hangs_up_is_an_error(sim: Simulator) -> None:
    source = BinanceSpot(sim.market_url("binance"))
    for kind in ("reset", "close"):
        with pytest.raises(SourceError, match="connection"):
            fault = sim.fault(market="binance", kind=kind)
            source.head("BTC")
        fault.clear()
    sim.offline()
    with pytest.raises(SourceError, match="connection"):
        source.head("BTC")


def test_a_server_that_never_answers_is_left_at_the_deadline(sim: Simulator) -> None:
    sim.fault(market="binance", kind="hang", lasting=5)  # it hangs up then, which is another error
    with pytest.raises(SourceError, match="timeout"):
        BinanceSpot(sim.market_url("binance"), deadline=0.2).head("BTC")


def test_an_answer_of_absurd_size_is_not_taken() -> None:
    assert error_of(b" " * (BODY_LIMIT + 1)).reason == "an answer of absurd size"
    bomb = gzip.compress(b" " * (BODY_LIMIT * 4))
    assert error_of(bomb, Content_Encoding="gzip").reason == "an answer of absurd size"


def test_a_packed_answer_is_read() -> None:
    with Scripted(reply(gzip.compress(json.dumps([row(7)]).encode()), Content_Encoding="gzip")) as server:
        assert [t.trade_id for t in BinanceSpot(server.url).page("BTC", "7").trades] == [7]


def test_requests_to_one_host_share_a_connection() -> None:
    ports = set()

    def note(handler: BaseHTTPRequestHandler) -> None:
        ports.add(handler.client_address[1])
        reply(b"[]")(handler)

    with Scripted(note) as server:
        source = BinanceSpot(server.url)
        for _ in range(5):
            source.page("BTC", "1")
        source.close()
    assert len(ports) == 1


def test_no_error_shows_the_query() -> None:
    with pytest.raises(SourceError) as caught:
        BinanceSpot("http://127.0.0.1:1/base").page("BTC", "123456789")
    assert "fromId" not in str(caught.value)
    assert "123456789" not in str(caught.value)


# Single rows

SPOILT = [
    {"p": 100.0},
    {"p": "NaN"},
    {"p": "inf"},
    {"p": "0"},
    {"p": "-1"},
    {"p": "1e300"},
    {"p": None},
    {"p": "12,5"},
    {"q": "0"},
    {"q": "1e13"},
    {"q": "1e11"},  # with its price: more dollars than any order ever had
    {"q": []},
    {"T": None},
    {"T": "1789308895102"},
    {"T": 17},
    {"T": 10**30},
    {"T": True},
    {"m": None},
    {"m": "true"},
    {"m": 1},
]


@pytest.mark.parametrize("changes", SPOILT, ids=str)
def test_a_row_with_a_senseless_field_is_skipped_and_its_id_is_used_up(changes: dict[str, Any]) -> None:
    result = read([row(100), row(101, **changes), row(102)])
    assert [t.trade_id for t in result.trades] == [100, 102]
    assert (result.next_id, result.missed, result.skipped) == (103, 0, 1)


def test_an_absurd_id_does_not_carry_the_cursor_away() -> None:
    for bad in (10**18, -5, True, "101", 1.5, None):
        result = read([row(100), row(bad)])
        assert (result.next_id, result.skipped, result.missed) == (102, 1, 0), bad


def test_a_trade_far_ahead_of_the_venues_own_clock_is_not_read() -> None:
    source = BinanceSpot("http://venue.example")
    rows = [row(100), row(101, T=1_789_308_895_102 + 7_200_000)]
    assert source._parser.parse(rows, "BTC", wanted=100, venue_ms=1_789_308_896_000).skipped == 1


def test_rows_twice_or_out_of_order_or_old_are_counted_once() -> None:
    result = read([row(102), row(100), row(101), row(101), row(3)])
    assert [t.trade_id for t in result.trades] == [100, 101, 102]
    assert (result.next_id, result.missed, result.skipped) == (103, 0, 0)


def test_many_rows_of_which_none_can_be_read_are_another_api() -> None:
    with pytest.raises(SourceError, match="rows in an unknown shape"):
        read([{"id": n} for n in range(10)])
    assert read([{"id": 1}]).next_id == 101


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("apqTm"), inner, max_size=5),
    max_leaves=8,
)


@given(st.lists(JSON | st.builds(row, st.integers(95, 130)), max_size=9), st.sampled_from([0, 100]))
@settings(deadline=None)
def test_no_rows_whatever_break_the_reader_or_turn_the_cursor_back(rows: list[Any], wanted: int) -> None:
    result = read(rows, wanted)
    ids = [t.trade_id for t in result.trades]
    assert ids == sorted(set(ids))
    assert all(i >= wanted for i in ids)
    assert result.next_id >= max([wanted, *(i + 1 for i in ids)])
    assert result.missed >= 0
    assert result.next_id - wanted >= len(ids) + result.skipped
    if wanted and (ids or result.skipped):
        assert result.next_id - wanted == len(ids) + result.skipped + result.missed


def test_the_default_sources_stand_in_order_of_preference() -> None:
    urls = {name: f"http://{name}.example" for name in ("binance", "binance_api", "coinbase", "kraken")}
    sources = spot_venues(urls)
    assert [s.name for s in sources] == list(urls)
    assert [s.venue for s in sources] == ["Binance spot", "Binance spot", "Coinbase", "Kraken"]
    assert [s.host for s in sources] == [f"{name}.example" for name in urls]
    assert all(s.url("BTC").startswith("https://") and "BTC" in s.url("BTC").upper() for s in sources)


def test_requests_to_kraken_keep_their_distance_until_the_bot_stops(sim: Simulator) -> None:
    now, waited = [100.0], list[float]()

    class Hurry(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            now[0] += timeout or 0.0
            return False

    host = Host(sim.market_url("kraken"), deadline=15, spacing=1.0, clock=lambda: now[0])
    host.hurry = Hurry()
    for _ in range(3):
        host.get("/0/public/Trades", {"pair": "XBTUSD"})
        now[0] += 0.25
    assert waited == [0.0, 0.75, 0.75]
    kraken = Kraken(sim.market_url("kraken"), spacing=5.0)
    kraken.head("BTC")
    kraken.hurry()
    began = time.monotonic()
    kraken.head("BTC")
    assert time.monotonic() - began < 4


def test_ten_coins_that_fall_back_to_kraken_at_once_are_asked_for_one_a_second() -> None:
    (kraken,) = [venue for venue in spot_venues(SOURCE_DEFAULTS) if isinstance(venue, Kraken)]
    assert kraken._http._spacing == 1.0


@pytest.mark.parametrize(("feed", "path"), [("coinbase", "BTC-USD"), ("kraken", "pair=XBTUSD")])
def test_one_coin_without_a_volume_costs_no_other_its_own(sim: Simulator, feed: str, path: str) -> None:
    venue = FEEDS[feed](sim.market_url(feed))
    sim.fault(market=feed, path=path, kind="garbage200")
    assert set(venue.volume_usd(["BTC", "ETH"])) == {"ETH"}
    sim.clear_faults()
    sim.fault(market=feed, path=path, kind="html", code=451)
    with pytest.raises(SourceError):
        venue.volume_usd(["BTC", "ETH"])
