#!/bin/sh
# Starts the bot in a terminal that stays open when something is wrong. Double-click it, or use the entry in the
# applications menu that `bot.py install desktop --write` makes.
cd "$(dirname "$0")/.." || exit 1
code=78
if [ -x .venv/bin/python ]; then
    .venv/bin/python bot.py "$@"
    code=$?
    [ "$code" = 0 ] && exit 0
    echo
    echo "The bot stopped with exit code $code. The lines above say why. To check for problems, run:"
    echo "    cd '$PWD' && .venv/bin/python bot.py doctor"
else
    echo "There is no virtual environment in this folder yet. Run:"
    echo "    cd '$PWD'"
    echo "    python3 -m venv .venv"
    echo "    .venv/bin/pip install -r requirements.txt"
fi
if [ -t 0 ]; then
    printf 'Press Enter to close this window. '
    read -r _
fi
exit "$code"
