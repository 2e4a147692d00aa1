"""Chapter 11: distillation and quantisation."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "distill": "Distill",
    "selfdistill": "SelfDistill",
    "quantise": "Quantise",
    "qat": "QAT",
    "specialists": "Specialists",
    "merging": "Merging",
}
