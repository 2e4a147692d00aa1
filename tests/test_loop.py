"""The loop: what is probed, stopped or killed ends bit-equal to what was left alone."""

import copy
from dataclasses import replace
from itertools import count, islice

import pytest
import torch
from helpers_families import small

from llmlab.methods import imitation
from llmlab.models.forward import forward
from llmlab.models.load import new_lab_model
from llmlab.tokens.batch import Batch
from llmlab.train import loop, probes, rollout
from llmlab.train.gate import Gate
from llmlab.train.recipe import Probe, Read, Recipe, numbered
from llmlab.world import Sums

N = 9


def batch_at(i: int, rows: int = 3, width: int = 12) -> Batch:
    ids = torch.randint(0, 1024, (rows, width), generator=torch.Generator().manual_seed(i))
    return Batch(ids, torch.ones(rows, width))


def batches(start: int = 0):
    return map(batch_at, count(start))


def weights(model) -> dict:
    return copy.deepcopy(model.state_dict())


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def rows_of(model, name="adamw", checkpoint=None, stream=batches, n=N, probe=lambda step: {}, **settings):
    opts = loop.optimizers(model, name, 1e-2)
    recipe = Recipe(
        model, stream, imitation.nll, Read(probe), n, **(dict(lr=1e-2, warmup=2, opts=opts) | settings)
    )
    return loop.train(recipe, checkpoint)


def never(path):
    return loop.Checkpoint(path, seconds=1e9)


def always(path):
    return loop.Checkpoint(path, seconds=0)


# --- steps
# ----------------------------------------------------------------------------------------------------------


def test_rate_rises_and_falls_in_straight_lines():
    found = [loop.rate(step, 10, warmup=3, final=0.1) for step in range(10)]
    assert found == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, *(0.1 + 0.9 * k / 7 for k in (6, 5, 4, 3, 2, 1))])
    assert [loop.rate(s, 4, warmup=0, final=0.0) for s in range(4)] == [1, 0.75, 0.5, 0.25]
    assert loop.rate(5, 4, warmup=9, final=0.1) == 0.6  # a warm-up longer than the run


def test_the_rate_reaches_the_optimiser_whether_given_as_number_or_function(tiny):
    seen = [
        row["lr"]
        for row in loop.steps(tiny.model, batches(), imitation.nll, n=4, lr=1e-3, warmup=1, final=0.0)
    ]
    assert seen == pytest.approx([5e-4, 1e-3, 1e-3 * 2 / 3, 1e-3 / 3])
    opts = loop.optimizers(tiny.model, "muon", 1.0)
    rows = loop.steps(
        tiny.model, batches(), imitation.nll, n=4, lr=lambda step: 1e-3 * (step + 1), final=1.0, opts=opts
    )
    for step, row in enumerate(rows):
        assert row["lr"] == pytest.approx(1e-3 * (step + 1)) and {
            g["lr"] for o in opts for g in o.param_groups
        } == {row["lr"]}


def test_a_row_tells_step_loss_norm_and_trained_tokens(tiny):
    batch = batch_at(0)
    batch.mask[:, :5] = 0
    before = imitation.nll(forward(tiny.model, batch), batch)[0].item()
    first, second = loop.steps(tiny.model, [batch, batch], imitation.nll, n=2, lr=1e-2)
    assert first["step"] == 1 and second["step"] == 2 and first["tokens"] == 3 * 7
    assert first["loss"] == pytest.approx(before) and second["loss"] < first["loss"]


def test_the_gradient_is_clipped_and_the_row_tells_its_norm_before(tiny):
    def norm(clip):
        model = copy.deepcopy(tiny.model)
        row = next(
            loop.steps(
                model, batches(), imitation.nll, n=1, lr=0.0, clip=clip, opts=[Keep(model.parameters())]
            )
        )
        return row["grad_norm"], Keep.seen

    class Keep(torch.optim.SGD):
        def step(self):
            Keep.seen = float(
                torch.stack([p.grad.norm() for g in self.param_groups for p in g["params"]]).norm()
            )

    assert norm(1e9)[0] == pytest.approx(norm(1e9)[1]) and norm(1e9)[1] > 0.1
    assert norm(0.01) == (pytest.approx(norm(1e9)[0]), pytest.approx(0.01, rel=1e-3))


