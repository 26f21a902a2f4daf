"""Time zones by the names people type, and quiet hours in them. Pure: no clock, no state.

Zones come from the system's database or from the package `tzdata` (Windows has no database). When clocks change, a
time of day that is skipped counts as the moment of the change. A time that comes twice starts quiet hours the first
time and ends them the second, so one night is not split in two.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import ModuleType

from base import text, typed
from base.typed import Unreadable

_FIXED = re.compile(r"UTC([+-])(\d{1,2})(?::(\d{2}))?")
_OFFSET = r"\(?(utc|gmt)?_?([+-])?_?(\d{1,2})(?:(?::|(?<=\d\d))(00|15|30|45)|[.,](00?|25|50?|75))?_?(?:h|hours?)?\)?"
_SUGGESTED = 4
# Abbreviations are not zones: EST has no summer time. Where a name stands for several places, ask which one is meant.
_SEVERAL = {
    "est": ("America/New_York", "America/Panama"),
    "cst": ("America/Chicago", "Asia/Shanghai"),
    "mst": ("America/Denver", "America/Phoenix"),
    "bst": ("Europe/London", "Asia/Dhaka"),
    "ist": ("Asia/Kolkata", "Asia/Jerusalem", "Europe/Dublin"),
    "ast": ("America/Halifax", "Asia/Riyadh"),
    "east": ("America/New_York", "Australia/Sydney"),
    "west": ("America/Los_Angeles", "Australia/Perth", "Europe/Lisbon"),
    "samoa": ("Pacific/Apia", "Pacific/Pago_Pago"),
    "georgia": ("Asia/Tbilisi", "America/New_York"),
    "san_jose": ("America/Los_Angeles", "America/Costa_Rica"),
    "san_juan": ("America/Puerto_Rico", "America/Argentina/San_Juan"),
    "cordoba": ("Europe/Madrid", "America/Argentina/Cordoba"),
    "asia": ("Asia/Shanghai", "Asia/Kolkata", "Asia/Singapore", "Asia/Tokyo"),
    "europe": ("Europe/London", "Europe/Berlin", "Europe/Kyiv", "Europe/Moscow"),
    "africa": ("Africa/Lagos", "Africa/Johannesburg", "Africa/Nairobi", "Africa/Cairo"),
    "america": ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles"),
}
_COUNTRY_ALIASES = {
    "uk": "britain_(uk)",
    "united_kingdom": "britain_(uk)",
    "great_britain": "britain_(uk)",
    "england": "britain_(uk)",
    "us": "united_states",
    "usa": "united_states",
    "uae": "united_arab_emirates",
    "south_korea": "korea_(south)",
    "north_korea": "korea_(north)",
    "czechia": "czech_republic",
}


def _key(words: str) -> str:
    """A name as it is looked up: lower case without accents, `_` for spaces and hyphens, no full stops."""
    plain = "".join(
        char for char in unicodedata.normalize("NFD", words.lower()) if unicodedata.category(char) != "Mn"
    )
    return re.sub(r"[\s_-]+", "_", unicodedata.normalize("NFC", plain).replace(".", "")).strip("_ ,")


# Large cities, countries in their own words, and abbreviations with one meaning, that the database does not name.
# (A library of all cities is a download of 35 MB.)
_CITIES = {
    spelled: zone
    for zone, cities in {
        "America/Los_Angeles": "san francisco, sf, san fran, seattle, san diego, las vegas, portland, "
        "la, silicon valley, california, pst, pdt, pt, pacific",
        "America/New_York": "boston, miami, washington, washington dc, philadelphia, atlanta, nyc, ny, orlando, "
        "florida, edt, et, eastern",
        "America/Chicago": "texas, dallas, houston, austin, minneapolis, san antonio, new orleans, nashville, "
        "st louis, cdt, ct, central",
        "America/Denver": "salt lake city, mdt, mt, mountain",
        "America/Toronto": "montreal, ottawa, quebec",
        "America/Vancouver": "victoria bc",
        "America/Edmonton": "calgary",
        "America/Mexico_City": "cdmx, ciudad de mexico, guadalajara",
        "America/Santiago": "valparaiso",
        "America/Sao_Paulo": "rio, rio de janeiro, brasilia, brt",
        "America/Argentina/Buenos_Aires": "caba, art",
        "Europe/London": "manchester, birmingham, edinburgh, glasgow, liverpool, britain, scotland, wales, londres",
        "Europe/Berlin": "munich, münchen, hamburg, frankfurt, cologne, köln, stuttgart, düsseldorf, leipzig, "
        "cest, mez, mesz, deutschland",
        "Europe/Madrid": "barcelona, valencia, sevilla, seville, españa",
        "Europe/Rome": "milan, milano, naples, turin, roma, florence, italia",
        "Europe/Paris": "lyon, marseille, nice, toulouse",
        "Europe/Zurich": "geneva, genève, genf, basel, bern, lausanne, zürich, schweiz, suisse",
        "Europe/Amsterdam": "rotterdam, the hague, den haag, utrecht, holland, nederland",
        "Europe/Vienna": "wien, graz, salzburg, österreich",
        "Europe/Warsaw": "krakow, warszawa, gdansk, wroclaw, polska",
        "Europe/Prague": "praha, brno",
        "Europe/Lisbon": "porto, lisboa",
        "Europe/Moscow": "st petersburg, saint petersburg, moskva, moskau, msk, москва",
        "Europe/Kyiv": "lviv, odessa, odesa, kharkiv, eest",
        "Europe/Istanbul": "ankara, izmir, türkiye, istanbul, trt",
        "Africa/Lagos": "abuja, wat",
        "Africa/Johannesburg": "cape town, pretoria, durban, sast",
        "Africa/Nairobi": "eat",
        "Asia/Dubai": "abu dhabi, gst",
        "Asia/Qatar": "doha",
        "Asia/Almaty": "astana",
        "Asia/Riyadh": "jeddah, mecca",
        "Asia/Jerusalem": "tel aviv, haifa",
        "Asia/Kolkata": "mumbai, delhi, new delhi, bangalore, bengaluru, chennai, hyderabad, pune, bombay, ahmedabad",
        "Asia/Karachi": "islamabad, lahore, pkt",
        "Asia/Shanghai": "beijing, peking, shenzhen, guangzhou, chengdu, wuhan, hangzhou, 北京, 上海, 中国",
        "Asia/Hong_Kong": "hk, hkt, 香港",
        "Asia/Taipei": "台北, 台灣, 台湾",
        "Asia/Singapore": "sg, sgt",
        "Asia/Kuala_Lumpur": "kl",
        "Asia/Tokyo": "osaka, kyoto, yokohama, nagoya, jst, 東京, 日本",
        "Asia/Seoul": "busan, korea, kst, 서울",
        "Asia/Ho_Chi_Minh": "hanoi, da nang, ho chi minh city",
        "Asia/Bangkok": "ict",
        "Asia/Manila": "pht",
        "Asia/Jakarta": "surabaya, bandung, wib",
        "Asia/Makassar": "bali, denpasar",
        "Australia/Sydney": "canberra, aest, aedt",
        "Australia/Perth": "awst",
        "Pacific/Auckland": "wellington, christchurch, nzst, nzdt",
    }.items()
    for city in cities.split(", ")
    for spelled in {_key(city), _key(re.sub("[äöü]", lambda umlaut: f"{_key(umlaut[0])}e", city))}
}


def _database() -> ModuleType:
    """The system's zones. Loaded when one is asked for: with them come Python's build settings, 0.7 MiB in all."""
    import zoneinfo

    return zoneinfo


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The zone of an IANA name or of `UTC+5:30`; UTC if this machine does not know it."""
    if name == "UTC":
        return UTC
    fixed = _FIXED.fullmatch(name)
    try:
        if fixed is not None:
            offset = timedelta(hours=int(fixed[2]), minutes=int(fixed[3] or 0))
            return timezone(-offset if fixed[1] == "-" else offset)
        found: tzinfo = _database().ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # KeyError: unknown; OSError: a name that is a folder, as "Europe"
        return UTC
    return found


