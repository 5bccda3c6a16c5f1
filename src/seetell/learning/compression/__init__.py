"""Smaller and faster bundles: quantisation, and the gate that decides whether one may be written."""
