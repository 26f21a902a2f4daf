"""Words and numbers as people read them: amounts, prices, durations, times, safe HTML for Telegram. Pure, no state.

Message length and HTML rules: the Bot API's "Formatting options" and `sendMessage` (at most 4096 characters).
"""

from __future__ import annotations

import codecs
import itertools
import math
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

MESSAGE_LIMIT = 4096
_utf16 = codecs.getencoder("utf-16-le")  # found now: later Python's own files may be closed to the process


def usd(amount: float) -> str:
    """A compact dollar amount without the sign: 950, 84.2k, 840k, 1.25M, 2.1B."""
    for factor, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        # 999,500 and up would round to "1000k": it belongs to the next unit.
        if abs(amount) >= factor * 0.9995:
            whole = len(str(int(abs(amount / factor))))
            return _trim(f"{amount / factor:.{max(0, 3 - whole)}f}") + unit
    return f"{amount:.0f}"


def signed_usd(amount: float) -> str:
    """A compact dollar amount with its sign: +1.25M, -840k, 0."""
    shown = usd(abs(amount))
    return shown if shown == "0" else f"{'-' if amount < 0 else '+'}{shown}"


def price(value: float, *, beside: float | None = None) -> str:
    """A price with what matters of it: 76,980 or 1,234.5 or 0.08213 (four significant digits when small).

    beside: the price shown next to it; both have as many decimals as tell the two apart.
    """
    if beside is None or beside == value:
        return _price(value)
    pairs = ((_price(value, more), _price(beside, more)) for more in range(9))
    shown, other = next((pair for pair in pairs if pair[0] != pair[1]), (_price(value), _price(beside)))
    decimals = max(len(number.partition(".")[2]) for number in (shown, other))
    return shown if shown == "0" else f"{value:,.{decimals}f}"


def exact(value: float) -> str:
    """A price that somebody set, with all its decimals: 79,500.5."""
    shown = price(value)
    if shown == "0" or float(shown.replace(",", "")) == value:
        return shown
    return _trim(f"{value:,.{max(10, price_decimals(value) + 6)}f}")


def _price(value: float, more: int = 0) -> str:
    if value <= 0:
        return "0"
    return _trim(f"{value:,.{price_decimals(value) + more}f}")


def price_decimals(value: float) -> int:
    """How many decimals a price above 0 is shown with, before zeros at its end are left out."""
    return 0 if value >= 10_000 else 2 if value >= 100 else 4 if value >= 1 else 3 - math.floor(math.log10(value))


def percent(share: float) -> str:
    """A change with its sign: +1.2 %, -0.4 %, 0.0 %."""
    rounded = round(share * 100, 1)
    return f"{rounded:+.1f} %" if rounded else "0.0 %"


def duration(seconds: float) -> str:
    """A length of time in at most two units: 0.03 s, 12 s, 4 min, 2 h 13 min, 3 d 4 h."""
    if seconds < 10:
        return f"{_trim(f'{seconds:.2f}')} s"
    minutes = round(seconds) // 60
    if not minutes:
        return f"{round(seconds)} s"
    parts = [(minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min")]
    first = next(place for place, (number, _) in enumerate(parts) if number)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number)


def span(seconds: float) -> str:
    """A length of time as traders say it: a day is `24 h`."""
    said = duration(seconds)
    return "24 h" if said == "1 d" else said


def clock(at: float, *, now: float | None = None, zone: tzinfo = UTC, named: bool = True) -> str:
    """A time of day, `14:03:07 UTC+1`; with the date in front when `now` is given and is another day there.

    named=False leaves out the zone. It is an offset, because names like CST or IST stand for several zones.
    """
    moment = datetime.fromtimestamp(at, zone)
    day = now is not None and moment.date() != datetime.fromtimestamp(now, zone).date()
    shown = moment.strftime("%Y-%m-%d %H:%M:%S" if day else "%H:%M:%S")
    return f"{shown} {offset_at(at, zone)}" if named else shown


def offset_at(at: float, zone: tzinfo) -> str:
    """The zone's offset at that time: `UTC`, `UTC+1`, `UTC-3:30`."""
    minutes = round((datetime.fromtimestamp(at, zone).utcoffset() or timedelta()).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    if not minutes:
        return "UTC"
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")


def count(number: int, noun: str) -> str:
    """`1 order`, `7 orders`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def enumerated(words: Sequence[str], word: str) -> str:
    """`one, two or three`; `word` stands before the last one."""
    return f" {word} ".join([*filter(None, [", ".join(words[:-1])]), *words[-1:]])


def row(name: str, words: str) -> str:
    """A line for the terminal: a short name, then what there is to say, perhaps by others."""
    return f"  {name:<8}  {plain(words)}"


def escape(raw: str) -> str:
    """Text of others made safe inside Telegram HTML."""
    return raw.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def plain(raw: str) -> str:
    """Text of others without control characters, line ends and changes of direction; its length stays."""
    if raw.isprintable():
        return raw
    return "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in raw)


def one_line(raw: str) -> str:
    """Text of others as one line without control characters: it cannot forge a line of the log or of a message."""
    return " ".join(plain(raw).split())


def name(raw: str) -> str:
    """The name of a person or a chat: one line without mentions and changes of direction."""
    return one_line(raw.replace("@", ""))


def quoted(named: str, limit: int) -> str:
    """A name in quotes, isolated so that its right-to-left letters move nothing else (FSI, PDI)."""
    return f"“\u2068{clip(named, limit)}\u2069”"


def handle(username: str) -> str:
    """`@name` of a bot; test servers have bots without one."""
    return f"@{username}" if username else "a bot without a user name"


def clip(raw: str, limit: int) -> str:
    """At most `limit` UTF-16 units, with an ellipsis when something was cut."""
    return raw if _units(raw) <= limit else raw[: _fitting(raw, limit - 1)] + "…"


def split(message: str, limit: int = MESSAGE_LIMIT) -> list[str]:
    """Parts of at most `limit` UTF-16 units, cut at line ends. Our HTML never spans lines, so tags stay whole.

    Telegram counts UTF-16 code units; a single line longer than the limit is cut where it must be.
    """
    parts: list[str] = []
    for line in message.split("\n"):
        if parts and _units(parts[-1]) + 1 + _units(line) <= limit:
            parts[-1] += f"\n{line}"
            continue
        rest = line
        while _units(rest) > limit:
            room = _fitting(rest, limit)
            parts.append(rest[:room])
            rest = rest[room:]
        parts.append(rest)
    return [part for part in parts if part] or [""]


def _fitting(line: str, limit: int) -> int:
    """How many characters of a line have at most `limit` UTF-16 units."""
    sizes = itertools.accumulate(_units(char) for char in line)
    return next((place for place, units in enumerate(sizes) if units > limit), len(line))


def _units(value: str) -> int:
    return len(_utf16(value, "surrogatepass")[0]) // 2


def _trim(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
