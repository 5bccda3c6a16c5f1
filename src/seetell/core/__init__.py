"""Errors, results, settings and file handling that every room uses."""
