"""Ablation: plan, queue, measurements and page."""
