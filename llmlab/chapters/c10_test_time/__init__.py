"""Chapter 10: test-time scaling."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "scale": "Scale",
    "search": "Search",
    "revise": "Revise",
    "budget": "Budget",
}
