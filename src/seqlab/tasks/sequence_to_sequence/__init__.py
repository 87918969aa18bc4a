"""Text in, text out: translation, mathematics, paraphrase."""
