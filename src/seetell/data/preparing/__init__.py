"""From a source to checked, sharded data with a report."""
