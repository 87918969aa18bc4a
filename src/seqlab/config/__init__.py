"""Settings of every kind: the base class, TOML and `key=value`, recipes."""
