"""Rehearsals: the plan turns every knob, the book is what today's code and libraries give, and every knob is
live: turned, it changes what the run measures. A dead knob is a defect.

The book is rehearsed once a session; the rows lie in a file that pytest's workers share. Where the code is
that of the book, or vouched for, and machine and libraries are those of constraints.txt, one run of each book
is played and the others are taken from it: they were bit-equal when it was sealed. Anywhere else (other code,
a newer library, another machine) every rehearsal is played.
"""

import json
import os
import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import pytest
from filelock import FileLock

from llmlab.chapters.c02_continued_pretraining.cpt import CPT
from llmlab.lab import code, record, registry, rehearsal
from llmlab.lab.experiment import Experiment, knob
from llmlab.lab.rehearsal import Book, Rehearsal
from llmlab.ledger.rehearsed import others
from llmlab.train import probes
from llmlab.world.sums import Sums

BOOKS = rehearsal.books(others())
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


# --- the plan
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.NAMES)
def test_the_plan_has_every_knob_at_two_values_and_says_beside_which_run(name):
    plan = rehearsal.plan(registry.get(name))
    by_label = {r.label: r for r in plan}
    assert len(by_label) == len(plan), "a label stands for one rehearsal"
    for k in registry.get(name).knobs():
        turned = [r for r in plan if r.alone and r.alone[1] == k.name]
        beside = {by_label[r.alone[0]] for r in turned}
        assert turned and len(beside) == 1, k.name
        (start,) = beside
        values = [getattr(r.experiment, k.name) for r in [start, *turned]]
        assert len(set(values)) == len(values) >= 2, k.name
        anywhere = {getattr(r.experiment, k.name) for r in plan}  # two choices may exclude each other's start
        assert set(k.choices or ()) <= anywhere, k.name
        for r in turned:
            assert r.experiment == replace(start.experiment, **{k.name: getattr(r.experiment, k.name)})
            assert (r.seed, r.small) == (start.seed, start.small)


@pytest.mark.parametrize("name", registry.NAMES)
def test_the_plan_has_a_run_with_full_readings_another_seed_and_every_phase(name):
    cls = registry.get(name)
    plan = {r.label: r for r in rehearsal.plan(cls)}
    whole, short, seed = plan["whole"], plan["short"], plan["seed"]
    assert not whole.small and whole.rows is None and short.small and short.experiment == seed.experiment
    assert short.seed != seed.seed and min(short.seed, seed.seed) > 0, "seed 0 hides a changed multiple of it"
    assert [w.experiment for w in plan.values() if w.rows is None and w.small][2:] == [
        cls(**(cls.rehearsal["short"] | phase)) for phase in cls.rehearsal.get("phases", [])
    ]
    assert not [r for r in plan.values() if r.rows is not None and not r.small]


@pytest.mark.parametrize("name", registry.NAMES)
def test_what_an_experiment_states_of_its_rehearsals_are_known_words(name):
    cls = registry.get(name)
    stated, knobs = cls.rehearsal, {k.name for k in cls.knobs()}
    assert {"short"} <= set(stated) <= {"short", "values", "under", "phases", "small", "clock"}
    assert set(stated.get("values", {})) | set(stated.get("under", {})) | set(stated["short"]) <= knobs
    for constant in stated.get("small", {}):
        assert hasattr(rehearsal._module(cls, constant), constant.rpartition(".")[2]), constant


SIZE = 100


@dataclass(frozen=True)
class Toy(Experiment):
    """Tells what it was given, without any training."""

    name: ClassVar[str] = "toy"
    default_model: ClassVar[str] = "base"
    curves: ClassVar[dict] = {"size": ""}
    rehearsal: ClassVar[dict] = dict(
        short=dict(steps=6, probe=3),
        values=dict(depth=(1, 7)),
        under=dict(shade=dict(colour="red")),
        phases=[dict(colour="red", shade=0.5)],
        small=dict(SIZE=2),
        clock=("rate",),
    )
    steps: int = knob(50, 1, 99, help="steps")
    probe: int = knob(10, 1, 99, help="steps between readings")
    depth: int = knob(3, 1, 9, help="a number")
    lr: float = knob(0.5, 0.1, 1.0, help="starts in the middle")
    low: float = knob(0.1, 0.1, 1.0, help="stands on its lowest value")
    colour: str = knob("blue", choices=("red", "green", "blue"), help="a choice")
    shade: float = knob(0.0, 0.0, 1.0, help="of red only")

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        shade = self.shade if self.colour == "red" else None
        for step in range(self.steps + 1):
            yield {
                "step": step,
                "told": repr((seed, self.depth, self.lr, self.low, self.colour, shade)),
                "rate": os.urandom(4).hex(),
            } | ({"size": SIZE} if step % self.probe == 0 else {})


