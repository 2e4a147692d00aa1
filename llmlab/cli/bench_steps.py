"""Benchmarks of a training step: SFT, DPO and distillation against TRL's trainers, on the same rows with the
same loss, alternately in one process.
"""

import os
import statistics
import tempfile
import time
import warnings
from itertools import count
from typing import Callable, Iterator

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..chapters.c04_sft.sft import SFT
from ..methods import distillation, imitation, preferences
from ..methods.parts import Objective
from ..models.frozen import frozen_copy
from ..models.load import load
from ..tokens import collate, pairs
from ..tokens.batch import Batch, pad
from ..train import loop
from ..train.reference import Reference
from ..trl import sft as trl_sft
from ..world import talk

ROUNDS, STEPS, WARM = 3, 8, 3  # each side alternately; the first steps of each round are not counted


def seconds_per_step(rows) -> float:
    """Median seconds between rows, the first ones left out."""
    times = [time.perf_counter()]
    for _, _ in zip(range(STEPS + WARM), rows):
        times.append(time.perf_counter())
    return statistics.median(b - a for a, b in zip(times[WARM:], times[WARM + 1 :]))


def alternate(ours: Callable[[], float], theirs: Callable[[], float], rounds: int | None = None) -> dict:
    """Median seconds of both sides over alternating rounds, and the ratio theirs / ours."""
    found = [(ours(), theirs()) for _ in range(ROUNDS if rounds is None else rounds)]
    mine, other = (statistics.median(p[i] for p in found) for i in (0, 1))
    return {"ours_ms": 1e3 * mine, "theirs_ms": 1e3 * other, "ratio": other / mine}


def ceiling(figures: dict, rows, tokens: int, model) -> dict:
    """The figures with `ceiling`: the ratio that a step would have whose matrix products (counted in one of
    ours) ran at the machine's full fp32 rate and whose remaining work cost nothing.
    """
    with FlopCounterMode(display=False) as counter:
        next(rows)
    return figures | {
        "ceiling": figures["theirs_ms"] / (1e3 * counter.get_total_flops() / matrix_rate(tokens, model))
    }


