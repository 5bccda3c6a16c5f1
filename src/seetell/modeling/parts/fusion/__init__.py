"""Four interchangeable ways for text and image tokens to meet.

Each is called as ``fusion(text_tokens, text_mask, image_tokens, image_mask)`` with
float[B, T, D], bool[B, T], float[B, N, C], bool[B, N] and returns fused tokens float[B, T, D].
"""