def test_a_plan_turns_knobs_to_stated_values_choices_and_ends_of_ranges():
    plan = {r.label: r for r in rehearsal.plan(Toy)}
    assert list(plan) == [
        *("whole", "short", "seed", "colour red, shade 0.5", "steps 8", "probe 2", "depth 1", "depth 7"),
        *("lr 0.1", "low 1.0", "colour red", "colour green", "for shade: colour red", "shade 1.0"),
    ]
    assert plan["whole"].experiment.probe == 6, (
        "full readings cost much: before the first step, and at the end"
    )
    assert plan["shade 1.0"].alone == ("for shade: colour red", "shade")
    assert plan["depth 7"].alone == ("short", "depth") and plan["depth 7"].rows == rehearsal.TURNED


def test_a_value_on_which_the_knob_stands_already_is_no_turn():
    """Its lowest value is where `low` stands, so the plan takes the highest."""
    assert [r.experiment.low for r in rehearsal.plan(Toy) if r.alone and r.alone[1] == "low"] == [1.0]


def test_performed_small_it_reads_little_and_everything_is_as_before_afterwards():
    plan, problems = {r.label: r for r in rehearsal.plan(Toy)}, Sums.problems
    read = probes.read
    small, whole, turned = (rehearsal.perform(plan[label]) for label in ("short", "whole", "depth 7"))
    assert [r["size"] for r in small if "size" in r] == [2, 2, 2]
    assert [r["size"] for r in whole if "size" in r] == [100, 100] and len(whole) == len(small) == 7
    assert len(turned) == rehearsal.TURNED
    assert (SIZE, Sums.problems, probes.read) == (100, problems, read)


def test_small_readings_ask_few_held_out_problems_and_leave_those_of_training_alone():
    with rehearsal._small(Toy):
        asked = {n: len(Sums().problems(n)) for n in (8, 40, 41, 128, 512, 1000, 1001)}
        trained = len(Sums().problems(128, split="train"))
    assert asked == {8: 8, 40: 40, 41: 16, 128: 16, 512: 16, 1000: 16, 1001: 1001} and trained == 128


def test_a_rehearsal_begins_with_an_untouched_checkpoint():
    loaded = rehearsal.fresh("base")
    loaded.model.get_input_embeddings().weight.data.zero_()
    assert rehearsal.fresh("base").model.get_input_embeddings().weight.abs().sum() > 0


# --- the book
# ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def book(tmp_path, monkeypatch):
    """The toy's book, performed and written."""
    (tmp_path / "checkpoints").symlink_to(rehearsal.paths.data() / "checkpoints")
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path))
    made = Book("toy", rehearsal.plan(Toy))
    made.write({r.label: rehearsal.perform(r) for r in made.wanted})
    return made


def test_a_book_comes_back_with_the_machine_that_made_it(book):
    found = book.read()
    assert found["machine"] == rehearsal.machine() and set(found["machine"]) == {
        "processor",
        "capability",
        "torch",
    }
    assert list(found["rows"]) == [r.label for r in book.wanted] and found["rows"]["short"][0]["size"] == 2
    assert found["asked"] == book.asked
    assert record.is_current(record.seal_of(book.file), book.seal) and book.clock == ("rate",)


def test_the_same_rows_give_the_same_bytes(book):
    before = book.file.read_bytes()
    book.write(book.read()["rows"])
    assert book.file.read_bytes() == before


def test_a_damaged_book_is_said(book):
    book.file.write_bytes(book.file.read_bytes()[:-5])
    with pytest.raises(record.Damaged):
        book.read()


