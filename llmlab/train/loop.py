"""One training loop for every method: what differs is the stream of batches and the objective."""

import json
import time
from itertools import chain
from pathlib import Path
from typing import Callable, Iterable, Iterator

import torch
from safetensors.torch import load, save

from .. import paths
from ..errors import UserError
from ..methods.distillation import top_k
from ..methods.parts import Objective, trained, values_of
from ..models.forward import Out, forward_trained, placed
from ..tokens.batch import Batch
from .recipe import GaveUp, Recipe


class Diverged(UserError):
    """The loss is no longer finite."""


def rate(step: int, n: int, warmup: int, final: float) -> float:
    """Share of the peak learning rate: linear warm-up, then linear decay to `final` at step n."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return final + (1 - final) * (n - step) / max(1, n - warmup)


def optimizers(model, name: str, lr: float, weight_decay: float = 0.0) -> list[torch.optim.Optimizer]:
    """adamw for everything, or muon for the hidden matrices and adamw for embeddings and norms."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if name == "adamw":
        return [
            torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay, fused=True)
        ]
    hidden = [
        p
        for n, p in model.named_parameters()
        if p.requires_grad and p.ndim == 2 and "embed" not in n and "lm_head" not in n
    ]
    chosen = {id(p) for p in hidden}
    rest = [p for p in parameters if id(p) not in chosen]
    return [
        torch.optim.Muon(hidden, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.95), weight_decay=weight_decay, fused=True),
    ]


def steps(
    model,
    stream: Iterable[Batch],
    objective: Objective,
    *,
    n: int,
    lr: float | Callable[[int], float],
    warmup: int = 0,
    final: float = 0.1,
    clip: float = 1.0,
    start: int = 0,
    opts: list | None = None,
) -> Iterator[dict]:
    """Train from step `start` to `n` on whatever the stream yields; a row per step: step, loss, lr, grad_norm
    (before clipping), tokens, and the objective's info.

    lr is the peak rate, or a function of the step (a gate lowers it). A plain generator: the caller plots,
    stops, probes or rolls back
    between two rows. Raises Diverged on a loss that is not finite.
    """
    peak = lr if callable(lr) else lambda step: lr
    opts = opts or optimizers(model, "adamw", peak(start))
    for step, batch in zip(range(start, n), stream):
        model.train()
        now = peak(step) * rate(step, n, warmup, final)
        for group in chain.from_iterable(o.param_groups for o in opts):
            group["lr"] = now
        loss, info = objective(forward_trained(model, batch), batch)
        if not torch.isfinite(loss):
            raise Diverged(f"the loss is {loss.item()} at step {step + 1}; lower --lr or raise --warmup")
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        for o in opts:
            o.step()
            o.zero_grad()
        row = {"step": step + 1, "loss": loss.item(), "lr": now, "grad_norm": norm.item()}
        row["tokens"] = int(batch.mask.sum())
        yield row | {k: float(v) for k, v in (info | dict(batch.info)).items()}


class Checkpoint:
    """The state of an unfinished run in one file: model, optimisers and what the caller adds; written at most
    every `seconds`. The file's name says which run it is, and the checksum is over name and content: the
    state of another run, or a damaged one, counts as none.
    """

    def __init__(self, path: Path, seconds: float = 45.0):
        self.path, self.seconds, self.last = Path(path), seconds, time.monotonic()

    def tick(self, model, opts, extra: Callable[[], dict], now: bool = False) -> None:
        """Save if it is time (or `now`); one atomic write, so a kill leaves the old state or the new one."""
        if now or time.monotonic() - self.last >= self.seconds:
            tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
            for i, o in enumerate(opts):
                for j, state in o.state_dict()["state"].items():
                    tensors |= {f"opt.{i}.{j}.{k}": v for k, v in state.items()}
            tensors = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
            body = save(tensors, {"extra": json.dumps(extra())})
            paths.write_atomic(self.path, self._sum(body) + body)
            self.last = time.monotonic()

    def load(self, model, opts) -> dict | None:
        """Restore model and optimisers in place; the caller's part, or None if there is no whole
        checkpoint.
        """
        if not self.path.exists():
            return None
        raw = self.path.read_bytes()
        if self._sum(raw[16:]) != raw[:16]:
            return None
        tensors = load(raw[16:])
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        for i, o in enumerate(opts):
            state: dict = {}
            for name in (k for k in tensors if k.startswith(f"opt.{i}.")):
                _, _, j, key = name.split(".", 3)
                state.setdefault(int(j), {})[key] = tensors[name]
            o.load_state_dict(o.state_dict() | {"state": state})
        header = json.loads(raw[24 : 24 + int.from_bytes(raw[16:24], "little")])
        return json.loads(header["__metadata__"]["extra"])

    def _sum(self, body: bytes) -> bytes:
        return paths.hash_bytes(self.path.name.encode(), body).encode()

    def clear(self) -> None:
        """The run is finished and stored."""
        self.path.unlink(missing_ok=True)


