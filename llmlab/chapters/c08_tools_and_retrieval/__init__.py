"""Chapter 08: tools and retrieval."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "tools": "Tools",
    "decide": "Decide",
    "repair": "Repair",
    "rag": "Rag",
    "knowledge": "Knowledge",
    "raft": "Raft",
}
