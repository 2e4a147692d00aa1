"""sample() against generate, forward and exact distributions; the mutants at the end show that the parity
check can fail.
"""

import json
import random
import re
from collections import Counter

import jsonschema
import pytest
import torch
from helpers_models import ARCHITECTURES, VOCAB, byte_tokenizer, tiny
from scipy.stats import chisquare

from llmlab.train import sample as sampling
from llmlab.models.forward import forward
from llmlab.train.sample import json_schema_constraint, regex_constraint, sample
from llmlab.tokens.batch import Batch, pad

STOP = set(range(0, VOCAB, 12))
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()


def some_prompts(n: int = 7, seed: int = 0) -> list[list[int]]:
    """Prompts of 3 to 21 tokens."""
    r = random.Random(seed)
    return [[r.randrange(3, VOCAB) for _ in range(3 + 3 * i)] for i in range(n)]


def rng(seed: int = 0) -> torch.Generator:
    """A generator of the test's own."""
    return torch.Generator().manual_seed(seed)


def greedy_reference(model, prompts, max_new=20):
    """What transformers says about each prompt on its own: no padding, no batch."""
    kind = dict(do_sample=False, max_new_tokens=max_new, eos_token_id=sorted(STOP), pad_token_id=0)
    inputs = [torch.tensor([p], device=model.device) for p in prompts]
    return [
        model.generate(i, attention_mask=torch.ones_like(i), **kind)[0, i.shape[1] :].tolist() for i in inputs
    ]


def greedy_is_right(model, prompts) -> bool:
    """The parity check: one padded batch against every prompt on its own."""
    return sample(model, prompts, max_new=20, temperature=0, stop=STOP).ids == greedy_reference(
        model, prompts
    )


