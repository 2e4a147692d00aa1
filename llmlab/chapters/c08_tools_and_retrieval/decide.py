"""decide: call a tool, or answer from memory? Learnt from examples, from pairs of the right way and the wrong
one, or from a reward for right answers with a price per call.
"""

from dataclasses import dataclass
from statistics import fmean
from functools import partial
from typing import ClassVar, Iterator

import torch

from ...lab import knobs
from ...lab.experiment import Experiment, knob
from ...methods import calibration, imitation, preferences
from ...methods.parts import Objective
from ...methods.policy import Dials, where_sampled
from ...models.frozen import frozen_copy
from ...tokens import chat, pairs
from ...tokens.batch import Batch
from ...train.collect import Collector
from ...train.loop import add_logprobs
from ...train.recipe import Read, Recipe, numbered
from ...train.rollout import Episode, play, scored
from ...world.base import Problem, rng
from ...world.errands import DIRECT, KINDS, Errands, lesson

METHODS = ("grpo", "sft", "dpo")
NEEDED = tuple(k for k in KINDS if k not in DIRECT)
LONGEST = 44  # tokens that a turn takes at most
TURNS = 3  # a call, one more, the answer
BETA, NLL = 0.1, 0.5  # of dpo; without the likelihood of the chosen turns right answers become unlikely too


