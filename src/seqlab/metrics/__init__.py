"""Strings or arrays in, plain floats out; never imports torch."""
