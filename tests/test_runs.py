"""Runs: found again when nothing changed, computed anew when anything did, and never trusted when broken."""

import errno
import json
import os
import shutil
import warnings
from dataclasses import dataclass, replace
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from helpers_families import small

from llmlab.lab import registry, runs
from llmlab.train import loop
from llmlab.methods import imitation
from llmlab import paths
from llmlab.lab.experiment import Experiment, knob
from llmlab.lab import code, record, vouched
from llmlab.lab.record import Seal
from llmlab.models.load import fingerprint
from llmlab.tokens.batch import Batch

EXPERIMENTS = {name: registry.get(name)() for name in registry.NAMES}


@dataclass(frozen=True)
class Toy(Experiment):
    """Random batches, no probes worth the name; counts how often it is begun and how many steps it
    computes.
    """

    name, summary, curves = "toy", "", {"norm": "norm"}
    begun = computed = 0

    lr: float = knob(1e-2, 0, 1)
    steps: int = knob(6, 1, 99)
    kind: str = knob("a", choices=("a", "b"))

    def rows(self, loaded, seed, checkpoint=None, texts=None):
        Toy.begun += 1
        opts = loop.optimizers(loaded.model, "adamw", self.lr)

        def stream(start):
            for i in count(start):
                Toy.computed += 1
                yield Batch(
                    torch.randint(0, 1024, (2, 8), generator=torch.Generator().manual_seed(seed + i)),
                    torch.ones(2, 8),
                )

        yield from loop.train(
            loaded.model,
            stream,
            imitation.nll,
            n=self.steps,
            lr=self.lr,
            opts=opts,
            checkpoint=checkpoint,
            every=2,
            probe=lambda step: {"norm": float(loaded.model.lm_head.weight.detach().norm())},
        )


@pytest.fixture
def folder(shipped, tmp_path):
    """A checkpoint folder that may be changed."""
    loaded = small(shipped.tok)
    loaded.model.save_pretrained(tmp_path / "model")
    loaded.tok.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def run(folder, home):
    """run(...) of the toy on that folder, with an empty cache."""
    return lambda experiment=Toy(), seed=0, **more: runs.run(experiment, seed, str(folder), **more)


def computing(run, *args, **more):
    """(the run, steps that were computed for it)."""
    before = Toy.computed
    return run(*args, **more), Toy.computed - before


# --- found or computed
# ------------------------------------------------------------------------------------------------


def test_a_stored_run_is_found_and_told_row_by_row(run):
    first, steps = computing(run)
    told = []
    again, none = computing(run, on_row=told.append)
    assert (steps, none) == (6, 0) and again == first and told == first.rows


def test_fresh_computes_again_and_gives_the_same(run):
    first, again = run(), run(fresh=True)
    assert Toy.computed and again.rows == first.rows and computing(run, fresh=True)[1] == 6


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"experiment": Toy(lr=2e-2)},
        {"experiment": Toy(steps=5)},
        {"experiment": Toy(kind="b")},
        {"texts": ["mine"]},
    ],
)
def test_another_seed_knob_or_text_is_another_run(run, change):
    first, (other, steps) = run(), computing(run, **change)
    assert steps == change.get("experiment", Toy()).steps and other.key != first.key


def changed(knob, default):
    """Another value that the knob allows."""
    if knob.choices:
        return next(c for c in knob.choices if c != default)
    return (
        default + 1
        if knob.kind is int and default < knob.high
        else (knob.low + default) / 2
        if default > knob.low
        else knob.high
    )


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_knob_is_part_of_the_key(name):
    experiment = EXPERIMENTS[name]
    settings = [experiment] + [
        unchecked(experiment, k.name, changed(k, k.default)) for k in experiment.knobs()
    ]
    keys = {runs.key(e, 0, "model") for e in settings}
    assert len(keys) == len(settings) == len(experiment.knobs()) + 1 > 5


def unchecked(experiment, name, value):
    """The experiment with one knob turned, without the check that knobs fit each other."""
    twin = replace(experiment)
    object.__setattr__(twin, name, value)
    return twin


