"""Torch models to bundles, and the checks that they agree."""
