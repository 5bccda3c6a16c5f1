"""Models as the roles of a bundle: one module per graph, with named inputs and outputs."""
