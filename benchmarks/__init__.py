"""Measurements of the whole bot against the simulator: `python -m benchmarks.NAME`. See README.md."""
