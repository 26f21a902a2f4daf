"""A Bot API server and market venues on loopback. It imports nothing of the bot."""
