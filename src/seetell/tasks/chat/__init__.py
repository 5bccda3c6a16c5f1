"""Conversation: messages to one text by the model's own template, answers, and prompts that are read once."""
