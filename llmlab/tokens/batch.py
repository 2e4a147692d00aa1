"""Batch: what every method trains on. ids and a mask, plus frozen columns computed before the update."""

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Mapping, Sequence

import torch
from torch import Tensor

# name -> (shape, meaning, who makes it). The error for a missing column repeats the row.
COLUMNS = {
    "positions": (
        "[B,T]",
        "position of each token inside its own document; attention stays inside the document",
        "tokens.pack.pack(..., how='reset')",
    ),
    "pair": (
        "[B]",
        "pair number; row 2i is the chosen and row 2i+1 the rejected answer",
        "tokens.pairs.contrast",
    ),
    "group": ("[B]", "prompt number of each sample", "train.rollout.as_batch"),
    "rewards": ("[B]", "score of each sample", "train.rollout.as_batch"),
    "step": (
        "[B]",
        "number of updates the policy had seen when it sampled the row (staleness)",
        "train.rollout.as_batch",
    ),
    "advantages": (
        "[B,1] or [B,T-1]",
        "how much better than expected",
        "an advantage rule in methods.advantages",
    ),
    "returns": ("[B,T-1]", "what the value head should predict", "methods.advantages.gae"),
    "old_values": ("[B,T-1]", "value estimates at sampling time", "train.loop.add_values"),
    "old_logprobs": (
        "[B,T-1]",
        "log-probs of the tokens under the policy that sampled them",
        "train.sample, or train.loop.add_logprobs",
    ),
    "ref_logprobs": (
        "[B,T-1]",
        "log-probs of the tokens under the reference policy",
        "train.loop.add_logprobs",
    ),
    "ref_logits": ("[B,T-1,V]", "logits of the frozen base model", "train.loop.add_logits"),
    "teacher_logits": ("[B,T-1,V]", "logits of the teacher", "train.loop.add_logits"),
    "teacher_ids": ("[B,T-1,k]", "the teacher's likeliest tokens", "train.loop.add_top_k"),
    "teacher_logprobs": (
        "[B,T-1,k+1]",
        "their log-probs under the teacher, and that of all other tokens together",
        "train.loop.add_top_k",
    ),
}


Row = tuple[list[int], list[int]]  # ids, mask


class MissingColumn(KeyError):
    """An objective asked for a column nobody made; the message says what it is and who makes it."""

    def __str__(self):
        return self.args[0]


@dataclass(frozen=True)
class Batch:
    """ids [B,T] · mask [B,T] (1 = the objective may push this token) · given: frozen columns.

    Every column has the batch as its first axis, so `pick` can slice rows. The time shift happens once, in
    `forward`:
    column t of a [B,T-1] tensor belongs to token t+1. `temperature` divides the logits, so that log-probs
    in training are those of the distribution that was sampled from. `info`: what happened while the batch was
    made
    (reward, share of groups without a signal); it lands in the row of the step.
    """

    ids: Tensor
    mask: Tensor
    given: Mapping[str, Tensor] = field(default_factory=dict)
    temperature: float = 1.0
    info: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, tok, rows: Sequence[Row], given: Mapping[str, Tensor] | None = None, **more) -> "Batch":
        """(ids, mask) rows of unequal length, padded on the right with the tokenizer's padding."""
        ids = pad([ids for ids, _ in rows], tok.pad_token_id or 0)
        return cls(ids, pad([mask for _, mask in rows], 0).float(), given or {}, **more)

    def __post_init__(self):
        if self.ids.shape != self.mask.shape or self.ids.ndim != 2:
            raise ValueError(
                f"ids {tuple(self.ids.shape)} and mask {tuple(self.mask.shape)} must both be [B,T]"
            )
        for name, column in self.given.items():
            if name not in COLUMNS:
                raise ValueError(f"unknown column '{name}'; known: {', '.join(COLUMNS)}")
            if column.shape[0] != self.ids.shape[0]:
                raise ValueError(
                    f"column '{name}' has {column.shape[0]} rows, the batch has {self.ids.shape[0]}"
                )
            if (
                COLUMNS[name][0] != "[B]" and column.ndim < 2
            ):  # [B] against [B,T-1] would broadcast over the wrong axis, silently
                raise ValueError(
                    f"column '{name}' is {COLUMNS[name][0]}, not {list(column.shape)}; a number a row needs"
                    " .view(-1, 1)"
                )
        object.__setattr__(self, "given", MappingProxyType(dict(self.given)))

    def __len__(self):
        return self.ids.shape[0]

    def __getitem__(self, name: str) -> Tensor:
        if name in self.given:
            return self.given[name]
        shape, meaning, maker = COLUMNS.get(name, ("?", "not a known column", "nobody"))
        raise MissingColumn(f"this batch has no column '{name}' {shape} ({meaning}); it is made by {maker}")

    def add(self, **columns: Tensor) -> "Batch":
        """A new batch with more columns; the old one is unchanged. Columns carry no gradient."""
        return replace(self, given={**self.given, **{k: v.detach() for k, v in columns.items()}})

    def pick(self, rows: Tensor) -> "Batch":
        """The given rows, in that order. Rows of a pair must stay neighbours (chosen, rejected)."""
        given = {k: v[rows] for k, v in self.given.items()}
        if "pair" in given and not torch.equal(given["pair"][0::2], given["pair"][1::2]):
            raise ValueError("these rows tear a preference pair apart; pick rows 2i and 2i+1 together")
        return replace(self, ids=self.ids[rows], mask=self.mask[rows], given=given)

    def to(self, device) -> "Batch":
        """The same batch on another device."""
        return replace(
            self,
            ids=self.ids.to(device),
            mask=self.mask.to(device),
            given={k: v.to(device) for k, v in self.given.items()},
        )


def pad(
    rows: Sequence[Sequence[float]], value: float, width: int | None = None, side: str = "right"
) -> Tensor:
    """Rows of unequal length as one tensor [B,T], filled with `value` on the given side."""
    width = width or max(map(len, rows))
    fill = [[value] * (width - len(r)) for r in rows]
    return torch.tensor([[*f, *r] if side == "left" else [*r, *f] for r, f in zip(rows, fill)])


def concatenate(parts: list[Batch]) -> Batch:
    """Batches of one width and with the same columns as one."""
    given = {k: torch.cat([p.given[k] for p in parts]) for k in parts[0].given}
    return Batch(
        torch.cat([p.ids for p in parts]), torch.cat([p.mask for p in parts]), given, parts[0].temperature
    )
