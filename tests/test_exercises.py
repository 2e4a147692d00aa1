"""Every exercise: right solutions pass, misconceptions fail with their own hint, empty functions politely;
references agree with the library.
"""

import inspect
import random

import pytest
import torch

from llmlab.lab import registry
from llmlab.learn import judge
from llmlab.learn.exercise import case, difference, short
from llmlab.learn.exercises import EXERCISES, NoExercise, get
from llmlab.models.forward import Out, token_logprobs
from llmlab.tokens.batch import Batch

EACH = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
RIGHT = [(e, i, f) for e in EXERCISES.values() for i, f in enumerate((e.reference, *e.right))]
WRONG = [(e, f) for e in EXERCISES.values() for f in e.wrong]


def words(text):
    return " ".join(text.split())


@pytest.mark.parametrize(
    "exercise, i, function", RIGHT, ids=lambda x: getattr(x, "__name__", getattr(x, "name", str(x)))
)
def test_right_solutions_pass(exercise, i, function):
    result = judge.check(exercise.name, function)
    assert result.passed and not result.notes, result


@pytest.mark.parametrize(
    "exercise, function", WRONG, ids=lambda x: getattr(x, "__name__", getattr(x, "name", ""))
)
def test_each_misconception_fails_with_its_own_hint(exercise, function):
    result = judge.check(exercise.name, function)
    assert not result.passed and result.message == words(inspect.getdoc(function)), result


@EACH
def test_the_form_is_filled_in(exercise):
    assert len(exercise.right) >= 1 and len(exercise.wrong) >= 3 and len(exercise.hints) == 3
    hints = [words(inspect.getdoc(f)) for f in exercise.wrong]
    assert len(set(hints)) == len(hints) and all(
        h.endswith((".", ")", "?")) for h in (*hints, exercise.task, inspect.getdoc(exercise.reference))
    )
    assert exercise.chapter in ("00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11")


@EACH
def test_the_empty_function_fails_politely(exercise):
    space = {}
    exec(exercise.stub, space)
    result = judge.check(exercise.name, space[exercise.name])
    assert (
        not result
        and result.message.startswith("the result ")
        and "None" in result.message
        and "return" in result.message
    )


@EACH
def test_a_shown_solution_runs_by_itself(exercise):
    for function, source in zip((exercise.reference, *exercise.right), judge.solution(exercise.name).code):
        space = {}
        exec(source, space)
        assert judge.check(exercise.name, space[function.__name__])


@EACH
def test_cases_are_the_same_every_time_and_leave_the_generators_alone(exercise):
    random.seed(5)
    torch.manual_seed(5)
    before = random.getstate(), torch.get_rng_state()
    first, second = exercise.cases(), exercise.cases()
    assert len(first) == len(second) >= 5
    assert all(a.about == b.about and repr(a.args) == repr(b.args) for a, b in zip(first, second))
    assert random.getstate() == before[0] and torch.equal(torch.get_rng_state(), before[1])


def test_there_are_at_least_four_exercises_a_chapter_and_names_are_unique():
    assert all(len(chapter.EXERCISES) >= 4 for chapter in registry.every("exercises"))
    assert len(EXERCISES) == sum(len(chapter.EXERCISES) for chapter in registry.every("exercises"))


def test_an_unknown_name_is_a_sentence_with_the_close_ones():
    with pytest.raises(NoExercise, match="there is no exercise 'pack_mask'; did you mean packing_mask") as e:
        get("pack_mask")
    assert e.value._render_traceback_() == [str(e.value)]
    with pytest.raises(NoExercise, match="known: which_lever"):
        get("qqqqqqqq")


# ---- references against the library ----


def test_shift_is_the_librarys_loss():
    torch.manual_seed(0)
    logits, ids = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    assert float(get("shift").reference(logits, ids)) == pytest.approx(
        -float(token_logprobs(logits[:, :-1], ids[:, 1:]).mean())
    )


