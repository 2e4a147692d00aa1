"""Memory of PPO and GRPO: the closed form, and the bytes that are there when the lab trains."""

import pytest

from llmlab.chapters.c07_reinforcement_learning.policy import Policy
from llmlab.models.forward import forward
from llmlab.models.frozen import frozen_copy
from llmlab.models.load import load
from llmlab.models.memory import FP32
from llmlab.models.roles import METHODS, held, method_bytes
from llmlab.train import loop

TB, MB = 10**12, 10**6


@pytest.mark.parametrize(
    "method, terabytes", [("PPO", 2.52), ("GRPO with a reference", 1.26), ("GRPO", 1.12)]
)
def test_70_billion_parameters(method, terabytes):
    assert method_bytes(method, 70 * 10**9) == pytest.approx(terabytes * TB)


def test_a_million_parameters():
    assert [method_bytes(m, 10**6) for m in METHODS] == [36 * MB, 18 * MB, 16 * MB]


def trained(**knobs):
    """(model, its optimisers, reference or None) in the second step, while the gradients are there."""
    policy = Policy(prompts=2, group=2, **knobs)
    recipe = policy.recipe(load("chat"), 0)
    model, collector = recipe.model, recipe.stream
    opts = loop.optimizers(model, "adamw", 1e-4)
    next(
        loop.steps(model, collector(0), recipe.objective, n=2, lr=1e-4, opts=opts)
    )  # moments; the gradients are cleared
    forward(model, next(collector(0))).logprobs.sum().backward()
    if policy.advantage == "critic":
        forward(model, next(collector(0))).values.sum().backward()
    return model, opts, collector.reference


def test_the_labs_bytes_are_the_closed_form_in_fp32():
    """At lab size the critic shares the policy's body: it costs a head of hidden + 1 numbers, not a model."""
    n = sum(p.numel() for p in load("chat").model.parameters())
    model, opts, none = trained()
    assert none is None and held({model: opts}, []) == method_bytes("GRPO", n, FP32) == 16 * n
    model, opts, reference = trained(kl_penalty="k3")
    assert held({model: opts}, [reference]) == method_bytes("GRPO with a reference", n, FP32) == 20 * n
    model, opts, reference = trained(kl_penalty="reward", advantage="critic")
    assert held({model: opts}, [reference]) == 16 * (n + 129) + 4 * n
    assert (
        held({model: opts}, [reference, frozen_copy(model.model)]) + 16 * n
        == method_bytes("PPO", n, FP32) + 16 * 129
    )
