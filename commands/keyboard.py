"""The keyboard of /settings: pages of buttons in one message that edits itself.

A button names a page and, if it changes something, a command as people type it (`s:cap:cap 20`). So a button does and
refuses what the command does and refuses, and an old keyboard shows the present settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from base.typed import Unreadable
from botapi.updates import Update
from commands import targets
from commands.context import Context, Keyboard, Reply, in_rows
from commands.schedules import digests
from commands.settings import BOTH, NO_MINIMUM, SIDES, UNSIZED, described, level_of, side_of, titled
from store.rows import LEVELS, MONITORS, Chat

Run = Callable[[str, list[str]], list[Reply]]  # a command's name and arguments; may raise Usage

VERB = "s"
# The commands that a button may run.
MAY = ("level", "side", "threshold", "watch", "unwatch", "quiet", "timezone", "cap", "digest")
THRESHOLDS = ("auto", "100k", "250k", "500k", "1M", "2M", "5M", "10M")
MARKS = {"funding": ("auto", "0.01%", "0.03%", "0.1%"), "oi": ("auto", "3%", "5%", "20%")}
QUIET = ("off", "22:00-07:00", "23:00-07:00", "23:00-08:00", "00:00-08:00", "00:00-09:00")
CAPS = ("off", "5", "10", "20", "40", "60")
DIGESTS = ("off", "08:00", "09:00", "20:00", "09:00 mon-fri", "every 4h", "every 12h")
ZONES = (
    "UTC",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Istanbul",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Australia/Sydney",
    "America/New_York",
    "America/Chicago",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Africa/Lagos",
)
MOST_COINS = 80  # Telegram allows 100 buttons; for more coins there is /watch
BACK = (("‹ Back", f"{VERB}:main"),)


def settings(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Show the chat's settings with buttons. For export and import: table.py."""
    own = targets.listed(context, update)
    if own and context.subscribed(update) is None:
        return [Reply(text="Alerts are off in this chat; /start turns them on. Your channels:", keyboard=own)]
    return [_page(context, update, context.need_chat(update), "main")]


def press(context: Context, update: Update, rest: str, run: Run) -> list[Reply]:
    """Run a button, which may be old or forged. Returns nothing for data that is not from our buttons."""
    page, _, command = rest.partition(":")
    name, *arguments = command.split() or [""]
    if page not in ("main", "done", *_PAGES, *MONITORS) or (command and name not in MAY):
        return []
    toast = ""
    try:
        if command:
            toast = run(name, arguments)[0].text.partition("\n")[0]  # the page shows the rest
    except Unreadable as problem:
        toast = str(problem)
    try:
        chat = context.need_chat(update)
    except Unreadable as problem:
        return [Reply(text=str(problem), toast=True)]
    shown = _page(context, update, chat, page, edit=True)
    return [Reply(text=toast, toast=True), shown]


def _page(context: Context, update: Update, chat: Chat, page: str, *, edit: bool = False) -> Reply:
    if page in ("main", "done"):
        words = "\n".join(["Settings of this chat", "", *described(context, chat)])
        if chat.kind == "channel":
            words = f"{words}\n\nCommands that name the channel change it, too: /threshold {chat.address} BTC 2m"
        keys = (*_main(chat), *targets.listed(context, update)) if page == "main" else ()
        return Reply(text=words, keyboard=keys, edit=edit)
    if page in MONITORS:
        state = described(context, chat)[MONITORS.index(page)]
        words = f"{_ABOUT[page]}\n\n{state}\n\n{_LEVELS_UNSIZED if page in UNSIZED else _LEVELS}"
        return Reply(text=words, keyboard=(*_monitor(chat, page), BACK), edit=edit)
    label, words = _PAGES[page]
    state = next((line for line in described(context, chat) if line.startswith(label)), "")
    return Reply(text=f"{words}\n\n{state}", keyboard=(*_rows(context, chat, page), BACK), edit=edit)


