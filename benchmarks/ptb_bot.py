"""A second column: the shortest useful bot with python-telegram-bot, with the library's defaults."""

import os
from typing import Any

from telegram import Update
from telegram.ext import Application, CommandHandler


async def ping(update: Update, _: Any) -> None:
    """Answer `/ping X` with `pong X`."""
    if update.message is not None:
        await update.message.reply_text("pong " + (update.message.text or "").partition(" ")[2])


application = (
    Application.builder()
    .token(os.environ["TELEGRAM_BOT_TOKEN"])
    .base_url(os.environ["TELEGRAM_API_URL"] + "/bot")
    .build()
)
application.add_handler(CommandHandler("ping", ping))
application.run_polling()