def test_the_key_tells_experiments_seeds_models_and_texts_apart():
    cpt, sft = EXPERIMENTS["cpt"], EXPERIMENTS["sft"]
    keys = [
        runs.key(cpt, 0, "a"),
        runs.key(sft, 0, "a"),
        runs.key(cpt, 1, "a"),
        runs.key(cpt, 0, "b"),
        runs.key(cpt, 0, "a", "texts"),
    ]
    assert len(set(keys)) == 5 and runs.key(cpt, 0, "a") == keys[0]


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_one_changed_byte_of_the_checkpoint_is_another_run(run, folder, file):
    first, body = run(), bytearray((folder / file).read_bytes())
    if file == "model.safetensors":
        body[-3] ^= 1
    else:
        body += b"\n"
    (folder / file).write_bytes(body)
    other, steps = computing(run)
    assert other.key != first.key and steps == 6


def test_the_same_checkpoint_elsewhere_is_the_same_run(run, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    assert fingerprint(folder, "a") == fingerprint(tmp_path / "copy", "b")


@pytest.mark.parametrize("file", ["config.json", "chat_template.jinja"])
def test_a_changed_config_or_chat_template_is_another_run(folder, file):
    before = fingerprint(folder, "x")
    (folder / file).write_text((folder / file).read_text() + " ")
    assert fingerprint(folder, "x") != before


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Moves a run's record into the shipped data."""

    def move(done):
        monkeypatch.setenv("LLMLAB_DATA", str(tmp_path / "data"))
        place = tmp_path / "data" / "runs" / "toy" / f"{done.key}.json"
        place.parent.mkdir(parents=True)
        return runs.record("toy", done.key).rename(place)

    return move


def test_a_shipped_run_is_found(run, ship):
    first = run()
    ship(first)
    assert computing(run) == (first, 0)


def test_a_damaged_shipped_run_is_reported_until_the_user_has_his_own(run, ship):
    place = ship(run())
    place.write_bytes(place.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="it is not used"):
        assert computing(run)[1] == 6
    assert computing(run)[1] == 0


# --- records that cannot be trusted
# -----------------------------------------------------------------------------------


def flip(body: bytes) -> bytes:
    return body.replace(b'"seed": 0', b'"seed": 1')


DAMAGE = {
    "empty": lambda b: b"",
    "half": lambda b: b[: len(b) // 2],
    "last byte lost": lambda b: b[:-1],
    "a number changed": flip,
    "no checksum line": lambda b: b.split(b"\n", 1)[1],
    "checksum of nothing": lambda b: b"{}\n" + b.split(b"\n", 1)[1],
    "not an object": lambda b: b"[]\n[]",
    "not text": lambda b: b"\xff\xfe\n\x00",
    "unknown field": lambda b: b.replace(b'"seed"', b'"seeds"'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_record_is_reported_and_computed_anew(run, damage):
    first = run()
    path = runs.record("toy", first.key)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match="truncated or was changed; it is not used"):
        again, steps = computing(run)
    assert steps == 6 and again.rows == first.rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert computing(run)[1] == 0  # mended


def test_the_record_of_another_run_is_not_taken(run):
    first, other = run(), run(seed=1)
    runs.record("toy", first.key).write_bytes(runs.record("toy", other.key).read_bytes())
    with pytest.warns(UserWarning, match="it is not used"):
        again, steps = computing(run)
    assert steps == 6 and again.seed == 0


def test_a_record_tells_what_it_was_made_with(run):
    done = run()
    kept = json.loads(runs.record("toy", done.key).read_bytes().split(b"\n", 1)[1])
    assert {"torch", "transformers", "python", "machine"} <= set(kept["versions"]) and kept["knobs"] == {
        "lr": 1e-2,
        "steps": 6,
        "kind": "a",
    }
    assert kept["seconds"] > 0 and [r["step"] for r in kept["rows"]] == list(range(7))


def test_the_summary_holds_start_and_final_and_the_curves(run):
    done = run()
    told = json.loads(json.dumps(done.summary()))
    norms = {r["step"]: r["norm"] for r in done.rows if "norm" in r}
    assert list(norms) == [0, 2, 4, 6] and told["metrics"]["norm"] == {"start": norms[0], "final": norms[6]}
    assert told["curves"]["norm"] == {str(s): v for s, v in norms.items()} and list(
        told["curves"]["loss"]
    ) == list("123456")


# --- made by other code
# ----------------------------------------------------------------------------------------------


@pytest.fixture
def other_code(monkeypatch, tmp_path):
    """Changes the code of every experiment, and nothing is vouched for; returns (old, new) hash of the toy's."""
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path / "data"))

    def change(to="other code"):
        old = code.of(Toy())["toy"]
        monkeypatch.setattr(code, "version", lambda file: to)
        return {"old": old, "new": to}

    return change


def test_a_record_is_sealed_with_its_key_and_with_the_code_that_made_it(run):
    done = run()
    assert record.seal_of(runs.record("toy", done.key)) == Seal(done.key, code.of(Toy()))


def test_a_run_has_the_same_name_whatever_code_makes_it(run, other_code):
    first = run()
    other_code()
    assert run(seed=1).key != first.key == run().key


def test_what_other_code_made_is_computed_anew_without_a_word_and_replaced(run, other_code):
    first = run()
    other_code()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, steps = computing(run)
        assert steps == 6 and again.rows == first.rows and computing(run)[1] == 0
    assert record.seal_of(runs.record("toy", first.key)) == Seal(first.key, {"toy": "other code"})


def test_what_code_made_that_is_vouched_for_is_current(run, other_code):
    first = run()
    vouched.add([{"name": "toy"} | other_code()])
    assert computing(run) == (first, 0)
    other_code("code that nobody vouches for")
    assert computing(run)[1] == 6


def test_a_vouched_change_of_another_experiment_is_of_no_use(run, other_code):
    run()
    vouched.add([{"name": "cpt"} | other_code()])
    assert computing(run)[1] == 6


def test_of_the_users_own_and_the_shipped_record_the_current_one_is_taken(run, ship, other_code, home):
    place = ship(run())
    own = run(seed=1)
    other_code()
    assert computing(run)[1] == 6, "the shipped one is stale, his own was missing"
    other_code("a third one")
    sealed = record.read(runs.record("toy", own.key))[1]
    record.write(place.with_name(f"{own.key}.json"), Seal(own.key, {"toy": "a third one"}), sealed)
    assert computing(run, seed=1) == (own, 0), "his own is stale, the shipped one is current"


def test_the_rows_of_a_record_are_read_whatever_code_made_it(run, other_code, tmp_path):
    done = run()
    other_code()
    path = runs.record("toy", done.key)
    assert runs.rows_of(path) == done.rows and runs.rows_of(tmp_path / "none") == []
    path.write_bytes(path.read_bytes()[:-1])
    assert runs.rows_of(path) == []


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_seal_holds_the_key_and_the_code_of_the_experiment(name):
    experiment = EXPERIMENTS[name]
    sealed = runs.seal(experiment, 3, "model", "texts")
    assert sealed == Seal(runs.key(experiment, 3, "model", "texts"), code.of(experiment))


# --- stopped
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 3, 6])
def test_a_stopped_run_goes_on_and_ends_as_if_never_stopped(run, home, after):
    expected, seen = run(), []
    runs.record("toy", expected.key).unlink()
    with pytest.raises(runs.Interrupted, match=f"stopped by hand at step {after}"):
        run(on_row=seen.append, stop=lambda: len(seen) > after)
    assert runs.find("toy", Seal(expected.key)) is None and list((home / "unfinished").iterdir())
    again, steps = computing(run)
    assert again.rows == expected.rows and steps == 6 - after
    assert not list((home / "unfinished").iterdir())


