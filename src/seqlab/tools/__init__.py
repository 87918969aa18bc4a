"""Self-checks, learning-rate range test, data inspection."""
