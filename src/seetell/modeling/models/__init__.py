"""Assembled models with frozen configurations."""