def find(words: str) -> str:
    """`UTC+2` or the IANA name for `Europe/Berlin`, `berlin`, `new york`, `Munich`, `Germany`, `CET`, `+5:30`.

    Raises Unreadable.
    """
    said, names = words.strip(), _names()
    wanted = re.sub(r"\s+", "_", said.lower())
    offset = re.fullmatch(_OFFSET, wanted.replace("−", "-"), re.ASCII)
    if wanted in ("utc", "gmt", "z", "zulu"):
        return "UTC"
    if offset is not None and (offset[1] or offset[2] or not re.search("h", wanted)):
        return _fixed(said, offset)
    if not names:
        raise Unreadable(
            "The bot's machine has no time zone data. Run `pip install tzdata` there and restart the bot."
        )
    if _key(said) in _SEVERAL:
        raise _several(said, _SEVERAL[_key(said)])
    west = re.fullmatch(r"etc/gmt([+-])(\d{1,2})", wanted)
    if west is not None and wanted in names:  # in these names west is plus (POSIX)
        return find(f"utc{'-' if west[1] == '+' else '+'}{west[2]}")
    if wanted in names:
        return names[wanted]
    wanted = re.sub(r"^(?:in_|the_(?!hague))|_(?:standard_|daylight_)?time(?:_?zone)?$", "", _key(said))
    found = _places(wanted)
    if found and len({_offsets(name) for name in found}) == 1:
        return found[0]
    # Of "Berlin, Germany" or "Europe Berlin" the city.
    pieces = list(filter(None, re.split(r"[_,/\\()]+", wanted)))[:8]
    parts = ["_".join(pieces[:last]) for last in range(len(pieces) - 1, 0, -1)]
    parts += ["_".join(pieces[first:]) for first in range(1, len(pieces))]
    if found:
        raise _several(said, found)
    raise _unknown(said, wanted, min(filter(None, map(_places, parts)), key=len, default=[]))