def test_fresh_forgets_what_was_begun(run):
    seen = []
    with pytest.raises(runs.Interrupted):
        run(on_row=seen.append, stop=lambda: len(seen) > 3)
    assert computing(run, fresh=True)[1] == 6


def test_an_unfinished_run_of_another_key_is_not_taken_up(run):
    seen = []
    with pytest.raises(runs.Interrupted):
        run(on_row=seen.append, stop=lambda: len(seen) > 3)
    assert computing(run, Toy(lr=2e-2))[1] == 6


def test_a_run_that_other_code_began_is_begun_anew_and_its_state_removed(run, home, other_code):
    seen = []
    with pytest.raises(runs.Interrupted):
        run(on_row=seen.append, stop=lambda: len(seen) > 3)
    (begun,) = (home / "unfinished").iterdir()
    assert other_code() and computing(run)[1] == 6 and not begun.exists()


def test_not_even_vouched_code_takes_up_what_other_code_began(run, home, other_code):
    """Vouched for is what the rehearsals show; a state in between is bit-equal only to the code that wrote it."""
    seen = []
    with pytest.raises(runs.Interrupted):
        run(on_row=seen.append, stop=lambda: len(seen) > 3)
    (begun,) = (home / "unfinished").iterdir()
    vouched.add([{"name": "toy"} | other_code()])
    assert computing(run)[1] == 6 and not begun.exists()


