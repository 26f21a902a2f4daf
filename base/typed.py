"""What people type, read as values: numbers, amounts, lengths of time, times of day. Pure: no clock, no state.

Amounts are read as Americans and as Europeans write them. Where the two differ (`1.500m`), `amounts` gives both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

MOST_USD = 1e15
LONGEST = 365 * 86400.0  # seconds

_FACTORS = {
    word: factor
    for factor, words in {
        1.0: ("",),
        1e3: ("k", "к", "thousand", "thousands", "tsd"),
        1e5: ("lakh", "lakhs", "lac"),
        1e6: ("m", "м", "mn", "mm", "kk", "mil", "mio", "mln", "mill", "million", "millions"),
        1e7: ("cr", "crore", "crores"),
        1e9: ("b", "bn", "bil", "mrd", "billion", "billions"),
    }.items()
    for word in words
}
_SECONDS = {
    word: seconds
    for seconds, words in {
        60.0: ("m", "min", "mins", "minute", "minutes"),
        3600.0: ("h", "hr", "hrs", "hour", "hours", "std"),
        86400.0: ("d", "day", "days"),
        604800.0: ("w", "week", "weeks"),
        30 * 86400.0: ("mo", "month", "months"),
        LONGEST: ("y", "yr", "year", "years"),
    }.items()
    for word in words
}
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10, "twelve": 12}
_DOLLARS = r"us\$|\$|b?usd[tc]?(?![a-z])|\b(?:dollars?|bucks|tether)\b"
_OTHER_MONEY = r"[€£¥₽₹₩₺₴₦]|(?<![a-z])(?:eur|euros?|gbp|chf|jpy|cny|rub|inr|try|brl|cad|aud|krw|pounds?|yen|yuan)\b"
_AMOUNT_OF_TIME = r"([0-9]{1,9}(?:[.,][0-9]{1,9})?)\s*([^\W\d_]+)"
_CLOCK = r"(\d{1,2})(?:[:.h]?(\d{2})(?::00)?)?\s*(?:([ap])\.?m\.?|uhr|o['’]?clock)?"
_POLITE = ("please", "pls", "plz", "thanks", "thank", "you", "thx")
_AROUND = r"""["'“”„«‹`*_(\[<]+([^"'“”«»›`*_()\[\]<>]+)["'“”»›`*_)\]>]+"""


# Signs of other scripts as the ones that are read here, and marks that only change the direction of writing or are
# not seen at all.
_SIGNS = {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {"\u3000": " "}  # full width
_SIGNS |= {"٫": ".", "٬": ",", "٪": "%", "،": ",", "、": ","}
_SIGNS |= dict.fromkeys("\u00ad\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060", "")
_SIGNS |= dict.fromkeys("\u2066\u2067\u2068\u2069\ufeff", "")


class Unreadable(ValueError):
    """What was typed can't be used. str() is a sentence for whoever typed it. meant: what it may stand for."""

    def __init__(self, sentence: str, *, meant: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.meant = tuple(meant)


def usual(said: str) -> str:
    """The same with the digits and signs of other scripts (Arabic, Devanagari, full width and others) as ours."""
    if said.isascii():
        return said
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else _SIGNS.get(char, char) for char in said)


def with_units(words: Sequence[str]) -> list[str]:
    """The words with a number and its unit in one: `7 d` as `7d`."""
    return re.sub(
        r"(?<!\S)(\d+) (?=(?:[mhdw]|min|mins|minutes?|hours?|days?|weeks?)\b)", r"\1", " ".join(words)
    ).split()


def tidy(said: str) -> str:
    """The same without what changes nothing: `please`, emoji, quotes and brackets around it, a full stop."""
    words = [word for word in said.split() if word.isascii() or not is_picture(word)]
    while words and words[0].strip(",.!").lower() in _POLITE:
        del words[0]
    while words and words[-1].strip(",.!").lower() in _POLITE:
        del words[-1]
    bare = " ".join(words).rstrip("!?;,…。！？ ")
    if not bare.rstrip(".")[-1:].isdecimal():  # 31.12. is a date
        bare = bare.rstrip(".")
    around = re.fullmatch(_AROUND, bare) if len(bare) < 100 else None
    return (around[1] if around is not None else bare).strip()


def is_picture(word: str) -> bool:
    """Does this word have nothing but emoji?"""
    return all(unicodedata.category(char) in (*_DROPPED, "Me") for char in word)


def number(typed: str, low: float, high: float) -> float:
    """A number from `low` to `high`, like `20` or `0.5`. Raises ValueError for anything else."""
    if not re.fullmatch(r"\d{1,15}|\d{0,15}\.\d{1,15}", typed.strip(), re.ASCII) or not low <= float(typed) <= high:
        raise ValueError(f"not a number from {low:g} to {high:g}: {typed!r}")
    return float(typed)


def whole(typed: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`, like `20`. Raises ValueError for anything else."""
    if not re.fullmatch(r"\d{1,15}", typed.strip(), re.ASCII) or not low <= int(typed) <= high:
        raise ValueError(f"not a whole number from {low} to {high}: {typed!r}")
    return int(typed)


def user_id(typed: str) -> int:
    """A Telegram user id: a positive whole number of at most 15 digits. Raises ValueError for anything else."""
    return whole(typed, 1, 10**15)


def amount(typed: str) -> float:
    """US dollars, as an American means it: a comma before three digits separates thousands. Raises Unreadable."""
    return amounts(typed)[0]


def amounts(typed: str) -> list[float]:
    """What an amount in US dollars can mean, the American reading first: one value, or two for `1.500m`.

    It reads `250,000`, `1 000 000`, `1.000.000`, `5,00,000`, `2,5m`, `$2m`, `500k USD`, `2 million`, `half a
    million`, `1e6`. Raises Unreadable.
    """
    words = _plain(typed)
    if is_other_money(words):
        raise Unreadable("Amounts are in US dollars, like 500k or 2.5m.")
    words = in_digits(re.sub(_DOLLARS, " ", words).strip().lstrip("+~≈≥> ").rstrip("+!;, "))
    found = re.fullmatch(r"([0-9.,][0-9.,_'’ ]*?)\s*([^\W\d_]*)\.?", words)
    science = re.fullmatch(r"\d{1,15}(?:\.\d{1,15})?e\+?\d{1,2}", words, re.ASCII)
    if science is not None:
        values = [float(words)]
    elif found is not None and len(words) < 40 and found[2] in _FACTORS:
        values = [value * _FACTORS[found[2]] for value in _values(found[1])]
    else:
        values = []
    values = list(dict.fromkeys(value for value in values if 0 < value < MOST_USD))[:2]
    if not values:
        raise Unreadable(f"I can't read “{_shown(typed)}” as an amount. Write 500k, 2.5m or 2500000.")
    return values


def is_other_money(typed: str) -> bool:
    """Does it name a currency that is not the US dollar?"""
    return re.search(_OTHER_MONEY, _plain(typed)) is not None


def _values(digits: str) -> list[float]:
    """The values of digits with separators; none if they stand where no one puts them."""
    if re.search(r"[ _'’]", digits):
        if not re.fullmatch(_grouped("[ _'’]") + r"([.,]\d+)?", digits):
            return []
        whole, _, rest = re.sub(r"[ _'’]", "", digits).replace(",", ".").partition(".")
        return [float(f"{whole}.{rest or 0}")]
    marks = re.sub(r"\d", "", digits)
    if not marks:
        return [float(digits)]
    if re.fullmatch(r"\d{1,2}(?:,\d{2})+,\d{3}", digits):  # as Indians group
        return [float(digits.replace(",", ""))]
    head, last, tail = digits.rpartition(marks[-1])
    if not tail or (not head and len(tail) == 3):
        return []
    if len(set(marks)) == 2:  # the last one is the decimal mark, the others group
        groups = re.fullmatch(_grouped(re.escape(marks[0])), head)
        return [float(f"{re.sub(r'[.,]', '', head)}.{tail}")] if groups else []
    thousands = re.fullmatch(_grouped(re.escape(last)), digits) is not None and digits[0] != "0"
    values = [float(re.sub(r"[.,]", "", digits))] if thousands else []
    if len(marks) == 1:
        values.insert(0 if last == "." else 1, float(f"{head or 0}.{tail}"))
    return values


def _grouped(mark: str) -> str:
    """The pattern of digits in groups of three."""
    return rf"\d{{1,3}}(?:{mark}\d{{3}})+"


def length(typed: str, *, unit: str = "") -> float:
    """Seconds from `30m`, `30 min`, `2h30`, `half an hour`, `1 week`, at most a year. Raises Unreadable.

    unit: of a number alone; without one it is refused.
    """
    typed = f"{typed}{unit}" if typed.isdecimal() else typed
    words = in_digits(re.sub(r"(?<!a )\bhalf (?:an? )?(?=hour|day)", "0.5 ", _plain(typed)).lstrip("+"))
    words = re.sub(r"^(?:the )?(?:last |next |past )?(hour|day|week|month)$", r"1 \1", words)
    words = re.sub(r"\b(\d+)(?: (hour|day|week)s?)? and a half\b", r"\1.5 \2", words)
    words = re.sub(r"(?<=\d)(\s*(?:h|hrs?|hours?))\s*(\d{1,2})$", r"\1 \2 min", words)
    words = re.sub(r"^for\b|\band\b|(?<=[^\W\d]),|\+|\.(?!\d)", " ", words)
    parts = re.findall(_AMOUNT_OF_TIME, words)
    seconds = sum(float(value.replace(",", ".")) * _SECONDS.get(unit, float("nan")) for value, unit in parts)
    if re.sub(_AMOUNT_OF_TIME, "", words).strip() or not 0 < seconds <= LONGEST:
        raise Unreadable(f"I can't read “{_shown(typed)}” as a length of time. Use 30m, 2h or 1d.")
    return seconds


def clock(typed: str) -> int:
    """Minutes after midnight of `9`, `9am`, `9:30 pm`, `21:30`, `2130`, `24:00` (0) or `noon`. Raises Unreadable."""
    words = halves_of_day(_plain(typed))
    words = {"noon": "12:00", "midday": "12:00", "midnight": "0:00"}.get(words, words)
    found = re.fullmatch(_CLOCK, words)
    if found is not None:
        hour, minute, half = int(found[1]), int(found[2] or 0), found[3]
        if half and 1 <= hour <= 12:
            hour = hour % 12 + (12 if half == "p" else 0)
        elif half and not (half == "p" and hour > 12):  # 22pm is 22:00
            hour = 99
        if minute < 60 and hour * 60 + minute <= 24 * 60:
            return (hour * 60 + minute) % (24 * 60)
    raise Unreadable(f"I can't read “{_shown(typed)}” as a time. Write 09:00, 21:30 or 9pm.")


def halves_of_day(words: str) -> str:
    """`9 in the morning` as `9am`, `10 at night` as `10pm`."""
    words = re.sub(r"(?<=\d) in the morning\b", "am", words)
    return re.sub(r"(?<=\d) (?:in the (?:evening|afternoon)|at night)\b", "pm", words)


def span(typed: str) -> tuple[int, int]:
    """The times of `22:00-07:00`, `22-7`, `10pm to 7am`, `from 2200 until 0700`, `22h-7h`. Raises Unreadable."""
    words = re.sub(r"\s+(?=[ap]\.?m\b|uhr\b)", "", halves_of_day(_plain(typed))).rstrip(". ")
    words = re.sub(r"^(?:from|between)\s+", "", words)
    one = r"(?:\d[\d:.h]*(?:[ap]\.?m?\.?(?![a-z])|uhr)?|noon|midday|midnight)"
    between = r"-+>?|–|—|−|‐|‑|~|〜|→|/|\.\.+|(?<=\s)(?:to|and|until|till?|bis)(?=\s)|(?=\s)"
    found = re.fullmatch(rf"({one})\s*(?:{between})\s*({one})\.?", words)
    try:
        if found is not None:
            first, last = (
                re.sub(r"h$|(?<=[ap])$", lambda end: "" if end[0] else "m", part) for part in found.groups()
            )
            return clock(first), clock(last)
    except Unreadable:
        pass
    raise Unreadable(f"I can't read “{_shown(typed)}” as a time range. Write 22:00-07:00 or 10pm-7am.")


def in_digits(words: str) -> str:
    """`two` as 2, `an hour` as `1 hour`, `half a million` as `0.5 million`."""
    words = re.sub(r"^half an? ", "0.5 ", words)
    words = re.sub(r"(?<!and )\ban? (?=[^\W\d])", "1 ", words)
    return re.sub(rf"\b(?:{'|'.join(_NUMBERS)})\b", lambda word: str(_NUMBERS[word[0]]), words)


def _plain(typed: str) -> str:
    """Lower case, one kind of space, no emoji, full-width forms as usual ones. `10²` does not become 102."""
    flat = "".join("?" if char.isdigit() and not char.isdecimal() else char for char in typed.lower())
    normal = unicodedata.normalize("NFKC", flat)
    kept = (char for char in normal if unicodedata.category(char) not in _DROPPED or char == "^")
    return " ".join("".join(kept).split())


_DROPPED = ("So", "Sk", "Mn", "Cf", "Co", "Cn", "Cs")


def _shown(typed: str) -> str:
    words = " ".join(typed.split())
    return words if len(words) <= 32 else f"{words[:31]}…"
