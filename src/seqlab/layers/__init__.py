"""Bricks of models: attention, positions, feed-forward, sharing; torch only."""
