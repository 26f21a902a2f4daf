"""From an update to its effect: the inbox, the table of commands, one module a subject."""
