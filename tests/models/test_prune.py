"""Pruning: nothing cut is the same model, the smallest goes first, and a size that is not there is said."""

import pytest
import torch

from llmlab.errors import UserError
from llmlab.models.load import load
from llmlab.models.prune import largest, pruned

IDS = torch.arange(5, 25)[None]


@pytest.fixture(scope="module")
def model():
    return load("chat").model.eval()


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def test_with_everything_left_it_is_the_same_function(model):
    assert torch.equal(logits(pruned(model, 4, 4, 384)), logits(model))


@pytest.mark.parametrize("layers, heads, neurons", [(3, 4, 384), (4, 2, 128), (1, 1, 16)])
def test_the_size_is_what_was_asked_for_and_the_model_runs(model, layers, heads, neurons):
    student = pruned(model, layers, heads, neurons)
    width, head = model.config.hidden_size, model.config.head_dim
    assert len(student.model.layers) == student.config.num_hidden_layers == layers
    for layer in student.model.layers:
        assert layer.self_attn.o_proj.weight.shape == (width, heads * head)
        assert layer.mlp.down_proj.weight.shape == (width, neurons)
    assert logits(student).isfinite().all()


def test_a_head_and_neurons_that_say_nothing_go_first(model):
    """Zeroed parts are the smallest: without them the function is the same; without others it is not."""
    twin = pruned(model, 4, 4, 384)
    with torch.no_grad():
        for layer in twin.model.layers:
            layer.self_attn.o_proj.weight[:, 32:64] = 0
            layer.mlp.down_proj.weight[:, 7:40] = 0
    assert torch.allclose(logits(pruned(twin, 4, 3, 384 - 33)), logits(twin), atol=1e-4)
    assert not torch.allclose(logits(pruned(twin, 4, 2, 384 - 33)), logits(twin), atol=1e-2)


def test_the_teacher_stays_as_it_is(model):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    pruned(model, 1, 1, 8)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.config.num_hidden_layers == 4


def test_a_student_is_saved_and_read_again(model, tmp_path):
    from transformers import Qwen3ForCausalLM

    student = pruned(model, 3, 2, 64).eval()
    student.save_pretrained(tmp_path)
    again = Qwen3ForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.allclose(logits(again), logits(student), atol=1e-6)


def test_largest_keeps_their_order():
    assert largest(torch.tensor([3.0, 9.0, 1.0, 5.0]), 2).tolist() == [1, 3]


@pytest.mark.parametrize("sizes, told", [
    ((5, 4, 384), "4 layers; choose 1 to 4, not 5"),
    ((4, 0, 384), "4 heads"),
    ((4, 4, 385), "384 neurons"),
])  # fmt: skip
def test_a_size_that_is_not_there_is_said(model, sizes, told):
    with pytest.raises(UserError, match=told):
        pruned(model, *sizes)
