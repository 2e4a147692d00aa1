"""Teaching: whose text a student reads, and what its teacher says at every token of it."""

from dataclasses import dataclass, replace
from itertools import count
from statistics import median
from typing import Any, Callable, Iterator, Sequence

import torch

from ...models.load import Loaded
from ...tokens import chat
from ...tokens.batch import Batch, Row
from ...train import loop
from ...train.attempts import Attempt, attempts
from ...train.rollout import Episode, as_batch, play
from ...world.base import Message, Problem, World, say
from ...world.desk import call_text, parse
from ...world.stepwise import written

KEEP = ("all", "right", "likely", "distinct")
FORMS = ("steps", "answer", "long")
LONGEST = 150  # tokens of a solution
DRAWN = 4  # texts of a problem, whatever a filter keeps of them


@torch.no_grad()
def add_teacher(teacher, tok, batch: Batch, hints: Sequence[list[int]] | None = None) -> Batch:
    """The batch with the teacher's logits [B,T-1,V] at the tokens under the mask. hints: for each row the ids
    of another prompt, which the teacher reads in place of the student's (everything before the first token
    under the mask).
    """
    if hints is None:
        return loop.add_logits(teacher, batch, "teacher_logits")
    rows = [privileged(ids, mask, hint) for ids, mask, hint in zip(batch.ids, batch.mask, hints)]
    seen = loop.add_logits(teacher, Batch.of_rows(tok, rows).to(batch.ids.device), "teacher_logits")
    here, there = batch.mask[:, 1:] > 0, seen.mask[:, 1:] > 0
    said = seen["teacher_logits"]
    logits = said.new_zeros(*here.shape, said.shape[-1])
    logits[here] = said[there]  # row by row the same tokens in the same order
    return batch.add(teacher_logits=logits)


def privileged(ids, mask, hint: list[int]) -> Row:
    """A row with another prompt before its answer."""
    first = int(mask.nonzero()[0, 0])
    last = int(mask.nonzero()[-1, 0]) + 1
    return [*hint, *ids[first:last].tolist()], [0] * len(hint) + mask[first:last].int().tolist()


def as_form(said: str, form: str) -> str:
    """A worked solution with its steps, with the answer alone, or with each step written twice."""
    steps, answer = written(said)
    if form == "steps" or answer is None:
        return said
    twice = [s for step in steps for s in (step, step)] if form == "long" else []
    return "; ".join([*twice, f"so {answer}."])


@dataclass(frozen=True)
class Text:
    """What a student is to imitate: a problem and a text for it."""

    problem: Problem
    said: str

    @property
    def turn(self) -> list[Message]:
        """The text as an assistant turn: as a call where it is one, for templates write these otherwise."""
        message = parse(self.said)
        is_call = "tool_calls" in message and call_text(message) == self.said
        return [message] if is_call else say(self.said)

    def row(self, tok) -> Row:
        """ids and mask."""
        return chat.example(tok, self.problem.messages, self.turn, self.problem.meta.get("tools"))


def from_data(world: World, asked: Sequence[Problem], form: str = "steps") -> list[Text]:
    """Right solutions as the data have them."""
    first = [world.solution(p)[0] for p in asked]
    said = [call_text(m) if "tool_calls" in m else m["content"] for m in first]
    return [Text(p, as_form(text, form)) for p, text in zip(asked, said)]


def from_teacher(
    teacher: Loaded,
    world: World,
    asked: Sequence[Problem],
    keep: str = "all",
    form: str = "steps",
    seed: int = 0,
) -> list[Text]:
    """Samples of the teacher, several a problem: all, or those that a filter keeps.

    right     the answer is right, by the world's check
    likely    the likelier half by the mean log-prob of a token
    distinct  each text of a problem once
    """
    groups = attempts(teacher.model, teacher.tok, world, asked, DRAWN, max_new=LONGEST, seed=seed)
    every = [a for group in groups for a in kept(group, keep)]
    if keep == "likely":
        bar = median(a.logprob / a.tokens for a in every)
        every = [a for a in every if a.logprob / a.tokens >= bar]
    return [Text(a.episode.problem, as_form(a.text, form)) for a in every]


def answers(model: Loaded, world: World, asked: Sequence[Problem], seed: int = 0) -> list[Text]:
    """One sample of a model for each problem."""
    groups = attempts(model.model, model.tok, world, asked, 1, max_new=LONGEST, seed=seed)
    return [Text(p, group[0].text) for p, group in zip(asked, groups)]


def kept(group: list[Attempt], keep: str) -> list[Attempt]:
    """Of the samples of one problem, those that a filter keeps which looks at one problem at a time."""
    if keep == "right":
        return [a for a in group if a.right]
    return list({a.text: a for a in group}.values()) if keep == "distinct" else group


@dataclass
class OnPolicy:
    """A stream of batches: the student answers the problems of a step itself; `taught` adds what the teacher
    says of it. Batch i is a function of (student, seed, i).
    """

    model: Any
    tok: Any
    world: World
    ask: Callable[[int], list[Problem]]
    taught: Callable[[Batch, list[Episode]], Batch]
    seed: int
    group: int = 1
    max_new: int = LONGEST

    def __call__(self, start: int) -> Iterator[Batch]:
        """Batches from step `start` on."""
        for step in count(start):
            generator = torch.Generator(self.model.device).manual_seed(self.seed * 1_000_003 + step)
            how: dict[str, Any] = dict(k=self.group, max_new=self.max_new, generator=generator)
            episodes = play(self.model, self.tok, self.world, self.ask(step), **how)
            batch = as_batch(self.tok, episodes, step=step)
            right = sum(e.score.reward == 1.0 for e in episodes) / len(episodes)
            info = {"reward": right, "sampled": float(sum(sum(e.mask) for e in episodes))}
            yield replace(self.taught(batch.to(self.model.device), episodes), info=info)
