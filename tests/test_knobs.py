"""Every knob is live: turned from one end of its range to the other, it changes what the run measures. A dead
knob is a defect.
"""

import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, islice

import pytest

from llmlab.lab import registry
from llmlab.train import probes
from llmlab.chapters.c07_reinforcement_learning import agent, order, reader, retain
from llmlab.chapters.c05_lora import codes, lora
from llmlab.chapters.c02_continued_pretraining import facts, longdoc, midtrain
from llmlab.chapters.c06_preferences import overopt
from llmlab.lab.experiment import BadKnob, knob
from llmlab.chapters.c02_continued_pretraining.cpt import CPT
from llmlab.models.load import load
from llmlab.world.running import Running

# what a short run needs so that something happens at all
SHORT = dict(steps=10, warmup=0, probe=500)
SMALL = {
    name: SHORT | dict(batch=4)
    for name in (
        "topology",
        "cpt",
        "burst",
        "facts",
        "extend",
        "sft",
        "chats",
        "template",
        "traces",
        "unknown",
        "dpo",
    )
}
SMALL |= {
    "grpo": SHORT | dict(prompts=8, group=8, op="add", digits=3, lr=3e-3),
    "policy": SHORT | dict(prompts=8, group=8, lr=3e-3, held=8, tries=4),
    "variance": dict(prompts=2, group=8, fit=2, steps=2),
    "longdoc": SHORT | dict(batch=1, length=256),
    "midtrain": SHORT | dict(practice=9, batch=4, prompts=8, group=8),  # one step of reading, then practice
    "sampling": dict(steps=3, problems=32),
    "codes": SHORT | dict(batch=4, people=20),
    "lora": SHORT,
    "serving": dict(adapters=2, requests=4, tokens=4, uneven=0.5, steps=1),
    "curate": SHORT | dict(batch=4, problems=16, k=2, keep="any"),
    "stages": SHORT,
    "prefer": SHORT | dict(batch=4),
    "pairs": SHORT | dict(batch=4),
    "online": SHORT | dict(batch=4),
    "reward": SHORT | dict(batch=4),
    "overopt": SHORT | dict(fit=5, prompts=8, group=8),
    "retain": SHORT | dict(prompts=8, group=8, lr=3e-3),
    "order": dict(steps=3, stages="sft-dpo-rl", batch=4, prompts=4, group=4, probe=500),  # a step of each
    "agent": SHORT | dict(prompts=4, group=4, batch=4, lr=3e-3),
}
SMALL = {
    name: (
        knobs
        | (
            dict(held=16)
            if name
            in (
                "sft",
                "template",
                "traces",
                "unknown",
                "curate",
                "stages",
                "prefer",
                "online",
                "reward",
                "overopt",
            )
            else {}
        )
    )
    for name, knobs in SMALL.items()
}
# (experiment, knob) -> other settings under which it has something to do
SETTING = {
    ("extend", "row_lr"): dict(warmup=2),
    ("extend", "oversample"): dict(warmup=2, batch=8),
    ("cpt", "anneal"): dict(replay=0.5),
    ("cpt", "gate"): dict(probe=1, replay=0.0, lr=1e-2),
    ("cpt", "tolerance"): dict(probe=1, gate=1, replay=0.0, lr=3e-3),
    ("grpo", "clip"): dict(epochs=8, prompts=16),
    ("variance", "lam"): dict(advantage="critic"),
    ("variance", "task"): dict(size=1, prompts=8),
    ("variance", "offset"): dict(advantage="no_baseline"),
    ("variance", "fit"): dict(advantage="critic"),
    ("policy", "paid"): dict(temperature=2.0),
    ("policy", "task"): dict(size=1, prompts=2, group=4),
    ("policy", "source"): dict(advantage="no_baseline", ratio="none", clip="none"),
    ("policy", "lam"): dict(advantage="critic"),
    ("policy", "overlong"): dict(task="filler"),
    ("policy", "groups"): dict(group=2),
    **{("policy", k): dict(epochs=8, prompts=16) for k in ("ratio", "clip", "range")},
    ("policy", "ratio"): dict(epochs=8, clip="none"),
    **{("policy", k): dict(leash="k3", beta=1.0) for k in ("leash", "beta", "reset")},
    ("sft", "filtering"): dict(wrong=0.9),
    ("burst", "length"): dict(at=0),
    ("facts", "mixed"): dict(replay=0.5),
    ("chats", "cut"): dict(length=96),
    ("chats", "rank"): dict(method="lora"),
    ("chats", "targets"): dict(method="lora"),
    ("curate", "keep"): dict(k=8, problems=32),
    ("traces", "cut"): dict(length=112),
    ("longdoc", "share"): dict(lines=4),
    ("lora", "scheme"): dict(method="qlora"),
    ("prefer", "gamma"): dict(method="simpo"),
    ("pairs", "gamma"): dict(loss="simpo"),
    ("pairs", "rank"): dict(method="lora"),
    ("pairs", "targets"): dict(method="lora"),
    ("prefer", "examples"): dict(batch=16),
    ("prefer", "topics"): dict(batch=16),
    ("reward", "bias"): dict(planted="length", batch=16),
    ("reward", "planted"): dict(batch=16, bias=1.0),
    ("reward", "noise"): dict(batch=16),
    ("prefer", "noise"): dict(batch=16),
    ("overopt", "bias"): dict(planted="length"),
    ("reward", "held"): dict(probe=1),
    ("online", "refresh"): dict(batch=8, lr=3e-3),
    ("order", "prompts"): dict(stages="rl"),
    ("order", "group"): dict(stages="rl"),
    ("order", "tune_lr"): dict(stages="sft-dpo"),
    ("order", "steps"): dict(stages="sft"),
    ("agent", "batch"): dict(way="gold"),
    ("agent", "chained"): dict(narrow=3, calls=2),
    ("agent", "way"): dict(calls=2, faults=1.0),
}
# (experiment, knob) -> two values, where the ends of the range would take minutes or come to nothing in a few
# steps
ENDS = {
    ("topology", "batch"): (2, 32),
    ("extend", "batch"): (2, 32),
    ("extend", "tokens"): (0, 24),
    ("cpt", "batch"): (2, 32),
    ("sft", "batch"): (2, 32),
    ("dpo", "batch"): (2, 32),
    ("cpt", "gate"): (0, 2),
    ("grpo", "prompts"): (2, 32),
    ("grpo", "group"): (2, 16),
    ("variance", "prompts"): (1, 4),
    ("variance", "group"): (2, 8),
    ("variance", "fit"): (1, 3),
    ("variance", "steps"): (1, 3),
    ("policy", "prompts"): (2, 16),
    ("policy", "group"): (2, 16),
    ("policy", "reset"): (0, 1),
    ("policy", "stale"): (0, 2),
    ("policy", "held"): (8, 16),
    ("policy", "tries"): (2, 8),
    ("facts", "batch"): (2, 32),
    ("template", "batch"): (2, 16),
    ("chats", "batch"): (2, 32),
    ("chats", "length"): (96, 256),
    ("traces", "length"): (112, 256),
    ("traces", "batch"): (2, 16),
    ("unknown", "batch"): (2, 32),
    ("curate", "batch"): (2, 32),
    ("curate", "k"): (1, 4),
    ("curate", "problems"): (16, 64),
    ("longdoc", "batch"): (1, 4),
    ("longdoc", "length"): (64, 256),
    ("midtrain", "practice"): (2, 9),
    ("midtrain", "batch"): (2, 32),
    ("midtrain", "prompts"): (2, 16),
    ("midtrain", "group"): (2, 16),
    ("sampling", "problems"): (8, 64),
    ("serving", "requests"): (4, 16),
    ("serving", "tokens"): (4, 16),
    ("serving", "adapters"): (1, 4),
    ("serving", "rank"): (1, 8),
    ("serving", "steps"): (1, 3),
    ("codes", "batch"): (2, 32),
    ("prefer", "batch"): (2, 16),
    ("pairs", "batch"): (2, 16),
    ("pairs", "length"): (30, 64),
    ("pairs", "held"): (8, 16),
    ("prefer", "examples"): (2, 0),
    ("online", "batch"): (2, 8),
    ("online", "samples"): (2, 8),
    ("online", "refresh"): (1, 0),
    ("online", "held"): (16, 64),
    ("prefer", "held"): (16, 64),
    ("reward", "batch"): (2, 16),
    ("reward", "labels"): (8, 0),
    ("reward", "held"): (16, 32),
    ("overopt", "fit"): (5, 10),
    ("overopt", "labels"): (16, 64),
    ("overopt", "prompts"): (4, 8),
    ("overopt", "group"): (4, 8),
    ("overopt", "held"): (16, 32),
    ("overopt", "steps"): (5, 12),
    ("retain", "prompts"): (2, 16),
    ("retain", "group"): (2, 16),
    ("order", "batch"): (2, 16),
    ("order", "prompts"): (2, 16),
    ("order", "group"): (2, 16),
    ("agent", "batch"): (2, 16),
    ("agent", "prompts"): (2, 8),
    ("agent", "group"): (2, 8),
    ("agent", "narrow"): (0, 2),
}
for table in (SETTING, ENDS):
    table |= {("burst", k): v for (name, k), v in table.items() if name == "cpt"}
