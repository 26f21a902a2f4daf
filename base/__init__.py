"""What the rest is built from: words and numbers, settings, threads, logs, files. Imports nothing of ours."""
