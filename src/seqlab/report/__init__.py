"""Reads run folders only and draws them; never imports torch."""
