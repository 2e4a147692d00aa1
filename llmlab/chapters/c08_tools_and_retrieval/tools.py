"""tools: a base model learns to call tools from few examples or many, and is decoded freely or under a
grammar. Selection, arguments, execution and answer are measured separately.
"""

from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised
from ...tokens import chat
from ...tokens.batch import Batch
from ...train.rollout import Episode, play
from ...train.sample import sample
from ...train.tool_grammar import constraint
from ...world.base import Problem, rng
from ...world.desk import SYSTEM, TOOLS, Desk, ToolError, parse
from ...world.lessons import SEEN
from ...world.talk import IDENTITY

DECODED = {
    "": None,
    "_grammar": "call",
    "_late": "auto",
    "_no_branch": "text",
}  # suffix -> mode of the grammar
SHOWN = ("full", "calls")
LONGEST = 64  # tokens that a turn takes at most
CHAINS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Tools(Supervised):
    """A model that has seen no dialogue is shown some with tools, and asked to select, to fill in, to run
    and to answer.

    Every reading is taken under four ways of decoding: free, a grammar that forces a call (_grammar), a
    grammar from the first token of a call on (_late), and one that has no branch for calls (_no_branch).
    """

    name: ClassVar[str] = "tools"
    summary: ClassVar[str] = "tool calls from few examples or many, decoded freely or under a grammar"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "valid": "valid: the call fits its schema (share)",
        "right": "right tool and arguments (share)",
        "wrong_but_valid": "wrong but valid (share)",
        "valid_grammar": "valid under a grammar (share)",
        "right_grammar": "right under a grammar (share)",
        "wrong_but_valid_grammar": "wrong but valid under a grammar (share)",
        "false_calls": "calls where no tool helps (share)",
        "answered": "right answers after one call (share)",
        "answered_2": "right answers after two calls (share)",
    }
    front: ClassVar[tuple[str, ...]] = ("examples", "no_calls", "shown")
    presets: ClassVar[dict[str, dict]] = {
        "fifty examples": dict(examples=50),
        "a thousand": {},
        "no counterexamples": dict(no_calls=0.0),
        "calls only": dict(shown="calls"),
        "plan first": dict(plan="on"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=10, warmup=2, probe=5, batch=4, held=6),
        values=dict(batch=(2,), examples=(8,), held=(8,), chain=(2,), no_calls=(0.8,)),
        under=dict(chain=dict(shown="full")),
        phases=[dict(shown="calls", plan="on", chain=2, no_calls=0.5)],
    )

    examples: int = knob(
        1000, 8, 100_000, scale="log", help="distinct dialogues, shown in turn until the steps are done"
    )
    no_calls: float = knob(
        0.2, 0.0, 0.9, unit="share", help="share of the dialogues in which no tool helps and none is called"
    )
    shown: str = knob("full", choices=SHOWN, help="full: call, result and answer; calls: the first call only")
    plan: str = knob("off", choices=("off", "on"), help="on: a sentence of what is needed before each call")
    chain: int = knob(1, 1, 4, unit="calls", help="longest chain of calls that is shown")
    lr: float = knobs.lr(2e-3, low=1e-5)
    warmup: int = knobs.warmup(10)
    steps: int = knobs.steps(100, high=2000)
    batch: int = knob(16, 2, 64, unit="rows", help="dialogues a step")
    held: int = knobs.held(32, low=4)
    probe: int = knobs.probe(50)

    def dialogue(self, seed: int, n: int) -> tuple[list, list]:
        """Dialogue number n: (messages, tools)."""
        r = rng("tools", seed, n % self.examples)
        if r.random() < self.no_calls:
            return talked(r)
        desk, problem = Desk(r.randint(1, self.chain), formulary=SEEN), None
        while problem is None:
            problem = desk.problem(r, "train")
        turns = desk.solution(problem)
        if self.plan == "on":
            turns = [planned(t) for t in turns]
        return [*problem.messages, *(turns if self.shown == "full" else turns[:1])], problem.meta["tools"]

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """One step's batch."""
        rows = range(step * self.batch, (step + 1) * self.batch)
        return Batch.of_rows(tok, [chat.encode(tok, *self.dialogue(seed, n)) for n in rows])

    def prober(self, model, tok):
        """First calls under each way of decoding; whole tasks of one to four calls; talk that needs none."""
        n_vocab = model.config.vocab_size
        modes = {s: mode and constraint(tok, TOOLS, mode, n_vocab) for s, mode in DECODED.items()}
        asked = Desk(1, expect="call").problems(self.held, seed=7)
        tasks = {n: Desk(n).problems(self.held, seed=7) for n in CHAINS}

        def first(problems, allowed) -> list[str]:
            """The first turn of each, greedy."""
            prompts = [chat.prompt(tok, p.messages, p.meta["tools"]) for p in problems]
            settings = dict(max_new=LONGEST, temperature=0.0, stop=chat.stop_ids(tok), allowed=allowed)
            done = sample(model, prompts, **settings)
            return [tok.decode(ids[:-1] if end else ids) for ids, end in zip(done.ids, done.stopped)]

        def probe(step):
            """The readings after a step."""
            found = {}
            for suffix, allowed in modes.items():
                judged = [judge(p, text) for p, text in zip(asked, first(asked, allowed))]
                found |= {f"{name}{suffix}": fmean(j[name] for j in judged) for name in judged[0]}
            found["false_calls"] = fmean("<tool_call>" in t for t in first(SMALL_TALK, None))
            for n, problems in tasks.items():
                episodes = play(model, tok, Desk(n), problems, temperature=0.0, max_new=LONGEST, turns=n + 2)
                found[f"answered_{n}" if n > 1 else "answered"] = fmean(map(done, episodes))
            return found

        return probe


SMALL_TALK = [
    Problem(({"role": "system", "content": SYSTEM}, {"role": "user", "content": q}), a, {"tools": TOOLS})
    for q, a in IDENTITY.items()
]


def talked(r) -> tuple[list, list]:
    """A dialogue in which no tool helps."""
    problem = r.choice(SMALL_TALK)
    return [*problem.messages, {"role": "assistant", "content": problem.answer}], TOOLS


def planned(message: dict) -> dict:
    """A turn that calls, with what it is for in front of the call."""
    if not message.get("tool_calls"):
        return message
    function = message["tool_calls"][0]["function"]
    return message | {
        "content": f"I need {function['name']} for {' '.join(map(str, function['arguments'].values()))}."
    }


def judge(problem: Problem, text: str) -> dict[str, float]:
    """What holds of a first turn that should call a tool.

    valid: one call that fits its schema · selected: of the right tool · right: with the right arguments, too
    · executable: the tool has an answer · wrong_but_valid: valid and not right · calls: there is a call at
    all
    """
    calls = [c["function"] for c in parse(text).get("tool_calls", [])]
    wanted = problem.meta["chain"][0]["tool_calls"][0]["function"]
    valid = len(calls) == 1 and Desk.fits(**calls[0])
    right = valid and calls[0] == wanted
    return {
        "calls": float(bool(calls)),
        "valid": float(valid),
        "selected": float(bool(calls) and calls[0]["name"] == wanted["name"]),
        "right": float(right),
        "executable": float(valid and runs(calls[0])),
        "wrong_but_valid": float(valid and not right),
    }


def runs(function: dict) -> bool:
    """Has the tool an answer?"""
    try:
        DESK.execute(**function)
    except ToolError:
        return False
    return True


DESK = Desk()


def done(e: Episode) -> float:
    """Was the task ended by the right answer?"""
    return e.stopped * e.score.reward
