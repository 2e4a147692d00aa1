"""Chapter 07: reinforcement learning from a verifier."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "grpo": "GRPO",
    "policy": "Policy",
    "variance": "Variance",
    "retain": "Retain",
    "order": "Order",
    "agent": "Agent",
    "sampling": "Sampling",
}
