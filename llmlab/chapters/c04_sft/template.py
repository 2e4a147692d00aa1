"""template: the model is trained on conversations in one template and served in another."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised
from ...tokens import chat
from ...tokens.batch import Batch, pad
from ...tokens.special import TURN_START
from ...tokens.wrong_templates import TEMPLATES
from ...train import probes
from ...train.rollout import Episode, play
from ...world.base import World, rng
from ...world.desk import Desk
from ...world.lessons import SEEN, Lessons
from ...world.talk import Talk

LONGEST = 56  # tokens that a turn may take when it is read
HEADER = f"{TURN_START}assistant\n"  # what a model writes first that had to open its turn itself
TASKS: dict[str, World] = {
    "formats": Talk(("format",)),
    "lookups": Desk(1, tools=("formulary",)),
    "refusals": Talk(("unsafe",)),
}
SHOWN = Desk(1, tools=("formulary", "census"), formulary=SEEN)


@dataclass(frozen=True)
class Template(Supervised):
    """Conversations with and without tools; every reading is taken under the template of serving."""

    name: ClassVar[str] = "template"
    summary: ClassVar[str] = (
        "the chat template trap: trained under one template, served under another; and its cures"
    )
    curves: ClassVar[dict[str, str]] = {
        "lookups": "look-ups right, call and answer (share)",
        "formats": "asked-for formats right (share)",
        "refusals": "unsafe requests refused (share)",
        "stops": "turns that end by themselves (share)",
        "lookup_loss": "loss on right look-ups (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, held=16),
        values=dict(batch=(2,), held=(32,)),
        phases=[dict(trained="literal", served="no_prompt", pad="turn end")],
    )

    trained: str = knob("control", choices=tuple(TEMPLATES), help="template of the training conversations")
    served: str = knob("control", choices=tuple(TEMPLATES), help="template under which the model is asked")
    pad: str = knob(
        "own",
        choices=("own", "turn end"),
        help="turn end: the padding token is the turn's end, and the collator leaves padding out",
    )
    lr: float = knobs.lr(2e-3, low=1e-5)
    warmup: int = knobs.warmup(10)
    steps: int = knobs.steps(150, high=2000)
    batch: int = knob(16, 2, 64, unit="rows", help="conversations a step, half of them with a tool")
    held: int = knob(64, 8, 512, help="held-out problems of each kind that a reading asks")
    probe: int = knobs.probe(50)

    def address(self, loaded) -> None:
        """Training begins in its own template."""
        loaded.tok.chat_template = TEMPLATES[self.trained]

    def conversation(self, seed: int, n: int):
        """Conversation number n: (messages, tools); the odd ones are look-ups."""
        if n % 2 == 0:
            lesson = Lessons().lesson(rng("template", seed, n))
            return lesson.conversation, lesson.tools
        r, problem = rng("template", seed, n), None
        while problem is None:
            problem = SHOWN.problem(r, "train")
        return [*problem.messages, *SHOWN.solution(problem)], problem.meta["tools"]

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """One step's batch. Where the padding token is the turn's end, a collator that ignores padding
        ignores that end too.
        """
        rows = [
            chat.encode(tok, *self.conversation(seed, n))
            for n in range(step * self.batch, (step + 1) * self.batch)
        ]
        fill = tok.pad_token_id or 0 if self.pad == "own" else tok.eos_token_id
        ids, mask = pad([ids for ids, _ in rows], fill), pad([mask for _, mask in rows], 0).float()
        return Batch(ids, mask if self.pad == "own" else mask * (ids != fill))

    def prober(self, model, tok):
        """Everything is asked, answered and scored under the template of serving."""
        problems = {name: world.problems(self.held, seed=7) for name, world in TASKS.items()}
        with template(tok, self.served):
            sets = {
                "lookup_loss": probes.batches(
                    probes.question_rows(tok, TASKS["lookups"], problems["lookups"])
                )
            }

        def probe(step):
            """The readings after a step: shares right, share of turns that end, loss in nats."""
            with template(tok, self.served):
                played = {
                    name: play(model, tok, TASKS[name], asked, temperature=0.0, max_new=LONGEST)
                    for name, asked in problems.items()
                }
            read = {name: right(TASKS[name], episodes) for name, episodes in played.items()} | {
                "stops": stops(sum(played.values(), []))
            }
            return read | probes.read(model, sets)

        return probe


@contextmanager
def template(tok, name: str):
    """The tokenizer with another chat template, for a while."""
    before, tok.chat_template = tok.chat_template, TEMPLATES[name]
    try:
        yield tok
    finally:
        tok.chat_template = before


def right(world: World, episodes: list[Episode]) -> float:
    """Share of episodes whose last turn ends by itself and is right, no matter who opened it."""
    return sum(
        e.stopped * world.score(e.problem, e.text.removeprefix(HEADER)).reward for e in episodes
    ) / len(episodes)


def stops(episodes: list[Episode]) -> float:
    """Share of episodes whose last turn ended by itself."""
    return sum(e.stopped for e in episodes) / len(episodes)