def test_packing_is_the_librarys_packing():
    from llmlab.tokens.pack import pack

    documents = [[5, 6, 0], [7, 8, 9, 0], [3, 0]]
    row = next(pack(documents, rows=1, length=9, how="reset"))
    positions, mask = get("packing_mask").reference(documents)
    assert row["positions"][0].tolist() == positions and row.mask[0].tolist() == mask
    rows = next(pack([[1, 2, 0], [3, 4, 5, 0], [6, 0]], rows=2, length=4)).ids.tolist()
    assert get("pack_plain").reference([[1, 2], [3, 4, 5], [6]], 0, 4) == rows


def test_the_assistant_mask_is_the_chat_templates(shipped):
    from llmlab.models.load import load
    from llmlab.tokens import chat

    tok = load("chat").tok
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    ids, mask = chat.encode(tok, messages)
    pieces = [tok.decode([i]) for i, m in zip(ids, mask) if m]
    assert (
        "".join(pieces).startswith(" Hello") and "<|im_end|>" in pieces
    )  # content and end, not the header: as in the exercise


def test_losses_and_kl_are_the_librarys():
    from llmlab.methods import imitation, parts, preferences

    torch.manual_seed(1)
    losses, mask = torch.rand(3, 4), (torch.rand(3, 4) > 0.5).float()
    assert float(get("token_mean").reference(losses, mask)) == pytest.approx(
        float(parts.token_mean(losses, mask))
    )
    logits, base = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    batch = Batch(torch.zeros(3, 5, dtype=torch.long), torch.ones(3, 5), {"ref_logits": base})
    assert float(get("kl_to_base").reference(logits, base, mask)) == pytest.approx(
        float(imitation.kl_to_ref(Out(logits, None, mask), batch)[0])
    )
    logprobs, ref = -torch.rand(4, 3), -torch.rand(4, 3)
    batch = Batch(
        torch.zeros(4, 4, dtype=torch.long),
        torch.ones(4, 4),
        {"pair": torch.tensor([0, 0, 1, 1]), "ref_logprobs": ref},
    )
    w, l, rw, rl = (x.sum(1) for x in (logprobs[0::2], logprobs[1::2], ref[0::2], ref[1::2]))  # noqa: E741
    loss = preferences.dpo(Out(None, logprobs, torch.ones(4, 3)), batch, beta=0.3)[0]
    assert float(get("dpo_pair_loss").reference(w, l, rw, rl, 0.3)) == pytest.approx(float(loss))


def test_replay_rows_are_the_experiments():
    from llmlab.chapters.c02_continued_pretraining.cpt import stochastic_round

    r = random.Random(0)
    drawn = [(r.random(), r.randrange(1, 40), r.random()) for _ in range(200)]
    assert all(get("replay_rows").reference(s, n, u) == stochastic_round(s * n, u) for s, n, u in drawn)


def test_adapters_are_the_librarys():
    lora = pytest.importorskip("llmlab.models.lora_by_hand", reason="chapter 05's modules are not merged yet")
    torch.manual_seed(2)
    x, W, A, B, dY = (
        torch.randn(4, 6),
        torch.randn(5, 6),
        torch.randn(3, 6),
        torch.randn(5, 3),
        torch.randn(4, 5),
    )
    torch.testing.assert_close(
        get("lora_forward").reference(x, W, A, B, 8.0), lora.lora_forward(x, W, A, B, 8.0)
    )
    torch.testing.assert_close(
        get("lora_gradients").reference(x, dY, A, B, 8.0), lora.lora_gradients(dY.T @ x, A, B, 8.0)
    )


def test_4_bits_and_the_memory_of_training_are_the_librarys():
    quant = pytest.importorskip("llmlab.models.quant", reason="chapter 05's modules are not merged yet")
    from llmlab.models import memory

    block, levels = torch.randn(64, generator=torch.Generator().manual_seed(3)), quant.nf4_levels()
    codes, absmax = quant.to_codes(block, levels)
    got = get("nf4_quantise").reference(block, levels)
    assert torch.equal(got[0], codes)
    torch.testing.assert_close(got[1], quant.from_codes(codes, absmax, levels, (64,)))
    shape, count = memory.QWEN3["Qwen3-8B"], get("training_bytes").reference
    assert get("lora_parameters").reference(list(shape.linears.values()), 8) * shape.layers == shape.adapters(
        8
    )
    assert memory.training(shape, "full").total == count(shape.parameters, 0, "full")
    assert memory.training(shape, "lora", 8).total == count(shape.parameters, shape.adapters(8), "lora")
    tables = (
        1092 * len(shape.linears) * shape.layers
    )  # 16 levels, 256 levels of the scales, and their mean: in fp32, for each matrix
    assert (
        memory.training(shape, "qlora", 8).total
        == count(shape.in_linears, shape.adapters(8), "qlora") + 2 * shape.elsewhere + tables
    )


