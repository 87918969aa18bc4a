"""A text or a pair of texts in, a class out."""
