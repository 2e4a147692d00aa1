"""Chapter 02: continued pretraining."""
