"""The simulator alone: `python -m simulation --port 8081 --token TOKEN [--flow N]`, until it is stopped."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from simulation.feeds import VENUES
from simulation.simulator import Simulator


def main(arguments: list[str]) -> int:
    """Print one JSON line with the URLs, serve until SIGINT or SIGTERM, return the exit code."""
    parser = argparse.ArgumentParser(description="A Bot API server and market venues on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", action="append", default=[], help="register this bot (may be repeated)")
    parser.add_argument("--flow", type=float, default=0, help="background trades a second")
    parser.add_argument("--whale-every", type=float, default=None, help="seconds between whales among them")
    parser.add_argument("--conflict-hold", type=float, default=3.0, help="seconds in place of the server's 3 s")
    options = parser.parse_args(arguments)
    stop = False

    def ask_to_stop(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    with Simulator(options.port, conflict_hold=options.conflict_hold) as sim:
        for token in options.token:
            sim.bot(token)
        if options.flow:
            sim.market.give_past(8)
            sim.market.start_flow(options.flow, whale_every=options.whale_every)
        print(json.dumps({"url": sim.url, "markets": {venue: sim.market_url(venue) for venue in VENUES}}), flush=True)
        # A handler that only sets a flag, and a wait in slices: setting an Event in a handler could deadlock.
        slices = threading.Event()
        while not stop:
            slices.wait(0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