def test_gradients_do_not_add_up_over_steps(tiny):
    list(loop.steps(tiny.model, batches(), imitation.nll, n=2, lr=1e-3))
    assert all(p.grad is None or not p.grad.any() for p in tiny.model.parameters())


def test_steps_train_whatever_mode_the_model_was_in(tiny):
    list(loop.steps(tiny.model.eval(), batches(), imitation.nll, n=1, lr=1e-3))
    assert tiny.model.training


@pytest.mark.parametrize("start", [0, 2])
def test_no_batch_is_drawn_in_vain(tiny, start):
    drawn = []
    stream = (drawn.append(i) or batch_at(i) for i in count(start))
    assert [
        row["step"] for row in loop.steps(tiny.model, stream, imitation.nll, n=4, lr=1e-3, start=start)
    ] == list(range(start + 1, 5))
    assert drawn == list(range(start, 4))


def test_what_an_objective_tells_is_in_the_row_as_numbers(tiny):
    def objective(out, batch):
        return imitation.nll(out, batch)[0], {"twice": torch.tensor(2.0)}

    row = next(loop.steps(tiny.model, batches(), objective, n=1, lr=1e-3))
    assert row["twice"] == 2.0 and type(row["twice"]) is float


def test_what_a_batch_tells_is_in_the_row_as_numbers(tiny):
    stream = (replace(batch_at(i), info={"drawn": i}) for i in count(3))
    rows = list(loop.steps(tiny.model, stream, imitation.nll, n=2, lr=1e-3))
    assert [r["drawn"] for r in rows] == [3.0, 4.0] and all(type(r["drawn"]) is float for r in rows)
    assert all("nll" in r for r in rows)


def test_numbered_batches_are_made_one_by_one_from_any_number_on(tiny):
    drawn = []
    stream = numbered(lambda i: drawn.append(i) or batch_at(i), tiny.model.device)
    found = list(islice(stream(2), 3))
    assert drawn == [2, 3, 4] and all(torch.equal(b.ids, batch_at(i).ids) for b, i in zip(found, drawn))


def test_divergence_is_one_sentence_and_leaves_the_weights(tiny):
    before, losses = weights(tiny.model), iter([float("inf")])
    with pytest.raises(loop.Diverged, match="the loss is inf at step 1; lower --lr or raise --warmup"):
        list(
            loop.steps(
                tiny.model,
                batches(),
                lambda out, batch: (imitation.nll(out, batch)[0] + next(losses), {}),
                n=3,
                lr=1e-3,
            )
        )
    assert same(before, tiny.model.state_dict())


def test_muon_takes_the_hidden_matrices_and_adamw_the_rest(tiny):
    muon, adamw = loop.optimizers(tiny.model, "muon", 1e-3)
    names = {id(p): n for n, p in tiny.model.named_parameters()}
    taken = [{names[id(p)] for g in o.param_groups for p in g["params"]} for o in (muon, adamw)]
    assert taken[0] | taken[1] == set(names.values()) and not taken[0] & taken[1]
    assert all("proj" in n for n in taken[0]) and all("embed" in n or "norm" in n for n in taken[1])


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_frozen_parameters_stay_frozen(tiny, name):
    frozen = tiny.model.model.layers[0].mlp.up_proj.weight.requires_grad_(False)
    before = frozen.clone()
    list(rows_of(tiny.model, name, n=2))
    assert torch.equal(frozen, before)


# --- probes do not disturb
# --------------------------------------------------------------------------------------------


def dropout_model(loaded):
    """Dropout draws from the global generator at every step, so a probe that draws from it too would show."""
    return new_lab_model(
        loaded.tok,
        0,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=64,
        attention_dropout=0.3,
    )


def trained_with(loaded, make_probe):
    model = dropout_model(loaded)
    torch.manual_seed(5)
    rows = list(rows_of(model, probe=make_probe(model), every=2))
    return weights(model), [r["loss"] for r in rows[1:]]


def nothing(step):
    """What reads nothing."""
    return {}


def reading(loaded):
    prepared = probes.batches(probes.question_rows(loaded.tok, Sums(), Sums().problems(4)))
    return lambda model: (
        lambda step: {
            "arithmetic": probes.exact(model, prepared),
            "loss_on_sums": probes.loss(model, prepared),
        }
    )


