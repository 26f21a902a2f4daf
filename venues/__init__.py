"""Market hosts: a question, and its rows as trades, liquidations, rates and positions. Nothing is trusted."""
