"""Published metrics; each takes predict functions, never a model."""
