"""Losses. They take tensors and never a model; ``learning/training/step.py`` brings the two together."""
