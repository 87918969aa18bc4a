"""Examples that are drawn by a generator: mathematics, numbers in words."""
