"""Chapter 04: supervised fine-tuning: masks, templates, data."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "sft": "SFT",
    "chats": "Chats",
    "template": "Template",
    "traces": "Traces",
    "unknown": "Unknown",
    "curate": "Curate",
    "stages": "Stages",
}
USES = {"stages": ("dpo", "grpo")}  # asked for by name, at run time
