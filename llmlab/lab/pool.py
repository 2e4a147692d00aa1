"""Many runs on all cores: a process per core with one torch thread each (two threaded processes slow each
other down twentyfold).
"""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Callable, Iterable, Iterator

from ..errors import UserError
from . import runs


class WorkerLost(UserError):
    """A worker process was killed from outside (often: out of memory)."""


def run_all(jobs: Iterable[tuple], workers: int | None = None) -> Iterator[tuple[tuple, runs.Run]]:
    """(job, its run) for each job (experiment, seed), in the order in which they end. What is already stored
    is not computed again, so an interrupted call, made again, goes on.
    """
    yield from each(_run, jobs, workers)


def each(work: Callable, jobs: Iterable[tuple], workers: int | None = None) -> Iterator[tuple[tuple, Any]]:
    """(job, work(*job)) for each job, in the order in which they end. Raises WorkerLost, and what `work`
    raises.
    """
    jobs = list(jobs)
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context, initializer=_prepare) as executor:
        waiting = {executor.submit(work, *job): job for job in jobs}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BrokenProcessPool:
            raise WorkerLost(
                "a worker process was killed (out of memory?); the same command makes what is missing"
            ) from None
        finally:
            executor.shutdown(wait=False, cancel_futures=True)


def _prepare() -> None:
    import torch

    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(10)  # whoever sits at this machine comes first
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker holds both ends of its queue, so it would wait for ever after its parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent, "a worker has a parent"
    parent.join()
    os._exit(1)


def _run(experiment, seed: int) -> runs.Run:
    return runs.run(experiment, seed, experiment.default_model)
