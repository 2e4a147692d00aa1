"""Chapter 01: data topology."""
