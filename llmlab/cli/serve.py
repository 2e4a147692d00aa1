"""`llmlab serve`: many adapters on one model, behind OpenAI's chat API on this machine."""

from pathlib import Path

from ..errors import UserError
from .options import Option, parse
from .screen import progress

OPTIONS: list[Option] = [
    ("model", str, "chat", "the base: base, chat, a folder, or a hub id"),
    ("port", int, 8000, "port on this machine's loopback"),
    ("make", bool, False, "first train the lab's small tenants that the folder lacks, a few seconds each"),
    ("keys", str, "", "JSON file of tenant and key: a client must send the key of the tenant it asks"),
    ("max_rank", int, 128, "largest rank of an adapter; every tenant pays for the largest"),
    ("vllm", bool, False, "do not serve: print the vLLM command line for the same adapters"),
]


def command(argv: list[str]) -> int:
    """`llmlab serve ADAPTERS`: a folder of tenants on one base, or the vLLM command line that would serve the
    same.
    """
    if not {"-h", "--help"} & set(argv) and (not argv or argv[0].startswith("-")):
        raise UserError(
            "which adapters? llmlab serve FOLDER, with TENANT/VERSION/ sub-folders as PEFT saves adapters"
        )
    options = parse("serve ADAPTERS", OPTIONS, argv if argv[0].startswith("-") else argv[1:])
    if options.make:
        make_tenants(Path(argv[0]), options.model)
    if options.vllm:
        from ..models.load import resolve
        from ..serve import vllm

        print(vllm.command(argv[0], str(resolve(options.model) or options.model)))
        return 0
    from ..serve import http

    http.run(argv[0], options.model, options.port, keys=options.keys, max_rank=options.max_rank)
    return 0


def make_tenants(folder: Path, model: str) -> None:
    """Train what the folder lacks of the lab's tenants; interrupted, the next call goes on with the next
    tenant.
    """
    from ..models.load import load
    from ..serve.store import AdapterStore
    from ..serve.tenants import TENANTS, train

    folder.mkdir(parents=True, exist_ok=True)
    loaded, store = load(model), AdapterStore(folder)
    with progress() as bar:
        task = bar.add_task("tenants", total=len(TENANTS), last="")
        for i, tenant in enumerate(TENANTS.values(), 1):
            if tenant.name not in store.tenants():
                train(loaded, store, tenant)
            bar.update(task, completed=i, last=tenant.name)
