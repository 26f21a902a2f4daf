"""The button under the message about two copies of this bot: it pauses the alerts of the copy that waits.

The copy that polls gets the press, whichever wrote the message. It tells the one that waits (botapi/heartbeat.py).
"""

from __future__ import annotations

from commands.context import Button, Context, Reply

VERB = "copies"


def pause_button(machine: str) -> Button:
    """The button that pauses the alerts of the copy on this machine."""
    data = f"{VERB}:pause:{machine}"
    return f"Pause alerts of {machine}", data if len(data.encode()) <= 64 else f"{VERB}:pause:"


def press(context: Context, rest: str) -> list[Reply]:
    """One of the two buttons was pressed; [] for data that is neither."""
    verb, _, machine = rest.partition(":")
    waiting = "The other copy" if machine in ("", context.host) else machine
    if verb == "pause":
        words = (
            f"{context.host} answers your commands and sends alerts. {waiting} sends none while {context.host} runs."
        )
        button = f"Send alerts of {'both' if waiting != machine else machine}", f"{VERB}:send:{machine}"
    elif verb == "send":
        words = f"{context.host} answers your commands. {waiting} sends alerts, too, so you may see each one twice."
        button = pause_button(machine) if machine else ("Pause alerts of the other copy", f"{VERB}:pause:")
    else:
        return []
    context.pause_others(verb == "pause")
    advice = "It is best to run one copy only. If you know of no other, get a new token with /revoke at @BotFather."
    return [Reply(text="", toast=True), Reply(text=f"{words}\n{advice}", keyboard=((button,),), edit=True)]
