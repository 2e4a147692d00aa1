"""Many runs on many machines, by Ray: the same jobs and the same results as the pool's. Needs the extra: pip
install 'llmlab[sweep]'.
"""

import os
from typing import Any, Iterable, Iterator

from ..errors import UserError
from . import code, runs


class NoRay(UserError):
    """Ray is not installed, or no cluster answers."""


def run_all(jobs: Iterable[tuple], workers: int | None = None) -> Iterator[tuple[tuple, runs.Run]]:
    """(job, its run) for each job (experiment, seed), in the order in which they end; each run is stored on
    this machine too.

    With RAY_ADDRESS the cluster there does the work (llmlab and its data must be installed on its machines),
    else a local one with `workers`
    processes, on loopback. What is already stored is not computed again. Raises NoRay.
    """
    try:
        import ray
    except ImportError:
        raise NoRay(
            "Ray is not installed here; run: pip install 'llmlab[sweep]', or use --executor pool"
        ) from None
    address = os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = (
        {} if address else dict(num_cpus=workers or os.cpu_count(), _node_ip_address="127.0.0.1")
    )
    try:
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",  # type: ignore[arg-type]  # Ray takes names too
            **local,
        )
    except (ConnectionError, RuntimeError, ValueError) as e:
        raise NoRay(f"no Ray cluster answers at '{address}' ({e}); start one, or unset RAY_ADDRESS") from None
    try:
        remote = ray.remote(num_cpus=1, max_retries=2)(_run)
        waiting = {remote.remote(*job): job for job in jobs}
        while waiting:
            (done,), _ = ray.wait(list(waiting))
            run, made_by = ray.get(done)
            runs.store(run, made_by)
            yield waiting.pop(done), run
    finally:
        ray.shutdown()


def _run(experiment, seed: int) -> tuple[runs.Run, dict[str, str]]:
    """The run, and the code of the machine that made it, which may be another one than here."""
    import torch

    torch.set_num_threads(1)
    return runs.run(experiment, seed, experiment.default_model), code.of(experiment)