OTHER_LISTS = {
    "one fewer": lambda wanted: wanted[:-1],
    "another label": lambda wanted: [replace(wanted[0], label="all"), *wanted[1:]],
    "other settings": lambda wanted: [replace(wanted[0], experiment=Toy(steps=7)), *wanted[1:]],
    "another seed": lambda wanted: [replace(wanted[0], seed=9), *wanted[1:]],
    "full readings": lambda wanted: [wanted[0], replace(wanted[1], small=False), *wanted[2:]],
    "more rows": lambda wanted: [*wanted[:-1], replace(wanted[-1], rows=6)],
}


@pytest.mark.parametrize("change", OTHER_LISTS.values(), ids=OTHER_LISTS)
def test_another_list_of_rehearsals_is_another_book(book, change):
    assert Book("toy", change(book.wanted)).seal.identity != book.seal.identity


def test_the_order_of_the_rehearsals_makes_no_other_book(book):
    assert Book("toy", book.wanted[:1] + book.wanted[:0:-1]).seal == book.seal


def test_two_rehearsals_of_one_label_are_refused():
    """Their rows would lie under one name, so that the book would never be complete."""
    stated = Toy.rehearsal | {"phases": [dict(depth=1)]}
    with pytest.raises(ValueError, match="toy states two rehearsals alike: depth 1"):
        rehearsal.plan(type("Twice", (Toy,), {"rehearsal": stated}))


def test_other_code_is_another_seal_of_the_same_list(book, monkeypatch):
    before = book.seal
    monkeypatch.setattr(code, "version", lambda file: "other code")
    assert book.seal.identity == before.identity and book.seal.code == {"toy": "other code"}


def test_there_is_a_book_for_every_experiment_and_for_the_study():
    assert list(BOOKS) == [*registry.NAMES, "study"]
    assert record.stale((n, record.seal_of(b.file), b.seal) for n, b in BOOKS.items()) == [], (
        "run: llmlab build book"
    )


ROWS = [{"step": 0, "loss": 1.0, "rate": 5.0}, {"step": 1, "loss": float("nan"), "note": "so"}]
SAME = {
    "the same": ROWS,
    "a reading more": [ROWS[0] | {"kl": 0.0}, ROWS[1]],
    "another clock": [ROWS[0] | {"rate": 6.0}, ROWS[1]],
}
OTHER = {
    "a last bit": (
        [ROWS[0] | {"loss": 1.0 + 2**-52}, ROWS[1]],
        "step 0: loss is 1.0000000000000002, it was 1.0",
    ),
    "a lost reading": ([{"step": 0, "rate": 5.0}, ROWS[1]], "step 0: loss is None, it was 1.0"),
    "a number for none": ([ROWS[0], ROWS[1] | {"loss": 1.0}], "step 1: loss is 1.0, it was nan"),
    "another word": ([ROWS[0], ROWS[1] | {"note": "no"}], "step 1: note is no, it was so"),
    "a row fewer": (ROWS[:1], "1 rows, there were 2"),
    "a row more": ([*ROWS, ROWS[1]], "3 rows, there were 2"),
    "no rows": ([], "0 rows, there were 2"),
}


@pytest.mark.parametrize("after", SAME.values(), ids=SAME)
def test_bit_equal_rows_have_no_difference(after):
    assert not [*rehearsal.differences(ROWS, after, ("rate",)), *rehearsal.far(ROWS, after, ("rate",))]


@pytest.mark.parametrize("after, told", OTHER.values(), ids=OTHER)
def test_a_difference_is_told_in_words(after, told):
    assert list(rehearsal.differences(ROWS, after, ("rate",))) == [told]


SUPERVISED = [
    {"step": 0, "loss": 5.0, "share": 0.5},
    {"step": 1, "loss": 4.0, "tokens": 300, "chosen_reward": 0.2},
    {"step": 2, "loss": 1e-4, "tokens": 310, "share": 0.25},
]
ON_POLICY = [
    {"step": 0, "right": 0.25, "kl": 0.0},
    {"step": 1, "loss": 0.01, "tokens": 300, "grad_norm": 2.0, "reward": 0.25, "entropy": 1.0},
    {"step": 2, "loss": 0.02, "tokens": 310, "grad_norm": 2.0, "reward": 0.25, "entropy": 1.0},
    {"step": 3, "loss": 0.03, "tokens": 290, "grad_norm": 2.0, "reward": 0.5, "entropy": 0.9, "right": 0.5},
    {"step": 4, "loss": 0.04, "tokens": 280, "grad_norm": 2.0, "reward": 0.5, "entropy": 0.8, "note": "so"},
]


