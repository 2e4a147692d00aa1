"""chats: fine-tuning on your own conversations (or the lab's) with the collator's choices: of all weights, of
adapters, or on a base of 4 bits.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.own import Own, needs, read, schemas, spoken
from ...lab.supervised import Supervised, order
from ...tokens import chat, collate
from ...tokens.batch import Batch
from ...train import probes
from ...world import corpora
from ...world.base import Message, rng
from ...world.desk import Desk
from ...world.lessons import SEEN, Lessons

FORM = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'


@dataclass(frozen=True)
class Conversation:
    """Messages of a conversation, and the schemas of its tools."""

    messages: tuple[Message, ...]
    tools: tuple | None = None


@dataclass(frozen=True)
class Chats(Own, Supervised):
    """Imitate the answers of given conversations; a tenth of them is held out and read."""

    name: ClassVar[str] = "chats"
    summary: ClassVar[str] = (
        "SFT on your own conversations (JSON lines of messages): mask, row length, cut, packing, adapters"
    )
    takes_texts: ClassVar[bool] = True
    reads: ClassVar[str] = "file of your own conversations, JSON lines with messages in each"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "answer_loss": "loss on held-out answers (nats per token)",
        "prompt_loss": "loss on all other words (nats per token)",
        "general_loss": "loss on general text (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4),
        values=dict(batch=(2,), length=(96,), rank=(2,)),
        under=dict(truncation=dict(length=96), rank=dict(method="lora"), targets=dict(method="lora")),
        phases=[dict(packed="yes", length=512)],
    )

    mask: str = knob("assistant", choices=collate.IMITATED, help="which tokens are imitated")
    length: int = knob(256, 16, 4096, unit="tokens", help="longest row; a longer conversation is cut")
    truncation: str = knob(
        "middle", choices=collate.CUTS, help="where what is too long is cut; middle keeps the answer"
    )
    packed: str = knob(
        "no", choices=("no", "yes"), help="yes: several conversations a row, attention inside each"
    )
    lr: float = knobs.lr(5e-4)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(60)
    batch: int = knob(16, 1, 64, unit="rows", help="conversations a step")
    probe: int = knobs.probe(20)

    given: tuple[Conversation, ...] = field(default=(), repr=False)  # what `rows` was called with: no knob

    @staticmethod
    def own(path: str) -> tuple[Conversation, ...]:
        """Conversations of a file of JSON lines, each with `messages` and perhaps `tools`. Raises UserError
        with file, line and fix.
        """
        return read(path, conversation, "conversation", FORM)

    def recipe(self, loaded, seed, texts=None):
        """SFT on given conversations, or on the lab's; what was trained is kept in `out`."""
        own = replace(self, given=texts or examples())
        recipe = super(Chats, own).recipe(self.ready(loaded, seed), seed)
        return replace(recipe, partly=self.method != "full")

    @property
    def learnt(self) -> list[Conversation]:
        """What is learnt from: all but each tenth."""
        return [c for i, c in enumerate(self.given) if i % 10]

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """The next conversations, in an order of the epoch's."""
        learnt = self.learnt
        chosen = [
            learnt[order(seed, n // len(learnt), len(learnt))[n % len(learnt)]]
            for n in range(step * self.batch, (step + 1) * self.batch)
        ]
        rows = [collate.encode(tok, c.messages, c.tools, imitate=self.mask) for c in chosen]
        return collate.collate(
            tok, rows, length=self.length, how=self.truncation, packed=self.packed == "yes"
        )

    def prober(self, model, tok):
        """Held-out conversations, whole: the assistant's words and the others'."""
        rows, general = (
            [chat.encode(tok, c.messages, c.tools) for c in self.given[::10]],
            corpora.general(0, split="test"),
        )
        sets = {
            "answer_loss": probes.batches(rows, size=16),
            "prompt_loss": probes.batches([(ids, [1 - m for m in mask]) for ids, mask in rows], size=16),
            "general_loss": probes.text_rows(tok, [next(general) for _ in range(32)]),
        }
        return lambda step: probes.read(model, sets)


def conversation(found: dict) -> Conversation:
    """One line of the file. Raises ValueError, KeyError or TypeError for what is none."""
    messages = spoken(found["messages"])
    needs(any(m["role"] == "assistant" for m in messages))
    return Conversation(messages, schemas(found.get("tools")))


@lru_cache
def examples(n: int = 300) -> tuple[Conversation, ...]:
    """Conversations of the lab's world: questions, formats, refusals, and look-ups of one or two calls."""
    found = []
    for i in range(n):
        r, desk, problem = rng("chats", i), Desk(1 + i % 2, formulary=SEEN), None
        if i % 3:
            lesson = Lessons().lesson(r)
            found.append(
                Conversation(tuple(lesson.conversation), tuple(lesson.tools) if lesson.tools else None)
            )
            continue
        while problem is None:
            problem = desk.problem(r, "train")
        found.append(Conversation((*problem.messages, *desk.solution(problem)), tuple(problem.meta["tools"])))
    return tuple(found)
