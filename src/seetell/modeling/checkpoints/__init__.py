"""Weights from files: our own runs and bundles, and public formats, into our models."""
