"""The training engine: knows no task and no model."""
