"""One file per verb, and the facade that load() returns."""
