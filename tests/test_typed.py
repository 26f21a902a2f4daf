"""What people type at the bot, as they type it: understood, or refused with a form that can be used."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FRIEND, OWNER
from test_commands import NOW, Desk

from commands.context import Reply
from commands.table import TABLE, meant_by
from store.rows import Chat

WHALES = {"whales": {"*": 2e6}}


Row = tuple[str, str, dict[str, Any]]  # what is typed, what the answer says, and what is set afterwards ({}: nothing)


def each(command: str, said: str, meaning: str, after: dict[str, Any]) -> list[Row]:
    """The rows of several ways to say the same after a command, with bars between them."""
    return [(f"{command} {one}", meaning, after) for one in said.split(" | ")]


# First those of the issue and of the table that was tried by hand, then their kinds.
ROWS: list[Row] = [
    *each(
        "/threshold",
        "2m | 2 m | 2 million | 2mio | 2 Mio. | 2mil | 2kk | 2e6 | 2000000 | 2,000,000 | 2.000.000 | "
        "2 000 000 | 2'000'000 | 2_000_000 | 20,00,000 | $2m | 2m$ | $ 2m | US$2m | USD 2m | USD2m | 2mUSD | "
        "2000000 USD | 2m usdt | 2m tether | 2m dollars | two million | 2 million dollars | +2m | ~2m | >2m | "
        "> 2m | >=2m | ≥2m | =2m | : 2m | 2m+ | 2m or more | min 2m | minimum 2m | at least 2m | over 2m | "
        "above 2m | more than 2m | from 2m | to 2m | all 2m | all coins 2m | every coin 2m | * 2m | "
        'whales 2m | whale 2m | whale orders 2m | 2m whales | trades 2m | 2m 🐳 | 🐳2m | 2m! | 2m. | "2m" | '
        "(2m) | `2m` | 2m please | 2m, thanks | please 2m | 2м | 20 lakh | 0.2 crore | ２ｍ | ٢٠٠٠٠٠٠ | "
        "२ million | \u200b2m | 2\xa0m",
        "Whale orders from 2M USD.",
        WHALES,
    ),
    *each(
        "/threshold",
        "500k 🐳 | 500k$ | 500000 USD | half a million | .5m | 0,5m | 500к | 5,00,000",
        "500k USD",
        {"whales": {"*": 500000.0}},
    ),
    ("/threshold 2,5m", "2.5M USD", {"whales": {"*": 2500000.0}}),
    *each(
        "/threshold",
        "1e6 | 1.000.000 | 1 000 000",
        "1M USD",
        {"whales": {"*": 1000000.0}},
    ),
    ("/threshold 250.000", "250k USD", {"whales": {"*": 250000.0}}),
    *each(
        "/threshold",
        "BTC 2,5m | btc=2.5m | btc: 2.5m | btc:2.5m | btc - 2.5m | btc,2.5m | BTC/2.5m | bitcoin = 2.5m | "
        "2.5m btc | $2.5m BTC | BTC > 2.5m | BTCUSDT 2.5m | BTC/USDT 2.5m | $BTC 2.5m | #btc 2.5m | ₿ 2.5m | "
        "whales btc 2.5m | btc whales 2.5m | btc 2.5m whales | BTC ٢٫٥m | ＢＴＣ ２，５００，０００",
        "BTC 2.5M, ETH 640k, DOGE 100k USD",
        {"whales": {"BTC": 2500000.0}},
    ),
    ("/threshold btc 2 million", "BTC 2M", {"whales": {"BTC": 2000000.0}}),
    ("/threshold BTC,ETH 2m", "BTC 2M, ETH 2M, DOGE 100k USD", {"whales": {"BTC": 2000000.0, "ETH": 2000000.0}}),
    ("/threshold btc and eth 2m", "BTC 2M, ETH 2M", {"whales": {"BTC": 2000000.0, "ETH": 2000000.0}}),
    *each(
        "/threshold",
        "liq 2m | liqs 2m | liquidation 2m | liquidations 2m | 2m liquidations",
        "Liquidations from 2M USD.",
        {"liquidations": {"*": 2000000.0}},
    ),
    ("/threshold btc liq 2m", "Liquidations from BTC 2M", {"liquidations": {"BTC": 2000000.0}}),
    *each(
        "/threshold",
        "funding 0.03 | funding 0,03 % | funding ±0.03 | funding 0.03 percent | funding rate 0.03",
        "Funding beyond ±0.03 % for 8 h.",
        {"funding": {"*": 0.03}},
    ),
    ("/threshold open interest 5 pct", "Open interest changing by 5 % in 1 h.", {"oi": {"*": 5.0}}),
    ("/threshold btc oi 5%", "Open interest changing by BTC 5 %", {"oi": {"BTC": 5.0}}),
    ("/threshold wallets 1m", "The wallets you add with /wallet, from 1M USD.", {"wallets": {"*": 1000000.0}}),
    *each(
        "/threshold",
        "auto | default | reset",
        "Whale orders from BTC 1.05M",
        {"whales": {}},
    ),
    ("/threshold btc", "BTC: whale orders from 1.05M USD.", {}),
    *each(
        "/threshold",
        "0 | 00 | 0k | -5 | -2m | 5 | 9999 | 1,500",
        "The lowest minimum is 10k USD: /threshold 10k",
        {},
    ),
    ("/threshold off", "To turn whale orders off: /level whales off.", {}),
    *each(
        "/threshold",
        "€500k | 500000€ | 500k eur | £2m | ₹5000000 | 500k CHF | BTC 500k rub",
        "Amounts are in US dollars",
        {},
    ),
    *each(
        "/threshold",
        "10^6 | 1..5m | 2m5 | ½m | 1 trillion | 1m-2m | 2m 3m",
        "as an amount",
        {},
    ),
    *each(
        "/threshold",
        "btc 2m eth 1m | BTC=2m,ETH=1m",
        "Set one coin at a time: /threshold BTC 2m, then /threshold ETH 1m.",
        {},
    ),
    *each(
        "/threshold",
        "pepe=2m | 2m pepe",
        "PEPE is not on this bot's list",
        {},
    ),
    ("/level whales", "Whales: on.", {}),
    *each(
        "/level",
        "whales off | off whales | whale: off | WHALES OFF! | whale orders none",
        "Whale orders are off.",
        {"levels": {"whales": "off"}},
    ),
    ("/level whales mute", "Whale orders always come without sound.", {"levels": {"whales": "silent"}}),
    ("/level open interest off", "Open interest alerts are off.", {"levels": {"oi": "off"}}),
    (
        "/level liqs, funding off",
        "Liquidation alerts and funding alerts are off.",
        {"levels": {"liquidations": "off", "funding": "off"}},
    ),
    ("/level off", "Which kind of alert?", {}),
    ("/level btc off", "Without BTC: /unwatch BTC or /mute BTC 1d.", {}),
    *each(
        "/quiet",
        "10pm-7am | 2200-0700 | 22:00 07:00 | from 22:00 to 07:00 | 22-7 | 22:00 - 07:00 | 22:00–07:00 | "
        "22h-7h | 22.00-07.00 | 22:00:00-07:00:00 | 10p-7a | 10 p.m. to 7 a.m. | 10pm til 7am | 22pm-7am | "
        "between 10pm and 7am | 10 at night to 7 in the morning | 22 Uhr bis 7 Uhr | 22~7 | 22->7 | "
        "22:00−07:00 | 22:00-07:00 🌙 | 22-7 please | 22:00-07:00. | 22-7 every day | daily 22-7 | 22\n7 | "
        "２２：００－０７：００ | ٢٢:٠٠-٠٧:٠٠",
        "Quiet hours: 22:00 to 07:00 (UTC).",
        {"quiet": "22:00-07:00"},
    ),
    ("/quiet 22-7 Berlin", "I can't use “Berlin”.", {}),
    ("/quiet 22-7 UTC+2", "I can't use “UTC+2”.", {}),
    ("/quiet 22-7 mon-fri", "I can't use “mon-fri”.", {}),
    ("/quiet 22-7 weekdays", "I can't use “weekdays”.", {}),
    ("/quiet 22-7 x", "I can't use “x”.", {}),
    *each(
        "/quiet",
        "22:00 | 8h | night | 25:00-7 | 13am-7 | 22-7-9",
        "as a time range",
        {},
    ),
    *each(
        "/digest",
        "9am | 9 | 9 am | 09:00 | 9.00 | 0900 | 9 o'clock | 9 Uhr | daily | every day at 9 | everyday | "
        "once a day | each day at 9 | 9 in the morning | 9am every day | 9! | 9am please | 🌅 9 | ９：００ | "
        "٩:٠٠",
        "Digest: 09:00 (UTC).",
        {"digest": ["09:00"]},
    ),
    *each(
        "/digest",
        "hourly | every hour",
        "Digest: every 1h (UTC).",
        {"digest": ["every 1h"]},
    ),
    *each(
        "/digest",
        "every 4 hours | every 4h | every four hours",
        "every 4h",
        {"digest": ["every 4h"]},
    ),
    *each(
        "/digest",
        "weekdays 09:00 | 09:00 mo-fr | 09:00 monday-friday | monday to friday at 9 | mon – fri 9 | m-f 9 | "
        "work days 9 | from mon through fri at 9am",
        "Digest: 09:00 mon-fri (UTC).",
        {"digest": ["09:00 mon-fri"]},
    ),
    *each(
        "/digest",
        "09:00 sat, sun | weekends 9 | sat/sun 9 | sat & sun at 9",
        "Digest: 09:00 sun,sat",
        {"digest": ["09:00 sun,sat"]},
    ),
    *each(
        "/digest",
        "09:00 18:00 | 9am and 6pm | 9am/6pm | 9 & 18 | 9, 18",
        "Digest: 09:00 18:00 (UTC).",
        {"digest": ["09:00 18:00"]},
    ),
    ("/digest 09:00 new york mon", "09:00 America/New_York mon", {"digest": ["09:00 America/New_York mon"]}),
    ("/digest 0 9 * * 1-5", "cron 0 9 * * 1-5", {"digest": ["cron 0 9 * * 1-5"]}),
    ("/digest 4h", "Does “4h” mean every 4h or 04:00?", {}),
    ("/digest every 5h", "Intervals: every 1h", {}),
    ("/digest weekly", "for once a week: mon 09:00", {}),
    ("/digest 9am now", "I can't read “now” as a time, a day or a time zone", {}),
    ("/digest 9 EST", "“EST” has several time zones. Did you mean America/New_York or America/Panama?", {}),
    *each(
        "/digest",
        "off | none | stop",
        "Digests are off.",
        {},
    ),
    *each(
        "/mute",
        "30 | 30 min",
        "All alerts muted until",
        {"muted": 1800},
    ),
    ("/mute 1 hour", "All alerts muted until", {"muted": 3600}),
    ("/mute 2h30m", "All alerts muted until", {"muted": 9000}),
    ("/mute until 18:00", "All alerts muted until", {"muted": 10400}),
    ("/mute until 9am", "All alerts muted until", {"muted": 64400}),
    ("/mute half an hour", "All alerts muted until", {"muted": 1800}),
    ("/mute an hour", "All alerts muted until", {"muted": 3600}),
    ("/mute two hours", "All alerts muted until", {"muted": 7200}),
    *each(
        "/mute",
        "2h30 | 2h 30",
        "All alerts muted until",
        {"muted": 9000},
    ),
    *each(
        "/mute",
        "1 hour, 30 minutes | an hour and a half | 90 min.",
        "All alerts muted until",
        {"muted": 5400},
    ),
    ("/mute +1h", "All alerts muted until", {"muted": 3600}),
    ("/mute for 30", "All alerts muted until", {"muted": 1800}),
    *each(
        "/mute",
        "for 2 hours | 2h! | 2h 🤫 | ２h | all 2h | everything for 2h | all alerts 2h | 2h please",
        "All alerts muted until",
        {"muted": 7200},
    ),
    ("/mute until 9am tomorrow", "All alerts muted until", {"muted": 64400}),
    *each(
        "/mute",
        "untill 18:00 | until 2025-06-15T18:00",
        "All alerts muted until",
        {"muted": 10400},
    ),
    *each(
        "/mute",
        "btc 2h | 2h btc",
        "BTC muted until",
        {"mutes": {"BTC": 7200}},
    ),
    ("/mute btc for an hour", "BTC muted until", {"mutes": {"BTC": 3600}}),
    *each(
        "/mute",
        "until 18:00 btc | btc until 18:00",
        "BTC muted until",
        {"mutes": {"BTC": 10400}},
    ),
    ("/mute 30 btc", "BTC muted until", {"mutes": {"BTC": 1800}}),
    *each(
        "/mute",
        "btc,eth 2h | btc and eth 2h | 2h btc eth",
        "BTC, ETH muted until",
        {"mutes": {"BTC": 7200, "ETH": 7200}},
    ),
    *each(
        "/mute",
        "off | OFF! | all off | stop | 0 | off please",
        "Unmuted.",
        {},
    ),
    ("/mute btc", "For how long? /mute BTC 2h", {}),
    *each(
        "/mute",
        "forever | always | btc forever | all",
        "/stop. For one coin: /unwatch BTC.",
        {},
    ),
    *each(
        "/mute",
        "whales 1h | whale orders 2h | 2h whales",
        "Turn it off: /level whales off.",
        {},
    ),
    ("/mute tomorrow", "Mute until tomorrow?", {}),
    ("/mute 18:00", "Mute until 18:00?", {}),
    ("/mute 6pm", "Mute until 6pm?", {}),
    ("/mute fri", "Mute until fri?", {}),
    *each(
        "/mute",
        "30 3 | 30 apples",
        "as a length of time",
        {},
    ),
    ("/mute pepe 2h", "PEPE is not on this bot's list", {}),
    ("/mute pepe", "neither a coin of this bot nor a length of time", {}),
    ("/watch", "This chat follows all coins: BTC, ETH, DOGE.", {}),
    ("/watch all btc", "is not a coin", {}),
    *each(
        "/mute",
        "no btc | btc no",
        "neither a coin of this bot nor a length of time",
        {},
    ),
    ("/mute btc off", "BTC unmuted.", {}),
    *each(
        "/mute",
        "the next 2 hours | every coin 2h",
        "All alerts muted until",
        {"muted": 7200},
    ),
    *each("/mute", "in 2h | after 2h | btc in 2h | in 2h for 1h", "A mute begins at once.", {}),
    *each("/mute", "every day | every night | every 2h | 2h daily | btc every day 2h", "A mute comes once.", {}),
    *each("/mute", "btc 2h eth 3h | 2h btc 3h eth", "one length of time at a time", {}),
    *each(
        "/threshold",
        "btc 2 eth 500k | btc 1 000 000 eth 500 000 | 2 btc 500k | 3 liq 2m | 1 oi 2",
        "Set one amount at a time",
        {},
    ),
    *each("/quiet", "10-7 | 10 to 7 | 10-7am | from 10 to 7 every night", "22:00-07:00 or 10:00-07:00?", {}),
    ("/quiet 1-5pm", "13:00-17:00 or 01:00-17:00?", {}),
    *each("/quiet", "10-7pm | 10am-7pm", "Quiet hours: 10:00 to 19:00", {"quiet": "10:00-19:00"}),
    *each("/quiet", "10:00-7:00 | 10 am - 7 am | 10h-7h", "Quiet hours: 10:00 to 07:00", {"quiet": "10:00-07:00"}),
    ("/digest every 4", "Does “4h” mean every 4h or 04:00?", {}),
    *each("/digest", "every 9 | every 5", "Intervals: every 1h", {}),
    ("/digest 24h", "For once a day give a time", {}),
    *each(
        "/digest",
        "weekdays at 9 and weekends at 11 | mon 9 fri 18 | 9:00 monday 18:00 friday | weekdays 8 sat 10",
        "Every time would be for every one of these days.",
        {},
    ),
    *each("/digest", "9 mon-fri 18 | mon-fri 9 18", "09:00 18:00 mon-fri", {"digest": ["09:00 18:00 mon-fri"]}),
    *each(
        "/stop", "btc | whales | 2h | until fri | funding alerts | BTC for 2h", "all alerts off here: /stop. For", {}
    ),
    *each("/stop", "now! | all | please | alerts", "Alerts are off in this chat.", {"subscribed": False}),
    *each("/watch", "btc -eth | btc - eth", "One more and one less: /watch +BTC -ETH.", {}),
    *each("/watch", "btc + eth | btc +eth", "Watching only BTC, ETH.", {"symbols": {"ETH", "BTC"}}),
    *each(
        "/timezone", "east | west | samoa | san jose | San José | san juan | Georgia | Cordoba", "Did you mean", {}
    ),
    ("/timezone the hague", "Time zone set to Europe/Amsterdam", {"timezone": "Europe/Amsterdam"}),
    ("/timezone north korea", "Time zone set to Asia/Pyongyang", {"timezone": "Asia/Pyongyang"}),
    *[
        (said, "A command runs when nothing is in front of it: /", {})
        for said in (
            "what does /stop do?",
            "I pressed /stop yesterday",
            "how do I use /threshold 2m",
            "not /mute 2h",
            "is /mute 2h or /stop better?",
        )
    ],
    ("/mute until mar 5", "All alerts muted until 2026-03-05 23:59:00", {"muted": 22755140}),
    ("/threshold 2m auto", "as an amount", {}),
    ("/timezone 0", "Time zone set to UTC, now", {}),
    ("/timezone +14:30", "they go from UTC-12 to UTC+14", {}),
    ("/timezone UTC +2 hours", "Time zone set to UTC+2, now", {"timezone": "UTC+2"}),
    ("/btc", "Did you mean /price BTC?", {}),
    ("/watch pepe", "The owner can add it: /coins add PEPE.", {}),
    ("/watch etherium", "Did you mean ETH?", {}),
    *each(
        "/watch",
        "btc and eth | BTC, ETH. | $btc & eth! | btcusdt; eth/usdt? | bitcoin ethereum | BTC/ETH | BTC+ETH | "
        "BTC|ETH | only btc eth | just btc eth | btc eth only | all but doge | all except doge | all -doge | "
        "no doge | - doge | btc eth please",
        "Watching only BTC, ETH.",
        {"symbols": {"ETH", "BTC"}},
    ),
    *each(
        "/watch",
        "all | All. | everything | all coins | *",
        "Watching all coins",
        {},
    ),
    ("/watch none", "No coins are selected", {"symbols": set()}),
    *each(
        "/unwatch",
        "all | everything",
        "No coins are selected",
        {"symbols": set()},
    ),
    ("/unwatch pepe", "PEPE is not on this bot's list (BTC, ETH, DOGE).", {}),
    *each(
        "/side",
        "buy | buys | buys only | only buys! | buy whales | buying",
        "Whale orders: buys only.",
        {"sides": {"whales": "buy"}},
    ),
    *each(
        "/side",
        "long | liq longs | long liquidations",
        "Liquidation alerts: longs only.",
        {"sides": {"liquidations": "long"}},
    ),
    *each(
        "/side",
        "both | all | buys and sells | buy/sell | off",
        "both sides.",
        {},
    ),
    ("/side up", "Choose buys, sells or both.", {}),
    *each(
        "/cap",
        "20 | 20/h | 20 per hour | 20 an hour | 20 messages | 20 alerts an hour | max 20 | 20! | ２０",
        "At most 20 alert messages",
        {"cap": 20},
    ),
    *each(
        "/cap",
        "off | no | unlimited | no limit",
        "The hourly limit is off",
        {},
    ),
    ("/cap 20 a day", "Give a number of messages per hour", {}),
    *each(
        "/timezone",
        "UTC+2 | +2",
        "Time zone set to UTC+2, now",
        {"timezone": "UTC+2"},
    ),
    ("/timezone UTC+5:30", "Time zone set to UTC+5:30, now", {"timezone": "UTC+5:30"}),
    ("/timezone UTC 2", "Time zone set to UTC+2, now", {"timezone": "UTC+2"}),
    ("/timezone UTC+5.5", "Time zone set to UTC+5:30, now", {"timezone": "UTC+5:30"}),
    *each(
        "/timezone",
        "GMT+2 | Etc/GMT-2",
        "Time zone set to UTC+2, now",
        {"timezone": "UTC+2"},
    ),
    *each(
        "/timezone",
        "Germany | Munich",
        "Time zone set to Europe/Berlin, now",
        {"timezone": "Europe/Berlin"},
    ),
    ("/timezone San Francisco", "Time zone set to America/Los_Angeles, now", {"timezone": "America/Los_Angeles"}),
    ("/timezone Beijing", "Time zone set to Asia/Shanghai, now", {"timezone": "Asia/Shanghai"}),
    ("/timezone Mumbai", "Time zone set to Asia/Kolkata, now", {"timezone": "Asia/Kolkata"}),
    *each(
        "/timezone",
        "Berlin! | in Berlin | Berlin time | Berlin 🇩🇪 | München | Koeln",
        "Time zone set to Europe/Berlin, now",
        {"timezone": "Europe/Berlin"},
    ),
    ("/timezone São Paulo", "Time zone set to America/Sao_Paulo, now", {"timezone": "America/Sao_Paulo"}),
    ("/timezone Bogotá", "Time zone set to America/Bogota, now", {"timezone": "America/Bogota"}),
    ("/timezone Tel-Aviv", "Time zone set to Asia/Jerusalem, now", {"timezone": "Asia/Jerusalem"}),
    ("/timezone PST", "Time zone set to America/Los_Angeles, now", {"timezone": "America/Los_Angeles"}),
    ("/timezone ET", "Time zone set to America/New_York, now", {"timezone": "America/New_York"}),
    ("/timezone CEST", "Time zone set to Europe/Berlin, now", {"timezone": "Europe/Berlin"}),
    ("/timezone JST", "Time zone set to Asia/Tokyo, now", {"timezone": "Asia/Tokyo"}),
    ("/timezone Österreich", "Time zone set to Europe/Vienna, now", {"timezone": "Europe/Vienna"}),
    ("/timezone España", "Time zone set to Europe/Madrid, now", {"timezone": "Europe/Madrid"}),
    ("/timezone Москва", "Time zone set to Europe/Moscow, now", {"timezone": "Europe/Moscow"}),
    ("/timezone 東京", "Time zone set to Asia/Tokyo, now", {"timezone": "Asia/Tokyo"}),
    ("/timezone U.K.", "Time zone set to Europe/London, now", {"timezone": "Europe/London"}),
    ("/timezone NYC", "Time zone set to America/New_York, now", {"timezone": "America/New_York"}),
    ("/timezone İstanbul", "Time zone set to Europe/Istanbul, now", {"timezone": "Europe/Istanbul"}),
    ("/timezone EST", "“EST” has several time zones. Did you mean", {}),
    ("/timezone IST", "“IST” has several time zones. Did you mean", {}),
    ("/timezone USA", "“USA” has several time zones. Did you mean", {}),
    ("/timezone Spain", "“Spain” has several time zones. Did you mean", {}),
    ("/timezone Asia", "“Asia” has several time zones. Did you mean", {}),
    ("/timezone Europe", "“Europe” has several time zones. Did you mean", {}),
    *each(
        "/timezone",
        "Berlim | GMT+2 Berlin | Europe/Munich | Berlin, Germany",
        "Did you mean Europe/Berlin?",
        {},
    ),
    ("/timezone 2", "Is “2” the hours from UTC?", {}),
    ("/timezone UTC-13", "they go from UTC-12 to UTC+14", {}),
    ("/timezone Wakanda", "Send a large city in it, like Berlin, or UTC+2.", {}),
    ("/wallet add vitalik.eth", "ENS names do not work.", {}),
    ("/unmute", "Did you mean /mute off?", {}),
    ("/alerts", "Did you mean /alert?", {}),
    ("/price", "No price yet", {}),
    ("/mute2h", "Did you mean /mute 2h?", {}),
    ("/tpo", "Did you mean /top?", {}),
    ("/io", "Did you mean /oi?", {}),
    ("/di", "Did you mean /id?", {}),
    ("/quit 22-7", "Did you mean /quiet?", {}),
    ("/follow btc", "Did you mean /watch?", {}),
    ("/xyzzy", "Unknown command /xyzzy. All commands: /help", {}),
    ("hi", "I only understand commands", {}),
    ("mute 2h", "Commands begin with a slash: /mute 2h", {}),
    ("BTC?", "Commands begin with a slash: /price BTC", {}),
    ("/START", "Alerts are already on.", {}),
    ("/start@whale_test_bot", "Alerts are already on.", {}),
    ("/quiet!", "No quiet hours are set.", {}),
    ("／mute 2h", "All alerts muted until", {"muted": 7200}),
    ("/mute=2h", "All alerts muted until", {"muted": 7200}),
    ("please /mute 2h", "All alerts muted until", {"muted": 7200}),
]


def settings(desk: Desk) -> dict[str, Any]:
    """What people can set in a chat; lengths of time in seconds from now."""
    chat = desk.chat()
    return {
        **chat.thresholds,
        "subscribed": chat.subscribed,
        "levels": chat.levels,
        "sides": chat.sides,
        "symbols": None if chat.symbols is None else set(chat.symbols),
        "quiet": chat.quiet,
        "timezone": chat.timezone,
        "cap": chat.hourly_cap,
        "muted": chat.muted_until and chat.muted_until - NOW,
        "mutes": {coin: until - NOW for coin, until in chat.symbol_mutes.items()},
        "digest": [one.rule for one in desk.store.schedules.of_chat(FRIEND)],
    }


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One desk for all rows: each begins with the settings of a new chat."""
    desk = Desk(tmp_path_factory.mktemp("table"))
    yield desk
    desk.store.close()


