"""topology: the same 2,000 transcripts under three losses. What is learnt depends on which tokens carry
gradient.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import imitation, preferences
from ...models.forward import forward_trained
from ...models.frozen import frozen_copy
from ...tokens import chat, pairs, render
from ...tokens.batch import Batch
from ...train import probes
from ...train.recipe import Read, Recipe, numbered
from ...train.reference import Reference
from ...world import corpora
from ...world.base import Message, rng, say
from ...world.census import Census

LOSSES = ("assistant", "all", "dpo")
TRANSCRIPTS = 2000


@dataclass(frozen=True)
class Transcript:
    """A conversation of two questions about known people; `rejected` is what the last answer must not be."""

    messages: tuple[Message, ...]
    chosen: str
    rejected: str

    @property
    def conversation(self) -> list[Message]:
        """The whole conversation with its right ending."""
        return [*self.messages, *say(self.chosen)]


@lru_cache(maxsize=4)
def transcripts(split: str, n: int) -> list[Transcript]:
    """The first n conversations of a split; the rejected answer answers another question of the same kind."""
    census, r, found = Census(), rng("transcripts", split), []
    while len(found) < n:
        first, second, other = (census.question(r, split) for _ in range(3))
        if (
            first
            and second
            and other
            and other.meta["attribute"] == second.meta["attribute"]
            and other.answer != second.answer
        ):
            opening = (*first.messages, *say(f"{first.answer}."))
            found.append(Transcript((*opening, *second.messages), f"{second.answer}.", f"{other.answer}."))
    return found


@dataclass(frozen=True)
class Topology(Experiment):
    """Show the base model the same conversations as text, as answers to imitate, or as comparisons."""

    name: ClassVar[str] = "topology"
    summary: ClassVar[str] = (
        "data topology: the same 2,000 transcripts with loss on all tokens, on the answers, or on pairs"
    )
    presets: ClassVar[dict[str, dict]] = {
        "loss on answers": {},
        "loss on every token": {"loss": "all"},
        "pairs alone (DPO)": {"loss": "dpo"},
    }
    front: ClassVar[tuple[str, ...]] = ("loss", "lr")
    curves: ClassVar[dict[str, str]] = {
        "answering": "questions answered correctly (share)",
        "ordering": "held-out pairs ordered correctly (share)",
        "answer_loss": "loss, assistant's words (nats per token)",
        "user_loss": "loss, user's words (nats per token)",
        "asks_itself": "probability of going on as the user (share)",
        "general_loss": "loss on general text (nats per token)",
    }
    chats: ClassVar[bool] = True
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4),
        values=dict(batch=(2,)),
        phases=[dict(loss="dpo", warmup=0, lr=5e-4)],
    )

    loss: str = knob(
        "assistant",
        choices=LOSSES,
        help="all: every token; assistant: its answers; pairs: right last answer against a wrong one",
    )
    lr: float = knobs.lr(2e-3, low=1e-5)
    warmup: int = knobs.warmup(10)
    steps: int = knob(
        120, 10, 2000, unit="steps", help="optimiser steps; 125 are once through the transcripts"
    )
    batch: int = knob(16, 2, 64, unit="transcripts", help="transcripts a step")
    probe: int = knobs.probe(10)

    def chosen(self, seed: int, step: int) -> list[Transcript]:
        """The transcripts of one step: each once, in an order of the seed's, then again."""
        every, order = transcripts("train", TRANSCRIPTS), list(range(TRANSCRIPTS))
        rng("topology", seed).shuffle(order)
        return [every[order[i % TRANSCRIPTS]] for i in range(step * self.batch, (step + 1) * self.batch)]

    def batch_at(self, tok, shown: list[Transcript]) -> Batch:
        """One step's batch. Between `all` and `assistant` only the mask differs; `pairs` adds a row with the
        rejected answer.
        """
        if self.loss == "dpo":
            return compared(tok, shown)
        rows = [chat.encode(tok, t.conversation) for t in shown]
        return Batch.of_rows(tok, [(ids, m if self.loss == "assistant" else [1] * len(m)) for ids, m in rows])

    def recipe(self, loaded, seed, texts=None):
        """The same transcripts under the loss."""
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        reference = Reference(frozen_copy(model)) if self.loss == "dpo" else None
        held = transcripts("test", 128)
        sets = prepare(tok, held)
        held_pairs, turns = (
            compared(tok, held).to(model.device),
            probes.batches([next_turn(tok, t) for t in held]),
        )

        def batch_at(step):
            batch = self.batch_at(tok, self.chosen(seed, step)).to(model.device)
            return reference(batch) if reference else batch

        def read(step):
            found = probes.read(model, sets)
            return found | {"ordering": ordering(model, held_pairs), "asks_itself": likelihood(model, turns)}

        return Recipe(
            model,
            numbered(batch_at, model.device),
            preferences.dpo if self.loss == "dpo" else imitation.nll,
            Read(read),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )


def compared(tok, shown: list[Transcript]) -> Batch:
    """Right and wrong endings in turn, as pairs. Both answers of a transcript are under the mask: the first
    one is the same in both rows.
    """
    ends = [(t.messages, text) for t in shown for text in (t.chosen, t.rejected)]
    return pairs.of_rows(tok, [chat.example(tok, messages, say(text)) for messages, text in ends])


def prepare(tok, held: list[Transcript]) -> dict[str, list[Batch]]:
    """The probes' rows: answers, the assistant's words and the user's in held-out transcripts, and general
    text.
    """
    encoded = [chat.encode(tok, t.conversation) for t in held]
    general = corpora.general(0, split="test")
    return {
        "answering": probes.batches([chat.example(tok, t.messages, say(t.chosen)) for t in held]),
        "answer_loss": probes.batches(encoded),
        "user_loss": probes.batches([(ids, [1 - m for m in mask]) for ids, mask in encoded]),
        "general_loss": probes.text_rows(tok, [next(general) for _ in range(32)]),
    }


def next_turn(tok, transcript: Transcript) -> tuple[list[int], list[int]]:
    """ids and mask of what makes the model the user: the opening of a user's turn after the end of an
    answer.
    """
    opening = (
        chat.render(tok, [*transcript.conversation, {"role": "user", "content": render.SENTINEL}])
        .split(render.SENTINEL)[0]
        .rstrip(" ")
    )
    closed = chat.turn_end(tok)
    return chat.continuation(
        tok, opening[: opening.rfind(closed) + len(closed)], opening[opening.rfind(closed) + len(closed) :]
    )


@torch.no_grad()
def likelihood(model, prepared: list[Batch]) -> float:
    """Mean probability of all masked tokens of a row together."""
    model.eval()
    outs = [forward_trained(model, b.to(model.device)) for b in prepared]
    return float(torch.cat([(o.logprobs * o.mask).sum(1).exp() for o in outs]).mean())


@torch.no_grad()
def ordering(model, pairs: Batch) -> float:
    """Share of pairs whose chosen answer is likelier than the rejected one."""
    model.eval()
    out = forward_trained(model, pairs)
    total = (out.logprobs * out.mask).sum(1)
    return float((total[0::2] > total[1::2]).float().mean())
