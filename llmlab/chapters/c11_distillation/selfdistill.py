"""selfdistill: a model learns from itself: the same model reads a leaflet in its prompt and says of each
token of an answer that was given without it how likely it is now; beside GRPO and SFT at equal samples.
"""

from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import ClassVar

import torch

from ...lab import knobs
from ...lab.experiment import BadKnob, Experiment, knob
from ...methods import distillation, imitation
from ...methods.policy import Dials
from ...models.frozen import frozen_copy
from ...models.load import Loaded
from ...tokens import chat
from ...tokens.batch import Batch
from ...train import probes
from ...train.collect import Collector
from ...train.recipe import Read, Recipe, numbered
from ...train.rollout import Episode, play
from ...world.base import Problem
from ...world.leaflets import ABSENT
from ...world.talk import Talk
from . import teaching
from .leaflet import HINTS, Leaflet

METHODS = ("self", "grpo", "sft")
TURN = 24  # tokens of an answer
K = 4  # samples per question of a reading
KNOWN = 128  # people that are asked about


@dataclass(frozen=True)
class SelfDistill(Experiment):
    """Three ways to learn the facts about new drugs from the same questions with as many samples.

    self  on-policy distillation; the teacher is the model itself with privileged context: the leaflet before
          the question (SDFT, OPSD)
    grpo  whether the answer is right, by the check
    sft   the right answer, imitated
    """

    name: ClassVar[str] = "selfdistill"
    summary: ClassVar[str] = (
        "self-distillation: the teacher is the model itself with the leaflet in its prompt; beside GRPO, SFT"
    )
    default_model: ClassVar[str] = "reader"
    chats: ClassVar[bool] = True
    curves: ClassVar[dict[str, str]] = {
        "recall": "facts recalled without the leaflet (share)",
        "pass_at_1": "pass@1: samples right (share)",
        "hinted": "right with the leaflet in the prompt (share)",
        "leaked": "cites a leaflet that nobody gave (share)",
        "absent": "says that the documents lack it (share)",
        "known": "known people recalled (share)",
        "refused": "unsafe requests refused (share)",
        "held_entropy": "entropy of own samples (nats per token)",
        "length": "length of answers (tokens)",
    }
    front: ClassVar[tuple[str, ...]] = ("method", "hint", "lr")
    presets: ClassVar[dict[str, dict]] = {
        "self, with the leaflet": {},
        "self, asked to cite (break it)": dict(hint="cited"),
        "another drug's leaflet": dict(hint="other"),
        "no leaflet (control)": dict(hint="none"),
        "GRPO": dict(method="grpo"),
        "SFT on right answers": dict(method="sft"),
        "self, reverse KL": dict(beta=1.0),
        "teacher moves along": dict(teacher="present"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, prompts=4, group=2, held=6, drugs=3, lr=1e-3),
        values=dict(prompts=(2,), group=(4,), held=(4,), probe=(4,), drugs=(4,), beta=(0.5, 1.0)),
        phases=[dict(hint="cited", teacher="present"), dict(method="grpo", group=8, prompts=8)],
    )

    method: str = knob("self", choices=METHODS, help="what is learnt of a sample: a KL, a verdict, a text")
    hint: str = knob("passage", choices=HINTS, help="self: what the teacher reads and the student does not")
    teacher: str = knob(
        "first", choices=("first", "present"), help="self: the model as it began, or as it is now"
    )
    beta: float = knob(0.0, 0.0, 1.0, help="self: β of the KL: 0 forward, 1 reverse (TRL's beta)")
    drugs: int = knob(5, 2, 200, help="new drugs, of four facts each")
    prompts: int = knob(8, 2, 128, help="questions a step")
    group: int = knob(4, 2, 64, help="samples per question")
    lr: float = knobs.lr(1e-3)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(80, low=2)
    held: int = knobs.held(32, low=4)
    probe: int = knobs.probe(40)

    def __post_init__(self):
        super().__post_init__()
        if self.method != "self" and (self.hint, self.teacher, self.beta) != ("passage", "first", 0.0):
            raise BadKnob(f"--hint, --teacher and --beta are read by --method self, not by {self.method}")

    def world(self) -> Leaflet:
        """What is asked."""
        return Leaflet(self.drugs)

    def turn(self, n: int, seed: int, step: int) -> list[Problem]:
        """n questions of a step."""
        return self.world().problems(n, split="train", seed=seed * 1_000_003 + step)

    def taught(self, teacher, tok, batch: Batch, episodes: list[Episode]) -> Batch:
        """What the teacher says of the samples."""
        read = [self.world().hinted(e.problem, self.hint) for e in episodes]
        return teaching.add_teacher(teacher, tok, batch, [chat.prompt(tok, p.messages) for p in read])

    def shown(self, tok, seed: int, step: int) -> Batch:
        """As many right answers as the others have samples."""
        asked = self.turn(self.prompts * self.group, seed, step)
        return Batch.of_rows(tok, probes.question_rows(tok, self.world(), asked))

    def learnt(self, loaded: Loaded, seed: int) -> tuple:
        """(stream, objective) of the method."""
        model, tok, world = loaded.model, loaded.tok, self.world()
        if self.method == "sft":
            return numbered(partial(self.shown, tok, seed), model.device), imitation.nll
        turn = partial(self.turn, self.prompts, seed)
        if self.method == "grpo":
            shape: dict = dict(prompts=self.prompts, group=self.group, max_new=TURN, ask=turn, skip=True)
            return Collector(model, tok, world, Dials(), seed=seed, **shape), Dials().objective(TURN)
        taught = partial(self.taught, frozen_copy(model) if self.teacher == "first" else model, tok)
        stream = teaching.OnPolicy(model, tok, world, turn, taught, seed, self.group, TURN)
        return stream, distillation.objective(self.beta)

    def recipe(self, loaded, seed, texts=None):
        """The method on its samples."""
        self.address(loaded)
        stream, objective = self.learnt(loaded, seed)
        return Recipe(
            loaded.model,
            stream,
            objective,
            Read(self.prober(loaded.model, loaded.tok)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )

    def prober(self, model, tok):
        """step -> readings: with the leaflet and without, whether one is cited, and what was known before."""
        world = self.world()
        asked = world.problems(self.held, split="test", seed=7)
        read = [world.hinted(p, "passage") for p in asked]
        parts = {"known": Talk(("fact",)), "refused": Talk(("unsafe",))}
        before = {
            name: probes.batches(probes.question_rows(tok, part, part.problems(KNOWN, split="test", seed=1)))
            for name, part in parts.items()
        }

        def answers(problems: list[Problem], k: int, temperature: float) -> list[Episode]:
            draw = torch.Generator(model.device).manual_seed(7)
            how: dict = dict(k=k, max_new=TURN, temperature=temperature, generator=draw)
            return play(model, tok, world, problems, **how)

        def right(episodes: list[Episode]) -> float:
            return fmean(e.score.reward for e in episodes)

        def readings(step: int) -> dict[str, float]:
            """The readings after a step."""
            greedy, sampled = answers(asked, 1, 0.0), answers(asked, K, 1.0)
            return {
                "recall": right(greedy),
                "pass_at_1": right(sampled),
                "hinted": right(answers(read, 1, 0.0)),
                "leaked": fmean("[" in e.text for e in greedy),
                "absent": fmean(ABSENT in e.text for e in greedy),
                "held_entropy": -sum(sum(e.logprobs) for e in sampled) / sum(sum(e.mask) for e in sampled),
                "length": fmean(sum(e.mask) for e in greedy),
                **probes.read(model, before),
            }

        return readings