# ---- comparison of results ----


@pytest.mark.parametrize("got, wanted, said", [
    (None, 1, "is None: the function needs a `return`"),
    (torch.ones(2, 3), torch.ones(3, 2), "has the shape [2, 3]; wanted is [3, 2]"),
    ([1.0], torch.ones(1), "is a list; wanted is a tensor of shape [1]"),
    (torch.ones(2), torch.ones(2, dtype=torch.long),
     "holds floats (torch.float32); wanted are whole numbers (torch.int64)"),
    (torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0]), "at [1] is 2.5; wanted is 2"),
    (torch.ones(1), 1.0, "is a tensor of shape [1]; wanted is a number"),
    (float("nan"), 1.0, "is nan; wanted is 1"),
    (2.0, 2, "is the float 2; wanted is a whole number (int)"),
    (1, True, "is a whole number; wanted is True or False"),
    ([1, 2], [1, 2, 3], "has the length 2; wanted is 3"),
    ((1, [0, 1]), (1, [0, 0]), "at [1] at [1] is 1; wanted is 0"),
    ({"a": 1}, {"b": 1}, "has the keys ['a']; wanted are ['b']"),
    ({"a": 1}, {"a": 2}, "at 'a' is 1; wanted is 2"),
    ("cpt", "sft", "is 'cpt'; wanted is 'sft'"),
    ((x for x in [1]), [1], "is of type generator; wanted is a list"),
    (len, "a", "is of type builtin_function_or_method; wanted is a string"),
])  # fmt: skip
def test_a_difference_is_said_in_words(got, wanted, said):
    assert difference(got, wanted) == said


@pytest.mark.parametrize("got, wanted", [
    (torch.tensor(1.0), 1.0), (1.0, torch.tensor(1.0)), (1, 1.0), (torch.tensor(3), 3), ((1, 2), [1, 2]),
    (True, 1), (float("inf"), float("inf")), (torch.ones(2, dtype=torch.float64), torch.ones(2)),
    (1.000001, 1.0), ({"b": 1, "a": 2}, {"a": 2, "b": 1}), (None, None),
])  # fmt: skip
def test_what_is_the_same_in_another_dress_passes(got, wanted):
    assert difference(got, wanted) is None


def test_long_values_are_cut():
    assert (
        len(short(list(range(1000)))) < 250
        and short(torch.ones(9, 9)) == "a tensor of shape [9, 9]"
        and short([0.123456789]) == "[0.12346]"
    )
    assert case("a", 1, 2).args == (1, 2)