ROWS = 4  # the reading before the first step, and three steps


@pytest.fixture(scope="module", autouse=True)
def small_probes():
    """Probes read eight rows of each set and ask few problems; running sums are of two digits, which the base
    model gets right now and then.
    """
    original = probes.read

    def read(model, sets):
        return original(
            model, {name: [b.pick(slice(0, 8)) for b in batches[:1]] for name, batches in sets.items()}
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probes, "read", read)
        for module in (codes, facts, longdoc, lora, midtrain, order, retain):
            patch.setattr(module, "HELD", 16)
        patch.setattr(reader, "GREEDY", 16)
        patch.setattr(agent, "HELD", 4)
        patch.setattr(midtrain, "Running", partial(Running, 2))
        patch.setattr(overopt, "STYLES", 15)
        yield


def rows_of(experiment, shipped, seed=0, n=ROWS):
    """The first rows of a run from the shipped checkpoint."""
    loaded = load("chat") if experiment.default_model == "chat" else copy.deepcopy(shipped)
    rows = experiment.rows(loaded, seed)
    found = [dict(row) for row in islice(rows, n)]
    rows.close()
    return found


def measured(rows, metric):
    """What happened, without the rate that was set and without seconds: numbers by step and name, and the
    steps at which the probes were read.
    """
    numbers = {
        (r["step"], k): v
        for r in rows
        for k, v in r.items()
        if k not in ("step", "lr", "rollbacks", "lr_scale") and not k.endswith("_rate")
    }
    return numbers, [r["step"] for r in rows if metric in r]


