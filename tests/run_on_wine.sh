#!/usr/bin/env bash
# Runs the tests with a real Windows CPython under Wine: the Windows code paths of lock, store, signals and polling.
# usage: tests/run_on_wine.sh PYTHON [pytest arguments]
# PYTHON starts that interpreter (for example: wine C:/Python311/python.exe); it needs what requirements-dev.txt lists.
# What Windows or Wine does not have skips itself and says why. Wine is not Windows: what passes here ran CPython's
# Windows code on Wine's system calls.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?usage: tests/run_on_wine.sh PYTHON [pytest arguments]}
shift
# shellcheck disable=SC2086  # PYTHON may be several words
exec $python -m pytest -q -p no:cacheprovider "$@"
