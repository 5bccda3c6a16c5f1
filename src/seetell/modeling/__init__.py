"""Building models: parts, assembled models, public checkpoint formats and export. Needs torch."""
