"""Augmentation, objectives and training. Needs torch."""