def _fixed(said: str, found: re.Match[str]) -> str:
    """`UTC+5:30` for an offset. Raises Unreadable for one that no place has, and for a number without a sign."""
    hours, half = int(found[3]), found[4] or found[5] or ""
    half = {"5": "30", "50": "30", "75": "45", "25": "15", "00": "", "0": ""}.get(half, half)
    name = f"UTC{found[2] or '+'}{hours}{f':{half}' if half else ''}"
    if not hours and not half:
        return "UTC"
    if hours + int(half or 0) / 60 > (12 if found[2] == "-" else 14):
        raise Unreadable(f"There is no time zone “{text.clip(said, 40)}”: they go from UTC-12 to UTC+14.")
    if not (found[1] or found[2]):
        raise Unreadable(
            f"Is “{text.clip(said, 40)}” the hours from UTC?",
            meant=[name, name.replace("+", "-")][: 2 if hours <= 12 else 1],
        )
    return name


def _places(wanted: str) -> list[str]:
    """The zones of a city or of a country: its name as `_key` makes it."""
    if wanted in _CITIES:
        return [_CITIES[wanted]]
    return _cities().get(wanted) or _countries().get(wanted, [])


@lru_cache(maxsize=1)
def _cities() -> dict[str, list[str]]:
    """The database's zones by the keys of their cities, the shortest name first."""
    found: dict[str, list[str]] = {}
    for name in sorted(_names().values(), key=lambda name: (len(name), name)):
        if not name.startswith("Etc/"):
            found.setdefault(_city(name), []).append(name)
    return found


def _several(words: str, found: Sequence[str]) -> Unreadable:
    """Of a country one zone for each offset, those of large cities first."""
    large = set(_CITIES.values())
    found = sorted({_offsets(name): name for name in sorted(found, key=large.__contains__)}.values())
    found = sorted(found, key=lambda name: name not in large)[:_SUGGESTED]
    shown = text.enumerated(found, "or")
    return Unreadable(f"“{text.clip(words, 40)}” has several time zones. Did you mean {shown}?", meant=found)


def _unknown(words: str, wanted: str, found: Sequence[str]) -> Unreadable:
    if not found:
        known = {city for city, names in _cities().items() if any("/" in name for name in names)}
        long = {city for city in _CITIES if len(city) > 4}  # an abbreviation is not a word with a typo
        close = difflib.get_close_matches(wanted[:40], known | long | _countries().keys(), _SUGGESTED, 0.8)
        found = list(dict.fromkeys(name for place in close for name in _places(place)))
    shown, found = text.clip(words, 40), list({_city(name): name for name in found}.values())[:_SUGGESTED]
    if not found:
        return Unreadable(f"I don't know the time zone “{shown}”. Send a large city in it, like Berlin, or UTC+2.")
    return Unreadable(
        f"I don't know the time zone “{shown}”. Did you mean {text.enumerated(found, 'or')}?", meant=found
    )


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """IANA names by their lower case, without those that only repeat others."""
    return {
        name.lower(): name
        for name in sorted(_database().available_timezones())
        if not name.startswith(("posix/", "right/", "SystemV/")) and name not in ("Factory", "localtime")
    }


