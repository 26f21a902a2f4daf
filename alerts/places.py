"""Alerts to other places than Telegram: a webhook, or what the optional package apprise knows. For the owner.

Each place has a queue of its own in the store, which one thread of its own empties in order: Telegram waits for
none of them. At least once: an alert leaves the queue when the place has taken it.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from base import secrets, text
from base.config import NETWORK
from base.env import passed_on
from base.kinds import ROOT
from base.shell import pip_command
from base.webhook import PRIVATE, NotTaken, Then, post
from base.worker import Worker
from store import Store
from store.places import Place
from store.rows import Alert

log = logging.getLogger(__name__)

IDLE = 5.0  # seconds between two looks, without a wake-up
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 600.0  # seconds between two tries
TOLD_AFTER, GIVEN_UP_AFTER = 600.0, 86400.0  # seconds of failures
TEST = "test"  # the key of a test alert
TIMEOUT = 40.0  # seconds for one alert through apprise
WEBHOOK = ("http", "https")
# Addresses that a browser shows and apprise understands; what they want is not our JSON.
_APPRISES = ("discord.com", "discordapp.com", "hooks.slack.com", "ntfy.sh")


class Places:
    """Sends what waits for each place. `worker` runs while there is one.

    may_send: may this copy of the bot send alerts now? tell_owner: keeps a message; called in a transaction. private:
    addresses that are not public are allowed, too.
    """

    def __init__(
        self,
        store: Store,
        *,
        now: Callable[[], float],
        tell_owner: Callable[[str], None],
        told: Callable[[], None],
        may_send: Callable[[], bool],
        private: bool = False,
        on_death: Callable[[str], None] | None = None,
        send: Callable[..., None] | None = None,
    ) -> None:
        self._store, self._now = store, now
        self._tell_owner, self._told, self._may_send, self._private = tell_owner, told, may_send, private
        self._send = send or deliver
        self._started = self._stopped = False
        self.worker = Worker("places", self.step, on_death=on_death)
        for place in store.places.all():
            know(place)

    def start(self) -> None:
        """Start the thread if there is a place."""
        if self._store.places.all():
            self.wake()

    def wake(self) -> None:
        """There is something to send, or a new place. Never blocks."""
        if not self._started and not self._stopped:
            self._started = True
            self.worker.start()
        self.worker.wake()

    def published(self) -> None:
        """An alert was published: if there is a place, it is perhaps for it. Never blocks."""
        if self._started:
            self.worker.wake()

    def stop(self, patience: float) -> None:
        """End the thread. What is being sent when it has to end is sent again by the next start."""
        self._stopped = True
        self.worker.stop()
        self.worker.join(patience)

    def step(self) -> float:
        """Send one alert to each place that is due; the seconds to rest. Raises StoreError."""
        if not self._may_send():
            return IDLE
        return min([IDLE, *(self._serve(place) for place in self._store.places.all())])

    def _serve(self, place: Place) -> float:
        found = self._store.places.next(place.id)
        if found is None:
            return IDLE
        outgoing, alert, test = found
        wait = place.next_at - self._now()
        if not test and (place.state == "off" or 0 < wait <= LONGEST_PAUSE * 6):  # a later time was a wrong clock's
            return IDLE if place.state == "off" else wait
        try:
            self._send(place, alert, private=self._private)
        except NotTaken as error:
            self._failed(place.id, outgoing, error, test=test)
        except Exception:  # a bug in a library must not stop the other places
            log.exception("Place %d: an alert could not be sent", place.id)
            self._failed(place.id, outgoing, NotTaken("an error inside the bot; its log has it"), test=test)
        else:
            self._took(place.id, outgoing, test=test)
            return 0.0
        return 0.0 if test else IDLE

    def _took(self, number: int, outgoing: int, *, test: bool) -> None:
        with self._store.transaction():
            self._store.places.drop(outgoing)
            place = self._store.places.get(number)
            if place is None:
                return
            if test:
                self._tell(place, "took the test alert." + (" It is on again." if place.state == "off" else ""))
            elif place.told:
                self._tell(place, "works again.")
            fresh = Place(id=place.id, chat_id=place.chat_id, url=place.url, secret=place.secret)
            self._store.places.put(replace(fresh, sent=place.sent + 1, sent_at=self._now()))
        self._told()

    def _failed(self, number: int, outgoing: int, error: NotTaken, *, test: bool) -> None:
        now, why = self._now(), text.clip(secrets.redact(str(error)), 200)
        with self._store.transaction():
            place = self._store.places.get(number)
            if place is None:
                return
            if test:
                self._store.places.drop(outgoing)
                failed = f"did not take the test alert: {why}."
                if error.then is Then.OFF and not place.sent:  # nothing ever went there
                    self._store.places.remove(place.id)
                    self._tell(place, f"{failed} It is off the list again.")
                else:
                    self._store.places.put(replace(place, problem=why))
                    self._tell(place, failed)
            else:
                self._store.places.put(self._after(place, outgoing, error, why, now))
        if test or place.tries == 0:
            log.warning("Place %d (%s) did not take an alert: %s", number, shown(place.url), why)
        self._told()

    def _after(self, place: Place, outgoing: int, error: NotTaken, why: str, now: float) -> Place:
        """The place after a failure; what follows from it is done."""
        since = place.failing_since if 0 < place.failing_since <= now else now
        failing = replace(place, problem=why, failing_since=since, tries=place.tries + 1)
        again = f"Its address may be wrong. Try: /out test {place.id}"
        if error.then is Then.OFF or now - since >= GIVEN_UP_AFTER:
            dropped = self._store.places.waiting(place.id)
            self._store.places.drop_all(place.id)
            how_long = "" if error.then is Then.OFF else f" for {text.duration(GIVEN_UP_AFTER)}"
            lost = f"{text.count(dropped, 'alert')} dropped"
            self._tell(place, f"did not work{how_long}: {why}. It is off now, {lost}. On again: /out test {place.id}")
            return replace(failing, state="off", next_at=0.0)
        if error.then is Then.NEXT:
            self._store.places.drop(outgoing)
            if place.tries == 0:
                self._tell(place, f"refused an alert: {why}. That alert is dropped. {again}")
            return failing
        pause = max(min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(place.tries, 10)), error.retry_after)
        if now - since >= TOLD_AFTER and not place.told:
            failing = replace(failing, told=1)
            waiting = text.count(self._store.places.waiting(place.id), "alert")
            self._tell(place, f"fails: {why}. Tries go on for a day, {waiting} waiting. {again}")
        return replace(failing, next_at=now + pause)

    def _tell(self, place: Place, words: str) -> None:
        self._tell_owner(f"Place {place.id} ({shown(place.url)}) {words}")


def deliver(place: Place, alert: Alert, *, private: bool) -> None:
    """Send one alert to a place. Raises NotTaken."""
    if by_apprise(place.url):
        _by_apprise(place.url, alert, private=private)
    else:
        post(place.url, body(alert), secret=place.secret, private=private)


def body(alert: Alert) -> bytes:
    """The JSON of a webhook: every field of the alert, and its time in words."""
    at = datetime.fromtimestamp(alert.at, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"version": 1, **vars(alert), "at": at}, ensure_ascii=False).encode()


def by_apprise(url: str) -> bool:
    """Is this an address for the package apprise, and not a webhook?"""
    parts = urlsplit(url)
    return parts.scheme.lower() not in WEBHOOK or (parts.hostname or "") in _APPRISES


def missing(url: str) -> str:
    """What has to be installed for this address, as a sentence; "" for nothing."""
    if not by_apprise(url) or importlib.util.find_spec("apprise") is not None:
        return ""
    command = pip_command("install", "-r", "requirements-out.txt")
    return f"Discord, Slack, ntfy, e-mail and the like need the package apprise. On the bot's machine: {command}"


def _by_apprise(url: str, alert: Alert, *, private: bool) -> None:
    if words := missing(url):
        raise NotTaken(words)
    at = datetime.fromtimestamp(alert.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    words = "\n".join(line for line in (alert.facts, f"{alert.venue} · {at}", alert.url) if line)
    wish = {"url": url, "title": alert.headline, "body": words, "private": private}
    import subprocess  # few bots need it

    try:
        done = subprocess.run(
            [sys.executable, "-m", "alerts.notify"],
            input=json.dumps(wish).encode(),
            capture_output=True,
            cwd=ROOT,
            env=passed_on(*NETWORK, *map(str.lower, NETWORK)),
            timeout=TIMEOUT,
            check=False,
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise NotTaken(f"no answer within {TIMEOUT:g} s") from None
    except (OSError, ValueError):
        raise NotTaken("the package apprise ended with an error") from None
    if answer["unreadable"]:
        raise NotTaken("apprise cannot read this address (github.com/caronc/apprise lists the forms)", Then.OFF)
    if not answer["took"] and answer["refused"]:
        raise NotTaken(PRIVATE, Then.OFF)
    if not answer["took"]:
        raise NotTaken(str(answer["why"]).rstrip(".") or "it was not taken")


def shown(url: str) -> str:
    """The address as it may be shown: where it leads, without anything that could be a secret."""
    parts = urlsplit(url)
    if parts.scheme.lower() in WEBHOOK:
        return f"{parts.scheme.lower()}://{text.clip(parts.hostname or '', 64)}"
    return f"{parts.scheme.lower()}://…"


def know(place: Place) -> None:
    """Keep the secrets of a place out of every text from now on."""
    secrets.know(*_secrets(place.url), *([place.secret] if place.secret else []), typed=True)


def _secrets(url: str) -> Iterable[str]:
    """The address as a whole and in parts. A short part without a digit may be an ordinary word, a number an id that
    is also a chat's: neither is taken out of texts."""
    bare = url.partition("://")[2]
    parts = urlsplit(url)
    host = "" if parts.scheme.lower() in WEBHOOK else parts.netloc
    split = re.split(r"[/?&=#@:]", f"{host}/{parts.netloc.rpartition('@')[0]}/{parts.path}/{parts.query}")
    telling = [part for part in split if len(part) >= 16 or any(map(str.isdigit, part))]
    for part in (url, unquote(url), bare, bare.partition("/")[2], *telling):
        if not part.lstrip("-").isdecimal():
            yield part
    yield from secrets.passwords(url)
