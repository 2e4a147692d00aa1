"""Chapter 04: supervised fine-tuning."""
