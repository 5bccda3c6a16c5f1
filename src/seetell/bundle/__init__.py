"""The bundle: manifest, tokenizer and where bundles are found."""
