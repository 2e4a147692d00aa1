"""Chapter 07: reinforcement learning."""
