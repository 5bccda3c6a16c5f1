"""Engines that run a bundle's graphs, and the decoding loops."""
