"""Chapter 00: start here: the stages of a model's life, and which lever for which gap."""
