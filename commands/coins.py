"""The owner's list of coins: shown and changed from the chat."""

from __future__ import annotations

from alerts.publish import fits
from base import kinds, text
from botapi.updates import Update
from commands.context import RESERVED, Context, Reply, UnknownCoin, Usage, as_symbol, run_button
from store.coins import MOST

_SAME = {"+": "add", "-": "remove", "delete": "remove", "del": "remove", "rm": "remove"}
WANTED_EVERY = 3600.0  # seconds between two questions to the owner, whoever asks for whatever coin
_WANTED = "coins:wanted"  # fact: when the last question was


def coins(context: Context, update: Update, arguments: list[str]) -> list[Reply]:
    """Show, add or remove the coins that the bot watches for everyone."""
    words = [part for argument in arguments for part in argument.split(",") if part not in ("", "and", "&")]
    if words and words[0][0] in "+-" and words[0][1:]:
        words[:1] = [words[0][0], words[0][1:]]
    word, named = (words[0].lower(), words[1:]) if words else ("list", [])
    word = _SAME.get(word, word)
    if word == "list" and not named:
        return [Reply(text=_listed(context))]
    if word not in ("add", "remove") or not named:
        raise Usage("Use add or remove with coins.")
    if any(one.lower() in ("add", "remove", *_SAME) or one[0] == "-" for one in named):
        raise Usage("Add and remove in two messages.")
    symbols: list[str] = []
    for one in named:  # with one before, so that "PEPE KPEPE" is one coin
        symbols.append(as_symbol(one, [*context.symbols, *symbols]))
    bad = next((symbol for symbol in symbols if not kinds.SYMBOL.fullmatch(symbol)), None)
    if bad is not None:
        raise Usage(f"“{text.clip(bad, 32)}” is not a coin's name.")
    if word == "add" and (taken := next((symbol for symbol in symbols if symbol in RESERVED), None)):
        raise Usage(
            f"“{taken}” means something else in commands, so no coin of that name can be watched. Name each coin."
        )
    if word == "remove":
        unknown = next((symbol for symbol in symbols if symbol not in context.symbols), None)
        if unknown is not None:
            raise Usage(f"{text.clip(unknown, 16)} is not on the list ({', '.join(context.symbols)}).")
        if set(context.symbols) <= set(symbols):
            raise Usage("The last coin cannot be removed.")
        for symbol in symbols:
            context.symbols.remove(symbol)
        return [Reply(text=f"Removed: {', '.join(symbols)}. {_listed(context)}")]
    new = [symbol for symbol in dict.fromkeys(symbols) if symbol not in context.symbols]
    if len(context.symbols) + len(new) > MOST:
        raise Usage(f"The bot watches at most {MOST} coins.")
    for symbol in new:
        context.symbols.add(symbol)
    if not new:
        return [Reply(text=f"Already on the list. {_listed(context)}")]
    said = f"Added: {', '.join(new)}. Chats that follow all coins get alerts from now on; the others use /watch."
    return [Reply(text=f"{said} If no exchange lists a coin, it is removed again and you get a message.")]


def wanted(context: Context, update: Update, problem: UnknownCoin) -> list[Reply]:
    """Someone who may use the bot asked for a coin that it does not watch: a button for the owner."""
    button = run_button(f"Add {problem.coin}", f"coins add {problem.coin}")
    if not kinds.SYMBOL.fullmatch(problem.coin) or not fits(button[1]):
        return []
    if context.is_owner(update):
        return [Reply(text=str(problem), keyboard=((button,),), misread=True)] if update.private else []
    now, owner = context.now(), context.access.owner_id
    asked = context.store.read_value(_WANTED, float, 0.0)
    if owner is None or not context.access.knows(update.user_id) or abs(now - asked) < WANTED_EVERY:
        return []
    context.store.set_value(_WANTED, repr(now))
    who = f"{update.user_id} {text.quoted(update.user_name, 64)}"
    words = f"{who} asked for {problem.coin}, which the bot does not watch."
    return [Reply(text=str(problem), misread=True), Reply(text=words, chat_id=owner, keyboard=((button,),))]


def _listed(context: Context) -> str:
    watched = context.symbols
    lines = [f"The bot watches {', '.join(watched)}."]
    for what, names in (("Added with /coins", watched.added()), ("Removed with /coins", watched.removed())):
        if names:
            lines.append(f"{what}: {', '.join(names)}.")
    return " ".join(lines)
