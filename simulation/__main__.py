"""`python -m simulation --port 8081 --token TOKEN [--flow N]`: the simulator alone, until it is stopped."""

from __future__ import annotations

import sys

from simulation.simulator import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
