"""The baseline: the shortest useful pyTelegramBotAPI bot, with the library's defaults."""

import os

import telebot

telebot.apihelper.API_URL = os.environ["TELEGRAM_API_URL"] + "/bot{0}/{1}"  # type: ignore[assignment]
bot = telebot.TeleBot(os.environ["TELEGRAM_BOT_TOKEN"])


@bot.message_handler(commands=["ping"])  # type: ignore[untyped-decorator]
def ping(message: telebot.types.Message) -> None:
    """Answer `/ping X` with `pong X`."""
    bot.send_message(message.chat.id, "pong " + (message.text or "").partition(" ")[2])


bot.infinity_polling()
