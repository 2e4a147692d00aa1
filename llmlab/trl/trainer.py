"""What the TRL trainers share: a recipe in TRL's terms, the settings under which a step is ours, and TRL's
steps as our rows.
"""

import os
import queue
import threading
from dataclasses import replace
from itertools import islice
from typing import Callable, Iterator

import torch

from ..errors import UserError
from ..tokens.batch import Batch
from ..train import loop
from ..train.recipe import Read, Recipe

END = object()
OURS = {  # fp32, no activation checkpointing, clipped at 1; nothing saved, nothing reported
    "bf16": False,
    "activation_checkpointing": False,
    "max_grad_norm": 1.0,
    "logging_steps": 1,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
}
PASSED = {  # knob -> what it becomes where it is no setting but an object that the trainer is given
    "lr": ("optimizers", "AdamW with betas 0.9 and 0.95, and this peak rate"),
    "warmup": ("optimizers", "our schedule: this many steps up, then down to a tenth"),
    "probe": ("callbacks", "our probes, each time after this many steps"),
    "held": ("callbacks", "decides what our probes read"),
    "k": ("callbacks", "decides what our probes read"),
}


def batches(recipe: Recipe) -> list[Batch]:
    """All batches of a recipe, in order. Only for streams that do not sample from the model."""
    return list(islice(recipe.stream(0), recipe.steps))


def without(recipe: Recipe, names: tuple[str, ...]) -> Recipe:
    """The recipe whose probe leaves these readings out."""
    return replace(
        recipe, probe=Read(lambda step: {k: v for k, v in recipe.probe(step).items() if k not in names})
    )


def optimizers(recipe: Recipe) -> tuple:
    """Our optimiser and our schedule, as a trainer takes them."""
    optimizer = (recipe.opts or loop.optimizers(recipe.model, "adamw", recipe.lr))[0]
    shape = dict(warmup=recipe.warmup, final=recipe.final)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: loop.rate(step, recipe.steps, **shape)
    )


def settings(recipe: Recipe, folder: str) -> dict:
    """The settings that every trainer gets."""
    return OURS | {"output_dir": folder, "use_cpu": recipe.model.device.type == "cpu"}


def world_size() -> int:
    """Processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def share(rows: int, what: str) -> int:
    """Each process's part of a step's rows. Raises UserError if they cannot be shared."""
    if rows % world_size():
        raise UserError(
            f"{what} {rows} cannot be shared by {world_size()} processes; choose a multiple of {world_size()}"
        )
    return rows // world_size()


def watch(trainer, recipe: Recipe, hand_over: Callable[[dict], bool], logged: dict[str, str]) -> None:
    """Hand a row over after every step, with what TRL logs under our names; end the training where the reader
    has gone.
    """
    from transformers import PrinterCallback, ProgressCallback, TrainerCallback

    names, last = {"loss": "loss", "learning_rate": "lr", "grad_norm": "grad_norm"} | logged, {}

    class Watch(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            """TRL's log of a step, renamed and probed, as a row for the reader."""
            if "loss" in logs:
                step = state.global_step
                last.update(
                    {ours: logs[theirs] for theirs, ours in names.items() if theirs in logs}
                )  # samples used again are logged once
                row = {"step": step} | last
                if step % recipe.every == 0 or step == recipe.steps:
                    row |= recipe.probe(step)
                control.should_training_stop |= not hand_over(row)

    for noisy in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(noisy)
    trainer.add_callback(Watch())


def streamed(work: Callable[[Callable[[dict], bool]], None]) -> Iterator[dict]:
    """The rows that `work` hands over from a thread of its own, as a generator. Each call of the hand-over
    waits until its row has been taken and says whether more are wanted; what `work` raises is raised here.
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