def test_reinforcement_learning_is_the_librarys():
    from llmlab.methods import advantages, parts, policy
    from llmlab.methods.policy import Dials
    from llmlab.models.roles import METHODS, method_bytes

    torch.manual_seed(4)
    rewards, group = torch.rand(3, 4), torch.arange(3).repeat_interleave(4)
    torch.testing.assert_close(
        get("leave_one_out").reference(rewards).view(-1, 1), advantages.leave_one_out(rewards.view(-1), group)
    )
    ratio, advantage = torch.rand(9) + 0.5, torch.randn(9)
    torch.testing.assert_close(
        get("clipped_gain").reference(ratio, advantage, 0.2, 0.28),
        policy.clipped(ratio, advantage, 0.2, 0.28)[0],
    )
    values, mask = torch.randn(1, 5), torch.ones(1, 5)
    paid = advantages.token_rewards(torch.tensor([0.7]), mask)
    torch.testing.assert_close(
        get("look_ahead").reference(0.7, values[0], 0.99, 0.9),
        advantages.gae(paid, values, mask, 0.99, 0.9)[0][0],
    )
    mask = (torch.arange(6) < torch.tensor([[2], [5]])).float()
    for how, aggregate in {
        "token_mean": parts.token_mean,
        "sequence_mean": parts.sequence_mean,
    }.items():
        x = torch.zeros_like(mask).requires_grad_()
        torch.testing.assert_close(
            get("token_weights").reference(mask, how, 8), torch.autograd.grad(aggregate(x, mask), x)[0]
        )
    new, ref = -torch.rand(2, 6), -torch.rand(2, 6)
    batch = Batch(
        torch.zeros(2, 7, dtype=torch.long),
        torch.cat([torch.zeros(2, 1), mask], 1),
        {"rewards": rewards[0, :2], "group": group[:2]},
    )
    batch = batch.add(old_logprobs=new, ref_logprobs=ref)
    penalised = Dials(kl_penalty="reward", beta=0.3, advantage="no_baseline").columns(batch)["advantages"][
        :, 0
    ]
    torch.testing.assert_close(
        get("kl_penalised_rewards").reference(rewards[0, :2], new, ref, mask, 0.3), penalised
    )
    for method, roles in METHODS.items():
        assert get("rl_bytes").reference(
            10**6, *(r in roles for r in ("critic", "reward model", "reference"))
        ) == method_bytes(method, 10**6)


def test_tools_and_retrieval_are_the_librarys():
    from llmlab.chapters.c08_tools_and_retrieval.exercises import Toy
    from llmlab.methods import advantages
    from llmlab.retrieval import chunks, dense, rank

    torch.manual_seed(5)
    right, calls = (torch.rand(3, 4) > 0.4).float(), torch.randint(0, 3, (3, 4)).float()
    rewards, group = (right - 0.3 * calls).view(-1), torch.arange(3).repeat_interleave(4)
    torch.testing.assert_close(
        get("priced_advantages").reference(right, calls, 0.3).view(-1, 1),
        advantages.group_norm(rewards, group),
    )
    r, some = random.Random(5), "a b c d e f".split()
    for _ in range(50):
        words, length = r.choices(some, k=r.randrange(14)), r.randint(1, 6)
        overlap = r.randrange(length)
        cut = [c.text.split() for c in chunks.cut("x", " ".join(words), length, overlap)]
        assert get("overlapping_chunks").reference(words, length, overlap) == cut
        lists = [r.sample(range(9), r.randint(1, 9)) for _ in range(3)]
        assert [d for d, _ in get("fused_ranks").reference(lists, 60)] == rank.fused(lists, [1, 1, 1])
    documents = [r.choices(some, k=r.randint(2, 9)) for _ in range(6)]
    scores = rank.BM25([" ".join(d) for d in documents]).scores("a d f")
    assert get("bm25_scores").reference(["a", "d", "f"], documents) == pytest.approx(
        scores.tolist(), rel=1e-5
    )
    q, p = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(get("in_batch_loss").reference(q, p, 0.1), dense.info_nce(q, p, 0.1))
    assert Toy().encode("abca<end>") == [4, 0, 5] and Toy().decode([0, 1]) == Toy().decode([3])


def test_the_numbers_of_a_call_are_the_librarys():
    import json

    from llmlab.chapters.c08_tools_and_retrieval.tools import judge as judged
    from llmlab.world.base import Problem
    from llmlab.world.desk import Desk, call

    person = next(iter(Desk().census.people))
    turn = call("census", person=person, field="job")
    right = turn["tool_calls"][0]["function"]
    problem = Problem((), "", {"chain": [turn]})
    texts = [right, right | {"name": "cens"}, right | {"arguments": {"person": person}}]
    texts += [
        right | {"arguments": {"person": p, "field": f}} for p, f in ((person, "city"), ("No One", "job"))
    ]
    schema = {"census": {"id": "string", "field": "string"}}
    named = lambda c: {
        "name": c["name"],
        "arguments": {k.replace("person", "id"): v for k, v in c["arguments"].items()},
    }
    for text in texts:
        theirs = judged(problem, f"<tool_call>\n{json.dumps(text)}\n</tool_call>")
        ours = get("call_numbers").reference([json.dumps(named(text))], [named(right)], schema, [person])
        assert ours == {k: theirs[k] for k in ours}
