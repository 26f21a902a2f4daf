"""What each chat is told: publish, bundle, preferences, held back, digest, chart."""
