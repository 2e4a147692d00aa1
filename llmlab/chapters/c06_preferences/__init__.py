"""Chapter 06: preference optimisation and reward models."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "dpo": "DPO",
    "prefer": "Prefer",
    "pairs": "Pairs",
    "online": "Online",
    "explore": "Explore",
    "reward": "Reward",
    "overopt": "Overopt",
}