def ticking(times: list[float]):
    """A TRL callback that notes in `times` when each step ended."""
    from transformers import TrainerCallback

    class Ticks(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            times.append(time.perf_counter())

    return Ticks()


def trl_step(trainer_class, config_class, model, tok, dataset, **config) -> tuple[float, float]:
    """(median seconds a step, loss of the first batch) of a TRL trainer under its CPU profile (fp32, no
    activation checkpointing).
    """
    from transformers import PrinterCallback, ProgressCallback

    times, names = list[float](), ("ref_model", "teacher_model", "data_collator")
    extra = {k: config.pop(k) for k in names if k in config}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = config_class(
            output_dir=folder,
            use_cpu=not torch.cuda.is_available(),
            bf16=False,
            activation_checkpointing=False,
            max_steps=STEPS + WARM + 1,
            train_sampling_strategy="sequential",
            max_length=None,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            learning_rate=1e-4,
            **config,
        )
        trainer = trainer_class(
            model=model,
            args=arguments,
            train_dataset=dataset,
            processing_class=tok,
            callbacks=[ticking(times)],
            **extra,
        )
        for noisy in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(noisy)
        first = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        loss = float(trainer.compute_loss(trainer.model, first))
        trainer.train()
    return statistics.median(b - a for a, b in zip(times[WARM:], times[WARM + 1 :])), loss


def matrix_rate(tokens: int, model) -> float:
    """fp32 matrix-product rate (flop/s) at the shapes of the model's own layers: forward, and both products
    of the backward.
    """
    shapes = [m.weight.shape for m in model.modules() if isinstance(m, torch.nn.Linear)]
    flop = seconds = 0.0
    for out, inner in shapes:
        x, w, g = torch.randn(tokens, inner), torch.randn(out, inner), torch.randn(tokens, out)
        for a, b in ((x, w.T), (g, w), (g.T, x)):
            _ = a @ b
            began = time.perf_counter()
            for _ in range(3):
                _ = a @ b
            seconds, flop = seconds + time.perf_counter() - began, flop + 3 * 2 * tokens * inner * out
    return flop / seconds


def against(
    start, stream: Callable[[], Iterator[Batch]], objective: Objective, theirs: Callable[[], tuple]
) -> dict:
    """Our steps from a model on a stream against TRL's: seconds, ratio, ceiling, and how far the losses of
    the first step are apart.
    """

    def rows():
        return loop.steps(frozen_copy(start).requires_grad_(True), stream(), objective, n=10**6, lr=1e-4)

    losses: list[float] = []

    def other() -> float:
        seconds, loss = theirs()
        losses.append(loss)
        return seconds

    figures = alternate(lambda: seconds_per_step(rows()), other)
    apart = abs(next(rows())["loss"] - losses[0])  # the stream has been read: a stored reference is there
    return ceiling(figures, rows(), next(stream()).ids.numel(), start) | {"losses_apart": apart}


def conversations(tok) -> Batch:
    """A step's conversations of the experiment `sft`: 16 rows, the assistant's words under the mask."""
    return SFT().batch_at(tok, 0, 0)


def repeated(rows: list[dict]):
    """A dataset in which each step of a trainer reads the same rows."""
    from datasets import Dataset

    return Dataset.from_list(rows * (STEPS + WARM + 2))


def sft() -> dict:
    """One optimiser step on 16 conversations of the lab."""
    from trl import SFTConfig, SFTTrainer

    loaded = load("chat")
    batch = conversations(loaded.tok)
    data = repeated(trl_sft.examples(batch))

    def theirs():
        """SFTTrainer's."""
        model = frozen_copy(loaded.model).requires_grad_(True)
        size = dict(per_device_train_batch_size=len(batch))
        return trl_step(SFTTrainer, SFTConfig, model, loaded.tok, data, **size)

    figures = against(loaded.model, lambda: iter(lambda: batch, None), imitation.nll, theirs)
    return figures | {"goal": 2.2, "what": "SFT step against SFTTrainer, 16 conversations"}


def dpo() -> dict:
    """One optimiser step on 16 stored pairs, their reference computed beforehand on both sides."""
    from trl import DPOConfig, DPOTrainer

    loaded, drawn = load("chat"), talk.pairs(16, kinds="all")
    batch, reference = pairs.answers(loaded.tok, drawn), Reference(loaded.model)
    sides = ("chosen", "rejected")
    said = [{s: [{"role": "assistant", "content": getattr(p, s)}] for s in sides} for p in drawn]
    data = repeated([{"prompt": list(p.messages)} | both for p, both in zip(drawn, said)])

    def theirs():
        """DPOTrainer's."""
        model = frozen_copy(loaded.model).requires_grad_(True)
        more = dict(ref_model=frozen_copy(loaded.model), precompute_ref_log_probs=True)
        size = dict(per_device_train_batch_size=len(drawn))
        return trl_step(DPOTrainer, DPOConfig, model, loaded.tok, data, **size, **more)

    figures = against(loaded.model, lambda: (reference(batch) for _ in count()), preferences.dpo, theirs)
    return figures | {"goal": 2.8, "what": "DPO step against DPOTrainer, 16 stored pairs"}


def distill() -> dict:
    """One optimiser step of generalised JS on 16 conversations, the teacher asked in the step."""
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    student, teacher, tok = load("base").model, load("chat").model, load("chat").tok
    batch = conversations(tok)
    data = repeated(trl_sft.examples(batch))

    def padded(rows: list[dict]) -> dict:
        """Rows as GKDTrainer reads them."""
        ids = [row["input_ids"] for row in rows]
        return {
            "input_ids": pad(ids, tok.pad_token_id),
            "attention_mask": pad([[1] * len(row) for row in ids], 0),
            "labels": pad([row["labels"] for row in rows], collate.IGNORED),
        }

    def theirs():
        """GKDTrainer's, which samples nothing (lmbda 0)."""
        model = frozen_copy(student).requires_grad_(True)
        more = dict(teacher_model=frozen_copy(teacher), data_collator=padded, lmbda=0.0, beta=0.5)
        size = dict(per_device_train_batch_size=len(batch))
        return trl_step(GKDTrainer, GKDConfig, model, tok, data, **size, **more)

    def stream():
        return (loop.add_logits(teacher, batch, "teacher_logits") for _ in count())

    figures = against(student, stream, distillation.js, theirs)
    return figures | {"goal": 2.0, "what": "distillation step against GKDTrainer, 16 conversations"}
