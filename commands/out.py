"""/out: the owner's other places for alerts. They get what the owner's private chat chooses; places.py sends it."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from alerts import places
from alerts.places import TEST, by_apprise, missing, shown
from base import kinds, text
from base.public import is_private_name
from base.webhook import PRIVATE, SIGNATURE
from botapi.updates import Update
from commands.context import Context, Reply, Usage
from store.places import Place
from store.rows import Alert

MOST = 10
LENGTH = 1000  # characters of an address
# Addresses of other things; whether apprise knows one more is found out by the test alert.
OTHERS = (
    "ftp",
    "ftps",
    "sftp",
    "scp",
    "ssh",
    "telnet",
    "file",
    "data",
    "javascript",
    "ws",
    "wss",
    "tg",
    "sms",
    "tel",
    "git",
    "ldap",
    "smb",
    "nfs",
    "magnet",
    "redis",
    "mysql",
    "postgres",
    "postgresql",
    "mongodb",
)
WORKS = "These work: https:// (a webhook), and discord://, slack://, ntfy://, mailto:// and others of apprise."
RULES = (
    "This chat's settings choose which alerts go there (kinds, coins, sizes, sides). Mutes, quiet hours and the "
    "hourly limit are for Telegram only."
)


def out(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """List, add, remove or test the places."""
    if not update.private:
        raise Usage("Addresses are secret: use /out in our private chat.")
    word, *rest = arguments or ["list"]
    if word.lower() == "list" and not rest:
        return [Reply(text=_listed(context, update))]
    if word.lower() == "add" and len(rest) in (1, 2):
        return _add(context, update, *rest)
    if word.lower() in ("remove", "delete", "test") and len(rest) == 1:
        place = _place(context, rest[0])
        if word.lower() == "test":
            return _test(context, place, f"A test alert is on its way to {_named(place)}.")
        context.store.places.remove(place.id)
        return [Reply(text=f"{_named(place)} is removed.")]
    raise Usage("Use /out add ADDRESS, /out remove N or /out test N")


def lines(context: Context, update: Update) -> list[str]:
    """Each place and how it is, for /status."""
    return [_line(context, update, place) for place in context.store.places.all()]


def _add(context: Context, update: Update, url: str, secret: str = "") -> list[Reply]:
    chat = context.need_chat(update)
    known = context.store.places.all()
    if same := [place for place in known if place.url == url]:
        raise Usage(f"That address is on the list already: {_named(same[0])}")
    scheme = urlsplit(url).scheme.lower() if "://" in url and len(url) <= LENGTH else ""
    if scheme in OTHERS:
        raise Usage(f"Alerts cannot go to {scheme}://. {WORKS}")
    if not scheme or (not by_apprise(url) and not kinds.is_address(url)):
        raise Usage(f"That is no address. {WORKS}")
    if is_private_name(urlsplit(url).hostname or "") and not context.out_private:
        raise Usage(f"It was not added: {PRIVATE}")
    if words := missing(url):
        return [Reply(text=words)]
    if len(known) >= MOST:
        raise Usage(f"There can be up to {MOST} places. Remove one: /out remove 1")
    signed = not by_apprise(url)
    given = bool(secret)
    secret = (secret or secrets.token_urlsafe(24)) if signed else ""
    place = Place(chat_id=chat.chat_id, url=url, secret=secret)
    place = Place(**vars(place) | {"id": context.store.places.add(place)})
    places.know(place)
    said = [f"{_named(place)} is added, and a test alert is on its way. {RULES}"]
    if signed:
        key = "your secret" if given else f"this secret, which is shown only now: {secret}"
        said.append(f"Header {SIGNATURE}: sha256= and the HMAC-SHA256 of the body in hex, with {key}")
    if scheme == "http":
        said.append("It is http: everyone on the way can read the alerts. Use https if you can.")
    said.append("You can delete your message with the address.")
    return _test(context, place, "\n".join(said))


def _test(context: Context, place: Place, said: str) -> list[Reply]:
    now = int(context.now() * 1000)
    alert = Alert(
        key=f"{TEST}:{place.id}:{now}",
        monitor=TEST,
        symbol="BTC",
        side="buy",
        usd=2_500_000.0,
        headline="TEST: BTC buy 2.5M USD",
        facts="This is a test, not a real trade.",
        at_ms=now,
        venue="CryptoSat",
        url="",
    )
    context.store.places.enqueue(place.id, alert, test=True)
    context.places_changed()
    return [Reply(text=said)]


def _place(context: Context, number: str) -> Place:
    place = context.store.places.get(int(number)) if number.isascii() and number.isdecimal() else None
    if place is None:
        raise Usage(f"There is no place {text.clip(number, 16)}. /out lists them")
    return place


def _listed(context: Context, update: Update) -> str:
    found = lines(context, update)
    if not found:
        return f"Alerts go to Telegram only. Send them elsewhere, too: /out add https://… \n{RULES}"
    return "\n".join([*found, RULES, "Change it: /out add ADDRESS, /out remove N, /out test N"])


def _line(context: Context, update: Update, place: Place) -> str:
    zone, now = context.zone(update), context.now()
    waiting = context.store.places.waiting(place.id)
    if place.state == "off":
        state = f"off: {place.problem}. On again: /out test {place.id}"
    elif place.problem and place.failing_since:
        since = text.clock(place.failing_since, now=now, zone=zone)
        state = f"fails since {since}: {place.problem}; {text.count(waiting, 'alert')} waiting"
    elif place.sent:
        at = text.clock(place.sent_at, now=now, zone=zone)
        state = f"works, {text.count(place.sent, 'alert')} sent, the last {at}"
    else:
        state = f"nothing sent yet{f' ({place.problem})' if place.problem else ''}"
    return f"{_named(place)}: {state}"


def _named(place: Place) -> str:
    return f"Place {place.id} ({shown(place.url)})"