@lru_cache(maxsize=1)
def _countries() -> dict[str, list[str]]:
    """The zones of each country, by its English name: the database's own tables (tz, iso3166.tab and zone.tab)."""
    codes = {row[0]: _key(row[1]) for row in _table("iso3166.tab")}
    found: dict[str, list[str]] = {}
    for code, _, name, *_ in _table("zone.tab"):
        if code in codes and name in _names().values():
            found.setdefault(codes[code], []).append(name)
    return found | {alias: found[name] for alias, name in _COUNTRY_ALIASES.items() if name in found}


def _table(name: str) -> Iterator[list[str]]:
    """The rows of a table of the zone database; none if this machine has no such file."""
    folders = [Path(folder) for folder in _database().TZPATH]
    try:
        folders.append(Path(str(resources.files("tzdata") / "zoneinfo")))
    except ModuleNotFoundError:
        pass
    file = next((folder / name for folder in folders if (folder / name).is_file()), None)
    for line in file.read_text(encoding="utf-8").splitlines() if file is not None else []:
        if line and not line.startswith("#"):
            yield line.split("\t")


def _city(name: str) -> str:
    return _key(name.rpartition("/")[2])


def _offsets(name: str) -> tuple[timedelta | None, timedelta | None]:
    """The zone's offsets in winter and in summer: two names of one place have the same."""
    where = zone(name)
    return (datetime(2026, 1, 1, tzinfo=where).utcoffset(), datetime(2026, 7, 1, tzinfo=where).utcoffset())


@dataclass(frozen=True)
class Hours:
    """Hours of every day, from `start` to `end` in minutes after midnight; past midnight if `end` is earlier."""

    start: int
    end: int

    def __str__(self) -> str:
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (self.start, self.end))

    def until(self, now: float, where: tzinfo) -> float | None:
        """When the hours that `now` falls into end, in unix seconds; None if it falls into none."""
        return _until(self, now, where)


@lru_cache(maxsize=256)  # an alert is checked against a thousand chats, most with the same hours and zone
def _until(daily: Hours, now: float, where: tzinfo) -> float | None:
    today = datetime.fromtimestamp(now, where).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    for day in (today - timedelta(days=1), today):
        last = day + timedelta(days=1 if daily.end <= daily.start else 0)
        begins = moment(day, daily.start, where, second_time=False)
        ends = moment(last, daily.end, where, second_time=True)
        if begins <= now < ends:
            return ends
    return None


@lru_cache(maxsize=256)
def hours(words: str) -> Hours:
    """`22:00-07:00`, `22-7`, `10pm-7am`. Raises Unreadable, also if start and end are the same."""
    start, end = typed.span(words)
    if start == end:
        raise Unreadable("The start and the end are the same time. /stop or /mute ends all alerts")
    return Hours(start, end)


def hour_began(now: float, where: tzinfo) -> float:
    """Unix seconds of the last full hour in that zone (India's is half an hour off that of UTC)."""
    offset = datetime.fromtimestamp(now, where).utcoffset() or timedelta()
    return now - (now + offset.total_seconds()) % 3600


def moment(day: datetime, minute: int, where: tzinfo, *, second_time: bool) -> float:
    """Unix seconds of a time of day. day: midnight of the date, without a zone."""
    wanted = day + timedelta(minutes=minute)
    at = wanted.replace(tzinfo=where, fold=int(second_time)).timestamp()
    if _local(at, where) == wanted:
        return at
    # The clocks skip this time. `fold` gives a moment before the change and one after it; the change is between.
    early = min(wanted.replace(tzinfo=where, fold=fold).timestamp() for fold in (0, 1))
    while _local(early, where) < wanted:
        early += 60
    return early


def _local(at: float, where: tzinfo) -> datetime:
    return datetime.fromtimestamp(at, where).replace(tzinfo=None, fold=0)