@dataclass(frozen=True)
class Decide(Experiment):
    """Known and unknown people, sums that are easy, half mastered or hard, and small talk, from the chat
    model, which calls for nearly every sum and for small talk, and for people seldom and wrongly.

    grpo  reward = right answer − price · calls: outcome only at price 0
    sft   imitate calls where they are needed and, in a share of the examples, answers where they are not
    dpo   the same questions: prefer the call to the answer where it is needed, and the answer to the call
          where it is not. When2Call, arXiv 2504.18851
    """

    name: ClassVar[str] = "decide"
    summary: ClassVar[str] = (
        "call a tool or answer from memory: examples, pairs, or a reward with a price per call"
    )
    default_model: ClassVar[str] = "chat"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "utility": "right − price · calls (points)",
        "accuracy": "right answers (share)",
        "calls": "calls per question (ratio)",
        "needless": "calls where no tool is needed (share)",
        "missed": "no call where one is needed (share)",
        "calls_half": "calls on half-mastered sums (share)",
        "calls_unknown": "calls on unknown people (share)",
        "right_unknown": "right about unknown people (share)",
        "need": "need decodable at once (probability)",
    }
    front: ClassVar[tuple[str, ...]] = ("method", "price", "no_calls")
    presets: ClassVar[dict[str, dict]] = {
        "outcome only": {},
        "a price per call": dict(price=0.2),
        "too dear": dict(price=0.8),
        "only calls shown": dict(method="sft", lr=1e-3),
        "calls and answers shown": dict(method="sft", no_calls=0.4, lr=1e-3),
        "pairs": dict(method="dpo", no_calls=0.4),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, prompts=4, group=4, batch=4, held=6, lr=1e-3),
        values=dict(batch=(2,), prompts=(2,), group=(2,), no_calls=(0.5,), held=(4,), probe=(4,)),
        under=dict(batch=dict(method="sft"), no_calls=dict(method="sft")),
        phases=[dict(method="sft", no_calls=0.4), dict(price=0.5), dict(method="dpo", no_calls=0.4)],
    )

    method: str = knob("grpo", choices=METHODS, help="a reward for right answers, examples, or pairs")
    price: float = knob(0.0, 0.0, 1.0, unit="points", help="what a call costs; a right answer is worth 1")
    no_calls: float = knob(
        0.0,
        0.0,
        0.9,
        unit="share",
        help="sft, dpo: share of the examples (pairs) that are answered without a call",
    )
    lr: float = knobs.lr(3e-4)
    warmup: int = knobs.warmup(3, high=100)
    steps: int = knobs.steps(40, low=2, high=1000)
    batch: int = knob(16, 2, 64, unit="rows", help="sft, dpo: examples (pairs) a step")
    prompts: int = knob(6, 2, 64, help="grpo: questions a step, each kind as often")
    group: int = knob(8, 2, 32, help="grpo: samples a question")
    held: int = knobs.held(24, low=4)
    probe: int = knobs.probe(20)

    def shown_at(self, tok, seed: int, step: int) -> Batch:
        """Examples of one step of imitation. A call is shown only where it is needed."""
        rows = []
        for p in self.lessons(seed, step):
            rows.append(chat.example(tok, p.messages, Errands().solution(p), p.meta["tools"]))
        return Batch.of_rows(tok, rows)

    def lessons(self, seed: int, step: int) -> list[Problem]:
        """The questions of one step of imitation or of pairs."""
        found = []
        for i in range(self.batch):
            direct = rng("decide", seed, step, i).random() < self.no_calls
            found.append(lesson("decide", seed, step, i, kinds=DIRECT if direct else NEEDED))
        return found

    def pairs_at(self, tok, seed: int, step: int) -> Batch:
        """Pairs of one step: the call and the answer, the right one of them chosen. Where no tool helps, the
        call is that of another question.
        """
        found = []
        for i, p in enumerate(self.lessons(seed, step)):
            call = p.meta["call"] or lesson("needless", seed, step, i, kinds=NEEDED).meta["call"]
            (answer,) = Errands.answered(p, False)
            chosen, rejected = (answer, call) if p.meta["kind"] in DIRECT else (call, answer)
            found.append((p.messages, chosen, rejected, p.meta["tools"]))
        return pairs.contrast(tok, found)

    def rewards(self, episodes: list[Episode]) -> torch.Tensor:
        """Right answer − price · calls. [B]"""
        return scored(episodes) - self.price * torch.tensor([float(calls(e)) for e in episodes])

    def objective(self) -> Objective:
        """The policy gradient on what was tried, imitation of what is shown; of pairs dpo + NLL · nll."""
        if self.method == "dpo":
            return preferences.objective("dpo", beta=BETA, nll=NLL)
        return where_sampled(Dials().objective(LONGEST), imitation.nll)

    def stream(self, model, tok, reference, seed: int, start: int) -> Iterator[Batch]:
        """Batches from number `start`: what is shown, or what is tried."""
        if self.method == "sft":
            return numbered(partial(self.shown_at, tok, seed), model.device)(start)
        if self.method == "dpo":
            compared = numbered(partial(self.pairs_at, tok, seed), model.device)(start)
            return (add_logprobs(reference, batch, "ref_logprobs") for batch in compared)
        settings = dict(prompts=self.prompts, group=self.group, max_new=LONGEST, turns=TURNS)
        tried = Collector(
            model,
            tok,
            Errands(),
            Dials(),
            seed=seed,
            groups="filtered",
            fallback=self.group,
            rewards=self.rewards,
            ask=lambda step: [
                lesson("asked", seed, step, i, kinds=(KINDS[i % len(KINDS)],)) for i in range(self.prompts)
            ],
            **settings,
        )
        return tried(start)

    def recipe(self, loaded, seed, texts=None):
        """What is tried, shown or compared, and what is learnt from it."""
        self.address(loaded)
        model, tok = loaded.model, loaded.tok
        reference = frozen_copy(model) if self.method == "dpo" else None
        return Recipe(
            model,
            partial(self.stream, model, tok, reference, seed),
            self.objective(),
            Read(self.prober(model, tok)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )

    def prober(self, model, tok):
        """Held-out questions of each kind, sampled: what decides is a probability."""
        held = {kind: Errands((kind,)).problems(self.held, seed=7) for kind in KINDS}

        def probe(step):
            """The readings after a step."""
            generator = torch.Generator(model.device).manual_seed(7)
            played = {
                kind: play(model, tok, Errands(), asked, max_new=LONGEST, turns=TURNS, generator=generator)
                for kind, asked in held.items()
            }
            called = {f"calls_{kind}": fmean(calls(e) > 0 for e in es) for kind, es in played.items()}
            right = {f"right_{kind}": fmean(e.score.reward for e in es) for kind, es in played.items()}
            every = [e for es in played.values() for e in es]
            told = {"accuracy": fmean(e.score.reward for e in every), "calls": fmean(map(calls, every))}
            return {
                "utility": told["accuracy"] - self.price * told["calls"],
                **told,
                "needless": fmean(called[f"calls_{k}"] for k in DIRECT),
                "missed": fmean(1 - called[f"calls_{k}"] for k in ("unknown", "hard")),
                "need": need(model, tok, held["known"] + held["easy"], held["unknown"] + held["hard"]),
                **called,
                **right,
            }

        return probe


def calls(e: Episode) -> int:
    """Tools' answers in a conversation."""
    return sum(m["role"] == "tool" for m in e.messages)


@torch.no_grad()
def need(model, tok, without, with_) -> float:
    """AUC of a linear read-out of the last hidden state before the first token: does a question need a call?
    Ridge regression on one half of the questions, read on the other.
    """
    model.eval()
    states = torch.stack([_state(model, tok, p) for p in [*without, *with_]])
    wanted = torch.tensor([0.0] * len(without) + [1.0] * len(with_), device=states.device)
    centred = torch.cat([states - states.mean(0), torch.ones(len(states), 1, device=states.device)], 1)
    half = torch.arange(len(states), device=states.device) % 2 == 0
    x, y = centred[half], wanted[half]
    weights = torch.linalg.solve(x.T @ x + 10.0 * torch.eye(x.shape[1], device=x.device), x.T @ y)
    return calibration.auc((centred[~half] @ weights).tolist(), wanted[~half].tolist())


def _state(model, tok, problem) -> torch.Tensor:
    ids = torch.tensor([chat.prompt(tok, problem.messages, problem.meta["tools"])], device=model.device)
    return model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, -1].float()
