"""distill: a small student learns from a larger teacher: from its texts, from its probabilities, or from what
it says of the student's own attempts.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Callable, ClassVar, Iterator

from ...errors import UserError
from ...lab import knobs
from ...lab.experiment import BadKnob, Experiment, knob
from ...lab.supervised import order
from ...methods import distillation, imitation, preferences
from ...methods.parts import Objective
from ...methods.policy import Dials
from ...models.frozen import frozen_copy
from ...models.load import Loaded, load
from ...tokens import pairs
from ...tokens.batch import Batch
from ...train import loop
from ...train.recipe import Read, Recipe
from ...train.reference import Reference
from ...world.base import Problem, World
from ...world.desk import Desk
from ...world.given import Given
from ...world.reasoning import NAMES, Reasoning
from ...world.talk import Talk
from . import own_prompts, teaching
from .readings import readings

SIZES = {"large": "student_l", "medium": "student_m", "small": "student_s"}
TASKS = (*NAMES, "facts", "calls")
ORDERS = ("level", "mixed", "easy_first", "hard_first")
WRITERS = ("data", "teacher", "student")
LOSSES = ("kl", "labels", "token", "dpo")
TEACHER = "reasoner"
OTHERS = {"calls": "chat"}  # family -> who teaches it in the reasoner's place, which has unlearnt it
DPO_BETA, DPO_NLL = 0.1, 0.2  # as chapter 06 has them for a model's own samples


@dataclass(frozen=True)
class Distill(Experiment):
    """Who writes the text, and what is learnt at each of its tokens.

    writer  data: right solutions · teacher: its samples, filtered by `keep` · student: its own attempts
            (on-policy distillation)
    loss    kl: the teacher's whole distribution, direction β · token: its log-prob of the student's own token
            as the reward of that token (a sampled reverse KL) · labels: the text alone · dpo: the teacher's
            text is chosen, the student's first own one rejected
    """

    name: ClassVar[str] = "distill"
    summary: ClassVar[str] = (
        "distillation: who writes the text (data, teacher, student), which KL is learnt; three students"
    )
    default_model: ClassVar[str] = "student_m"
    chats: ClassVar[bool] = True
    takes_texts: ClassVar[bool] = True
    reads: ClassVar[str] = "file of your own conversations: the last answer of each is what the data say"
    curves: ClassVar[dict[str, str]] = {
        "accuracy": "right, greedy (share)",
        "pass_at_1": "pass@1: samples right (share)",
        "held_forward_kl": "KL(teacher ‖ student), right text (nats)",
        "own_reverse_kl": "KL(student ‖ teacher), own text (nats)",
        "held_agreement": "same first choice as the teacher (share)",
        "held_entropy": "entropy of own samples (nats per token)",
        "distinct": "different solutions of four (share)",
        "length": "length of solutions (tokens)",
        "known": "known people recalled (share)",
    }
    front: ClassVar[tuple[str, ...]] = ("writer", "beta", "size")
    presets: ClassVar[dict[str, dict]] = {
        "on-policy, reverse KL": {},
        "on-policy, forward KL": dict(beta=0.0),
        "teacher's text, forward KL": dict(writer="teacher", beta=0.0),
        "teacher's text, reverse KL": dict(writer="teacher"),
        "teacher's text alone (SFT)": dict(writer="teacher", loss="labels"),
        "right solutions alone (SFT)": dict(writer="data", loss="labels"),
        "teacher's text against own (DPO)": dict(writer="teacher", loss="dpo"),
        "on-policy, sampled token": dict(loss="token"),
        "own text alone (break it)": dict(loss="labels"),
    }
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=4, warmup=1, probe=2, batch=4, held=4, level=1, problems=12, lr=1e-3),
        values=dict(
            loss=("labels", "token"),
            batch=(2,),
            held=(6,),
            top_k=(4,),
            probe=(4,),
            problems=(6,),
            level=(2,),
            beta=(0.0, 0.5),
        ),
        under=dict(
            keep=dict(writer="teacher", family="products", level=2),
            form=dict(writer="teacher", loss="labels"),
            order=dict(writer="data", level=2),
        ),
        phases=[
            dict(writer="teacher", beta=0.5, labels=0.5, temperature=2.0),
            dict(size="small", writer="data"),
            dict(writer="teacher", loss="dpo"),
        ],
    )

    size: str = knob("medium", choices=tuple(SIZES), help="student: 0.7, 0.5 or 0.3 M parameters")
    writer: str = knob("student", choices=WRITERS, help="who writes the text that is learnt from")
    loss: str = knob("kl", choices=LOSSES, help="learnt: a KL, the text, the sampled token's log-prob, pairs")
    beta: float = knob(1.0, 0.0, 1.0, help="β of the KL: 0 forward, 1 reverse, between: JS (TRL's beta)")
    temperature: float = knob(1.0, 0.3, 10.0, help="temperature T of both models' probabilities in the KL")
    top_k: int = knob(0, 0, 1024, unit="tokens", help="kl: the teacher's likeliest that are compared; 0: all")
    labels: float = knob(0.0, 0.0, 1.0, unit="share", help="share of the loss that the text itself has")
    keep: str = knob("all", choices=teaching.KEEP, help="teacher: which of its samples are learnt from")
    form: str = knob("steps", choices=teaching.FORMS, help="solutions: steps, answer alone, or twice as long")
    order: str = knob("level", choices=ORDERS, help="level: only this one; else all up to it, in this order")
    family: str = knob("strings", choices=TASKS, help="kind of problem")
    level: int = knob(2, 1, 4, help="difficulty")
    problems: int = knob(400, 2, 20_000, help="different problems to learn from")
    batch: int = knob(16, 2, 128, unit="rows", help="texts a step")
    lr: float = knobs.lr(5e-4)
    warmup: int = knobs.warmup(5)
    steps: int = knobs.steps(60, low=2)
    held: int = knobs.held(32, low=4)
    probe: int = knobs.probe(20)

    teacher: str = field(default=TEACHER, repr=False)  # a model: no knob

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "default_model", SIZES[self.size])  # the student that a run starts from
        refused(self)

    @staticmethod
    def own(path, skip_bad=False, on_found=lambda told: None) -> Given:
        """Conversations of a file as problems. Raises UserError with file, line and fix."""
        return own_prompts.own(path, skip_bad, on_found)

    def under(self, teacher: str) -> "Distill":
        """The same under a teacher that somebody named. Raises BadKnob for the one that has unlearnt it."""
        if teacher == TEACHER and (other := OTHERS.get(self.family)):
            raise BadKnob(
                f"the {teacher} has unlearnt {self.family}: leave --teacher out, and the lab's {other} model"
                " teaches them"
            )
        return replace(self, teacher=teacher)

    def world(self, level: int = 0) -> World:
        """What is asked."""
        if self.family == "calls":
            return Desk(1, expect="call")
        return (
            Talk(("fact",)) if self.family == "facts" else Reasoning((self.family,), (level or self.level,))
        )

    def asked(self, world: World, seed: int) -> list[Problem]:
        """The problems to learn from: of one level, or as many of each level up to it, level by level."""
        if self.order == "level":
            return world.problems(self.problems, split="train", seed=seed)
        levels = range(self.level, 0, -1) if self.order == "hard_first" else range(1, self.level + 1)
        each = max(1, self.problems // self.level)
        return [p for n in levels for p in self.world(n).problems(each, split="train", seed=seed)]

    def objective(self) -> Objective:
        """What is learnt."""
        if self.loss == "labels":
            return imitation.nll
        if self.loss == "dpo":
            return preferences.objective("dpo", beta=DPO_BETA, nll=DPO_NLL)
        if self.loss == "token":
            return Dials(ratio="none", clip="none", aggregation="token_mean").objective(teaching.LONGEST)
        return distillation.objective(self.beta, temperature=self.temperature, labels=self.labels)

    def column(self, teacher: Loaded) -> Callable[[Batch], Batch]:
        """What the teacher says of a batch."""
        if self.loss == "labels":
            return lambda batch: batch
        if self.loss == "token":
            return partial(rewarded_tokens, teacher.model)
        if self.top_k:
            return partial(loop.add_top_k, teacher.model, k=self.top_k)
        return partial(teaching.add_teacher, teacher.model, teacher.tok)

    def stream(
        self, student: Loaded, teacher: Loaded, world: World, seed: int, start: int
    ) -> Iterator[Batch]:
        """Batches from number `start` on."""
        asked, column, model, tok = self.asked(world, seed), self.column(teacher), student.model, student.tok
        if self.writer == "student":
            turn = partial(self.turn, asked, seed)
            yield from teaching.OnPolicy(model, tok, world, turn, lambda b, _: column(b), seed)(start)
        texts = (
            teaching.from_data(world, asked, self.form)
            if self.writer == "data"
            else teaching.from_teacher(teacher, world, asked, self.keep, self.form, seed)
        )
        for step in count(start):
            rows = [texts[i].row(tok) for i in self.numbers(seed, step, len(texts))]
            yield column(Batch.of_rows(tok, rows).to(model.device))

    def pairs(self, first: Loaded, teacher: Loaded, world: World, seed: int, start: int) -> Iterator[Batch]:
        """Batches of pairs from number `start` on: a text of the teacher's, and what the student, as it
        began, says of the same problem, where that differs.
        """
        texts = teaching.from_teacher(teacher, world, self.asked(world, seed), self.keep, self.form, seed)
        own = teaching.answers(first, world, [t.problem for t in texts], seed)
        both = [pair for pair in zip(texts, own) if pair[0].said != pair[1].said]
        reference = Reference(first.model)
        for step in count(start):
            rows = [text.row(first.tok) for i in self.numbers(seed, step, len(both)) for text in both[i]]
            yield reference(pairs.of_rows(first.tok, rows).to(first.model.device))

    def numbers(self, seed: int, step: int, n: int) -> list[int]:
        """Which of n texts a step reads: each once an epoch; in an order of levels, a step reads from the
        part that its time has come to. Raises UserError where there is none.
        """
        if not n:
            raise UserError(
                "no text is left to learn from; choose --keep all, more --problems, or a lower --level"
            )
        if self.order in ("level", "mixed"):
            return [order(seed, i // n, n)[i % n] for i in range(step * self.batch, (step + 1) * self.batch)]
        part = n // self.level
        first = min(step * self.level // self.steps, self.level - 1) * part
        return [first + i for i in order(seed, step, part)[: self.batch]]

    def turn(self, asked: list[Problem], seed: int, step: int) -> list[Problem]:
        """The problems of a step."""
        return [asked[i] for i in self.numbers(seed, step, len(asked))]

    def recipe(self, loaded, seed, texts=None):
        """The student under its teacher. Raises UserError where they do not share a tokenizer and it is
        needed.
        """
        self.address(loaded)
        teacher = taught_by(self, loaded)
        world = texts or self.world()
        stream = (
            partial(self.pairs, replace(loaded, model=frozen_copy(loaded.model)), teacher)
            if self.loss == "dpo"
            else partial(self.stream, loaded, teacher)
        )
        return Recipe(
            loaded.model,
            partial(stream, world, seed),
            self.objective(),
            Read(readings(loaded, teacher if share_tokens(teacher, loaded) else None, world, self.held)),
            self.steps,
            self.lr,
            every=self.probe,
            warmup=self.warmup,
        )


def rewarded_tokens(teacher, batch: Batch) -> Batch:
    """The batch; each token's advantage is what the teacher's log-prob of it is above the student's."""
    batch = loop.add_logprobs(teacher, batch, "ref_logprobs")
    return batch.add(advantages=batch["ref_logprobs"] - batch["old_logprobs"])


