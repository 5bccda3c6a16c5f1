"""Readers of captions, questions and labels, and the records they give."""
