"""trl: an experiment whose steps TRL's trainer makes: our batches, our learning-rate schedule, our probes; its loop, collator, loss and optimiser.

With torchrun every process takes its part of each batch. A run is not checkpointed: interrupted, it begins anew.
"""

import os
import queue
import sys
import tempfile
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

import torch

from .. import loop, recipe
from ..errors import UserError
from ..experiments.base import Experiment
from ..experiments.supervised import Supervised
from ..tokens import collate
from ..tokens.batch import Batch

END = object()


@dataclass(frozen=True)
class TRL(Experiment):
    """`of` through TRL's SFTTrainer. Raises UserError if `of` is not an experiment that imitates."""

    of: Supervised
    name = "trl"

    def __post_init__(self):
        if not isinstance(self.of, Supervised):
            raise UserError(f"--engine trl does not run '{self.of.name}' yet; use --engine lab")

    @property
    def default_model(self) -> str:
        """That of the experiment."""
        return self.of.default_model

    @property
    def steps(self) -> int:
        """Those of the experiment."""
        return self.of.steps

    @property
    def curves(self) -> dict[str, str]:
        """Those of the experiment."""
        return type(self.of).curves

    def settings(self) -> dict:
        """What the record's key holds: the experiment, its knobs, its recipe, and how many processes share a batch."""
        code = recipe.version(str(Path(sys.modules[type(self.of).__module__].__file__)))
        return {"of": self.of.name, "knobs": self.of.settings(), "recipe": code, "processes": world_size()}

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The experiment's rows as TRL's trainer makes them."""
        k = self.of
        if hasattr(k, "prepared"):  # own conversations, adapters
            k, loaded = k.prepared(loaded, seed, texts)
        k.address(loaded)
        batch = k.batches(loaded.model, loaded.tok, seed)
        batches, probe = [batch(step) for step in range(k.steps)], k.prober(loaded.model, loaded.tok)
        yield from sft(loaded.model, loaded.tok, batches, lr=k.lr, warmup=k.warmup, probe=probe, every=k.probe)
        if hasattr(k, "finish"):
            k.finish(loaded)


def world_size() -> int:
    """Processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def sft(model, tok, batches: list[Batch], *, lr: float, warmup: int, probe: Callable[[int], dict], every: int) -> Iterator[dict]:
    """A step of SFTTrainer on each of our batches, in our order; a row a step as loop.train yields them. lr, warm-up, decay are those of loop.steps.

    Raises UserError for what TRL cannot say: packed rows, a batch that the processes cannot share.
    """
    from datasets import Dataset
    from trl import SFTTrainer

    n, size = len(batches), len(batches[0])
    check(batches)
    data = Dataset.from_list([row for b in batches for row in examples(b)])
    opts = loop.optimizers(model, "adamw", lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(opts[0], lambda step: loop.rate(step, n, warmup, 0.1))

    def work(hand_over) -> None:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arguments = config(folder, n=n, rows=size // world_size(), on_cpu=model.device.type == "cpu")
            trainer = SFTTrainer(model, arguments, train_dataset=data, processing_class=tok, optimizers=(opts[0], schedule))
            watch(trainer, hand_over, probe, every, n)
            trainer.train()

    yield {"step": 0} | probe(0)
    yield from streamed(work)


def check(batches: list[Batch]) -> None:
    """Can TRL train on these? Raises UserError."""
    if any(b.given for b in batches):
        raise UserError("--engine trl takes a conversation a row; packed rows need --engine lab")
    if len(batches[0]) % world_size():
        raise UserError(f"--batch {len(batches[0])} cannot be shared by {world_size()} processes; choose a multiple of {world_size()}")


def examples(batch: Batch) -> list[dict]:
    """A batch's rows without their padding: input_ids, and labels with -100 where nothing is imitated."""
    ends = [int(row.nonzero().max()) + 1 if row.any() else 1 for row in batch.mask]  # what follows the last label decides nothing
    labels = collate.labels(batch.ids, batch.mask)
    return [{"input_ids": i[:e].tolist(), "labels": t[:e].tolist()} for i, t, e in zip(batch.ids, labels, ends)]


def config(folder: str, *, n: int, rows: int, on_cpu: bool):
    """TRL's settings under which a step is ours: fp32, sequential, no activation checkpointing, clipped at 1; nothing saved, nothing reported."""
    from trl import SFTConfig

    return SFTConfig(
        output_dir=folder,
        use_cpu=on_cpu,
        bf16=False,
        activation_checkpointing=False,
        max_steps=n,
        per_device_train_batch_size=rows,
        train_sampling_strategy="sequential",
        max_length=None,
        max_grad_norm=1.0,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )


def watch(trainer, hand_over: Callable[[dict], bool], probe, every: int, n: int) -> None:
    """Hand a row over after every step; end the training where the reader has gone."""
    from transformers import PrinterCallback, ProgressCallback, TrainerCallback

    class Watch(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" in logs:
                step = state.global_step
                row = {"step": step, "loss": logs["loss"], "lr": logs["learning_rate"], "grad_norm": logs["grad_norm"]}
                if step % every == 0 or step == n:
                    row |= probe(step)
                control.should_training_stop |= not hand_over(row)

    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    trainer.add_callback(Watch())


def streamed(work: Callable[[Callable[[dict], bool]], None]) -> Iterator[dict]:
    """The rows that `work` hands over from a thread of its own, as a generator. Each call of the hand-over waits until its row has been taken and
    says whether more are wanted; what `work` raises is raised here.
    """
    rows, taken, gone = queue.Queue(), threading.Semaphore(0), threading.Event()

    def hand_over(row: dict) -> bool:
        rows.put(row)
        taken.acquire()
        return not gone.is_set()

    def run() -> None:
        try:
            work(hand_over)
            rows.put(END)
        except BaseException as error:
            rows.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (row := rows.get()) is not END:
            if isinstance(row, BaseException):
                raise row
            yield row
            taken.release()
    finally:
        gone.set()
        taken.release()
        thread.join()
