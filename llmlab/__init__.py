"""llmlab: every claim of mid- and post-training is an experiment."""

import logging
import warnings

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(
    logging.ERROR
)  # at import it asks for `kernels`, which would fetch code from the hub
# said by libraries of each other; nothing that a reader could do about it
warnings.filterwarnings(
    "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
)  # PEFT asks transformers for it
warnings.filterwarnings(
    "ignore", message="Merge lora module to 4-bit linear", category=UserWarning
)  # how much it rounds, adapters.merge_drift measures
