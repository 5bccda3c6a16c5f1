"""Public families, one table file each: what its weights are called, what its configuration means, how it
sees photos and reads text. A file added here is found by itself; see ``docs/add-a-family.md``."""