def differ(a, b, metric) -> bool:
    """Is any number that both runs have another one, or do they read their probes at other steps?"""
    (one, read_one), (two, read_two) = measured(a, metric), measured(b, metric)
    return read_one != read_two or any(one[k] != two[k] for k in one.keys() & two.keys())


def dead_knobs(cls, shipped, names=None) -> list[str]:
    """Knobs that can be turned without any effect."""
    metric, dead = next(iter(cls.curves)), []
    for k in cls.knobs():
        if names and k.name not in names:
            continue
        where = (cls.name, k.name)
        start = cls(**(SMALL[cls.name] | SETTING.get(where, {})))
        runs = [
            rows_of(replace(start, **{k.name: v}), shipped)
            for v in k.choices or ENDS.get(where, (k.low, k.high))
        ]
        if not all(differ(a, b, metric) for a, b in combinations(runs, 2)):
            dead.append(k.name)
    return dead


@pytest.mark.parametrize("name", registry.NAMES)
def test_no_knob_is_dead(shipped, name):
    assert dead_knobs(registry.get(name), shipped) == []


@dataclass(frozen=True)
class Planted(CPT):
    """Declares a knob that nothing reads."""

    shine: float = knob(0.0, 0.0, 1.0, help="does nothing")


def test_a_planted_dead_knob_is_found(shipped):
    assert dead_knobs(Planted, shipped, names=("shine", "noise")) == ["shine"]


@pytest.mark.parametrize("name", registry.NAMES)
def test_the_same_settings_give_the_same_rows_and_another_seed_others(shipped, name):
    experiment = registry.get(name)(**SMALL[name])
    first, again, other = (rows_of(experiment, shipped, seed) for seed in (0, 0, 1))
    metric = next(iter(experiment.curves))
    assert measured(first, metric) == measured(again, metric) and differ(first, other, metric)


@pytest.mark.parametrize("name", registry.NAMES)
def test_every_curve_of_the_figure_is_measured(shipped, name):
    cls = registry.get(name)
    experiment = cls(**(SMALL[name] | {k.name: 1 for k in cls.knobs() if k.name == "probe"}))
    rows = rows_of(experiment, shipped, n=2)
    assert set(experiment.curves) <= set(rows[1])


@pytest.mark.parametrize(
    "name, k",
    [(n, k) for n in registry.NAMES for k in registry.get(n).knobs()],
    ids=lambda x: getattr(x, "name", x),
)
def test_a_knob_has_help_and_a_range_that_it_keeps(name, k):
    cls = registry.get(name)
    assert k.help and (k.choices or k.low <= k.default <= k.high)
    for bad in ["nonsense"] if k.choices else [k.low - 1, k.high + 1, float("nan")]:
        with pytest.raises(BadKnob, match=f"--{k.name} (is one of|.* is out of range; choose)"):
            cls(**{k.name: bad})


@pytest.mark.parametrize(
    "settings, fix",
    [
        (dict(replay=0.7, anneal=1.0), r"keep replay × \(1 \+ anneal\) at most 1"),
        (dict(gate=15, probe=10), "not a multiple of --probe"),
    ],
)
def test_knobs_that_do_not_fit_each_other_are_one_sentence(settings, fix):
    with pytest.raises(BadKnob, match=fix):
        CPT(**settings)
