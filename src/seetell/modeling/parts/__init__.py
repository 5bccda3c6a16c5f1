"""Modules that take numbers and tensors, and know no configuration."""
