"""Packed rows: with every architecture either each document is read as if it stood alone, or packing is
refused; and no row is longer than a table of positions.
"""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from llmlab.models import positions
from llmlab.models.forward import forward
from llmlab.models.positions import NoPosition
from llmlab.tokens.batch import Batch
from llmlab.train.sample import sample

COMMON = dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, pad_token_id=0)
LIKE_LLAMA = COMMON | dict(
    num_key_value_heads=2, intermediate_size=64, max_position_embeddings=64, head_dim=16
)
LINEAR = LIKE_LLAMA | {
    f"linear_{what}": n
    for what, n in dict(num_key_heads=2, num_value_heads=2, key_head_dim=16, value_head_dim=16).items()
}
GPT = dict(vocab_size=64, n_embd=32, n_layer=2, n_head=2, n_positions=24, bos_token_id=1, eos_token_id=2)
MODELS = {
    "gpt2": GPT,
    "qwen3": LIKE_LLAMA,
    "llama": LIKE_LLAMA,
    "gemma2": LIKE_LLAMA,
    "gemma3_text": LIKE_LLAMA,
    "mistral": LIKE_LLAMA,
    "phi3": LIKE_LLAMA,
    "olmo2": LIKE_LLAMA,
    "smollm3": LIKE_LLAMA,
    "lfm2": LIKE_LLAMA,
    "gpt_neox": LIKE_LLAMA,
    "falcon": COMMON,
    "opt": COMMON | dict(ffn_dim=64, max_position_embeddings=64, word_embed_proj_dim=32),
    "bloom": dict(vocab_size=64, hidden_size=32, n_layer=2, n_head=2),
    "mamba": dict(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=8),
    "qwen3_5_text": LINEAR,
}
REFUSED = {"opt", "bloom", "mamba", "qwen3_5_text"}


def made(kind: str):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **MODELS[kind]))


@pytest.mark.parametrize("kind", MODELS)
def test_a_packed_document_is_read_as_if_alone_or_packing_is_refused(kind):
    model = made(kind).eval()
    ids = torch.randint(5, 60, (1, 20), generator=torch.Generator().manual_seed(1))
    places = torch.arange(20)[None] % 10
    batch = Batch(ids, torch.ones_like(ids), {"positions": places})
    if kind in REFUSED:
        with pytest.raises(NoPosition, match="packed into one row read each other"):
            forward(model, batch)
        return
    with torch.no_grad():
        packed = forward(model, batch).logits[0, 10:]
        alone = model(input_ids=ids[:, 10:-1], use_cache=False).logits[0].float()
    assert torch.allclose(packed, alone, atol=1e-5)


def test_the_check_is_made_once_and_leaves_the_model_as_it_was(monkeypatch):
    model, ids = made("llama"), torch.ones(1, 8, dtype=torch.long)
    model.model.layers[0].eval()
    modes = [m.training for m in model.modules()]
    batch = Batch(ids, torch.ones_like(ids), {"positions": torch.arange(8)[None] % 4})
    state = torch.random.get_rng_state()
    forward(model, batch)
    assert [m.training for m in model.modules()] == modes and torch.equal(state, torch.random.get_rng_state())
    monkeypatch.setattr(positions, "_leak", lambda model: pytest.fail("again"))
    forward(model, batch)


def test_a_model_that_ignores_the_places_is_found_out():
    """Negative control: the same model, its position ids thrown away."""
    model = made("llama")
    plain = model.forward
    model.forward = lambda input_ids, position_ids=None, use_cache=False: plain(
        input_ids=input_ids, use_cache=use_cache
    )
    with pytest.raises(NoPosition):
        positions.check_packing(model)


def test_a_row_longer_than_the_table_is_refused_where_one_is_read_and_where_one_is_written():
    model = made("gpt2")
    ids = torch.ones(1, 26, dtype=torch.long)
    with pytest.raises(NoPosition, match="a row of 25 tokens is longer than the 24 positions"):
        forward(model, Batch(ids, torch.ones_like(ids)))
    forward(model, Batch(ids[:, :25], torch.ones(1, 25)))
    with pytest.raises(NoPosition, match="a row of 25 tokens"):
        sample(model, [[5] * 10], max_new=16, stop=[2], temperature=0)
    sample(model, [[5] * 10], max_new=15, stop=[2], temperature=0)