def sampling(loaded):
    return lambda model: (
        lambda step: {
            "reward": (
                rollout.evaluate(model, loaded.tok, Sums(), n=3, k=2, temperature=1.0, max_new=4).accuracy
            )
        }
    )


@pytest.mark.parametrize("kind", [reading, sampling])
def test_a_probed_run_is_bit_equal_to_an_unprobed_one(tiny, kind):
    plain, probed = trained_with(tiny, lambda model: nothing), trained_with(tiny, kind(tiny))
    assert same(plain[0], probed[0]) and plain[1] == probed[1]


def test_a_probe_that_draws_from_the_global_generator_would_show(tiny):
    noisy = trained_with(tiny, lambda model: lambda step: {"x": float(torch.rand(()))})
    assert not same(trained_with(tiny, lambda model: nothing)[0], noisy[0])


def test_probes_are_read_at_the_start_every_so_often_and_at_the_end(tiny):
    rows = list(rows_of(tiny.model, probe=lambda step: {"seen": step}, every=4))
    assert {r["step"]: r["seen"] for r in rows if "seen" in r} == {0: 0, 4: 4, 8: 8, 9: 9}


def test_a_probe_sees_the_row_of_every_step_before_its_readings_are_added(tiny):
    class Noting(Probe):
        seen = []

        def __call__(self, step):
            return {"steps": len(self.seen)}

        def note(self, row):
            assert "loss" in row and "steps" not in row
            self.seen.append(row["step"])

    probe = Noting()
    rows = list(loop.train(Recipe(tiny.model, batches, imitation.nll, probe, 5, 1e-2, every=2)))
    assert probe.seen == [1, 2, 3, 4, 5]
    assert {r["step"]: r["steps"] for r in rows if "steps" in r} == {0: 0, 2: 2, 4: 4, 5: 5}


# --- interrupted and taken up again
# -----------------------------------------------------------------------------------


def anew(tok, seed=0):
    return small(tok, seed).model


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("stops", [[4], [1, 2, 7], [9], [0, 9]])
def test_stopped_by_hand_and_taken_up_ends_bit_equal(tiny, tmp_path, name, stops):
    model, path = anew(tiny.tok), tmp_path / "state"
    expected = list(rows_of(model, name))
    for stop in stops:
        rows = rows_of(anew(tiny.tok), name, never(path))
        assert [r["step"] for r in islice(rows, stop + 1)] == list(range(stop + 1))
        rows.close()
    last = anew(tiny.tok, seed=1)  # other weights: all comes from the file
    assert list(rows_of(last, name, never(path))) == expected
    assert same(weights(last), weights(model))


def test_killed_between_two_checkpoints_ends_bit_equal(tiny, tmp_path):
    model, path = anew(tiny.tok), tmp_path / "state"
    expected = list(rows_of(model))
    killed = rows_of(anew(tiny.tok), checkpoint=always(path))
    list(islice(killed, 6))
    kept = path.read_bytes()  # what lies on disk while step 6 is being computed
    killed.close()
    path.write_bytes(kept)
    last = anew(tiny.tok, seed=1)
    assert list(rows_of(last, checkpoint=never(path))) == expected and same(weights(last), weights(model))


def test_a_resumed_run_draws_only_the_batches_that_are_left(tiny, tmp_path):
    rows, drawn = rows_of(tiny.model, checkpoint=never(tmp_path / "state")), []
    list(islice(rows, 6))
    rows.close()

    def stream(start):
        return (drawn.append(i) or batch_at(i) for i in count(start))

    list(rows_of(tiny.model, checkpoint=never(tmp_path / "state"), stream=stream))
    assert drawn == [5, 6, 7, 8]


