"""Chapter 06: preferences."""
