"""Samples: what a model answers, before, on the way and after: a few held-out prompts, greedy and sampled,
right and wrong marked. They decide no number, so they lie beside a run's rows and not in them.
"""

import copy
from dataclasses import dataclass, replace
from typing import Callable

import torch

from ..models.load import Loaded
from ..tokens import chat
from ..train.sample import sample
from ..world import Census, Desk, Formulary, Sums, Talk, tastes
from ..world.arena import TASKS
from ..world.base import Problem, World, same
from ..world.given import Given
from . import registry

SAMPLES = 2  # beside the greedy answer
MAX_NEW, WORKED = 56, 160  # tokens of an answer, and of one with its steps
LARGE = 50_000_000  # parameters above which a machine without an accelerator would wait too long

READING = ("cpt", "burst", "facts", "extend", "midtrain")  # learn from documents
TASTES = ("prefer", "online", "pairs")  # learn from pairs
SILENT = (  # train no model that answers
    *("reward", "serving", "variance", "sampling", "codes", "longdoc"),
    *("verify", "search"),
)
FIXED = ("rag", "scale")  # train nothing: what their model says is the same at every step
PAIRED = {
    "dpo": "decide",
    "overopt": "style",
    "pairs": "style",
    "stages": "style",
}  # task where no knob names it


@dataclass(frozen=True)
class Asked:
    """about: what kind of question. Either a problem of a world, or a text to be continued with what is
    right. right: an answer to show, where the problem's own is not the whole of it. then: what is asked after
    the first answer; after the first moment its answer is shown in that one's place (None: the first stays).
    """

    about: str
    problem: Problem | None = None
    world: World | None = None
    head: str = ""
    right: str = ""
    then: Callable[[str], Problem | None] | None = None

    @property
    def words(self) -> str:
        """The prompt as a reader sees it."""
        return self.problem.question if self.problem else f"{self.head} …"

    @property
    def wanted(self) -> str:
        """A right answer."""
        return self.right or (self.problem.answer if self.problem else "")

    def ids(self, tok) -> list[int]:
        """The prompt's ids."""
        if self.problem is None:
            return tok(self.head, add_special_tokens=False)["input_ids"]
        return posed(tok, self.problem)

    def next(self, text: str) -> Problem | None:
        """What is asked after this answer."""
        return self.then(text) if self.then else None

    def is_right(self, text: str) -> bool:
        """Does the answer hold in every part?"""
        if self.problem is None or self.world is None:
            return text.strip().lower().startswith(self.right.strip().rstrip(".").lower())
        if isinstance(self.world, Taste):
            return same(text, self.problem.answer)
        return self.world.score(self.problem, text).reward == 1.0


def posed(tok, problem: Problem) -> list[int]:
    """A problem's ids."""
    return chat.prompt(tok, problem.messages, problem.meta.get("tools"))


class Taste:
    """Questions of a task of preferences: the best answer is the right one."""

    name = "taste"

    def __init__(self, task: str):
        self.task = task

    def problems(self, n: int, *, split: str, seed: int) -> list[Problem]:
        """Questions with their best answers."""
        found = tastes.choices(self.task, n, split=split, seed=seed)
        return [Problem(tuple(c.messages), c.best["content"], {"tools": c.tools}) for c in found]


