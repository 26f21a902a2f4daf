"""Telegram, and nothing of markets or commands: client, long poll, conflict, pacing, outbox."""
