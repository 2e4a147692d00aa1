"""chats: fine-tuning on your own conversations (or the lab's) with the collator's choices: of all weights, of adapters, or on a base of 4 bits."""

import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from .. import probes
from ..errors import UserError
from ..models import adapters, quant
from ..models.load import LAB, Loaded, load, save
from ..tokens import chat, collate
from ..tokens.batch import Batch
from ..world import corpora
from ..world.base import Message, rng
from ..world.desk import Desk
from ..world.lessons import SEEN, Lessons
from .base import knob
from .supervised import Supervised, order
from .wrap import Checkpoint, wrapped

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class Conversation:
    """Messages of a conversation, and the schemas of its tools."""

    messages: tuple[Message, ...]
    tools: tuple | None = None


@dataclass(frozen=True)
class Chats(Supervised):
    """Imitate the answers of given conversations; a tenth of them is held out and read."""

    name: ClassVar[str] = "chats"
    summary: ClassVar[str] = "SFT on your own conversations (JSON lines of messages): mask, row length, cut, packing, adapters"
    takes_texts: ClassVar[bool] = True
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "answer_loss": "loss on held-out answers (nats per token)",
        "prompt_loss": "loss on all other words (nats per token)",
        "general_loss": "loss on general text (nats per token)",
    }

    mask: str = knob("assistant", choices=collate.IMITATED, help="which tokens are imitated")
    length: int = knob(256, 16, 4096, unit="tokens", help="longest row; a longer conversation is cut")
    cut: str = knob("middle", choices=collate.CUTS, help="where what is too long is cut; middle keeps the answer")
    packed: str = knob("no", choices=("no", "yes"), help="yes: several conversations a row, attention inside each")
    method: str = knob("full", choices=("full", "lora", "qlora"), help="full: every weight; lora: adapters; qlora: adapters on a base of 4 bits")
    rank: int = knob(8, 1, 64, scale="log", help="rank of the adapters")
    targets: str = knob("both", choices=tuple(adapters.TARGETS), help="matrices that carry adapters: attention, mlp or both")
    lr: float = knob(5e-4, 1e-6, 1e-2, scale="log", help="peak learning rate of AdamW")
    warmup: int = knob(5, 0, 200, unit="steps", help="steps of linear warm-up")
    steps: int = knob(60, 10, 5000, unit="steps", help="optimiser steps")
    batch: int = knob(16, 1, 64, unit="rows", help="conversations a step")
    probe: int = knob(20, 1, 500, unit="steps", help="steps between two readings of the probes")

    given: tuple[Conversation, ...] = field(default=(), repr=False)  # what `rows` was called with: no knob
    out: str = field(default="", repr=False)  # folder for the trained model or its adapters: no knob, it changes nothing

    @staticmethod
    def own(path: str) -> tuple[Conversation, ...]:
        """Conversations of a file of JSON lines, each with `messages` and perhaps `tools`. Raises UserError with file, line and fix."""
        try:
            lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as e:
            raise UserError(f"'{path}' cannot be read ({type(e).__name__}); give a file of JSON lines with messages") from None
        found = tuple(parse(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip())
        if len(found) < 2:
            raise UserError(f"'{path}' holds {len(found)} conversations; at least two are needed, one to learn from and one to be held out")
        return found

    def load(self, name: str, device: str) -> Loaded:
        """The starting model; for qlora a folder or hub id is read in 4 bits, layer by layer."""
        return quant.load_4bit(name, device) if self.method == "qlora" and name not in LAB else load(name, device)

    def prepared(self, loaded: Loaded, seed: int, texts=None) -> tuple["Chats", Loaded]:
        """The experiment on given conversations, or on the lab's, and the model with what is to be trained of it."""
        method = "lora" if self.method == "qlora" and quant.layers4bit(loaded.model) else self.method
        # a model without a chat template has never read the marks of turns, and adapters on its blocks cannot give them a meaning
        tokens = () if loaded.tok.chat_template else sorted(loaded.tok.added_tokens_decoder)
        return replace(self, given=texts or examples()), wrapped(loaded, method, seed, rank=self.rank, targets=self.targets, tokens=tokens)

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        """The recipe; what was trained is kept in `out`."""
        own, ready = self.prepared(loaded, seed, texts)
        yield from super(Chats, own).rows(ready, seed, checkpoint if self.method == "full" else Checkpoint.of(checkpoint))
        self.finish(ready)

    def finish(self, trained: Loaded) -> None:
        """Keep the trained model in `out`, or its adapters as PEFT saves them (what `llmlab serve` reads as TENANT/VERSION/), with the tokenizer."""
        if not self.out:
            return
        if isinstance(trained.model, adapters.PeftModel):
            trained.model.save_pretrained(self.out)
            trained.tok.save_pretrained(self.out)
        else:
            save(Path(self.out), trained.model, trained.tok)

    @property
    def learnt(self) -> list[Conversation]:
        """What is learnt from: all but each tenth."""
        return [c for i, c in enumerate(self.given) if i % 10]

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """The next conversations, in an order of the epoch's."""
        learnt = self.learnt
        chosen = [learnt[order(seed, n // len(learnt), len(learnt))[n % len(learnt)]] for n in range(step * self.batch, (step + 1) * self.batch)]
        rows = [collate.encode(tok, c.messages, c.tools, imitate=self.mask) for c in chosen]
        return collate.collate(tok, rows, length=self.length, how=self.cut, packed=self.packed == "yes")

    def prober(self, model, tok):
        """Held-out conversations, whole: the assistant's words and the others'."""
        rows, general = [chat.encode(tok, c.messages, c.tools) for c in self.given[::10]], corpora.general(0, split="test")
        sets = {
            "answer_loss": probes.batches(rows, size=16),
            "prompt_loss": probes.batches([(ids, [1 - m for m in mask]) for ids, mask in rows], size=16),
            "general_loss": probes.text_rows(tok, [next(general) for _ in range(32)]),
        }
        return lambda step: probes.read(model, sets)


def parse(line: str, where: str) -> Conversation:
    """One line of the file. Raises UserError that says where and what is wrong."""
    try:
        found = json.loads(line)
        messages, tools = found["messages"], found.get("tools")
        assert all(m["role"] in ROLES and isinstance(m.get("content") or "", str) for m in messages)
        assert any(m["role"] == "assistant" for m in messages) and (tools is None or isinstance(tools, list))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, AssertionError):
        raise UserError(
            f'{where} is no conversation; write {{"messages": [{{"role": "user", "content": "…"}}, {{"role": "assistant", "content": "…"}}]}}'
        ) from None
    return Conversation(tuple({**m, "content": m.get("content") or ""} for m in messages), tuple(tools) if tools else None)


@lru_cache
def examples(n: int = 300) -> tuple[Conversation, ...]:
    """Conversations of the lab's world: questions, formats, refusals, and look-ups of one or two calls."""
    found = []
    for i in range(n):
        r, desk, problem = rng("chats", i), Desk(1 + i % 2, formulary=SEEN), None
        if i % 3:
            lesson = Lessons().lesson(r)
            found.append(Conversation(tuple(lesson.conversation), tuple(lesson.tools) if lesson.tools else None))
            continue
        while problem is None:
            problem = desk.problem(r, "train")
        found.append(Conversation((*problem.messages, *desk.solution(problem)), tuple(problem.meta["tools"])))
    return tuple(found)
