"""The simulator's control API, `POST /sim/NAME` with a JSON body, for benchmarks that run it as a process of its own.

simulator.py lists the names.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from simulation.account import SimBot
from simulation.http import Answer, json_answer
from simulation.request import Params

if TYPE_CHECKING:
    from simulation.simulator import Simulator

_TEXTS = ("token", "text", "data", "url")  # plain text; all other values are JSON


def control(sim: Simulator, name: str, params: Params) -> Answer:
    """Do what `name` says, and answer its result; status 400 with the error when that fails."""
    given = {key: str(text) if key in _TEXTS else _value(str(text)) for key, text in params.items()}
    try:
        return json_answer({"ok": True, "result": _do(sim, name, given)})
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        return json_answer({"ok": False, "error": f"{type(error).__name__}: {error}"}, status=400)


def _do(sim: Simulator, name: str, given: dict[str, Any]) -> Any:
    if name in ("fault", "clear_faults", "offline", "online", "cut", "restore"):
        done = getattr(sim, name)(**given)
        return None if done is None else done.kind
    if name in ("trade", "sweep", "skip_ids", "poison"):
        getattr(sim.market, name)(**given)
        return True
    if name in ("liquidate", "set_rate", "hold"):
        getattr(sim.market.perpetuals, name)(**given)
        return True
    if name == "flow":
        sim.market.start_flow(given.pop("rate"), tuple(given.pop("symbols", ("BTC", "ETH", "SOL"))), **given)
        return True
    if name == "bot":
        return sim.bot(given["token"], username=given.get("username", "whale_test_bot")).chats.me
    token = given.pop("token", None) or next(iter(sim.bots))
    if name == "revoke":
        return sim.revoke(token)
    if name == "end_rivals":
        for rival in sim.rivals:
            rival.kill()
        return True
    return _do_for(sim, sim.bots[token], name, given)


def _do_for(sim: Simulator, bot: SimBot, name: str, given: dict[str, Any]) -> Any:
    if name == "send_text":
        text, count = given.pop("text"), given.pop("count", 1)
        return [bot.send_text(text=text.replace("{n}", str(number)), **given) for number in range(count)][-1]
    if name == "sent":
        return [_plain(sent.__dict__) for sent in bot.sent[given.get("since", 0) :]]
    if name == "calls":
        method = given.get("method", "").lower()
        calls = bot.calls[given.get("since", 0) :]
        return [_plain(call.__dict__) for call in calls if method in ("", call.method.lower())]
    if name == "wait":
        called, count, timeout = given.get("called"), given.get("count", 1), given.get("timeout", 30)
        if called:
            return sim.wait(
                lambda: sum(call.method.lower() == called.lower() for call in bot.calls) >= count, timeout
            )
        return sim.wait(lambda: len(bot.sent) >= count, timeout, what=f"{count} deliveries")
    if name == "round_trips":
        return _round_trips(bot, sim, **given)
    if name == "burst":
        return _burst(bot, sim, **given)
    if name == "stats":
        return {"pending": bot.pending, "polling": bot.polling, "sent": len(bot.sent), "calls": bot.counts}
    if name == "rival":
        sim.rivals.append(bot.rival(**given))
        return True
    if name == "set_webhook":
        return bot.set_webhook_as_foreigner(**given)
    if name in ("chat", "forget", "block", "limits", "press", "migrate", "membership"):
        return getattr(bot, name)(**given)
    raise ValueError(f"nothing is called {name!r}")


def _round_trips(
    bot: SimBot, sim: Simulator, *, chat_id: int, text: str, count: int, timeout: float = 5
) -> list[float]:
    times = []
    for _ in range(count):
        wanted = bot.delivered + 1
        start = time.time()
        bot.send_text(chat_id, text)
        _until_delivered(bot, sim, wanted, timeout)
        times.append((bot.sent[-1].at - start) * 1000)
    return times


def _burst(
    bot: SimBot, sim: Simulator, *, chat_id: int, text: str, count: int, answers: int = 0, timeout: float = 60
) -> dict[str, float]:
    start = time.monotonic()
    answers = answers or count
    wanted = bot.delivered + answers
    for number in range(count):
        bot.send_text(chat_id, text.replace("{n}", str(number)))
    _until_delivered(bot, sim, wanted, timeout)
    seconds = time.monotonic() - start
    return {"seconds": seconds, "per_second": answers / seconds}


def _until_delivered(bot: SimBot, sim: Simulator, wanted: int, timeout: float) -> None:
    sim.wait(lambda: bot.delivered >= wanted, timeout, what=f"delivery number {wanted}")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    params = {name: value if isinstance(value, str) else value.name for name, value in fields["params"].items()}
    return {**fields, "params": params}
