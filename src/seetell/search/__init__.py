"""The photo index."""
