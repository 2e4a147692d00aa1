"""The gate: a drop brings the old weights back, bit for bit, and halves the rate; a third one stops the
run.
"""

import copy

import pytest
import torch

from llmlab.chapters.c02_continued_pretraining.cpt import CPT
from llmlab.tokens.batch import Batch
from llmlab.train import loop, probes
from llmlab.train.gate import Gate
from llmlab.train.recipe import GaveUp, Read

WATCH = ("recall", "sums")


class Setting:
    """A model under a gate that reads what the test writes into `figures`."""

    def __init__(self, loaded, **settings):
        self.model, self.figures, self.step, self.probed = loaded.model, {"recall": 0.9, "sums": 0.8}, 0, []
        self.opts = loop.optimizers(self.model, "adamw", 1e-2)
        self.gate = Gate(self.model, self.opts, Read(self.probe), every=2, watch=WATCH, **settings)
        self.gate(0)

    def probe(self, step):
        self.probed.append(step)
        return dict(self.figures)

    def update(self):
        batch = Batch(torch.randint(0, 1024, (2, 9)), torch.ones(2, 9))
        list(
            loop.steps(
                self.model, [batch], lambda out, b: (-out.logprobs.mean(), {}), n=1, lr=1e-2, opts=self.opts
            )
        )
        self.step += 1
        return self.gate(self.step)

    def state(self):
        return copy.deepcopy([self.model.state_dict(), [o.state_dict()["state"] for o in self.opts]])


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return len(a) == len(b) and all(map(same, a, b))


@pytest.fixture
def setting(tiny):
    return Setting(tiny)


def test_without_a_drop_the_new_state_is_kept(setting):
    start = setting.state()
    rows = [setting.update() for _ in range(4)]
    assert not same(start, setting.state()) and [r["rollbacks"] for r in rows] == [0] * 4
    kept = setting.state()
    setting.update()
    setting.gate.restore()
    assert same(kept, setting.state())


@pytest.mark.parametrize("metric", WATCH)
def test_a_drop_of_any_watched_share_brings_weights_and_optimiser_back(setting, metric):
    setting.update()
    setting.update()
    kept = setting.state()
    setting.figures[metric] -= 0.051
    setting.update()
    row = setting.update()
    assert same(kept, setting.state())
    assert (
        row["rollbacks"] == 1
        and row["lr_scale"] == setting.gate.lr_scale == 0.5
        and setting.gate.more_replay == 0.2
    )
    assert row[f"rejected_{metric}"] == setting.figures[metric]


def test_a_second_drop_finds_the_kept_state_untouched(setting):
    setting.update()
    setting.update()
    kept = setting.state()
    setting.figures["sums"] = 0.0
    for _ in range(4):
        row = setting.update()
    assert row["rollbacks"] == 2 and same(kept, setting.state())


def test_a_first_drop_brings_the_very_beginning_back(setting):
    start = setting.state()
    setting.figures["sums"] = 0.0
    setting.update()
    setting.update()
    assert same(start, setting.state())


def test_a_drop_within_the_tolerance_is_let_through(setting):
    setting.figures["recall"] -= 0.049
    assert [setting.update()["rollbacks"] for _ in range(4)] == [0] * 4


def test_between_two_gates_a_drop_is_only_told(setting):
    before = setting.state()
    setting.figures["recall"] = 0.0
    row = setting.update()
    assert row["rollbacks"] == 0 and row["recall"] == 0.0 and not same(before, setting.state())


def test_after_a_rollback_the_row_tells_the_restored_figures(setting):
    setting.figures["recall"] = 0.1
    setting.update()
    good, original = dict(setting.figures, recall=0.9), setting.gate.restore

    def restore():
        original()
        setting.figures = good

    setting.gate.restore = restore
    row = setting.update()
    assert row["recall"] == 0.9 and row["rejected_recall"] == 0.1


def test_the_third_drop_stops_the_run_with_the_kept_weights(setting):
    kept = setting.state()
    setting.figures["sums"] = 0.0
    assert [setting.update()["lr_scale"] for _ in range(4)] == [1, 0.5, 0.5, 0.25]
    setting.update()
    with pytest.raises(
        GaveUp,
        match=(
            r"stopped by the gate at step 6: 3 regressions of more than 5%; start with a lower lr or more"
            r" replay"
        ),
    ):
        setting.update()
    assert same(kept, setting.state())


def test_a_gate_takes_its_state_up_from_the_rows(tiny, setting):
    rows = [{"step": 0} | {"recall": 0.9, "sums": 0.8, "rollbacks": 0, "lr_scale": 1.0}]
    setting.figures["sums"] = 0.0
    rows += [setting.update() for _ in range(2)] + [{"step": 3, "loss": 1.0}]
    fresh = Gate(setting.model, setting.opts, Read(setting.probe), every=2, watch=WATCH)
    fresh.resume(rows)
    for name in ("baseline", "rollbacks", "lr_scale", "more_replay"):
        assert getattr(fresh, name) == getattr(setting.gate, name)


def test_continued_pretraining_goes_on_at_half_the_rate_and_stops_at_the_third_drop(tiny, monkeypatch):
    falling = iter(
        [0.9, 0.6, 0.9, 0.6, 0.9, 0.6]
    )  # read before the first step, then at each gate, and again after its rollback
    figures = {"domain_loss.heart": 1.0, "general_loss": 1.0, "general_recall": 1.0}
    monkeypatch.setattr(probes, "read", lambda model, sets: figures | {"arithmetic": next(falling)})
    rows = list(CPT(steps=10, batch=2, warmup=0, probe=2, gate=2, lr=1e-2, replay=0.0).rows(tiny, 0))
    scales = [row["lr"] / 1e-2 / loop.rate(row["step"] - 1, 10, 0, 0.1) for row in rows if "lr" in row]
    assert scales == pytest.approx([1, 1, 0.5, 0.5, 0.25])
    assert rows[-1]["note"].startswith("stopped by the gate at step 6: 3 regressions")