def asked(experiment, texts=None) -> list[Asked]:
    """Three to five prompts for an experiment; none where it trains no model that answers. Of problems of the
    user's own, three that are held out.
    """
    if isinstance(texts, Given):
        return [Asked("yours", p, texts) for p in texts.problems(3, split="test", seed=11)]
    experiment = getattr(experiment, "of", None) or experiment
    name = experiment.name
    if own := next((m.ASKED[name] for m in registry.every("samples") if name in m.ASKED), None):
        return own(experiment)
    if name in SILENT:
        return []
    if name in READING:
        drugs = getattr(experiment, "drugs", Formulary().size)
        return [*_of_the_domain(2, drugs), *_known(), *_few("arithmetic", Sums(("add",), digits=2), 1)]
    if name == "topology":
        return _few("a fact", Talk(("fact",)), 4)
    task = PAIRED.get(name) or (experiment.task if name in TASTES else "")
    if task:
        return [*_few(task, Taste(task), 3), *_few("a plain fact", Talk(("fact",)), 2)]
    if name == "policy":
        return [
            *_few(experiment.task, TASKS[experiment.task](experiment.size).world, 3),
            *_few("a plain fact", Talk(("fact",)), 1),
        ]
    if name == "grpo":
        return [
            *_few("sums", Sums((experiment.op,), digits=experiment.digits), 3),
            *_few("a plain fact", Talk(("fact",)), 1),
        ]
    return [
        *_few("a fact", Talk(("fact",)), 1),
        *_few("a tool call", Desk(1, expect="call"), 1),
        *_few("a format", Talk(("format",)), 1),
        *_few("to be refused", Talk(("unsafe",)), 1),
        *_few("not to be refused", Talk(("safe",)), 1),
    ]


def _few(about: str, world, n: int) -> list[Asked]:
    return [Asked(about, p, world) for p in world.problems(n, split="test", seed=11)]


def _known() -> list[Asked]:
    return [Asked("a known person", p, Census()) for p in Census().problems(1, split="test", seed=11)]


def _of_the_domain(n: int, drugs: int) -> list[Asked]:
    found = Formulary(size=drugs).clozes(n, split="train", seed=11)
    return [Asked("the domain", head=head, right=value.strip()) for head, value, _ in found]


def before(experiment, loaded: Loaded, texts=None) -> list[dict]:
    """What the starting model says, with the tokenizer that the run will give it."""
    tok = copy.deepcopy(loaded.tok)
    (getattr(experiment, "of", None) or experiment).address(replace(loaded, tok=tok))
    return said(experiment, replace(loaded, tok=tok), 0, texts)


def said(experiment, loaded: Loaded, step: int, texts=None) -> list[dict]:
    """What the model says now: a dict a prompt (step, about, prompt, wanted, greedy and sampled, each text
    and right). The model's mode and the global generator stay as they were; nothing for a large model on a
    CPU.
    """
    prompts, model = asked(experiment, texts), loaded.model
    if step and experiment.name in FIXED:
        return []
    if not prompts or (model.device.type == "cpu" and sum(p.numel() for p in model.parameters()) > LARGE):
        return []
    tok, ids, stop = loaded.tok, [a.ids(loaded.tok) for a in prompts], chat.stop_ids(loaded.tok)
    generator = torch.Generator(model.device).manual_seed(7)
    worked = isinstance(texts, Given) or any(a.problem and "family" in a.problem.meta for a in prompts)
    settings: dict = dict(max_new=WORKED if worked else MAX_NEW, stop=stop)

    def answers(to: list[list[int]], **how) -> list[str]:
        new = sample(model, to, **how, **settings).ids if to else []
        return [tok.decode([i for i in n if i not in stop], skip_special_tokens=False).strip() for n in new]

    def last(of: list[Asked], texts: list[str], **how) -> list[str]:
        """After the first moment: the answers to what is asked next, where anything is."""
        asked = [a.next(t) if step else None for a, t in zip(of, texts)]
        said = iter(answers([posed(tok, p) for p in asked if p], **how))
        return [t if p is None else next(said) for p, t in zip(asked, texts)]

    def marked(a: Asked, text: str) -> dict:
        return {"text": text, "right": bool(a.is_right(text))}

    greedy = last(prompts, answers(ids, temperature=0.0), temperature=0.0)
    each = [a for a in prompts for _ in range(SAMPLES)]
    how: dict = dict(temperature=1.0, generator=generator)
    drawn = last(each, answers(ids, k=SAMPLES, **how), **how)
    return [
        {
            "step": step,
            "about": a.about,
            "prompt": a.words,
            "wanted": a.wanted,
            "greedy": marked(a, greedy[i]),
            "sampled": [marked(a, text) for text in drawn[i * SAMPLES : (i + 1) * SAMPLES]],
        }
        for i, a in enumerate(prompts)
    ]
