"""The commands beside the running bot: setup, status, stop, doctor, install. The bot itself imports none of them."""