_ABOUT = {
    "whales": "Whales: single market orders above your minimum. For one coin only: /threshold BTC 2m",
    "liquidations": "Liquidations: positions the exchange closed by force. "
    "For one coin only: /threshold liquidations BTC 2m",
    "funding": "Funding: rates for 8 hours that go beyond your mark. For one coin only: /threshold funding BTC 0.03",
    "oi": "Open interest: positions that grow or shrink by your mark within an hour. "
    "For one coin only: /threshold oi BTC 5",
    "wallets": "Wallets: when a wallet added with /wallet opens, closes or flips a position.",
    "prices": "Price alerts: when a coin comes to a price that you set. Set one: /alert BTC 100k",
}
_LEVELS = (
    "on: silent up to twice your minimum, with sound above it\nloud: always with sound\nsilent: never with sound"
)
_LEVELS_UNSIZED = "on, loud: with sound\nsilent: without sound"


def _main(chat: Chat) -> Keyboard:
    monitors = [(f"{titled(monitor)}: {level_of(chat, monitor)}", f"{VERB}:{monitor}") for monitor in MONITORS]
    pages = [(label, f"{VERB}:{page}") for page, (label, _) in _PAGES.items()]
    return in_rows([*monitors, *pages, ("Done", f"{VERB}:done")], 2)


def _monitor(chat: Chat, monitor: str) -> Keyboard:
    rows = [_choices(monitor, f"level {monitor}", LEVELS, now=level_of(chat, monitor))]
    if monitor in SIDES:
        rows.append(_choices(monitor, f"side {monitor}", (BOTH, *SIDES[monitor]), now=side_of(chat, monitor)))
    if monitor != NO_MINIMUM:
        amounts, choices = chat.thresholds.get(monitor, {}), MARKS.get(monitor, THRESHOLDS)
        every = {_value(typed): typed for typed in choices}
        chosen = every.get(amounts["*"], "") if "*" in amounts else "" if amounts else "auto"
        return (*rows, *in_rows(_choices(monitor, f"threshold {monitor}", choices, now=chosen), 4))
    return tuple(rows)


def _value(typed: str) -> float:
    return 0.0 if typed == "auto" else float(typed.rstrip("kM%")) * {"k": 1e3, "M": 1e6}.get(typed[-1], 1.0)


def _coins(context: Context, chat: Chat) -> Keyboard:
    watched = context.watched(chat)
    toggles = [
        (f"✓ {symbol}", f"{VERB}:coins:unwatch {symbol}")
        if symbol in watched
        else (symbol, f"{VERB}:coins:watch +{symbol}")
        for symbol in context.symbols[:MOST_COINS]
    ]
    return (*in_rows(toggles, 4), (("All", f"{VERB}:coins:watch all"), ("None", f"{VERB}:coins:unwatch all")))


def _rows(context: Context, chat: Chat, page: str) -> Keyboard:
    if page == "coins":
        return _coins(context, chat)
    command, values, width, now = {
        "quiet": ("quiet", QUIET, 2, chat.quiet or "off"),
        "zone": ("timezone", ZONES, 2, chat.timezone),
        "cap": ("cap", CAPS, 3, str(chat.hourly_cap or "off")),
        "digest": ("digest", DIGESTS, 2, next((one.rule for one in digests(context, chat)), "off")),
    }[page]
    return in_rows(_choices(page, command, values, now=now), width)


# Pages by name: the label, which begins the line of `described` that shows the present setting; and words.
_PAGES = {
    "coins": ("Coins", "The coins this chat follows."),
    "quiet": (
        "Quiet hours",
        "Quiet hours: alerts are held back and arrive as one summary at the end. Other times: /quiet 21:30-06:00",
    ),
    "zone": ("Time zone", "The time zone of this chat. Other zones: /timezone Helsinki"),
    "cap": ("Hourly limit", "Limit of alert messages per hour. The rest arrives together afterwards."),
    "digest": ("Digest", "When the digest comes. Other times: /digest 07:30 mon-fri"),
}


def _choices(page: str, command: str, choices: Iterable[str], *, now: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"✓ {choice}" if choice == now else choice, f"{VERB}:{page}:{command} {choice}") for choice in choices
    )
