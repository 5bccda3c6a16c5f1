"""Recipes, the training loop, checkpoints, and the step where models meet objectives."""
