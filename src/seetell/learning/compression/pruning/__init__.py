"""Structured pruning: heads, units, channels and whole layers of our own model, left out for good."""
