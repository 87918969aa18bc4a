"""One search for every model: greedy, beam, sampling, constraints."""