@pytest.mark.parametrize(("said", "meaning", "after"), ROWS, ids=[said for said, _, _ in ROWS])
def test_what_people_type_is_understood_or_refused_in_a_way_that_helps(
    table: Desk, said: str, meaning: str, after: dict[str, Any]
) -> None:
    for one in table.store.schedules.of_chat(FRIEND):
        table.store.schedules.remove(FRIEND, one.id)
    table.store.chats.put(Chat(chat_id=FRIEND, added_by=FRIEND, since=NOW))
    before = settings(table)
    reply = table.replies(said)[0]
    assert meaning in reply.text
    assert {name: value for name, value in settings(table).items() if before.get(name) != value} == after
    if reply.misread:  # what is offered instead works
        for offered in _offered(reply):
            answer = table.replies(offered)[0]
            assert not answer.misread, f"{offered} was offered: {answer.text}"


def _offered(reply: Reply) -> list[str]:
    """The commands that an answer offers: by buttons, as an example, or in its sentence."""
    found = [f"/{data.removeprefix('run:')}" for row in reply.keyboard for _, data in row if data.startswith("run:")]
    sentences = re.split(r"[.?] ", f"{reply.text} ")
    shown = [
        words
        for said in sentences
        for words in re.findall(r"(?:^|: |then |or )(/[a-z]+(?: (?!or |then )[^\s,]*[^\s,:.?])*)", said)
    ]
    return [*found, *(words for words in shown if not words.startswith(("/coins", "/stop")) and "ends" not in words)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A friend's chat that has alerts on."""
    desk = Desk(tmp_path)
    desk.say("/start")
    yield desk
    desk.store.close()


def test_from_all_coins_watch_means_only_these_and_offers_all_again(desk: Desk) -> None:
    (said,) = desk.replies("/watch BTC ETH")
    assert said.text.startswith("Watching only BTC, ETH.\nYou get: whale orders from BTC 1.05M, ETH 640k USD; ")
    assert desk.chat().symbols == frozenset({"BTC", "ETH"})
    assert [label for label, _ in said.keyboard[0]] == ["All coins"]
    toast, shown = desk.press(said.keyboard[0][0][1])
    assert toast.toast
    assert shown.edit
    assert shown.text.startswith("Watching all coins: BTC, ETH, DOGE.")
    assert desk.chat().symbols is None


@pytest.mark.parametrize(
    ("said", "coins"),
    [
        ("+DOGE", {"BTC", "DOGE"}),
        ("DOGE", {"BTC", "DOGE"}),
        ("+doge -btc", {"DOGE"}),
        ("only eth", {"ETH"}),
        ("all", None),
        ("+all", None),
        ("all coins", None),
        ("none", set()),
        ("-ALL", set()),
        ("off", set()),
        ("BTC,ETH,DOGE", None),
    ],
)
def test_after_a_choice_watch_adds_unless_it_says_only(desk: Desk, said: str, coins: set[str] | None) -> None:
    desk.say("/watch btc")
    desk.say(f"/watch {said}")
    assert desk.chat().symbols == coins


def test_all_coins_can_be_removed_by_word_and_by_button(desk: Desk) -> None:
    assert desk.say("/unwatch all").startswith("No coins are selected")
    assert desk.chat().symbols == frozenset()
    desk.say("/watch all")
    (_, page) = desk.press("s:coins")
    every, none = page.keyboard[-2]
    assert (every[0], none[0]) == ("All", "None")
    desk.press(none[1])
    assert desk.chat().symbols == frozenset()
    desk.press("s:coins:watch +ETH")
    assert desk.chat().symbols == frozenset({"ETH"})


def test_an_amount_with_two_meanings_is_asked_back_with_two_buttons(desk: Desk) -> None:
    (asked,) = desk.replies("/threshold whales BTC 1.500m")
    assert "two amounts" in asked.text
    assert [row[0][0] for row in asked.keyboard] == ["whales BTC 1.5M", "whales BTC 1.5B"]
    assert desk.chat().thresholds == {}
    desk.press(asked.keyboard[0][0][1])
    assert desk.chat().thresholds == {"whales": {"BTC": 1.5e6}}


def test_a_mute_that_is_asked_back_keeps_its_coin(desk: Desk) -> None:
    (asked,) = desk.replies("/mute BTC at 18:00")
    assert asked.keyboard[0][0] == ("BTC until 18:00", "run:mute BTC until 18:00")


def test_a_zone_with_two_meanings_is_asked_back_with_buttons(desk: Desk) -> None:
    (asked,) = desk.replies("/timezone EST")
    assert [row[0][0] for row in asked.keyboard] == ["America/New_York", "America/Panama"]
    desk.press(asked.keyboard[0][0][1])
    assert desk.chat().timezone == "America/New_York"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("/thresold 2m", "threshold 2m"),
        ("/unmute", "mute off"),
        ("/unmute BTC", "mute off BTC"),
        ("/sumary", "digest"),
        ("/wales BTC", "whales BTC"),
    ],
)
def test_an_unknown_command_offers_the_one_that_was_meant(desk: Desk, said: str, meant: str) -> None:
    (answer,) = desk.replies(said.replace("sumary", "summary"))
    assert f"Did you mean /{meant.split()[0]}" in answer.text
    assert answer.keyboard[0][0] == (f"/{meant}", f"run:{meant}")


