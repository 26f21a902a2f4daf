"""The running bot: its parts, start and stop, one round, and how it is."""
