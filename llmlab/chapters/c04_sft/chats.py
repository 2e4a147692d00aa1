"""chats: fine-tuning on your own conversations (or the lab's) with the collator's choices: of all weights, of
adapters, or on a base of 4 bits.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

from ...errors import UserError
from ...lab import forms, knobs
from ...lab.experiment import knob
from ...lab.forms import Conversation
from ...lab.own import Own, enough
from ...lab.supervised import Supervised, order
from ...tokens import chat, collate
from ...tokens.batch import Batch, Row
from ...tokens.example import Example
from ...train import probes
from ...world import corpora
from ...world.base import rng
from ...world.desk import Desk
from ...world.lessons import SEEN, Lessons


@dataclass(frozen=True)
class Chats(Own, Supervised):
    """Imitate the answers of given conversations; a tenth of them is held out and read."""

    name: ClassVar[str] = "chats"
    summary: ClassVar[str] = (
        "SFT on your own conversations, in any usual form: mask, row length, cut, packing, adapters"
    )
    takes_texts: ClassVar[bool] = True
    reads: ClassVar[str] = "file of your own conversations: messages, ShareGPT, Alpaca, prompt and completion"
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
    def own(path, skip_bad=False, on_found=lambda told: None) -> tuple[Conversation, ...]:
        """Conversations of a file, in any of the forms that people have. Raises UserError with file, line and
        fix.
        """
        found = forms.conversations(path, skip_bad)
        on_found(found.told("conversations"))
        return enough(found.records, "conversation", path)

    def preview(self, loaded, texts=None):
        """Every conversation as the row that is trained, cut to the longest row."""
        self.address(loaded)
        for i, c in enumerate(texts or examples(), 1):
            ids, mask = collate.encode(loaded.tok, c.messages, c.tools, imitate=self.mask)
            label: dict = {"conversation": i}
            held = i % 10 == 1  # see learnt
            if len(ids) > self.length:
                label |= {"longer than a row": len(ids)}
            if dropped := chat.dropped_reasoning(loaded.tok, c.messages, c.tools):
                label |= {"thoughts left out by the template": dropped}
            try:
                yield Example(label, *collate.cut(ids, mask, self.length, self.truncation), held)
            except collate.TooLong:
                yield Example(label | {"answer longer than a row": sum(mask)}, ids, mask, held)

    def row(self, tok, c: Conversation) -> Row:
        """ids and mask of a conversation, not longer than a row."""
        ids, mask = collate.encode(tok, c.messages, c.tools, imitate=self.mask)
        return collate.cut(ids, mask, self.length, self.truncation)

    def recipe(self, loaded, seed, texts=None):
        """SFT on given conversations, or on the lab's; the weights are kept in `out`. Raises UserError
        where nothing would be learnt.
        """
        own, ready = replace(self, given=texts or examples()), self.ready(loaded, seed)
        self.address(ready)
        own.check(ready.tok, seed)
        recipe = super(Chats, own).recipe(ready, seed)
        return replace(recipe, partly=self.method != "full")

    def check(self, tok, seed: int) -> None:
        """Looks at every conversation that the run will read, before its first step. Raises UserError where
        an answer is longer than a row, or where nothing is trained.
        """
        given, trained = self.learnt, 0
        n = len(given)
        for at in dict.fromkeys(self.number(seed, i, n) for i in range(min(n, self.steps * self.batch))):
            try:
                trained += any(self.row(tok, given[at])[1])
            except (collate.TooLong, chat.NoMask, chat.NoTemplate) as e:
                place = at + at // 9 + 2  # of each ten the first is held out
                raise UserError(f"conversation {place}: {e}") from None
        if not trained:
            raise UserError(
                f"in none of the {n} conversations to learn from is a token trained under --mask {self.mask},"
                f" --length {self.length} and --truncation {self.truncation}; llmlab show chats shows what"
                " each of them holds"
            )

    def number(self, seed: int, i: int, n: int) -> int:
        """The place among the n learnt ones of the i-th conversation that a run reads."""
        return order(seed, i // n, n)[i % n]

    @property
    def learnt(self) -> list[Conversation]:
        """What is learnt from: all but each tenth."""
        return [c for i, c in enumerate(self.given) if i % 10]

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """The next conversations, in an order of the epoch's."""
        learnt = self.learnt
        chosen = [learnt[self.number(seed, step * self.batch + i, len(learnt))] for i in range(self.batch)]
        rows = [collate.encode(tok, c.messages, c.tools, imitate=self.mask) for c in chosen]
        batch = collate.collate(
            tok, rows, length=self.length, how=self.truncation, packed=self.packed == "yes"
        )
        nothing = sum(not row.any() for row in batch.mask)
        return replace(batch, info={"untrained_rows": float(nothing)})

    def prober(self, model, tok):
        """Held-out conversations, in rows as long as those that are learnt: the assistant's words and the
        others'.
        """
        whole = [chat.encode(tok, c.messages, c.tools) for c in self.given[::10]]
        rows, general = (
            [collate.cut(ids, mask, self.length, self.truncation) for ids, mask in whole],
            corpora.general(0, split="test"),
        )
        sets = {
            "answer_loss": probes.batches(rows, size=16),
            "prompt_loss": probes.batches([(ids, [1 - m for m in mask]) for ids, mask in rows], size=16),
            "general_loss": probes.text_rows(tok, [next(general) for _ in range(32)]),
        }
        return lambda step: probes.read(model, sets)


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
