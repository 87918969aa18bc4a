"""Strings to ids and back; never imports torch."""
