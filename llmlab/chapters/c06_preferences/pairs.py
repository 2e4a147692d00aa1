"""pairs: preferences on your own pairs (or the lab's), by any of the losses on pairs; the reference is a
table, made before the first step.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Callable, ClassVar, Iterator

from torch import Tensor

from ...errors import UserError
from ...lab import forms, knobs
from ...lab.experiment import knob
from ...lab.own import Own, enough
from ...lab.supervised import order
from ...methods import preferences
from ...tokens.batch import Batch, pad
from ...tokens.example import Example
from ...tokens.pairs import Row, Turns, of_rows, row
from ...train import loop, probes
from ...train.recipe import Read, Recipe
from ...world import corpora, tastes
from .pairwise import PairLoss, readings

EXAMPLES = dict(seed=0, examples=0, topics=5, coverage=1.0, noise=0.0)
Two = tuple[Row, Row]  # chosen, rejected


@dataclass(frozen=True)
class Pairs(PairLoss, Own):
    """Learn from given pairs; every tenth question, with all its pairs, is held out, and some of these are
    read.
    """

    name: ClassVar[str] = "pairs"
    default_model: ClassVar[str] = "chat"
    summary: ClassVar[str] = (
        "DPO, IPO, SimPO or ORPO on your own pairs (in any usual form), whole or by adapters"
    )
    reads: ClassVar[str] = (
        "file of your own pairs: prompt, chosen, rejected; transcripts; scored or labelled answers"
    )
    curves: ClassVar[dict[str, str]] = {
        "chosen_logprob": "log-prob of chosen answers (nats)",
        "rejected_logprob": "log-prob of rejected answers (nats)",
        "preferred": "pairs that moved the right way (share)",
        "chosen_loss": "loss on chosen answers (nats per token)",
        "general_loss": "loss on general text (nats per token)",
        "too_long": "pairs left out, too long (share)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4),
        values=dict(batch=(2,), length=(30,), held=(8,), rank=(2,)),
        under=dict(gamma=dict(loss="simpo"), rank=dict(method="lora"), targets=dict(method="lora")),
    )

    loss: str = knob(
        "dpo",
        choices=tuple(preferences.METHODS),
        help="the loss; sft imitates the chosen answers and never sees the rejected ones",
    )
    length: int = knob(
        512,
        16,
        8192,
        unit="tokens",
        help="longest row; a pair with a longer one is left out, since a cut answer is another answer",
    )
    lr: float = knobs.lr(5e-4, low=1e-7)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(60, low=5)
    batch: int = knob(
        16, 1, 64, unit="pairs", help="pairs that go through the model at once, in a step as in a reading"
    )
    held: int = knob(96, 1, 5000, unit="pairs", help="held-out pairs that a reading reads, at most")
    probe: int = knobs.probe(20)

    @staticmethod
    def own(path, skip_bad=False, on_found=lambda told: None) -> tuple[Turns, ...]:
        """Pairs of a file, in any of the forms that people have. Raises UserError with file, line and fix."""
        found = forms.pairs(path, skip_bad)
        on_found(found.told("pairs"))
        return enough(found.records, "pair", path)

    def preview(self, loaded, texts=None):
        """Both answers of every pair as the rows that are compared."""
        every = texts or examples()
        for i, (turn, held) in enumerate(zip(every, held_out(every)), 1):
            for side, (ids, mask) in zip(("chosen", "rejected"), two_rows(loaded.tok, turn)):
                yield Example({"pair": i, "answer": side}, ids, mask, held)

    def recipe(self, loaded, seed, texts=None):
        """A loss on given pairs, or on the lab's; the trained weights are kept in `out`."""
        if not loaded.tok.chat_template:
            raise UserError(
                "this model has no chat template, so nothing says where an answer begins; start from a chat"
                " model (--model chat)"
            )
        ready = self.ready(loaded, seed)
        model, tok = ready.model, ready.tok
        learnt, held = divided(texts or examples())
        plan, encoded = self.plan(tok, learnt, seed)
        judged = [two_rows(tok, p) for p in held[: self.held]]
        seen = [*encoded.values(), *judged]
        too_long = sum(not self.fits(two) for two in seen) / len(seen)
        return Recipe(
            model,
            self.stream(model, tok, plan, encoded),
            self.objective(self.loss),
            Read(self.prober(model, tok, [two for two in judged if self.fits(two)], too_long)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
            partly=self.method != "full",
        )

    def fits(self, two: Two) -> bool:
        """Are both rows short enough?"""
        return all(len(ids) <= self.length for ids, _ in two)

    def plan(self, tok, pairs: list[Turns], seed: int) -> tuple[list[int], dict[int, Two]]:
        """The numbers of the pairs that the run reads, epoch by epoch in an order of its own, without what is
        too long; and the rows of all it looked at. Raises UserError if nothing is short enough.
        """
        found, encoded, n = [], {}, len(pairs)
        for i in count():
            at = order(seed, i // n, n)[i % n]
            if at not in encoded:
                encoded[at] = two_rows(tok, pairs[at])
            if self.fits(encoded[at]):
                found.append(at)
            if len(found) == self.steps * self.batch:
                return found, encoded
            if i + 1 == n and not found:
                shortest = min(max(len(ids) for ids, _ in two) for two in encoded.values())
                raise UserError(
                    f"no pair to learn from has at most {self.length} tokens a row (the shortest has"
                    f" {shortest}); raise --length"
                )

    def stream(
        self, model, tok, plan: list[int], encoded: dict[int, Two]
    ) -> Callable[[int], Iterator[Batch]]:
        """step -> the batches from there on. Called before a step is made (or read back): there the model is
        its own reference.
        """
        wanted = sorted(set(plan)) if preferences.METHODS[self.loss].reference else []
        table = dict(zip(wanted, self.reference(model, tok, [encoded[n] for n in wanted])))

        def batches(start: int) -> Iterator[Batch]:
            for step in count(start):
                chosen = plan[step * self.batch : (step + 1) * self.batch]
                yield joined(tok, [encoded[n] for n in chosen], [table[n] for n in chosen if n in table]).to(
                    model.device
                )

        return batches

    def reference(self, model, tok, every: list[Two]) -> list[tuple[Tensor, Tensor]]:
        """Log-probs of the tokens of both rows of each pair, [T-1] each."""
        found = []
        for at in range(0, len(every), self.batch):
            part = [row for two in every[at : at + self.batch] for row in two]
            told = loop.add_logprobs(model, of_rows(tok, part).to(model.device), "ref_logprobs")[
                "ref_logprobs"
            ].cpu()
            cut = [logprobs[: len(ids) - 1] for logprobs, (ids, _) in zip(told, part)]
            found += zip(cut[0::2], cut[1::2])
        return found

    def prober(self, model, tok, held: list[Two], too_long: float) -> Callable[[int], dict[str, float]]:
        """step -> what became of the held-out pairs. Raises UserError if there is none."""
        if not held:
            raise UserError(
                f"no held-out pair has at most {self.length} tokens a row; raise --length, or --held to look"
                " at more of them"
            )
        held = sorted(held, key=lambda two: len(two[0][0]))  # rows of a part are of like length
        parts = [held[at : at + self.batch] for at in range(0, len(held), self.batch)]
        judged = [joined(tok, part, self.reference(model, tok, part)) for part in parts]
        general = corpora.general(0, split="test")
        sets = {"general_loss": probes.text_rows(tok, [next(general) for _ in range(24)])}
        tokens = sum(sum(mask) for (_, mask), _ in held) / len(held)  # of a chosen answer

        def reading(step: int) -> dict[str, float]:
            told = readings(model, [batch.to(model.device) for batch in judged])
            told = {m: told[m] for m in ("chosen_logprob", "rejected_logprob", "preferred")} | {
                "chosen_loss": -told["chosen_logprob"] / tokens
            }
            return probes.read(model, sets) | told | {"too_long": too_long}

        return reading


def two_rows(tok, turn: Turns) -> Two:
    """A pair as two rows, of which only the last turn is learnt."""
    messages, chosen, rejected, tools = turn
    return row(tok, messages, chosen, tools), row(tok, messages, rejected, tools)


def divided(pairs: tuple[Turns, ...]) -> tuple[list[Turns], list[Turns]]:
    """(learnt, held out), see held_out."""
    sides = held_out(pairs)
    return [p for p, held in zip(pairs, sides) if not held], [p for p, held in zip(pairs, sides) if held]


def held_out(pairs: tuple[Turns, ...]) -> list[bool]:
    """Which pairs are held out: every tenth question with all its pairs, so that no question is on both
    sides. Raises UserError for a single question.
    """
    asked = [json.dumps(messages, sort_keys=True, ensure_ascii=False) for messages, *_ in pairs]
    place = {q: i for i, q in enumerate(dict.fromkeys(asked))}
    if len(place) < 2:
        raise UserError(
            "all pairs are about the same question; at least two are needed, one to learn from and one to be"
            " held out"
        )
    return [place[q] % 10 == 0 for q in asked]


def joined(tok, every: list[Two], table: list[tuple[Tensor, Tensor]]) -> Batch:
    """A batch of pairs, with its part of the table as the column ref_logprobs [B,T-1] if there is one."""
    batch = of_rows(tok, [row for two in every for row in two])
    rows = [t.tolist() for two in table for t in two]
    return batch.add(ref_logprobs=pad(rows, 0.0, width=batch.ids.shape[1] - 1)) if rows else batch


@lru_cache
def examples(n: int = 300) -> tuple[Turns, ...]:
    """Pairs of the lab's world: polite answers preferred to blunt ones."""
    return tuple((c.messages, w, r, c.tools) for c, w, r in tastes.pairs("style", range(n), **EXAMPLES))
