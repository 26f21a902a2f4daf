#!/bin/sh
# Starts the bot in a terminal that stays open when something is wrong. Double-click it, or use the entry in the
# applications menu that `bot.py install desktop --write` makes.
CDPATH='' cd -- "$(dirname -- "$0")/.." || exit 1
here=\'$(printf %s "$PWD" | sed "s/'/'\\\\''/g")\'
code=127
if [ -x .venv/bin/python ]; then
    .venv/bin/python bot.py "$@"
    code=$?
fi
case $code in
0)
    exit 0
    ;;
126 | 127)
    code=78
    echo "There is no virtual environment in this folder that runs on this computer. To make one, run:"
    printf '    cd %s\n' "$here"
    echo "    python3 -m venv --clear .venv"
    echo "    .venv/bin/python -m pip install -r requirements.txt"
    ;;
*)
    echo
    echo "The bot stopped with exit code $code. The lines above say why. To check for problems, run:"
    printf '    cd %s && .venv/bin/python bot.py doctor\n' "$here"
    ;;
esac
if [ -t 0 ]; then
    printf 'Press Enter to close this window. '
    read -r _
fi
exit "$code"
