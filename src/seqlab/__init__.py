"""seqlab trains sequence models fast on the hardware you have, and measures what every trick buys."""

__version__ = "0.1.0"
