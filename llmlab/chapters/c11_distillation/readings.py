"""readings: how near a student is to its teacher on right text and on its own, and how often it is right."""

from statistics import fmean
from typing import Callable

import torch

from ...methods.distillation import agreement
from ...methods.parts import kl, token_mean
from ...models.forward import forward
from ...models.load import Loaded
from ...tokens import chat
from ...tokens.batch import Batch
from ...train import probes
from ...train.attempts import Attempt, attempts
from ...train.rollout import as_batch
from ...world.base import Problem, World
from ...world.talk import Talk
from .teaching import LONGEST

K = 4  # samples per problem
KNOWN = 64  # people that are asked about


def readings(
    student: Loaded, teacher: Loaded | None, world: World, held: int
) -> Callable[[int], dict[str, float]]:
    """step -> readings on `held` problems, the teacher's own among them; without a teacher whose tokens are
    the student's, neither these nor a KL.
    """
    model, tok = student.model, student.tok
    asked = world.problems(held, split="test", seed=7)
    gold = Batch.of_rows(
        tok, [chat.example(tok, p.messages, world.solution(p), p.meta.get("tools")) for p in asked]
    ).to(model.device)
    facts = Talk(("fact",))
    known = probes.batches(probes.question_rows(tok, facts, facts.problems(KNOWN, split="test", seed=1)))
    best = {f"teacher_{n}": v for n, v in right(*tried(teacher, world, asked)).items()} if teacher else {}

    def read(step: int) -> dict[str, float]:
        """The readings after a step."""
        greedy, groups = tried(student, world, asked)
        every = [a for g in groups for a in g]
        right_ones = [a for a in every if a.right]
        own = as_batch(tok, [g[0].episode for g in groups]).to(model.device)
        return {
            **right(greedy, groups),
            **best,
            **(both_texts(model, teacher.model, gold, own) if teacher else {}),
            "held_entropy": -sum(a.logprob for a in every) / sum(a.tokens for a in every),
            "distinct": fmean(len({a.text for a in g}) / K for g in groups),
            "unsound": fmean(a.false_positive for a in right_ones) if right_ones else 0.0,
            "length": fmean(a.tokens for a in every),
            "known": probes.exact(model, known),
        }

    return read


def tried(of: Loaded, world: World, asked: list[Problem]) -> tuple[list[list[Attempt]], list[list[Attempt]]]:
    """A greedy attempt at each problem, and K samples."""
    how: dict = dict(max_new=LONGEST, seed=7)
    return (
        attempts(of.model, of.tok, world, asked, 1, temperature=0.0, **how),
        attempts(of.model, of.tok, world, asked, K, **how),
    )


def right(greedy: list[list[Attempt]], groups: list[list[Attempt]]) -> dict[str, float]:
    """How often a greedy answer is right, and a sample."""
    return {
        "accuracy": fmean(g[0].right for g in greedy),
        "pass_at_1": fmean(a.right for g in groups for a in g),
    }


def both_texts(model, teacher, gold: Batch, own: Batch) -> dict[str, float]:
    """How near on right text, and the reverse KL on what the student wrote itself."""
    return near(model, teacher, gold) | {"own_reverse_kl": near(model, teacher, own)["held_reverse_kl"]}


@torch.no_grad()
def near(model, teacher, batch: Batch) -> dict[str, float]:
    """Both directions of the KL and the agreement on a text, means over its tokens under the mask."""
    was = model.training
    model.eval()
    out, said = forward(model, batch), forward(teacher, batch).logits
    model.train(was)
    student, target = out.logits.log_softmax(-1), said.log_softmax(-1)
    return {
        "held_forward_kl": float(token_mean(kl(target, student), out.mask)),
        "held_reverse_kl": float(token_mean(kl(student, target), out.mask)),
        "held_agreement": float(agreement(out, batch.add(teacher_logits=said))),
    }
