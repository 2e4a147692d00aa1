"""Chapter 05: LoRA, QLoRA, many tenants."""
