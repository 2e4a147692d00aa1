"""Chapter 02: continued pretraining, and what mid-training is good for."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "cpt": "CPT",
    "burst": "Burst",
    "facts": "Facts",
    "longdoc": "LongDoc",
    "midtrain": "Midtrain",
}
