"""The demo's terminal: as wide as it is, the typed line whole, colours for those who want them."""

from __future__ import annotations

import io
import sys
import unicodedata

import pytest

from manage.screen import NARROW, Screen, has_colour

LONG = (
    "🟢 BTC buy 2.4M USD at 77,030\n40 fills in 0.09 s · price 77,000 → 77,060\n\n"
    "Two copies of this bot are running: https://www.binance.com/en/trade/BTC_USDT?type=spot-and-a-very-long-address"
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def rows(output: str) -> list[str]:
    """What stands on the terminal after the output: `\\r` goes back to the start of the row."""
    shown = []
    for line in output.split("\n"):
        row = ""
        for part in line.split("\r"):
            row = part + row[len(part) :]
        shown.append(row.rstrip())
    return shown


def columns(row: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in row)


@pytest.mark.parametrize("width", [50, 80, 120])
@pytest.mark.parametrize("typing", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, typing: bool) -> None:
    stream = io.StringIO()
    screen = Screen(stream, typing=typing, width=lambda: width)
    screen.say(LONG)
    screen.tell(LONG)
    screen.message(
        "Bot", LONG, edited=True, buttons=["Mute BTC 1 h", "Mute BTC 24 h", "Pause alerts of this copy"] * 3
    )
    screen.message("You", "/ping " + "x" * 300)
    screen.type("/ping " + "y" * 300)
    shown = rows(stream.getvalue())
    assert max(map(columns, shown)) <= width
    assert max(map(columns, shown)) > width - 12, "the room is used"
    assert "[Pause alerts of this copy]" in stream.getvalue()
    assert any(row.endswith("  Bot") for row in shown) == (width < NARROW), "the head stands above a narrow message"


def test_the_line_that_is_typed_stays_whole_below_what_is_printed() -> None:
    stream = io.StringIO()
    screen = Screen(stream, typing=True, width=lambda: 80)
    assert screen.type("/thre") == []
    screen.message("Bot", "BTC buy 2.4M USD")
    assert screen.type("shold BTC 5m") == []
    screen.tell("Something else happens.")
    shown = rows(stream.getvalue())
    assert shown[-1] == "> /threshold BTC 5m"
    assert "> " not in "".join(shown[:-1]), "it stands there once"
    assert screen.type("\r") == ["/threshold BTC 5m"]
    assert rows(stream.getvalue())[-1] == ">"


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ("/helq\x7fp\n", ["/help"]),
        ("/help\r\n/ping\n", ["/help", "/ping"]),
        ("/whales\x1b[A\x1b[1;5C\x1bOP BTC\n", ["/whales BTC"]),  # arrows and function keys
        ("/watch BTC\x17ETH\n", ["/watch ETH"]),
        ("/watch BTC\x15/help\n", ["/help"]),
        ("\x7f\x7fпривет\t\n", ["привет"]),
    ],
)
def test_the_usual_keys_edit_the_line(keys: str, lines: list[str]) -> None:
    screen = Screen(io.StringIO(), typing=True)
    assert [line for key in keys.replace("\x1b", "\0\x1b").split("\0") for line in screen.type(key)] == lines


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_ctrl_c_and_ctrl_d_end_it(key: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        Screen(io.StringIO(), typing=True).type(key)


@pytest.mark.skipif(sys.platform == "win32", reason="asks the console there")
@pytest.mark.parametrize(
    ("stream", "environ", "expected"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_a_terminal_and_not_with_no_color(
    stream: io.StringIO, environ: dict[str, str], expected: bool
) -> None:
    assert has_colour(stream, environ) is expected


def test_without_colour_no_escape_is_printed_and_with_it_no_line_stays_coloured() -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    for stream in (plain, coloured):
        screen = Screen(stream, colour=stream is coloured, width=lambda: 50)
        screen.tell(LONG)
        screen.message("Bot", LONG, edited=True, buttons=["Mute BTC 1 h"])
    assert "\x1b" not in plain.getvalue()
    assert "\x1b" in coloured.getvalue()
    assert all(line.count("\x1b") % 2 == 0 for line in coloured.getvalue().splitlines())