def test_what_else_was_begun_stays(run, home, other_code):
    for seed in (0, 1):
        seen = []
        with pytest.raises(runs.Interrupted):
            run(seed=seed, on_row=seen.append, stop=lambda: len(seen) > 3)
    assert computing(run, seed=1)[1] == 3 and len(list((home / "unfinished").iterdir())) == 1
    assert computing(run)[1] == 3


# --- no room
# ----------------------------------------------------------------------------------------------------------


def a_file(tmp_path):
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "home"


@pytest.mark.parametrize("where", [a_file, lambda tmp_path: "/proc/llmlab"])
def test_an_unwritable_cache_is_told_before_any_training(run, tmp_path, monkeypatch, where):
    monkeypatch.setenv("LLMLAB_HOME", str(where(tmp_path)))
    before = Toy.begun
    with pytest.raises(
        paths.NoRoom, match="cannot write to .*; make it writable, or set LLMLAB_HOME to another folder"
    ):
        run()
    assert Toy.begun == before


def test_a_full_disk_is_told_before_any_training(run, monkeypatch):
    monkeypatch.setattr(paths.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    before = Toy.begun
    with pytest.raises(
        paths.NoRoom,
        match="less than 20 MB are free in .*; free some space, or set LLMLAB_HOME to another disk",
    ):
        run()
    assert Toy.begun == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_fills_up_meanwhile_is_one_sentence_and_leaves_no_scraps(run, home, monkeypatch, number):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        paths.NoRoom, match="cannot write .*; free some space or set LLMLAB_HOME to another folder"
    ):
        run()
    assert not [p for p in home.rglob("*") if p.is_file()]


def test_a_failed_write_leaves_the_old_content(tmp_path, monkeypatch):
    paths.write_atomic(tmp_path / "x", b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(paths.NoRoom):
        paths.write_atomic(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old" and os.listdir(tmp_path) == ["x"]


def test_a_curve_leaves_out_what_the_objective_tells_of_each_step_under_a_probes_name():
    """A probe reads `kl` at steps 0 and 2; the objective says `kl` of its own batch at every step."""
    rows = [{"step": 0, "kl": 0.0, "gold": 1.0}, {"step": 1, "kl": 9.0}, {"step": 2, "kl": 0.5, "gold": 2.0}]
    assert runs.curve(rows, "kl") == {0: 0.0, 2: 0.5} and runs.curve(rows, "gold") == {0: 1.0, 2: 2.0}
    assert runs.curve([{"step": 0, "kl": 1.0}, {"step": 1, "kl": 2.0}], "kl") == {
        0: 1.0,
        1: 2.0,
    }, "the only probe, read at every step"
    assert (
        runs.curve([{"step": 0, "gold": 1.0}, {"step": 1, "loss": 3.0}], "loss") == {1: 3.0}
        and runs.curve([], "loss") == {}
    )