def test_a_button_runs_nothing_that_its_presser_may_not_type(desk: Desk) -> None:
    for command in (f"deny {OWNER}", "users"):
        assert [reply.text for reply in desk.press(f"run:{command}")] == ["This button has expired."]


def test_several_commands_in_one_message_are_each_answered(desk: Desk) -> None:
    said = desk.replies("/quiet 22-7\n/timezone Berlin\n\n/threshold 2m")
    assert len(said) == 3
    assert (desk.chat().quiet, desk.chat().timezone) == ("22:00-07:00", "Europe/Berlin")
    assert desk.chat().thresholds == WHALES
    many = desk.replies("\n".join(["/ping"] * 9))
    assert len(many) == 6
    assert "Please send the others again" in many[-1].text


@pytest.mark.parametrize(
    "said", ["/quiet 22-7 /timezone Berlin", "/quiet 22-7, /timezone Berlin", "hey /quiet 22-7 and /timezone Berlin"]
)
def test_several_commands_in_one_line_are_each_answered(desk: Desk, said: str) -> None:
    assert len(desk.replies(said)) == 2
    assert (desk.chat().quiet, desk.chat().timezone) == ("22:00-07:00", "Europe/Berlin")


def test_a_command_in_another_ones_text_is_not_run(desk: Desk) -> None:
    desk.say("/schedule 09:00 /price BTC")
    assert [one.command for one in desk.store.schedules.of_chat(FRIEND)] == ["price BTC"]
    assert desk.say("/ping see /stop") == "pong see /stop"
    assert desk.chat().subscribed


