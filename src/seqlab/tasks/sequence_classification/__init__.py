"""A sequence of numbers in, a class out."""
