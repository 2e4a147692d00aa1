"""Which tokens of a conversation are imitated, what a cut leaves of the answer, and that packing changes no
prediction.
"""

import copy
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.models.forward import forward
from llmlab.models.load import new_lab_model
from llmlab.tokens import chat, collate
from llmlab.tokens.special import TEMPLATE
from llmlab.world import Desk, Talk
from llmlab.world.desk import TOOLS, call, call_text


@pytest.fixture(scope="module")
def tok(shipped):
    tok = copy.deepcopy(shipped.tok)
    tok.chat_template = TEMPLATE
    return tok


CHAT = [
    {"role": "system", "content": "You are the desk of Verania."},
    {"role": "user", "content": "What is the dose of Ena?"},
    {
        "role": "assistant",
        "content": "I look it up.",
        **{k: v for k, v in call("formulary", drug="Ena", field="dose").items() if k == "tool_calls"},
    },
    {"role": "tool", "content": '{"result": "5"}'},
    {"role": "assistant", "content": "5."},
]


def trained(tok, ids, mask) -> str:
    return tok.decode([i for i, m in zip(ids, mask) if m])


def test_each_variant_imitates_its_own_part(tok):
    text, written = {}, call_text(CHAT[2])
    for imitate in collate.IMITATED:
        ids, mask = collate.encode(tok, CHAT, TOOLS, imitate)
        text[imitate] = trained(tok, ids, mask)
    assert text["all"] == chat.render(tok, CHAT, TOOLS)
    assert text["assistant"] == f" I look it up.\n{written}<|im_end|> 5.<|im_end|>"
    assert text["calls"] == f"{written}<|im_end|>"
    assert json.loads(text["json"]) == CHAT[2]["tool_calls"][0]["function"]


def test_a_variant_keeps_the_ids_and_only_takes_tokens_from_the_assistant(tok):
    whole, every = collate.encode(tok, CHAT, TOOLS, "assistant")
    for imitate in ("calls", "json"):
        ids, mask = collate.encode(tok, CHAT, TOOLS, imitate)
        assert ids == whole and 0 < sum(mask) < sum(every) and all(m <= e for m, e in zip(mask, every))


@pytest.mark.parametrize(
    "content, wanted",
    [
        ('a {"x": {"y": 1}} b {"z": 2}', '{"x": {"y": 1}}'),
        ('{"x": "}\\"{"}', '{"x": "}\\"{"}'),
        ("no object", ""),
        ('{"x": 1', ""),
        ("} {}", "{}"),
    ],
)
def test_the_first_object_from_bracket_to_bracket(tok, content, wanted):
    messages = [{"role": "user", "content": '{"not": "this"}'}, {"role": "assistant", "content": content}]
    assert trained(tok, *collate.encode(tok, messages, imitate="json")).strip() == wanted


def test_an_unknown_variant_is_named(tok):
    with pytest.raises(
        ValueError, match="imitate is one of assistant, all, completion, calls, json, not 'user'"
    ):
        collate.encode(tok, CHAT, TOOLS, "user")


def test_labels_are_the_ids_of_what_is_imitated_and_ignored_elsewhere(tok):
    batch = collate.collate(
        tok, [collate.encode(tok, CHAT, TOOLS), collate.encode(tok, CHAT[:3], TOOLS)], length=512
    )
    found = collate.labels(batch.ids, batch.mask)
    assert torch.equal(found == -100, batch.mask == 0) and torch.equal(
        found[batch.mask > 0], batch.ids[batch.mask > 0]
    )
    model = new_lab_model(tok)
    ours = forward(model, batch)
    theirs = model(input_ids=batch.ids, labels=found).loss
    assert torch.isclose(-(ours.logprobs * ours.mask).sum() / ours.mask.sum(), theirs, atol=1e-6)


examples = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.just(list(range(n))), st.lists(st.integers(0, 1), min_size=n, max_size=n))
)


@settings(max_examples=200, deadline=None)
@given(examples, st.integers(1, 40), st.sampled_from(collate.CUTS))
def test_a_cut_fits_keeps_the_order_and_pairs_every_token_with_its_own_mask(example, length, how):
    ids, mask = example
    try:
        left, kept = collate.cut(ids, mask, length, how)
    except collate.TooLong:
        assert how == "middle" and collate._last_turn(mask) > length
        return
    assert (
        len(left) == min(length, len(ids)) and left == sorted(set(left)) and kept == [mask[i] for i in left]
    )
    if how == "middle" and 1 in mask:
        last = max(i for i, m in enumerate(mask) if m)
        assert last in left


def test_only_right_loses_the_answer_and_only_middle_keeps_both_ends():
    ids, mask = list(range(100)), [0] * 90 + [1] * 10
    kept = {how: collate.cut(ids, mask, 40, how) for how in collate.CUTS}
    assert {how: sum(m) for how, (_, m) in kept.items()} == {"right": 0, "left": 10, "middle": 10}
    assert {how: i[0] for how, (i, _) in kept.items()} == {"right": 0, "left": 60, "middle": 0}
    with pytest.raises(collate.TooLong, match="the answer has 10 tokens, a row 8; choose longer rows"):
        collate.cut(ids, mask, 8, "middle")


def test_packing_drops_nothing_and_changes_no_prediction(tok):
    worlds = (Desk(2), Talk(("format",)), Desk(1, faults=1.0))
    rows = [
        collate.encode(tok, [*p.messages, *w.solution(p)], p.meta.get("tools"))
        for w in worlds
        for p in w.problems(4, split="train")
    ]
    apart, packed = (collate.collate(tok, rows, length=512, packed=p) for p in (False, True))
    model, read = new_lab_model(tok), []
    for batch in (apart, packed):
        out = forward(model, batch)
        read.append(out.logprobs[out.mask > 0].sort().values)
    assert len(packed) < len(apart) and torch.allclose(*read, atol=1e-4)