def test_unmute_with_a_coin_is_offered_for_that_coin(desk: Desk) -> None:
    (answer,) = desk.replies("/unmute btc")
    assert answer.keyboard[0][0] == ("/mute off btc", "run:mute off btc")


def test_a_digest_at_4h_is_asked_back_with_both_meanings(desk: Desk) -> None:
    (asked,) = desk.replies("/digest 4h")
    assert [row[0][0] for row in asked.keyboard] == ["every 4h", "04:00"]


def test_a_digest_in_a_zone_with_two_meanings_is_asked_back_as_a_whole(desk: Desk) -> None:
    (asked,) = desk.replies("/digest 9am mon-fri EST")
    assert asked.keyboard[0][0][0] == "09:00 America/New_York mon-fri"
    desk.press(asked.keyboard[0][0][1])
    assert [one.rule for one in desk.store.schedules.of_chat(FRIEND)] == ["09:00 America/New_York mon-fri"]


@pytest.mark.parametrize("part", [",", ", ", "1 ", "x", "mon ", "22-7 ", "/price ", "1,000 ", "please ", "\n"])
def test_the_longest_message_is_read_as_quickly_as_others(desk: Desk, part: str) -> None:
    """By the time of the processor: 4,096 characters are what Telegram allows."""
    desk.replies("/timezone somewhere")  # loads the zones
    for name in ("threshold", "mute", "quiet", "digest", "timezone", "watch", "schedule", "level", "top", "chart"):
        began = time.process_time()
        desk.replies(f"{f'/{name} {part * 4096}'[:4095]}x")
        assert time.process_time() - began < 0.5, name


