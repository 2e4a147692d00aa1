"""Chapter 05: LoRA, QLoRA, and many tenants on one base."""

EXPERIMENTS = {  # name, which is that of its module -> class
    "codes": "CodeBook",
    "lora": "LoRA",
    "serving": "Serving",
}
USES = {"lora": ("sft", "dpo", "grpo")}  # asked for by name, at run time
