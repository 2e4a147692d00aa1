"""Chapter 03: tokenizer extension."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "extend": "Extend",
}
