"""Specialists: each row is judged by its own part's specialist, merges are PEFT's, merges take no step."""

from dataclasses import replace

import pytest
import torch

from llmlab.chapters.c11_distillation.parts import PARTS, Parts
from llmlab.chapters.c11_distillation.specialists import MERGES, Specialists, add_specialists
from llmlab.lab.experiment import BadKnob
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


def changes(start, model) -> dict[str, torch.Tensor]:
    """Weight -> what was added to it, where anything was."""
    before = dict(start.model.named_parameters())
    found = {n: (p - before[n]).detach() for n, p in model.named_parameters()}
    return {n: d for n, d in found.items() if d.any()}


# ---- the parts as one world ----


def test_a_problem_is_answered_scored_and_replied_to_by_its_own_part():
    world = Parts()
    asked = world.problems(7, split="test", seed=3)
    assert [Parts.name_of(p) for p in asked] == [*PARTS, *PARTS, *PARTS, next(iter(PARTS))]
    for p in asked:
        said = world.solution(p)[0]["content"]
        assert world.score(p, said).reward == 1 and world.score(p, "so nothing.").reward == 0
        assert world.reply(p, []) is None


@pytest.mark.parametrize("batch", [2, 4, 7])
def test_a_step_asks_as_many_problems_of_each_part_and_never_held_out_ones(batch):
    e, names = Specialists(batch=batch), tuple(PARTS)
    turn = e.turn(names, 1, 0)
    counts = [sum(Parts.name_of(p) == n for p in turn) for n in names]
    assert sum(counts) == batch == len(turn) and max(counts) - min(counts) <= 1
    held = {p.question for w in PARTS.values() for p in w.problems(200, split="test", seed=7)}
    assert not held & {p.question for p in turn}
    assert turn != e.turn(names, 1, 1) and turn != e.turn(names, 2, 0)


# ---- specialists ----


def test_specialists_leave_the_starting_model_alone_and_differ_from_each_other(start, many):
    before = load("chat").model.state_dict()
    assert all(torch.equal(p, before[n]) for n, p in start.model.state_dict().items())
    links, strings = (changes(start, many[n]) for n in ("links", "strings"))
    assert links and all(not torch.equal(links[n], strings[n]) for n in links)
    assert not [n for n, p in many["links"].named_parameters() if p.requires_grad]


def test_each_row_has_the_logits_of_its_own_parts_specialist(start, many):
    asked = Parts().problems(4, split="train", seed=5)
    how = dict(max_new=6, generator=torch.Generator().manual_seed(0))
    episodes = play(start.model, start.tok, Parts(), asked, **how)
    batch = as_batch(start.tok, episodes)
    said = add_specialists(many, start.tok, batch, episodes)["teacher_logits"]
    for i, p in enumerate(asked):
        there = batch.mask[i, 1:] > 0
        by = {
            n: add_logits(t, batch.pick(torch.tensor([i])), "teacher_logits")["teacher_logits"][0][there]
            for n, t in many.items()
        }
        near = [n for n in by if torch.allclose(said[i][there], by[n], atol=1e-4)]
        assert near == [Parts.name_of(p)], "of no other one"


# ---- merges ----


def merged(start, many, **knobs):
    """What a merge adds to the starting model."""
    return changes(start, Specialists(**TINY | knobs).merge(fresh(start).model, many))


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_average_is_the_mean_of_the_weights_and_twice_it_the_sum_of_the_changes(start, many, scale):
    found = merged(start, many, how="average", scale=scale)
    for name, change in found.items():
        theirs = torch.stack([m.get_parameter(name) for m in many.values()])
        wanted = scale * (theirs.mean(0) - start.model.get_parameter(name))
        assert torch.allclose(change, wanted, atol=1e-6), name
    assert found.keys() == changes(start, many["links"]).keys()


@pytest.mark.parametrize("how", MERGES)
def test_three_equal_specialists_are_each_of_them_but_for_what_ties_trims(start, many, how):
    one, alone = merged(start, dict.fromkeys("abc", many["links"]), how=how), changes(start, many["links"])
    assert one.keys() == alone.keys()
    for name, change in one.items():
        kept = change != 0
        assert torch.allclose(change[kept], alone[name][kept], atol=1e-6)
        share = kept.float().mean()
        assert how == "average" or share == pytest.approx(0.5, abs=0.01), name


def test_ties_trims_elects_signs_and_averages_those_that_agree(start, many):
    found = merged(start, many, how="ties", density=0.3)
    name = next(iter(found))
    trimmed = []
    for model in many.values():
        w = changes(start, model)[name]
        least = w.abs().flatten().sort(descending=True).values[int(0.3 * w.numel()) - 1]
        trimmed.append(torch.where(w.abs() >= least, w, 0.0))
    x = torch.stack(trimmed)
    sign = torch.where(x.sum(0) >= 0, 1.0, -1.0)
    agree = (x.sign() == sign).float()
    wanted = (x * agree).sum(0) / agree.sum(0).clamp(min=1)
    assert torch.allclose(found[name], wanted, atol=1e-6)


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
    "knobs, told",
    [
        (dict(how="mix", beta=0.5), "--how opd"),
        (dict(density=0.2), "--how ties"),
        (dict(scale=2.0), "--how av"),
    ],
)
def test_knobs_that_would_change_nothing_are_refused(knobs, told):
    with pytest.raises(BadKnob, match=told):
        Specialists(**knobs)
