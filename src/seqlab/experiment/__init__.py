"""The whole config of a run, the kinds there are, and from a config to task and model."""
