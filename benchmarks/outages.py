"""Lost networks: how soon does the bot answer a command after the network is back?

`python -m benchmarks.outages [--rounds 3] [--longest 60]`. In each round the simulator's port swallows everything for
some seconds (on Linux new connections, too), with commands sent before, during and at the end of it. Severed: open
connections stay dead for good, as after a change of Wi-Fi. Kept: they work afterwards. Exit code 1 when a command was
lost or took more than 3.5 s; answers that came twice are counted.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.rig import OWNER, Failed, Rig, rest, rig

LENGTHS = (0.5, 2.0, 5.0, 10.0, 30.0, 60.0)
LIMIT = 3.5


def outage(made: Rig, number: int, *, seconds: float, sever: bool) -> float:
    """One outage. Returns the seconds from its end until all three commands sent in it were answered."""
    account, sim = made.account, made.sim
    rest(random.uniform(0.2, 3.5))  # any moment of a long poll
    names = [f"{number}.{part}" for part in ("before", "during", "end")]
    account.send_text(chat_id=OWNER, text=f"/ping {names[0]}")
    rest(random.choice((0.0, 0.002, 0.01)))
    sim.cut(sever=sever)
    rest(seconds / 2)
    account.send_text(chat_id=OWNER, text=f"/ping {names[1]}")
    rest(seconds / 2)
    account.send_text(chat_id=OWNER, text=f"/ping {names[2]}")
    sim.restore()
    back = time.time()
    wanted = {f"pong {name}" for name in names}
    made.wait(lambda: wanted <= set(account.texts(OWNER)), 60, what=f"answers to {names}")
    came = [sent.at for sent in account.sent if sent.text in wanted]
    return max(0.0, max(came) - back)


def main() -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="How soon the bot answers after a lost network.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--longest", type=float, default=60.0)
    options = parser.parse_args()
    slow = 0
    with tempfile.TemporaryDirectory() as folder, rig(Path(folder)) as made:
        made.start()
        made.wait(lambda: made.account.polling, 30, what="polling")
        calls = made.account.count("getUpdates")
        rest(15)
        print(f"idle: {(made.account.count('getUpdates') - calls) * 4} getUpdates a minute")
        number = 0
        print(f"{'outage':>8} {'connections':>12} {'answered after, s (one per round)'}")
        for seconds in (length for length in LENGTHS if length <= options.longest):
            for sever in (True, False):
                took = []
                for _ in range(options.rounds):
                    number += 1
                    took.append(outage(made, number, seconds=seconds, sever=sever))
                slow += sum(one > LIMIT for one in took)
                figures = "  ".join(f"{one:.1f}" for one in took)
                print(f"{seconds:6g} s {'severed' if sever else 'kept':>12} {figures}", flush=True)
        pongs = Counter(text for text in made.account.texts(OWNER) if text.startswith("pong"))
        doubled = sum(count - 1 for count in pongs.values())
        print(f"{len(pongs)} commands answered, {doubled} answers came twice; over {LIMIT:g} s: {slow} outages")
        print(f"stopped in {made.stop():.2f} s")
    return 1 if slow else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        sys.exit(str(failed))
