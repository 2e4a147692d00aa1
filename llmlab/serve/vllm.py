"""The same folder of adapters for vLLM: the command line that serves the versions in service."""

import shlex
from pathlib import Path

from ..errors import UserError
from .adapters import read_config
from .store import AdapterStore

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's --max-lora-rank takes


def command(folder: Path | str, model: str) -> str:
    """`vllm serve MODEL --enable-lora --lora-modules tenant=path …`, quoted for a shell. Reads the configs
    only, not the weights.
    """
    store = AdapterStore(folder)
    current = {
        tenant: store.folder.resolve() / tenant / str(store.current(tenant)) for tenant in store.tenants()
    }
    if not current:
        raise UserError(
            f"'{folder}' holds no adapters; publish one, or give a folder with TENANT/VERSION/ sub-folders"
        )
    configs = [read_config(path) for path in current.values()]
    rank = max(max([c.r, *c.rank_pattern.values()]) for c in configs)
    if rank > RANKS[-1]:
        raise UserError(
            f"an adapter has rank {rank}, and vLLM serves at most {RANKS[-1]}; train it with a lower rank"
        )
    words = ["vllm", "serve", model, "--host", "127.0.0.1", "--enable-lora", "--lora-modules"]
    words += [f"{tenant}={path}" for tenant, path in current.items()]
    words += [
        "--max-loras",
        str(min(len(current), 64)),
        "--max-lora-rank",
        str(next(r for r in RANKS if r >= rank)),
    ]
    return shlex.join(words)
