"""Networks of `transformers` behind our contracts."""