def with_(rows, **steps):
    """The rows with readings changed: step1=dict(loss=…)."""
    return [r | steps.get(f"step{r['step']}", {}) for r in rows]


OTHER_MACHINE = {
    "last bits": (SUPERVISED, dict(step0=dict(loss=5.0002), step1=dict(loss=4.0001))),
    "next to nothing": (SUPERVISED, dict(step2=dict(loss=3e-4))),
    "a learned reward floats": (SUPERVISED, dict(step1=dict(chosen_reward=0.1985))),
    "last bits of a batch of samples": (ON_POLICY, dict(step1=dict(loss=0.01001, entropy=1.0002))),
    "a sample falls otherwise": (ON_POLICY, dict(step2=dict(tokens=317, loss=-0.4, reward=0.234))),
    "behind it nothing is comparable": (
        ON_POLICY,
        dict(step2=dict(tokens=311), step3=dict(tokens=900, loss=9.0, right=0.0), step4=dict(reward=0.0)),
    ),
    "a probe's sample falls otherwise": (ON_POLICY, dict(step3=dict(right=0.375))),
}
CHANGED = {
    "a thousandth of a loss": (SUPERVISED, dict(step1=dict(loss=4.005))),
    "a reading of the first step": (SUPERVISED, dict(step0=dict(share=0.5625))),
    "a count": (SUPERVISED, dict(step1=dict(tokens=301))),
    "a reward moved by more": (SUPERVISED, dict(step1=dict(chosen_reward=0.19))),
    "before the first batch of samples": (ON_POLICY, dict(step0=dict(right=0.3125))),
    "the first batch of samples": (ON_POLICY, dict(step1=dict(tokens=301))),
    "a loss of the same samples": (ON_POLICY, dict(step2=dict(loss=0.021))),
    "all samples at once": (ON_POLICY, dict(step2=dict(tokens=150))),
    "a probe by far": (ON_POLICY, dict(step3=dict(right=0.0))),
    "a lost reading, however far behind": (ON_POLICY, dict(step2=dict(tokens=311), step4=dict(loss=None))),
    "another word, however far behind": (ON_POLICY, dict(step2=dict(tokens=311), step4=dict(note="no"))),
}


@pytest.mark.parametrize("rows, change", OTHER_MACHINE.values(), ids=OTHER_MACHINE)
def test_what_another_machine_does_is_near(rows, change):
    assert list(rehearsal.far(rows, with_(rows, **change))) == []
    assert list(rehearsal.differences(rows, with_(rows, **change))), "but not the same"


@pytest.mark.parametrize("rows, change", CHANGED.values(), ids=CHANGED)
def test_what_another_machine_does_not_do_is_far(rows, change):
    (told,) = rehearsal.far(rows, with_(rows, **change))
    *_, (step, changed) = change.items()
    assert told.startswith(f"step {step.removeprefix('step')}: {next(iter(changed))} is ")


ASKED = [{"step": s, "loss": 1.0 / (s + 1), "right": 0.75, "part": 0.5, "other": 0.25} for s in range(3)]


@pytest.mark.parametrize("change, is_one", [
    (dict(step1=dict(right=0.8125)), True),
    (dict(step2=dict(right=0.8125, part=0.625)), True),
    ({}, False),
    (dict(step1=dict(right=0.8125), step2=dict(right=0.8125)), False),
    (dict(step1=dict(right=0.8125, part=0.625, other=0.375)), False),
    (dict(step1=dict(right=0.1)), False),
    (dict(step1=dict(loss=0.5172)), False),
    (dict(step1=dict(right=0.8125, loss=0.5172)), False),
    (dict(step0=dict(loss=1.2)), False),
])  # fmt: skip
def test_one_answer_that_falls_otherwise_is_no_other_behaviour(change, is_one):
    """Two rows, three readings, a large move, a number that is no share: all of these are."""
    assert rehearsal.one_answer(ASKED, with_(ASKED, **change)) == is_one


