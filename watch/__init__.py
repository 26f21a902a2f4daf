"""What on the markets is news: rules, and the monitors that keep state in the store."""