def test_probes_are_not_read_again_after_a_stop(tiny, tmp_path):
    rows = rows_of(
        tiny.model, checkpoint=never(tmp_path / "state"), probe=lambda step: {"seen": step}, every=4
    )
    list(islice(rows, 6))
    rows.close()
    read = []
    rows = list(
        rows_of(
            tiny.model,
            checkpoint=never(tmp_path / "state"),
            probe=lambda step: read.append(step) or {"seen": step},
            every=4,
        )
    )
    assert read == [8, 9] and [r["seen"] for r in rows if "seen" in r] == [0, 4, 8, 9]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b[:-1],
        lambda b: b"",
        lambda b: b[:10],
        lambda b: b + b"x",
        lambda b: b[:20_000] + bytes([b[20_000] ^ 1]) + b[20_001:],
        lambda b: b"0" * 16 + b[16:],
    ],
)
def test_a_damaged_checkpoint_is_ignored_and_all_begins_anew(tiny, tmp_path, damage):
    path, before = tmp_path / "state", weights(tiny.model)
    rows = rows_of(anew(tiny.tok), checkpoint=never(path))
    list(islice(rows, 4))
    rows.close()
    path.write_bytes(damage(path.read_bytes()))
    assert never(path).load(tiny.model, loop.optimizers(tiny.model, "adamw", 1e-2)) is None
    assert same(before, weights(tiny.model))
    model = anew(tiny.tok)
    expected = list(rows_of(model))
    assert list(rows_of(tiny.model, checkpoint=never(path))) == expected and same(
        weights(tiny.model), weights(model)
    )


def test_checkpoints_are_written_when_it_is_time(tiny, tmp_path):
    rows = rows_of(tiny.model, checkpoint=never(tmp_path / "never"))
    list(islice(rows, 5))
    assert not (tmp_path / "never").exists()
    list(islice(rows_of(tiny.model, checkpoint=always(tmp_path / "always")), 5))
    assert (tmp_path / "always").exists()


def test_clear_removes_the_file(tiny, tmp_path):
    list(rows_of(tiny.model, checkpoint=always(tmp_path / "state"), n=2))
    always(tmp_path / "state").clear()
    always(tmp_path / "state").clear()
    assert not (tmp_path / "state").exists()


# --- states that are whole only now and then
# --------------------------------------------------------------------------


def stale(model):
    """Batches used twice, made from the weights as they are at the first use, as a rollout's are."""

    def stream(start):
        for i in count(start // 2):
            shift = int(model.lm_head.weight.detach().abs().sum() * 1000) % 1024
            batch = Batch((batch_at(i).ids + shift) % 1024, torch.ones(3, 12))
            yield batch
            yield batch

    return stream


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("stop", [3, 4])
def test_a_batch_used_twice_is_not_torn(tiny, tmp_path, stop, killed):
    model, path = anew(tiny.tok), tmp_path / "state"
    expected = list(rows_of(model, stream=stale(model), unit=2))
    first, last = anew(tiny.tok), anew(tiny.tok)
    rows = rows_of(first, checkpoint=always(path), stream=stale(first), unit=2)
    list(islice(rows, stop + 1))
    kept = path.read_bytes()
    rows.close()
    if killed:
        path.write_bytes(kept)
    assert list(rows_of(last, checkpoint=never(path), stream=stale(last), unit=2)) == expected


def gated(model, checkpoint=None):
    """A gate at every third step, which rolls back at steps 6 and 12."""
    opts = loop.optimizers(model, "adamw", 1e-2)
    gate = Gate(
        model, opts, Read(lambda step: {"skill": 0.5 if step in (6, 12) else 0.9}), every=3, watch=("skill",)
    )
    lr = lambda step: 1e-2 * gate.lr_scale
    return loop.train(Recipe(model, batches, imitation.nll, gate, 14, lr, every=1, opts=opts), checkpoint)


@pytest.mark.parametrize("stops", [[2], [4, 5], [7], [8, 11], [10], [13]])
def test_a_gated_run_stopped_between_gates_ends_bit_equal(tiny, tmp_path, stops):
    model, last = anew(tiny.tok), anew(tiny.tok)
    expected = list(gated(model))
    assert [r["rollbacks"] for r in expected][5:13:6] == [0, 1] and expected[-1]["rollbacks"] == 2
    for stop in stops:
        rows = gated(anew(tiny.tok), never(tmp_path / "state"))
        list(islice(rows, stop + 1))
        rows.close()
    assert list(gated(last, never(tmp_path / "state"))) == expected and same(weights(last), weights(model))


def test_a_gated_run_loses_no_more_than_the_steps_since_its_last_gate(tiny, tmp_path):
    rows, path = gated(tiny.model, never(tmp_path / "state")), tmp_path / "state"
    list(islice(rows, 9))
    rows.close()
    saved = never(path).load(tiny.model, loop.optimizers(tiny.model, "adamw", 1e-2))["rows"]
    assert [r["step"] for r in saved] == list(range(7))
