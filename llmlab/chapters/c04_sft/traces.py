"""traces: dialogues with tools: gold or with a failed call repeated, results imitated or masked, true to
memory or not, cut to length.
"""

from dataclasses import dataclass
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised
from ...tokens import chat, collate
from ...tokens.batch import Batch
from ...train import probes
from ...train.rollout import Episode, play
from ...world import corpora
from ...world.base import rng, same
from ...world.desk import Desk
from ...world.lessons import SEEN
from ...world.misleading import Misleading

LONGEST = 56  # tokens that a turn may take when it is read
IMITATED = ("assistant", "calls", "completion", "all")
PEOPLE = ("census",)


@dataclass(frozen=True)
class Traces(Supervised):
    """Show the base model how look-ups are done, and read what it does when a tool fails, lies, or is to be
    used once more.
    """

    name: ClassVar[str] = "traces"
    summary: ClassVar[str] = (
        "tool dialogues: gold traces or error and retry, loss on tool results or not, row length and cut"
    )
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "lookups": "look-ups right (share)",
        "recovers": "right after a failed call (share)",
        "chains": "chains of two look-ups right (share)",
        "follows": "tool against memory: tool's word (share)",
        "recites": "tool against memory: memory's (share)",
        "result_loss": "loss on tools' results (nats per token)",
        "general_loss": "loss on general text (nats per token)",
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, held=16),
        values=dict(batch=(2,), length=(112,), held=(32,)),
        under=dict(truncation=dict(length=112)),
        phases=[dict(retry=0.5, chained=0.5, differs=0.5, mask="completion")],
    )

    retry: float = knob(
        0.0, 0.0, 1.0, unit="share", help="share of traces in which a call fails once and is repeated"
    )
    differs: float = knob(
        0.0,
        0.0,
        1.0,
        unit="share",
        help="share of look-ups of people whose result is not what the model has read of them",
    )
    chained: float = knob(
        0.0,
        0.0,
        1.0,
        unit="share",
        help="share of traces of two calls, the second one made of what the first one gave",
    )
    mask: str = knob(
        "assistant",
        choices=IMITATED,
        help="assistant: its calls and answers; calls: its calls only; completion: the results too; all",
    )
    length: int = knob(256, 32, 512, unit="tokens", help="longest row; a longer dialogue is cut")
    truncation: str = knob(
        "middle",
        choices=collate.CUTS,
        help="what a dialogue over --length loses: right the answer, left the question, middle neither",
    )
    lr: float = knobs.lr(2e-3, low=1e-5)
    warmup: int = knobs.warmup(10)
    steps: int = knobs.steps(120, high=2000)
    batch: int = knob(16, 2, 64, unit="rows", help="dialogues a step")
    held: int = knob(64, 8, 512, help="held-out problems of each kind that a reading asks")
    probe: int = knobs.probe(40)

    def trace(self, seed: int, n: int):
        """Dialogue number n: (messages, tools): a drug or a person is looked up."""
        r, problem = rng("traces", seed, n), None
        people, faults, calls = (
            r.random() < 0.5,
            float(r.random() < self.retry),
            1 + (r.random() < self.chained),
        )
        desk = Misleading if people and calls == 1 and r.random() < self.differs else Desk
        world = desk(calls, faults=faults, tools=PEOPLE if people else ("formulary",), formulary=SEEN)
        while problem is None:
            problem = world.problem(r, "train")
        return [*problem.messages, *world.solution(problem)], problem.meta["tools"]

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """One step's batch."""
        rows = [
            collate.encode(tok, *self.trace(seed, n), imitate=self.mask)
            for n in range(step * self.batch, (step + 1) * self.batch)
        ]
        return collate.collate(tok, rows, length=self.length, how=self.truncation)

    def prober(self, model, tok):
        """Look-ups played to their end."""
        worlds = {
            "lookups": Desk(1, tools=("formulary", "census")),
            "recovers": Desk(1, faults=1.0, tools=("formulary", "census")),
            "chains": Desk(2),
            "follows": Misleading(1),
        }
        problems, general = (
            {name: world.problems(self.held, seed=7) for name, world in worlds.items()},
            corpora.general(0, split="test"),
        )
        sets = {
            "result_loss": probes.batches([results(tok, worlds["lookups"], p) for p in problems["lookups"]]),
            "general_loss": probes.text_rows(tok, [next(general) for _ in range(32)]),
        }

        def probe(step):
            """The readings after a step: shares right in each world, losses in nats per token."""
            played = {
                name: play(model, tok, worlds[name], asked, temperature=0.0, max_new=LONGEST, turns=4)
                for name, asked in problems.items()
            }
            read = {name: right(episodes) for name, episodes in played.items()}
            return (
                read | {"recites": recites(worlds["follows"], played["follows"])} | probes.read(model, sets)
            )

        return probe


def right(episodes: list[Episode]) -> float:
    """Share of episodes with the right last word, ended by itself."""
    return sum(e.stopped * e.score.reward for e in episodes) / len(episodes)


def recites(world: Misleading, episodes: list[Episode]) -> float:
    """Share of episodes whose last word is what the model has read, although the tool said otherwise."""
    asked = [(e, e.problem.meta["chain"][0]["tool_calls"][0]["function"]["arguments"]) for e in episodes]
    return sum(same(e.text, world.memory(**arguments)) for e, arguments in asked) / len(episodes)


def results(tok, world: Desk, problem) -> tuple[list[int], list[int]]:
    """ids and mask of the tool's words in a right dialogue."""
    messages, tools = [*problem.messages, *world.solution(problem)], problem.meta["tools"]
    last = max(i for i, m in enumerate(messages) if m["role"] == "tool")
    before = chat.prompt(tok, messages[:last], tools)
    ids, _ = chat.encode(tok, messages[: last + 1], tools)
    return ids, [0] * len(before) + [1] * (len(ids) - len(before))
