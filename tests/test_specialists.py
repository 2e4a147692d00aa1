"""Specialists: each row is judged by its own part's specialist, merges are PEFT's, merges take no step."""

from dataclasses import replace

import pytest
import torch

from llmlab.chapters.c11_distillation.parts import PARTS, Parts
from llmlab.chapters.c11_distillation.specialists import MERGES, Specialists, add_specialists
from llmlab.lab.experiment import BadKnob
from llmlab.models.adapters import merged
from llmlab.models.frozen import frozen_copy
from llmlab.models.load import load
from llmlab.train.loop import add_logits
from llmlab.train.rollout import as_batch, play

TINY = dict(steps=2, warmup=0, probe=2, batch=3, held=4, taught=2, rank=2)


@pytest.fixture(scope="module")
def start():
    return load("chat")


@pytest.fixture(scope="module")
def many(start):
    return {name: Specialists(**TINY).specialist(start, name, 0) for name in PARTS}


def fresh(loaded):
    return replace(loaded, model=frozen_copy(loaded.model).requires_grad_(True))


def changes(model) -> dict[str, torch.Tensor]:
    """Layer -> what the active adapter adds to its weight, α/r · B A."""
    (name,) = model.active_adapters
    layers = {n: m for n, m in model.named_modules() if hasattr(m, "lora_A") and name in m.lora_A}
    return {n: m.get_delta_weight(name).detach() for n, m in layers.items()}


# ---- the parts as one world ----


def test_a_problem_is_answered_scored_and_replied_to_by_its_own_part():
    world = Parts()
    asked = world.problems(7, split="test", seed=3)
    assert [Parts.name_of(p) for p in asked] == [*PARTS, *PARTS, next(iter(PARTS))]
    for p in asked:
        said = world.solution(p)[0]["content"]
        assert world.score(p, said).reward == 1 and world.score(p, "so nothing.").reward == 0
        assert world.reply(p, []) is None


@pytest.mark.parametrize("parts, batch", [(2, 4), (3, 6), (3, 7)])
def test_a_step_asks_as_many_problems_of_each_part_and_never_held_out_ones(parts, batch):
    e = Specialists(parts=parts, batch=batch)
    turn = e.turn(e.names, 1, 0)
    counts = [sum(Parts.name_of(p) == n for p in turn) for n in e.names]
    assert sum(counts) == batch == len(turn) and max(counts) - min(counts) <= 1
    held = {p.question for w in PARTS.values() for p in w.problems(200, split="test", seed=7)}
    assert not held & {p.question for p in turn}
    assert turn != e.turn(e.names, 1, 1) and turn != e.turn(e.names, 2, 0)


# ---- specialists ----


def test_specialists_leave_the_starting_model_alone_and_differ_from_each_other(start, many):
    before = load("chat").model.state_dict()
    assert all(torch.equal(p, before[n]) for n, p in start.model.state_dict().items())
    links, strings = (changes(many[n]) for n in ("links", "strings"))
    assert links and all(not torch.equal(links[n], strings[n]) for n in links)
    assert not [n for n, p in many["links"].named_parameters() if p.requires_grad]


def test_each_row_has_the_logits_of_its_own_parts_specialist(start, many):
    teachers = {name: merged(model).eval() for name, model in many.items()}
    asked = Parts().problems(4, split="train", seed=5)
    how = dict(max_new=6, generator=torch.Generator().manual_seed(0))
    episodes = play(start.model, start.tok, Parts(), asked, **how)
    batch = as_batch(start.tok, episodes)
    said = add_specialists(teachers, start.tok, batch, episodes)["teacher_logits"]
    for i, p in enumerate(asked):
        there = batch.mask[i, 1:] > 0
        by = {
            n: add_logits(t, batch.pick(torch.tensor([i])), "teacher_logits")["teacher_logits"][0][there]
            for n, t in teachers.items()
        }
        near = [n for n in by if torch.allclose(said[i][there], by[n], atol=1e-4)]
        assert near == [Parts.name_of(p)], "of no other one"


