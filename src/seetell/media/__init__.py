"""Photos and frames: safe decoding and preprocessing."""
