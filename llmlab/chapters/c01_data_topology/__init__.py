"""Chapter 01: data topology. The same data under several losses."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "topology": "Topology",
}