class Trained:
    """The trained parameters of a model, as Checkpoint asks for them. (4-bit weights could not be read back
    in place; what is not trained is made again as it was at the start.)
    """

    def __init__(self, model):
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}

    def state_dict(self) -> dict:
        """Name -> parameter."""
        return self.parameters

    def load_state_dict(self, found: dict) -> None:
        """Read them back in place."""
        for name, p in self.parameters.items():
            p.data.copy_(found[name])


def train(recipe: Recipe, checkpoint: Checkpoint | None = None) -> Iterator[dict]:
    """steps() with the recipe's readings, and with a checkpoint: an interrupted call, made again, goes on and
    ends bit-equal. Where the gate gives up, the last row is a note.
    """
    model, probe, n = recipe.model, recipe.probe, recipe.steps
    opts = recipe.opts or optimizers(model, "adamw", 0.0)  # every step sets its rate
    unit = probe.unit if probe.unit > 1 else recipe.unit
    kept = Trained(model) if recipe.partly else model
    saved = checkpoint.load(kept, opts) if checkpoint else None
    rows = saved["rows"] if saved else [{"step": 0} | probe(0)]
    if saved:
        probe.resume(rows)
    yield from rows
    start = rows[-1]["step"]
    schedule = dict(n=n, lr=recipe.lr, warmup=recipe.warmup, final=recipe.final, start=start, opts=opts)
    try:
        for row in steps(model, recipe.stream(start), recipe.objective, **schedule):
            probe.note(row)
            if row["step"] % recipe.every == 0 or row["step"] == n:
                row |= probe(row["step"])
            rows.append(row)
            yield row
            if checkpoint and row["step"] % unit == 0:
                checkpoint.tick(kept, opts, lambda: {"rows": rows})
    except GaveUp as stop:
        yield {"step": n, "note": str(stop)}
    except (
        GeneratorExit
    ):  # stopped by hand, between two steps: what was done up to the last whole unit is kept
        rest = rows[-1]["step"] % unit
        if checkpoint and rest and probe.restore():
            del rows[-rest:]
            rest = 0
        if checkpoint and not rest:
            checkpoint.tick(kept, opts, lambda: {"rows": rows}, now=True)
        raise


@torch.no_grad()
def add_logprobs(model, batch: Batch, column: str) -> Batch:
    """The batch with the model's log-probs of its tokens [B,T-1] as a frozen column (old_logprobs,
    ref_logprobs).
    """
    return batch.add(**{column: _quietly(model, batch).logprobs})


@torch.no_grad()
def add_logits(model, batch: Batch, column: str) -> Batch:
    """The batch with the model's logits [B,T-1,V] as a frozen column (ref_logits, teacher_logits)."""
    out = _quietly(model, batch)
    return batch.add(**{column: placed(trained(out.logits, out.mask), out.mask > 0)})


@torch.no_grad()
def add_top_k(model, batch: Batch, k: int) -> Batch:
    """The batch with the teacher's k likeliest tokens and their log-probs as frozen columns, in place of all
    its logits: teacher_ids [B,T-1,k], teacher_logprobs [B,T-1,k+1].
    """
    out = _quietly(model, batch)
    ids, logprobs = top_k(trained(out.logits, out.mask), k)
    there = out.mask > 0
    return batch.add(teacher_ids=placed(ids, there), teacher_logprobs=placed(logprobs, there))


@torch.no_grad()
def add_values(model, batch: Batch) -> Batch:
    """The batch with the value head's estimates [B,T-1] as the frozen column old_values."""
    return batch.add(old_values=values_of(_quietly(model, batch)))


def _quietly(model, batch: Batch) -> Out:
    was = model.training
    model.eval()
    out = forward_trained(model, batch)
    model.train(was)
    return out