def test_every_command_is_found_one_edit_away() -> None:
    names = [row.name for row in TABLE]
    for name in names:
        for place in range(len(name) - 1):
            swapped = name[:place] + name[place + 1] + name[place] + name[place + 2 :]
            assert swapped in names or meant_by(swapped, names) == name, swapped


@pytest.mark.parametrize("said", ["/threshold 2m", "/level funding off", "/side buys", "/watch BTC"])
def test_a_confirmation_says_what_comes_now_of_every_kind_and_what_is_off(desk: Desk, said: str) -> None:
    desk.say("/level wallets off")
    answer = desk.say(said)
    for kind in ("whale orders from ", "liquidations from ", "funding", "open interest changing by 10 %"):
        assert kind in answer.partition("\n")[2]
    assert "Off: " in answer and "wallets" in answer


def test_an_amount_that_is_asked_back_keeps_its_digits(desk: Desk) -> None:
    (asked,) = desk.replies("/threshold 12.345k")
    assert [row[0][0] for row in asked.keyboard] == ["12345", "12345000"]


def test_nothing_is_said_to_be_misread_that_was_understood(desk: Desk) -> None:
    def misread(text: str) -> list[bool]:
        replies: list[Reply] = desk.replies(text)
        return [reply.misread for reply in replies]

    assert misread("/thresold 2m") == misread("/threshold much") == misread("hi") == [True]
    assert misread("/threshold 2m") == misread("/help") == [False]
