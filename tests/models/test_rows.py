"""Steps that do less: what objectives read is the same from the distinct tokens as from padded rows, values
and gradients of all parameters, whatever the model; and where it cannot be, the padded form is taken.
"""

from dataclasses import replace

import pytest
import torch
from helpers_layout import batches
from hypothesis import given, settings
from peft import LoraConfig, get_peft_model
from test_positions import MODELS
from transformers import AutoConfig, AutoModelForCausalLM

from llmlab.methods import distillation, imitation, parts, policy, preferences
from llmlab.models import adapters, quant, rows
from llmlab.models import forward as module
from llmlab.models.forward import forward, forward_trained
from llmlab.models.heads import Valued
from llmlab.tokens.batch import Batch
from llmlab.tokens.layout import layout
from llmlab.train import loop

PADDED = {"bloom", "falcon", "mamba", "qwen3_5_text", "gemma2"}  # found out by the trial


def made(kind: str = "qwen3", **more):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(MODELS[kind] | more)))
    return model.double().eval() if kind not in PADDED else model.eval()


def pairs(width: int = 14) -> Batch:
    """Four pairs behind four prompts, masks on what differs, padded."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 60, (8, width), generator=generator)
    ids[1::2, :6] = ids[0::2, :6]
    mask = torch.zeros(8, width)
    for row in range(8):
        mask[row, 6 : 8 + row % 5] = 1
    columns = {
        name: -torch.rand(8, width - 1, generator=generator) for name in ("ref_logprobs", "old_logprobs")
    }
    return Batch(ids, mask, columns | {"pair": torch.arange(4).repeat_interleave(2)})


def result(model, batch: Batch, objective, run) -> tuple[float, dict]:
    """(loss, gradients by name) of an objective."""
    model.zero_grad()
    loss = objective(run(model, batch), batch)[0]
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same(model, batch: Batch, objective=imitation.nll, run=forward_trained, most: float = 1e-5):
    """Loss and all gradients of `run` are those of the padded form."""
    loss, gradients = result(model, batch, objective, run)
    wanted, others = result(model, batch, objective, forward)
    assert abs(loss - wanted) <= most * max(1.0, abs(wanted))
    assert gradients.keys() == others.keys()
    scale = max(g.abs().max() for g in others.values())
    for name, g in others.items():
        assert (gradients[name] - g).abs().max() <= most * scale, name


def saves(monkeypatch):
    """A layout is taken whenever there is one."""
    monkeypatch.setattr(module, "SAVING", float("inf"))


@pytest.mark.parametrize("kind", MODELS)
def test_values_and_gradients_of_every_architecture(kind, monkeypatch):
    saves(monkeypatch)
    model, batch = made(kind), pairs()
    assert rows.takes_rows(model, 13) == (kind not in PADDED)
    assert_same(model, batch, preferences.dpo)


@settings(max_examples=60)
@given(batches())
def test_values_and_gradients_of_random_batches(batch):
    model = made()
    with pytest.MonkeyPatch.context() as patch:
        saves(patch)
        assert_same(model, batch)
        out, plain = forward_trained(model, batch), forward(model, batch)
    there = plain.mask > 0
    assert torch.allclose(out.logprobs[there], plain.logprobs[there], atol=1e-6)
    assert torch.allclose(parts.trained(out.logits, there), plain.logits[there], atol=1e-5)


def teacher(batch: Batch) -> Batch:
    logits = torch.randn(8, 13, 64, generator=torch.Generator().manual_seed(2))
    advantages = torch.linspace(-1, 1, 8)[:, None]
    return batch.add(teacher_logits=logits, ref_logits=logits.flip(0), advantages=advantages)


OBJECTIVES = {
    "nll": imitation.nll,
    "nll_kl": imitation.nll_kl,
    "dpo": preferences.dpo,
    "orpo": preferences.orpo,
    "grpo": policy.METHODS["GRPO"].objective(8),
    "gspo": policy.METHODS["GSPO"].objective(8),
    "forward_kl": distillation.forward_kl,
    "reverse_kl": distillation.reverse_kl,
    "js": distillation.js,
}


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_kind_of_objective(name, temperature):
    batch = replace(teacher(pairs()), temperature=temperature)
    model = made()
    assert_same(model, batch, OBJECTIVES[name])
    infos = [OBJECTIVES[name](run(model, batch), batch)[1] for run in (forward, forward_trained)]
    for key, value in infos[0].items():
        assert torch.allclose(infos[1][key].double(), value.double(), atol=1e-5), key


def test_a_value_head_and_adapters():
    batch = pairs()
    valued = Valued(made().float())
    torch.nn.init.normal_(valued.head.weight)
    assert_same(valued, batch, preferences.bradley_terry)
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    assert_same(get_peft_model(made(), config), batch, preferences.dpo)


def test_layers_of_4_bits(monkeypatch):
    small = adapters.adapt(quant.quantise(made().float()), init="gaussian", seed=3).train()
    for name, p in small.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.02, generator=torch.Generator().manual_seed(len(name)))
    assert way(small, pairs(), monkeypatch) == "rows"
    monkeypatch.undo()
    assert_same(small, pairs(), preferences.dpo)


def way(model, batch: Batch, monkeypatch) -> str:
    """Which form was taken."""
    taken = []
    for name, run in {"padded": forward, "rows": rows.run}.items():
        told = lambda *args, name=name, run=run: (taken.append(name), run(*args))[1]
        monkeypatch.setattr(module, {"padded": "forward", "rows": "run"}[name], told)
    forward_trained(model, batch)
    return taken[0]


def test_the_way_that_is_taken(monkeypatch):
    batch, model = pairs(), made()
    assert way(model, batch, monkeypatch) == "rows"
    full = Batch(torch.arange(5, 45).view(4, 10), torch.ones(4, 10))
    assert way(model, full, monkeypatch) == "padded", "nothing to save"
    nothing = replace(batch, mask=torch.zeros_like(batch.mask))
    assert way(model, nothing, monkeypatch) == "padded"
    dropping = get_peft_model(made(), LoraConfig(r=2, target_modules="all-linear", lora_dropout=0.1))
    assert way(dropping.eval(), batch, monkeypatch) == "rows"
    assert way(dropping.train(), batch, monkeypatch) == "padded", "rows draw dropout apart"
    hook = model.model.layers[0].register_forward_hook(lambda *args: None)
    assert way(model, batch, monkeypatch) == "padded", "a hook may count on whole rows"
    hook.remove()
    assert way(model, batch, monkeypatch) == "rows"


def test_models_that_cannot(monkeypatch):
    batch = pairs()
    folded = made("lfm2", layer_types=["conv", "full_attention"]).float()
    assert way(folded, batch, monkeypatch) == "padded", "a convolution reads the neighbour in the layout"
    eager = made()
    eager.set_attn_implementation("eager")
    assert way(eager, batch, monkeypatch) == "padded", "another attention was chosen"
    assert way(made("mistral", sliding_window=4), batch, monkeypatch) == "padded", "a window ends in the rows"
    assert way(made("mistral", sliding_window=64), batch, monkeypatch) == "rows"
    checkpointed = made().train()
    checkpointed.activation_checkpointing_enable()
    assert way(checkpointed, batch, monkeypatch) == "padded", "attention runs again, outside of the rows"


def test_the_model_is_left_as_it_was():
    model, batch = made().train(), pairs()
    before = model.config._attn_implementation, torch.random.get_rng_state()
    forward_trained(model, batch)
    assert model.config._attn_implementation == before[0] and model.training
    assert torch.equal(torch.random.get_rng_state(), before[1])
    with pytest.raises(IndexError):
        rows.run(model, replace(layout(batch), place=torch.tensor([10**6])))
    assert model.config._attn_implementation == before[0]


def test_a_step_and_its_frozen_columns_are_those_of_the_padded_form(monkeypatch):
    batch = pairs()
    kept = []
    for run in (forward_trained, forward):
        monkeypatch.setattr(loop, "forward_trained", run)
        model = made()
        ready = loop.add_logits(model, loop.add_logprobs(model, batch, "ref_logprobs"), "ref_logits")
        stream = [ready] * 3
        kept.append([*loop.steps(model, stream, OBJECTIVES["dpo"], n=3, lr=1e-2), ready, model])
    for one, other in zip(kept[0][:3], kept[1][:3]):
        assert all(abs(one[k] - other[k]) < 1e-5 for k in other)
    there = batch.mask[:, 1:] > 0
    for column in ("ref_logprobs", "ref_logits"):
        assert torch.allclose(kept[0][3][column][there], kept[1][3][column][there], atol=1e-6)


# --- mutants: what must be found


def shifted(lay):
    return replace(lay, before=(lay.before + 1).clamp(max=len(lay.ids) - 1))


def sibling(lay):
    """The last row reads the end of another one."""
    other = lay.rows[0].clone()
    other[-1, 6] = other[0, 6]
    return replace(lay, rows=(other,))


def running_on(lay):
    return replace(lay, positions=torch.arange(len(lay.ids)))


@pytest.mark.parametrize("mutant", [shifted, sibling, running_on])
def test_a_mutant_is_found(mutant, monkeypatch):
    monkeypatch.setattr(module, "layout", lambda batch: mutant(layout(batch)))
    with pytest.raises(AssertionError):
        assert_same(made(), pairs(), preferences.dpo)


def test_a_trial_that_is_wrong_is_refused(monkeypatch):
    """Negative control of the trial: rows in which each token reads the row before."""
    right = rows.layout
    monkeypatch.setattr(
        rows, "layout", lambda batch: replace(lay := right(batch), rows=(lay.rows[0].roll(1, 0),))
    )
    assert not rows.takes_rows(made(), 5)


def test_half_precision_is_no_reason_to_refuse():
    assert rows.takes_rows(made().to(torch.bfloat16), 5)
