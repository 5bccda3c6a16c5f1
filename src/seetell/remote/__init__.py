"""Speaking with a server that has OpenAI's chat completions: addresses, keys, photos, retries, answers."""