# ---- merges ----


def test_the_average_is_the_mean_of_both_factors(start, many):
    model = Specialists(how="average", **TINY).merge(frozen_copy(start.model), many, 0)
    for name, m in model.named_modules():
        if hasattr(m, "lora_A") and "one" in m.lora_A:
            a, b = (sum(d[n].weight for n in PARTS) / len(PARTS) for d in (m.lora_A, m.lora_B))
            scale = m.scaling["links"]
            assert torch.allclose(m.get_delta_weight("one"), scale * b @ a, atol=1e-6), name


def test_the_average_of_three_equal_specialists_is_each_of_them(start, many):
    same = dict.fromkeys(PARTS, many["links"])
    model = Specialists(how="average", **TINY).merge(frozen_copy(start.model), same, 0)
    one, alone = changes(model), changes(many["links"])
    assert one.keys() == alone.keys()
    assert all(torch.allclose(one[n], alone[n], atol=1e-6) for n in one)


def test_ties_elects_signs_and_keeps_the_stated_share(start, many):
    e = Specialists(how="ties", density=0.5, **TINY)
    model = e.merge(frozen_copy(start.model), many, 0)
    sparse = replace(e, density=0.1).merge(frozen_copy(start.model), many, 0)
    zeros = lambda found: torch.cat([d.flatten() for d in found.values()]).abs().lt(1e-9).float().mean()
    assert zeros(changes(sparse)) > zeros(changes(model))
    layer = next(m for m in model.modules() if hasattr(m, "lora_B") and "one" in m.lora_B)
    trimmed = []
    for name in PARTS:
        w = layer.lora_B[name].weight
        kept = w.abs().flatten().topk(w.numel() // 2).indices
        trimmed.append(torch.zeros(w.numel()).index_fill(0, kept, 1.0).view_as(w) * w)
    x = torch.stack(trimmed)
    sign = torch.where(x.sum(0) >= 0, 1.0, -1.0)
    agree = (x.sign() == sign).float()
    mean = (x * agree).sum(0) / agree.sum(0).clamp(min=1)
    assert torch.allclose(layer.lora_B["one"].weight, mean * layer.scaling["links"] ** 0.5, atol=1e-6)


@pytest.mark.parametrize("how", MERGES)
def test_a_merge_takes_no_step_and_says_so(start, how):
    e = Specialists(how=how, **TINY | dict(steps=5))
    rows = list(e.rows(fresh(start), 0))
    assert [r["step"] for r in rows] == [0, 2, 4, 5]
    assert all({**r, "step": 0} == rows[0] for r in rows)


# ---- runs ----


@pytest.mark.parametrize("how", ["opd", "mix"])
def test_a_run_trains_one_adapter_and_reads_every_curve(start, how):
    loaded = fresh(start)
    e = Specialists(how=how, **TINY)
    recipe = e.recipe(loaded, 0)
    trained = [n for n, p in recipe.model.named_parameters() if p.requires_grad]
    assert trained and all("lora_" in n for n in trained) and recipe.model.active_adapters == ["default"]
    first = recipe.probe(0)
    assert set(e.curves) <= set(first) and {f"specialist_{n}" for n in PARTS} <= set(first)
    batch = next(iter(recipe.stream(0)))
    assert len(batch) == e.batch and ("teacher_logits" in batch.given) == (how == "opd")


def test_all_ways_begin_with_the_same_specialists(start):
    first = [next(iter(Specialists(how=how, **TINY).rows(fresh(start), 0))) for how in ("average", "mix")]
    own = [{k: v for k, v in row.items() if k.startswith("specialist_")} for row in first]
    assert own[0] == own[1]


@pytest.mark.parametrize(
    "knobs, told", [(dict(how="mix", beta=0.5), "--how opd"), (dict(density=0.2), "--how ties")]
)
def test_knobs_that_would_change_nothing_are_refused(knobs, told):
    with pytest.raises(BadKnob, match=told):
        Specialists(**knobs)