def test_a_run_that_imitates_its_samples_parts_at_their_length():
    """It has no reading of a step that learns from samples, but other runs of its experiment do."""
    longer = with_(SUPERVISED, step2=dict(tokens=317, loss=0.5, share=0.5))
    assert list(rehearsal.far(SUPERVISED, longer, samples=True)) == []
    assert len(list(rehearsal.far(SUPERVISED, longer))) == 3
    same_length = with_(SUPERVISED, step2=dict(loss=0.5))
    first = with_(SUPERVISED, step1=dict(tokens=301))
    rate = with_([r | {"lr": 0.1} for r in SUPERVISED], step2=dict(tokens=317, lr=0.2))
    for rows in (same_length, first):
        assert len(list(rehearsal.far(SUPERVISED, rows, samples=True))) == 1
    (lr,) = rehearsal.far([r | {"lr": 0.1} for r in SUPERVISED], rate, samples=True)
    assert lr == "step 2: lr is 0.2, it was 0.1"


def test_whether_an_experiment_learns_from_samples_is_read_off_its_rows():
    found = [n for n, b in BOOKS.items() if rehearsal.learns_from_samples(b.read()["rows"].values())]
    assert found == [
        *("midtrain", "stages", "lora", "online", "explore", "overopt", "grpo", "policy", "retain", "order"),
        *("agent", "decide", "star", "process", "calibrate", "budget", "distill", "selfdistill", "qat"),
        "specialists",
    ]


def test_a_run_may_end_elsewhere_only_behind_samples_that_fell_otherwise():
    assert list(rehearsal.far(ON_POLICY, ON_POLICY[:4])) == ["4 rows, there were 5"]
    assert list(rehearsal.far(ON_POLICY, with_(ON_POLICY, step2=dict(tokens=311))[:4])) == []


# --- all rehearsals
# -------------------------------------------------------------------------------------------------------


NUMBERS = (
    "torch",
    "numpy",
    "transformers",
    "tokenizers",
    "peft",
    "bitsandbytes",
)  # decide a reading's last bits
ONE = 1  # of a book's rehearsals: the short run, whose readings ask little


def as_constrained(installed=version) -> bool:
    """Are the libraries that decide numbers those that the book was made with?"""
    pins = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    return all(installed(name).split("+")[0] == pins[name] for name in NUMBERS)


def to_play(book: Book) -> list[Rehearsal]:
    """Those of the book's rehearsals whose rows are not known already."""
    known = record.is_current(record.seal_of(book.file), book.seal) and as_constrained()
    if known and book.read()["machine"] == rehearsal.machine():
        return book.wanted[ONE : ONE + 1]
    return book.wanted


def test_a_newer_library_or_other_code_or_another_machine_plays_everything(book, monkeypatch):
    if as_constrained():
        assert [r.label for r in to_play(book)] == ["short"]
    assert not as_constrained(lambda name: "99.0" if name == "torch" else version(name))
    monkeypatch.setattr(sys.modules[__name__], "as_constrained", lambda: True)
    assert [r.label for r in to_play(book)] == ["short"]
    with monkeypatch.context() as patch:
        patch.setattr(code, "version", lambda file: "other code")
        assert to_play(book) == book.wanted
    with monkeypatch.context() as patch:
        patch.setattr(rehearsal, "machine", lambda: {"processor": "another"})
        assert to_play(book) == book.wanted
    monkeypatch.setattr(sys.modules[__name__], "as_constrained", lambda: False)
    assert to_play(book) == book.wanted


@pytest.fixture(scope="session")
def replayed(tmp_path_factory):
    """replayed(name): the rows of all rehearsals of a book by label, performed by whoever asks first."""
    folder = tmp_path_factory.getbasetemp()
    folder, known = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder, {}

    def of(name: str) -> dict:
        file = folder / f"{name}.rows"
        with FileLock(f"{file}.lock"):
            if not file.exists():
                played = {r.label: rehearsal.perform(r) for r in to_play(BOOKS[name])}
                rows = BOOKS[name].read()["rows"] | played
                file.with_suffix(".new").write_text(json.dumps(rows))
                file.with_suffix(".new").rename(file)
        if name not in known:
            known[name] = json.loads(file.read_text())
        return known[name]

    return of


