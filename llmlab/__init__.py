"""llmlab: every claim of mid- and post-training is an experiment."""

import logging

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # at import it asks for `kernels`, which would fetch code from the hub
