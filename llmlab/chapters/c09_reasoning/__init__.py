"""Chapter 09: reasoning and self-training."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "decompose": "Decompose",
    "star": "Star",
    "verify": "Verify",
    "process": "Process",
    "calibrate": "Calibrate",
    "contaminate": "Contaminate",
}