def told(before: dict, after: dict, how, *more) -> list[str]:
    """The first difference of each rehearsal."""
    first = {label: next(how(before[label], after[label], *more), "") for label in before}
    return [f"'{label}': {difference}" for label, difference in first.items() if difference]


@pytest.mark.parametrize("name", BOOKS)
def test_todays_code_and_libraries_give_what_the_book_says(replayed, name):
    """Within what another machine's last bits may change: the alarm for an upgrade of a library."""
    book, before = BOOKS[name], BOOKS[name].read()["rows"]
    samples = rehearsal.learns_from_samples(before.values())
    assert told(before, replayed(name), rehearsal.far, book.clock, samples) == []


@pytest.mark.parametrize("name", BOOKS)
def test_on_the_machine_that_wrote_the_book_it_is_so_bit_for_bit(replayed, name):
    kept = BOOKS[name].read()
    if kept["machine"] != rehearsal.machine():
        pytest.skip("another machine wrote the book")
    assert told(kept["rows"], replayed(name), rehearsal.differences, BOOKS[name].clock) == []


SET = ("step", "lr", "rollbacks", "lr_scale")  # what was set, or follows from it without any training


def measured(rows, metric, leave_out=SET):
    """What happened, without the rate that was set and without seconds: numbers by step and name, and the
    steps at which the probes were read.
    """
    numbers = {
        (r["step"], k): v
        for r in rows
        for k, v in r.items()
        if k not in leave_out and not k.endswith("_rate")
    }
    return numbers, [r["step"] for r in rows if metric in r]


def differ(a, b, metric, leave_out=SET) -> bool:
    """Is any number that both runs have another one, or do they read their probes at other steps?"""
    (one, read_one), (two, read_two) = (measured(rows, metric, leave_out) for rows in (a, b))
    return read_one != read_two or any(one[k] != two[k] for k in one.keys() & two.keys())


def dead_knobs(cls, plan: list[Rehearsal], rows: dict) -> list[str]:
    """Knobs that can be turned without any effect: two runs that differ in nothing else tell the same."""
    metric, dead = next(iter(cls.curves)), []
    for k in {r.alone[1]: None for r in plan if r.alone}:
        turned = [r for r in plan if r.alone and r.alone[1] == k]
        labels = [turned[0].alone[0], *(r.label for r in turned)]
        first = [rows[label][: rehearsal.TURNED] for label in labels]
        # more steps stretch the schedule, which acts beyond the rows that are kept: the rate is the effect
        leave_out = ("step",) if k == "steps" else SET
        if not all(differ(a, b, metric, leave_out) for a, b in combinations(first, 2)):
            dead.append(k)
    return dead


LATE = {  # these knobs act behind the rows that are kept of a turned run; `under` must let them act earlier
    "burst": ["length"],
    "extend": ["lr"],
    "midtrain": ["practice", "practice_lr", "prompts", "group", "method"],
    "order": ["stages"],
}


@pytest.mark.parametrize("name", registry.NAMES)
def test_no_knob_is_dead(replayed, name):
    assert dead_knobs(registry.get(name), BOOKS[name].wanted, replayed(name)) == LATE.get(name, [])


@dataclass(frozen=True)
class Planted(CPT):
    """Declares a knob that nothing reads."""

    shine: float = knob(0.0, 0.0, 1.0, help="does nothing")


def test_a_planted_dead_knob_is_found():
    plan = [
        r
        for r in rehearsal.plan(Planted)
        if r.label == "short" or (r.alone or ("", ""))[1] in ("shine", "noise")
    ]
    rows = {r.label: rehearsal.perform(r) for r in plan}
    assert dead_knobs(Planted, plan, rows) == ["shine"]


@pytest.mark.parametrize("name", registry.NAMES)
def test_another_seed_gives_other_rows(replayed, name):
    rows, metric = replayed(name), next(iter(registry.get(name).curves))
    assert differ(rows["short"], rows["seed"], metric)


@pytest.mark.parametrize("name", registry.NAMES)
def test_every_curve_of_the_figure_is_measured(replayed, name):
    last = next(r for r in reversed(replayed(name)["short"]) if "note" not in r)
    assert set(registry.get(name).curves) <= set(last)
