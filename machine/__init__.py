"""The computer around the process: the machine-wide lock, who holds it, who supervises, folders, stop requests."""