def assert_logprobs_are_forwards(model, done, k, temperature):
    """The sampler's log-probs against one training forward over prompt + completion, padded on the right."""
    rows = [done.prompts[r // k] + ids for r, ids in enumerate(done.ids)]
    mask = [[0] * len(done.prompts[r // k]) + [1] * len(ids) for r, ids in enumerate(done.ids)]
    with torch.no_grad():
        out = forward(model, Batch(pad(rows, 0), pad(mask, 0), temperature=temperature))
    torch.testing.assert_close(
        torch.tensor(sum(done.logprobs, [])), out.logprobs[out.mask.bool()], atol=1e-4, rtol=0
    )


# --- the right tokens
# -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_greedy_equals_generate_and_does_not_depend_on_the_batch(name, device):
    model, prompts = tiny(name).to(device), some_prompts()
    reference = greedy_reference(model, prompts)
    assert len({len(ids) for ids in reference}) > 2, (
        "the rows should end at different times, or nothing is dropped"
    )
    done = sample(model, prompts, max_new=20, temperature=0, stop=STOP)
    assert done.ids == reference
    assert done.stopped == [ids[-1] in STOP for ids in reference]
    assert sample(model, prompts, max_new=20, temperature=0, stop=STOP, rows_at_once=3).ids == reference
    assert sample(model, prompts[::-1], max_new=20, temperature=0, stop=STOP).ids == reference[::-1]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_logprobs_equal_forward(name, temperature):
    model = tiny(name)
    done = sample(model, some_prompts(), k=3, max_new=20, temperature=temperature, stop=STOP, generator=rng())
    assert len(set(map(len, done.ids))) > 3 and len(set(map(tuple, done.ids))) > 15
    assert_logprobs_are_forwards(model, done, 3, temperature)


def test_greedy_logprobs_are_at_temperature_one():
    model = tiny("qwen3")
    assert_logprobs_are_forwards(
        model, sample(model, some_prompts(), max_new=20, temperature=0, stop=STOP), 1, 1.0
    )


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attention_implementations_agree(implementation):
    model = tiny("gemma3")
    model.set_attn_implementation(implementation)
    assert greedy_is_right(model, some_prompts())


# --- the right distribution
# -----------------------------------------------------------------------------------------


def first_token_p_value(model, prompt, sampled_at, expected_at, n=8000) -> float:
    """Chi-square test of n first tokens against the softmax; rare tokens share one cell."""
    done = sample(model, [prompt], k=n, max_new=1, temperature=sampled_at, stop=[], generator=rng())
    counts = Counter(ids[0] for ids in done.ids)
    with torch.no_grad():
        expected = n * (model(torch.tensor([prompt])).logits[0, -1].double() / expected_at).softmax(-1)
    common = (expected >= 5).nonzero()[:, 0].tolist()
    observed = [counts[i] for i in common] + [n - sum(counts[i] for i in common)]
    wanted = expected[common].tolist() + [n - expected[common].sum().item()]
    return chisquare(observed, wanted).pvalue


def test_first_token_follows_the_softmax():
    model, prompt = tiny("llama"), some_prompts()[2]
    assert first_token_p_value(model, prompt, 0.8, 0.8) > 0.001
    assert first_token_p_value(model, prompt, 0.8, 1.0) < 1e-6, "the test must notice the wrong temperature"


def test_successive_tokens_are_independent_when_the_model_is():
    model = tiny("qwen3", vocab=8)
    for p in model.parameters():
        p.data.zero_()  # every token equally likely, always
    done = sample(model, [[3]], k=6400, max_new=3, stop=[], generator=rng())
    pairs = Counter((ids[0], ids[2]) for ids in done.ids)
    assert chisquare([pairs[a, b] for a in range(8) for b in range(8)]).pvalue > 0.001
    torch.testing.assert_close(torch.tensor(done.logprobs), torch.full((6400, 3), 1 / 8).log())


def test_draw_never_takes_an_impossible_token():
    probs = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]]).repeat(4, 1)
    token, logprob = sampling._draw(probs, torch.tensor([0.0, 0.2499, 0.25, 1 - 2**-53], dtype=torch.float64))
    assert token.tolist() == [1, 1, 3, 3]
    torch.testing.assert_close(logprob, torch.tensor([0.25, 0.25, 0.75, 0.75]).log())


# --- randomness and state
# -------------------------------------------------------------------------------------------


def test_seed_decides_and_global_random_state_is_untouched():
    model, prompts, state = tiny("qwen3"), some_prompts(), torch.get_rng_state()
    draw = lambda generator: sample(model, prompts, k=2, max_new=8, stop=STOP, generator=generator).ids
    assert draw(rng(1)) == draw(rng(1)) != draw(rng(2))
    assert draw(None) != draw(None)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_rows_sample_does_not_depend_on_when_others_end():
    model, prompts = tiny("qwen3"), some_prompts(3)
    short = sample(model, prompts, k=2, max_new=[12, 1, 1], stop=[], generator=rng())
    long = sample(model, prompts, k=2, max_new=[12, 12, 5], stop=[], generator=rng())
    assert short.ids[:2] == long.ids[:2] and [len(ids) for ids in short.ids] == [12, 12, 1, 1, 1, 1]


def test_modes_are_restored_module_by_module_even_after_an_error():
    model = tiny("qwen3").train()
    model.model.layers[0].eval()  # frozen on purpose
    before, seen = [m.training for m in model.modules()], []
    model.lm_head.register_forward_pre_hook(
        lambda module, _: seen.append((model.training, torch.is_grad_enabled()))
    )
    sample(model, some_prompts(), max_new=2, stop=[])
    assert set(seen) == {(False, False)} and [m.training for m in model.modules()] == before
    with pytest.raises(ZeroDivisionError):
        sample(model, some_prompts(), max_new=2, stop=[], allowed=lambda row, ids: 1 / 0)
    assert [m.training for m in model.modules()] == before and torch.is_grad_enabled()


# --- stopping and work
# ----------------------------------------------------------------------------------------------


def test_rows_end_with_their_first_stop_token_or_at_their_limit():
    limits = [1, 2, 3, 5, 8, 13, 21]
    done = sample(tiny("gemma3"), some_prompts(), k=4, max_new=limits, stop=STOP, generator=rng())
    assert True in done.stopped and False in done.stopped and len(done) == 28
    for r, (ids, logprobs, stopped) in enumerate(zip(done.ids, done.logprobs, done.stopped)):
        assert len(ids) == len(logprobs) <= limits[r // 4] and not STOP & set(ids[:-1])
        assert stopped == (ids[-1] in STOP) and (stopped or len(ids) == limits[r // 4])


def test_each_distinct_prompt_is_read_once_and_finished_rows_cost_nothing():
    model, prompts, shapes = tiny("qwen3"), some_prompts(), []
    model.model.embed_tokens.register_forward_pre_hook(
        lambda module, args: shapes.append(tuple(args[0].shape))
    )
    done = sample(model, prompts + prompts[:2], k=5, max_new=20, stop=STOP, generator=rng())
    assert shapes[0] == (7, 21) and all(q == 1 for _, q in shapes[1:])
    assert sum(rows for rows, _ in shapes[1:]) == sum(
        len(ids) - 1 for ids in done.ids
    )  # a last token is never fed back
    assert len(shapes) == max(map(len, done.ids))


def test_bad_arguments_get_one_clear_sentence():
    model = tiny("qwen3")
    for bad, said in [
        (dict(prompts=[[5], []]), "prompt 1 is empty"),
        (dict(max_new=[3]), "1 entries for 2 prompts"),
        (dict(max_new=0), "at least 1"),
        (dict(temperature=0, k=2), "temperature 0 and k=1"),
    ]:
        with pytest.raises(ValueError, match=said):
            sample(model, **(dict(prompts=[[5], [6]], max_new=3, stop=[]) | bad))
    assert sample(model, [], max_new=3, stop=[]).ids == []
    model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        sample(model, [[5]], max_new=3, stop=[])


# --- constraints
# ----------------------------------------------------------------------------------------------------


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "ok": {"type": "boolean"},
    },
    "required": ["name", "age", "ok"],
    "additionalProperties": False,
}


def test_json_schema_is_kept_by_a_model_that_knows_nothing():
    model, tok = (
        tiny("qwen3", vocab=320),
        byte_tokenizer(),
    )  # more rows in the head than the tokenizer has tokens
    assert len(tok) < 320
    constraint = json_schema_constraint(tok, SCHEMA, 320)
    for seed in range(2):  # one object serves several calls
        done = sample(
            model,
            some_prompts(4),
            k=4,
            max_new=60,
            stop=[tok.eos_token_id],
            allowed=constraint,
            generator=rng(seed),
        )
        assert all(done.stopped)
        for ids in done.ids:
            jsonschema.validate(json.loads(tok.decode(ids[:-1])), SCHEMA)
    free = sample(model, some_prompts(4), k=4, max_new=60, stop=[tok.eos_token_id], generator=rng())
    assert not any(tok.decode(ids).startswith('{"') for ids in free.ids)


def test_regex_greedy_and_allowed_none():
    model, tok = tiny("llama"), byte_tokenizer()
    constraint = regex_constraint(tok, "(yes|no), [0-9]{3}", VOCAB)
    only_odd = lambda row, ids: constraint(row, ids) if row % 2 else None
    done = sample(
        model, some_prompts(4), max_new=20, temperature=0, stop=[tok.eos_token_id], allowed=only_odd
    )
    matches = [bool(re.fullmatch("(yes|no), [0-9]{3}", tok.decode(ids[:-1]))) for ids in done.ids]
    assert matches == [False, True, False, True]
    assert (
        done.ids[::2]
        == sample(model, some_prompts(4), max_new=20, temperature=0, stop=[tok.eos_token_id]).ids[::2]
    )


def test_constrained_logprobs_are_of_the_constrained_distribution():
    model, pair = (
        tiny("llama"),
        torch.zeros(VOCAB, dtype=torch.bool).index_fill(0, torch.tensor([7, 9]), True),
    )
    done = sample(model, [[5, 6]], k=50, max_new=1, stop=[], allowed=lambda row, ids: pair, generator=rng())
    chance = {
        ids[0]: torch.tensor(logprobs[0]).exp().item() for ids, logprobs in zip(done.ids, done.logprobs)
    }
    assert set(chance) == {7, 9} and sum(chance.values()) == pytest.approx(1)


def test_impossible_constraints_are_refused():
    tok = byte_tokenizer()
    with pytest.raises(ValueError, match="not a valid grammar"):
        regex_constraint(tok, "(unclosed", VOCAB)
    with pytest.raises(ValueError, match="allows no token"):
        sample(
            tiny("llama"),
            [[5]],
            max_new=2,
            stop=[],
            allowed=lambda row, ids: torch.zeros(VOCAB, dtype=torch.bool),
        )


# --- negative controls: samplers with one classic mistake each
# -------------------------------------------------------


def positions_count_padding(batch, ids, mask, positions):
    """New tokens are numbered by their column, as if the padding were text (the prompt itself is right)."""
    return ids, mask, positions if ids.shape[1] > 1 else torch.full_like(positions, mask.shape[1] - 1)


def padding_is_visible(batch, ids, mask, positions):
    """The attention mask is forgotten."""
    return ids, torch.ones_like(mask), positions


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("mutation", [positions_count_padding, padding_is_visible])
def test_parity_check_fails_for_wrong_inputs(name, mutation, monkeypatch):
    right = sampling._Batch._forward
    monkeypatch.setattr(
        sampling._Batch, "_forward", lambda self, *inputs: right(self, *mutation(self, *inputs))
    )
    assert not greedy_is_right(tiny(name), some_prompts())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parity_check_fails_when_the_cache_keeps_the_wrong_rows(name, monkeypatch):
    right = sampling.GrowingLayer.reorder_cache
    monkeypatch.setattr(
        sampling.GrowingLayer, "reorder_cache", lambda self, index: right(self, torch.arange(len(index)))
    )
    assert not greedy_is_right(tiny(name), some_prompts())


def test_parity_check_fails_when_the_window_is_one_too_short(monkeypatch):
    right = sampling.GrowingLayer
    monkeypatch.setattr(sampling, "GrowingLayer", lambda window: right(window and window - 1))
    assert not greedy_is_right(tiny("gemma3"), some_prompts())
