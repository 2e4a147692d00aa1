"""Methods: what a batch should make more or less likely, and how much better than expected a sample was."""
