"""sft: supervised fine-tuning of the base model on conversations: which tokens are imitated, of which
conversations, and with which faults.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised, order
from ...tokens import chat, collate
from ...tokens.batch import Batch
from ...train import probes
from ...train.rollout import play
from ...world import corpora
from ...world.base import Problem, rng, say
from ...world.lessons import Lesson, Lessons
from ...world.talk import REFUSAL, Talk

LONGEST = 40  # tokens that an answer may take when it is read
MASKS = ("assistant", "all", "calls", "json")


@dataclass(frozen=True)
class SFT(Supervised):
    """Show the base model conversations and watch it become an assistant."""

    name: ClassVar[str] = "sft"
    summary: ClassVar[str] = (
        "supervised fine-tuning: formats, refusals and known facts in chat form, and what bad data does to"
        " them"
    )
    chats: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict]] = {
        "SFT": {},
        "ten examples (break it)": {"examples": 10},
        "loss on the prompt too": {"prompt_weight": 1.0},
    }
    front: ClassVar[tuple[str, ...]] = ("examples", "lr", "safety")
    curves: ClassVar[dict[str, str]] = {
        "formats": "asked-for formats right (share)",
        "valid_json": "valid JSON on request (share)",
        "refusals": "unsafe requests refused (share)",
        "false_refusals": "harmless requests refused (share)",
        "calls": "right tool calls (share)",
        "facts": "known facts in chat form (share right)",
        "length": "length of a plain answer (tokens)",
        "prompt_loss": "loss on the user's words (nats per token)",
        "general_loss": "loss on general text (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, held=16),
        values=dict(batch=(2,), examples=(12,), people=(5,), held=(32,)),
        under=dict(filtering=dict(wrong=0.9)),
        phases=[dict(examples=12, wrong=0.5, filtering="checked", verbose=0.5, safety=0.5)],
    )

    lr: float = knobs.lr(2e-3, low=1e-5)
    warmup: int = knobs.warmup(10)
    steps: int = knobs.steps(200, high=2000)
    batch: int = knob(16, 2, 64, unit="rows", help="conversations a step")
    mask: str = knob(
        "assistant",
        choices=MASKS,
        help="which tokens are imitated: the assistant's, all, its calls only, its JSON only",
    )
    prompt_weight: float = knob(
        0.0,
        0.0,
        1.0,
        help="share of the tokens outside the mask that carry loss too, which is their weight on average",
    )
    examples: int = knob(
        0, 0, 5000, help="different conversations, read again and again; 0: every one is new"
    )
    people: int = knob(200, 5, 200, help="how many people the conversations are about")
    safety: float = knob(
        0.15, 0.0, 0.9, unit="share", help="share of conversations in which a request must be refused"
    )
    verbose: float = knob(0.0, 0.0, 1.0, unit="share", help="share of plain answers that ramble on")
    wrong: float = knob(
        0.0, 0.0, 0.9, unit="share", help="share of careless labels, wrong always in the same way"
    )
    filtering: str = knob(
        "none",
        choices=("none", "checked"),
        help="checked: what a checker rejects is left out, so fewer examples remain",
    )
    held: int = knobs.held(96)
    probe: int = knobs.probe(40)

    def lessons_at(self, seed: int, step: int) -> list[Lesson]:
        """The conversations of one step: new ones, or the next ones of a shuffled pool."""
        numbers, source = (
            range(step * self.batch, (step + 1) * self.batch),
            Lessons(self.safety, self.verbose, self.wrong, self.people),
        )
        if not self.examples:
            return [
                next(filter(self.keeps, (source.lesson(rng("sft", seed, n, i)) for i in count())))
                for n in numbers
            ]
        every = pool(source, seed, self.examples)
        kept = list(filter(self.keeps, every)) or every[:1]
        return [kept[order(seed, n // len(kept), len(kept))[n % len(kept)]] for n in numbers]

    def keeps(self, lesson: Lesson) -> bool:
        """Does the filter let it through?"""
        return lesson.right or self.filtering == "none"

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """One step's batch. A label is there or not, so a weight between 0 and 1 is the chance of a token
        outside the mask to carry one.
        """
        rows = [
            collate.encode(tok, lesson.conversation, lesson.tools, imitate=self.mask)
            for lesson in self.lessons_at(seed, step)
        ]
        r = rng("prompt", seed, step)
        labelled = [(ids, [int(m or r.random() < self.prompt_weight) for m in mask]) for ids, mask in rows]
        return Batch.of_rows(tok, labelled)

    def prober(self, model, tok):
        """Behaviour in held-out conversations, and what was there before."""
        general, facts = corpora.general(0, split="test"), held(("fact",), self.held)
        safe, asked = held(("safe",), self.held), json_requests(self.held)
        encoded = [chat.encode(tok, p.messages, p.meta.get("tools"))[0] for p in facts]
        sets = {
            "formats": rows_of(tok, ("format",), self.held),
            "refusals": rows_of(tok, ("unsafe",), self.held),
            "calls": rows_of(tok, ("safe",), self.held),
            "false_refusals": probes.batches(
                [chat.example(tok, p.messages, say(REFUSAL), p.meta["tools"]) for p in safe]
            ),
            "facts": rows_of(tok, ("fact",), self.held),
            "prompt_loss": probes.batches([(ids, [1] * len(ids)) for ids in encoded]),
            "general_loss": probes.text_rows(tok, [next(general) for _ in range(32)]),
        }

        def probe(step):
            spoken = play(model, tok, Talk(), facts, temperature=0.0, max_new=LONGEST)
            written = play(model, tok, Talk(), asked, temperature=0.0, max_new=LONGEST)
            return probes.read(model, sets) | {
                "length": sum(sum(e.mask) for e in spoken) / len(spoken),
                "valid_json": sum(e.stopped and is_json(e.problem, e.text) for e in written) / len(written),
            }

        return probe


@lru_cache(maxsize=4)
def pool(source: Lessons, seed: int, examples: int) -> list[Lesson]:
    """The first `examples` conversations of a seed: a smaller pool is the beginning of a larger one."""
    return [source.lesson(rng("pool", seed, i)) for i in range(examples)]


def held(kinds: tuple[str, ...], n: int) -> list[Problem]:
    """Held-out requests of some kinds."""
    return Talk(kinds).problems(n, seed=7)


def rows_of(tok, kinds: tuple[str, ...], n: int) -> list[Batch]:
    """Held-out requests with their right answers."""
    return probes.batches(probes.question_rows(tok, Talk(kinds), held(kinds, n)))


@lru_cache
def json_requests(n: int) -> list[Problem]:
    """Different held-out requests for JSON: n, or all there are."""
    found = {p.question: p for p in held(("format",), 2000) if p.meta["format"] == "json"}
    return list(found.values())[:n]


def is_json(problem: Problem, text: str) -> bool:
    """Is the text a JSON object with the asked-for key and a text as its value (whichever)?"""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return False
    return (
        isinstance(found, dict)
        and list(found) == list(json.loads(problem.answer))
        and all(isinstance(v, str) for v in found.values())
    )
