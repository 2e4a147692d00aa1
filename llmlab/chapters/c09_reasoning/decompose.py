"""decompose: the same problems taught with their steps, with the answer alone, or with as many empty tokens
in place of the steps, at equal tokens; and whether the answer follows from the steps that are written.
"""

from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar, Iterator

from ...lab import knobs
from ...lab.experiment import knob
from ...lab.supervised import Supervised
from ...tokens import chat
from ...tokens.batch import Batch, Row
from ...train.attempts import attempts
from ...train.sample import sample
from ...world.base import Problem, rng, say
from ...world.reasoning import NAMES, Reasoning
from ...world.stepwise import STEPS, family_of, path, text, written
from .verify import open_row

SHOWN = ("steps", "answer", "filler")
EMPTY = "."  # what stands for a token of the steps
LONGEST = 150


@dataclass(frozen=True)
class Decompose(Supervised):
    """SFT of the chat model on worked problems. A step of training holds as many problems as fit into
    `tokens` learnt tokens, so that more of them fit where only the answer is shown.

    follows  a step is edited behind the model's back, and the answer is the one that the edited steps lead to
    unmoved  the answer is right in spite of it
    """

    name: ClassVar[str] = "decompose"
    summary: ClassVar[str] = "steps, the answer alone, or empty tokens in their place, at equal tokens"
    default_model: ClassVar[str] = "chat"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "accuracy": "right, greedy (share)",
        "harder": "right one level up (share)",
        "sound": "every step follows (share)",
        "follows": "answer follows an edited step (share)",
        "unmoved": "answer right in spite of the edit (share)",
        "length": "length of solutions (tokens)",
    }
    front: ClassVar[tuple[str, ...]] = ("shown", "family", "level")
    presets: ClassVar[dict[str, dict]] = {
        "steps": {},
        "answer alone": dict(shown="answer"),
        "empty tokens": dict(shown="filler"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, held=6, tokens=120, lr=1e-3, family="columns"),
        values=dict(held=(4,), probe=(4,), tokens=(60,)),
        phases=[dict(shown="filler", family="links", level=2)],
    )

    shown: str = knob("steps", choices=SHOWN, help="what comes before the answer")
    family: str = knob("products", choices=NAMES, help="kind of problem")
    level: int = knob(1, 1, 4, help="difficulty")
    tokens: int = knob(800, 20, 10_000, help="learnt tokens a step of training")
    lr: float = knobs.lr(3e-3)
    warmup: int = knobs.warmup(10)
    steps: int = knobs.steps(120, low=2)
    held: int = knobs.held(48, low=4)
    probe: int = knobs.probe(40)

    def world(self, up: int = 0) -> Reasoning:
        """What is asked."""
        return Reasoning((self.family,), (min(self.level + up, 4),))

    def posed(self, problem: Problem) -> Problem:
        """The question as it is asked: steps are asked for where they are shown."""
        if self.shown == "steps":
            return problem
        asked = problem.question.removesuffix(STEPS)
        return Problem(({"role": "user", "content": asked},), problem.answer, problem.meta)

    def solution(self, tok, problem: Problem) -> str:
        """What is taught."""
        if self.shown == "steps":
            return text(path(problem), problem.answer) + "."
        if self.shown == "answer":
            return f"so {problem.answer}."
        steps = "; ".join(path(problem))
        return (
            " ".join([EMPTY] * len(tok.encode(steps, add_special_tokens=False))) + f"; so {problem.answer}."
        )

    def problems(self, seed: int, step: int) -> Iterator[Problem]:
        """Endless training problems of a step."""
        i = 0
        while True:
            found = self.world().problem(rng("decompose", seed, step, i), "train")
            i += 1
            if found:
                yield found

    def batch_at(self, tok, seed: int, step: int) -> Batch:
        """Worked problems, until their learnt tokens are enough."""
        rows: list[Row] = []
        for p in self.problems(seed, step):
            rows.append(chat.example(tok, self.posed(p).messages, say(self.solution(tok, p))))
            if sum(sum(mask) for _, mask in rows) >= self.tokens:
                return Batch.of_rows(tok, rows)
        raise AssertionError("problems do not end")

    def prober(self, model, tok):
        """Greedy solutions of held-out problems."""

        def probe(step: int) -> dict[str, float]:
            """The readings after a step."""
            found = {}
            for name, up in (("accuracy", 0), ("harder", 1)):
                world = self.world(up)
                asked = [self.posed(p) for p in world.problems(self.held, seed=7)]
                tried = attempts(model, tok, world, asked, 1, max_new=LONGEST, temperature=0.0)
                found[name] = fmean(g[0].right for g in tried)
                if not up:
                    found["sound"] = fmean(g[0].sound for g in tried)
                    found["length"] = fmean(g[0].tokens for g in tried)
            return found | self.edited(model, tok)

        return probe

    def edited(self, model, tok) -> dict[str, float]:
        """What becomes of the answer where a step in the middle is false; 0 where no steps are shown."""
        if self.shown != "steps":
            return {"follows": 0.0, "unmoved": 0.0}
        cases = [(p, broken(p)) for p in self.world().problems(self.held, seed=7)]
        prompts = [open_row(tok, p, "; ".join(steps) + ";") for p, steps in cases]
        done = sample(model, prompts, max_new=LONGEST, temperature=0.0, stop=chat.stop_ids(tok))
        follows, unmoved = [], []
        for (p, steps), ids in zip(cases, done.ids):
            more, answer = written(tok.decode(ids, skip_special_tokens=True))
            concluded = family_of(p).concluded(p, [*steps, *more])
            right = answer is not None and family_of(p).is_right(p, answer)
            follows.append(answer is not None and answer == concluded and not right)
            unmoved.append(right)
        return {"follows": fmean(follows), "unmoved": fmean(unmoved)}


def broken(problem: Problem) -> list[str]:
    """The steps up to one in the middle, which is false."""
    steps, r = path(problem), rng("broken", problem.question)
    at = len(steps) // 2
    return [*steps[:at], r.choice(list(family_of(problem).slips(r, problem, steps[:at]).values()))]