def share_tokens(teacher: Loaded, student: Loaded) -> bool:
    """Do both models have the same vocabulary?"""
    return teacher.tok.get_vocab() == student.tok.get_vocab()


def taught_by(experiment: Distill, student: Loaded) -> Loaded:
    """The teacher, frozen. Raises UserError where its tokens are not the student's, but for its texts."""
    own = experiment.teacher == TEACHER  # nobody has named another one
    name = OTHERS.get(experiment.family, TEACHER) if own else experiment.teacher
    teacher = load(name, str(student.model.device))
    experiment.address(teacher)
    if not share_tokens(teacher, student) and experiment.loss not in ("labels", "dpo"):
        raise UserError(
            f"'{name}' and '{student.name}' have different tokenizers, so the probabilities of"
            " one say nothing about the tokens of the other; its texts can be learnt: --writer teacher --loss"
            " labels"
        )
    teacher.model.eval().requires_grad_(False)
    return teacher


def refused(d: Distill) -> None:
    """Knobs that would change nothing without a word. Raises BadKnob."""
    if d.keep != "all" and d.writer != "teacher":
        raise BadKnob(f"--keep {d.keep} chooses among the teacher's samples; add --writer teacher")
    if d.form != "steps" and d.writer == "student":
        raise BadKnob(f"--form {d.form} is of texts that are given; choose --writer teacher or data")
    if d.loss == "token" and d.writer != "student":
        raise BadKnob("--loss token is of tokens that the student sampled; add --writer student")
    if d.loss == "dpo" and (d.writer != "teacher" or d.order != "level"):
        raise BadKnob("--loss dpo prefers the teacher's texts; add --writer teacher and leave --order out")
    if d.loss != "kl" and (d.temperature, d.labels, d.top_k) != (1.0, 0.0, 0):
        raise BadKnob(f"--temperature, --labels and --top_k are read by --loss kl, not by {d.loss}")
    if d.top_k and d.temperature != 1:
        raise BadKnob("--top_k keeps the teacher's probabilities at temperature 1; choose --temperature 1")
    if d.order != "level" and d.keep != "all":
        raise BadKnob("--order needs as many texts of each level: leave --keep out")
