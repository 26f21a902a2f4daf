"""The example under an error: the form of the command that is nearest to what was typed."""

from __future__ import annotations

import re

# For a command: what was typed, as a pattern, and the example for it. The first one that is found is shown.
_NEARER = {
    "alert": {
        r"\bwhales?\b": "/threshold whales BTC 2m",
        r"\bliq": "/threshold liquidations 1m",
        r"\bfunding\b": "/threshold funding 0.03",
        r"\b(?:oi|interest)\b": "/threshold oi 5",
        r"\bsnooze\b": "/alert snooze 3 4h",
        r"\b(?:remove|delete|del|rm|cancel)\b": "/alert remove 3",
        r"\bvol": "/alert BTC volume x3",
        r"\ball\b": "/alert all 5% in 1h",
        r"%|\bin \d|\bmoves?\b": "/alert BTC 5% in 1h",
        r"\b(?:between|range|outside)\b": "/alert BTC between 70k and 80k",
        r"\b(?:until|till|expires)\b": "/alert BTC 100k until 31 Dec",
        r"\b(?:repeat|every|cooldown)\b": "/alert BTC 100k repeat every 1h",
        r"\bfor\b": "/alert BTC 100k for 7d",
    },
    "threshold": {
        r"\bfunding\b": "/threshold funding 0.03",
        r"\boi\b|\binterest\b": "/threshold oi 5",
        r"\bliq": "/threshold liquidations 1m",
    },
    "mute": {r"\b(?:until|till|tomorrow|tonight)\b": "/mute until fri 18:00"},
    "level": {
        rf"\b{kind[:3]}": f"/level {kind} silent"
        for kind in ("liquidations", "funding", "oi", "wallets", "prices", "all")
    },
    "side": {r"\bliq|\blong|\bshort": "/side longs"},
    "export": {r"\bcandle": "/export candles 7d BTC"},
    "chart": {r"\b(?:light|dark)\b": "/chart BTC light"},
    "digest": {r"\bcron\b": "/digest cron 30 8 * * 1-5", r"\b(?:every|each|hour)": "/digest every 4h"},
    "schedule": {
        r"\b(?:pause|resume|remove|delete)\b": "/schedule pause 3",
        r"\bcron\b": "/schedule cron 0 9 * * 1-5 price BTC",
        r"\b(?:every|each|hour)": "/schedule every 4h price BTC ETH",
        r"\bdigest\b": "/schedule mon 08:00 digest",
    },
    "wallet": {r"^(?:remove|delete)\b": "/wallet remove whale"},
    "coins": {r"^(?:remove|delete|-)": "/coins remove TON"},
    "out": {
        r"^test\b": "/out test 1",
        r"^(?:remove|delete)\b": "/out remove 1",
        r"discord": "/out add discord://ID/TOKEN",
        r"ntfy": "/out add ntfy://TOPIC",
        r"mail|^add [^:]+@": "/out add mailto://USER:PASSWORD@gmail.com",
    },
}


def nearest(command: str, typed: str, usual: str) -> str:
    """The example for what was typed after the command. usual: where none is nearer."""
    said = typed.lower()
    return next((shown for form, shown in _NEARER.get(command, {}).items() if re.search(form, said)), usual)
