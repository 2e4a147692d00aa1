"""Stored runs: what the notebooks' static figures and the drills show, shipped in data/runs and computed
again when the code that made them changes.
"""

import shutil
from pathlib import Path
from typing import Iterator

from ..learn import drills
from . import registry, pool, runs
from .. import paths
from ..chapters.c05_lora.codes import CodeBook
from ..chapters.c02_continued_pretraining.cpt import CPT
from ..chapters.c04_sft.curate import Curate
from ..chapters.c06_preferences.dpo import DPO
from ..chapters.c03_tokenizer_extension.extend import Extend
from ..chapters.c07_reinforcement_learning.grpo import GRPO
from ..chapters.c06_preferences.online import Online
from ..chapters.c06_preferences.overopt import Overopt
from ..chapters.c06_preferences.prefer import Prefer
from ..chapters.c06_preferences.reward import Reward
from ..chapters.c04_sft.sft import SFT
from ..chapters.c04_sft.template import Template
from ..chapters.c01_data_topology.topology import Topology
from ..chapters.c04_sft.unknown import Unknown
from . import record
from .record import Seal

SEEDS = (0, 1, 2)
HASTY = dict(lr=5e-3, replay=0.0, steps=100)
FIGURES = [  # what the chapters draw over the seeds
    *(Topology(loss=loss) for loss in ("assistant", "all", "pairs")),
    *(
        CPT(**k)
        for k in (
            {},
            {"replay": 0.0},
            HASTY,
            HASTY | dict(gate=20, tolerance=0.2),
            {"warmup": 0},
            {"warmup": 60},
            {"packing": "none"},
        )
    ),
    *(
        CPT(**k)
        for k in (
            {"duplicates": 0.8},
            {"boilerplate": 0.5},
            {"noise": 0.5},
            {"anneal": 1.0},
            {"mixing": "adaptive"},
            {"kl": 0.5},
        )
    ),
    *(
        Extend(**k)
        for k in (
            {},
            {"tokens": 0},
            {"init": "mean"},
            {"init": "random"},
            {"init": "small"},
            {"warmup": 0},
            {"oversample": 1.0},
        )
    ),
    SFT(),
    *(Template(**k) for k in ({}, {"served": "literal"}, {"served": "no_prompt"}, {"pad": "turn end"})),
    *(Unknown(), Unknown(share=0.0), Curate(), Curate(keep="any")),
    *(CodeBook(people=400, **k) for k in ({}, {"rank": 1}, {"method": "full", "lr": 2e-3})),
    *(DPO(), GRPO()),
    *(
        Prefer(**k)
        for k in (
            {},
            {"nll": 0.5},
            {"method": "sft"},
            *({"nll": 0.5} | f for f in ({"coverage": 0.0}, {"topics": 1}, {"noise": 0.3})),
        )
    ),
    *(Prefer(nll=0.5, noise=0.3, **k) for k in ({"smoothing": 0.3}, {"beta": 0.01})),
    *(Online(**k) for k in ({}, {"refresh": 10}, {"refresh": 0}, {"pairs": "correction"})),
    *(Reward(**k) for k in ({}, {"planted": "length"}, {"planted": "format"}, {"labels": 100})),
    *(Overopt(**k) for k in ({"probe": 2}, {"way": "best_of_n"}, {"beta": 0.1, "probe": 2})),
]


def jobs() -> list[tuple]:
    """(experiment, seed) of every run to ship: what is drawn, and what a drill links to, with the default run
    that it is compared with.
    """
    links = [d.link for d in drills.load()]
    linked = [(e, link.seed) for link in links for e in (link.experiment(), registry.get(link.name)())]
    return list(dict.fromkeys([(e, s) for e in FIGURES for s in SEEDS] + linked))


def wanted() -> list[tuple[tuple, Seal]]:
    """((experiment, seed), the seal that its record must have today) of every run to ship."""
    from ..models.load import fingerprint, resolve

    prints = {name: fingerprint(resolve(name), name) for name in {e.default_model for e, _ in jobs()}}
    return [((e, s), runs.seal(e, s, prints[e.default_model])) for e, s in jobs()]


def place(experiment, seal: Seal) -> Path:
    """Where a shipped run lies."""
    return paths.data() / "runs" / experiment.name / f"{seal.identity}.json"


def seals() -> Iterator[tuple[str, Seal | None, Seal]]:
    """(name, seal that is there, seal that is wanted) of every run to ship."""
    for (experiment, seed), seal in wanted():
        yield f"{experiment.name} seed {seed}", record.seal_of(place(experiment, seal)), seal


def missing() -> dict[tuple, Seal]:
    """(experiment, seed) -> seal of those that are not shipped, or were made by other code."""
    return {job: s for job, s in wanted() if not record.is_current(record.seal_of(place(job[0], s)), s)}


def build() -> Iterator[str]:
    """Compute what is missing, put it into data/runs, drop what nothing asks for; a line per run."""
    lacking = missing()
    for (experiment, seed), done in pool.run_all(lacking):
        target = place(experiment, lacking[experiment, seed])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(runs.record(experiment.name, done.key), target)
        yield f"{experiment.name} seed {seed}: {done.seconds:.0f} s"
    asked = {place(experiment, seal) for (experiment, _), seal in wanted()}
    for old in (paths.data() / "runs").glob("*/*.json"):
        if old not in asked:
            old.unlink()
