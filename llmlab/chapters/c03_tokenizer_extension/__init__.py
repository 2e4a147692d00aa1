"""Chapter 03: tokenizer extension."""
