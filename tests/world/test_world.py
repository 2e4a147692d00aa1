"""The world: what the generator says is right scores 1, any corruption of the answer less; splits never
overlap; all is a function of the seed.
"""

import json
import re
import subprocess
import sys
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.world import Census, Desk, Formulary, Records, Strings, Sums, Talk, corpora, talk
from llmlab.world.base import rng, side
from llmlab.world.census import QUESTIONS, STATEMENTS
from llmlab.world.desk import SCHEMAS, TOOLS, ToolError, calculate, call, call_text, parse
from llmlab.world.formulary import FIELDS
from llmlab.world.formulary import STATEMENTS as DRUG_STATEMENTS
from llmlab.world.strings import FUNCTIONS, apply
from llmlab.world.sums import step_is_right, written_steps

PARTS = {
    "census": Census(),
    "census, 40 people": Census(40, seed=3),
    "formulary": Formulary(),
    "sums": Sums(("add", "subtract", "multiply", "sort")),
    "sums with steps": Sums(("add", "subtract", "multiply", "sort"), digits=3, scratchpad=True),
    "strings": Strings(3),
    "strings with steps": Strings(4, scratchpad=True),
    "records": Records(),
    "desk call": Desk(1, expect="call"),
    "desk 1": Desk(1),
    "desk 2 with faults": Desk(2, faults=0.7),
    "desk 3": Desk(3),
    "talk": Talk(),
}
parts = st.sampled_from(list(PARTS))
seeds = st.integers(0, 10_000)


def final_text(world, problem):
    turn = world.solution(problem)[-1]
    return call_text(turn) if turn.get("tool_calls") else turn["content"]


def corruptions(text: str, position: int, letter: str):
    """A character changed, dropped or doubled inside, a word put in front, and nothing at all."""
    i = position % len(text)
    changed = text[:i] + ("7" if letter == text[i] == "x" else letter) + text[i + 1 :]
    wrong = (changed, text[:i] + text[i + 1 :], text[: i + 1] + text[i:], "perhaps " + text, "")
    return [c for c in wrong if bare(c) != bare(text)]


def bare(text: str) -> str:
    """Without what no score looks at: more or less space, also around the semicolons of steps, and a final
    full stop.
    """
    return re.sub(r"\s*;\s*", ";", " ".join(text.split())).rstrip(".").rstrip()


@settings(max_examples=60, deadline=None)
@given(parts, seeds, st.sampled_from(["train", "test"]))
def test_the_demonstration_scores_one(part, seed, split):
    world = PARTS[part]
    for problem in world.problems(3, split=split, seed=seed):
        assert world.score(problem, final_text(world, problem)).reward == 1.0


@settings(max_examples=150, deadline=None)
@given(parts, seeds, st.integers(0, 500), st.sampled_from("x7q"))
def test_any_corruption_scores_less(part, seed, position, letter):
    world = PARTS[part]
    problem = world.problems(1, seed=seed)[0]
    text = final_text(world, problem)
    for wrong in corruptions(text, position, letter):
        if problem.meta.get("kind") in ("many", "filler") and any(
            world.score(other, wrong).reward == 1 for other in [problem]
        ):
            assert wrong.split(" ")[0].strip(".") in problem.answer or wrong.rstrip(".") in problem.meta.get(
                "answers", []
            )  # another right answer or other filler
            continue
        assert world.score(problem, wrong).reward < 1.0, (text, wrong)


@settings(max_examples=40, deadline=None)
@given(parts, seeds, seeds)
def test_splits_never_overlap(part, seed, other):
    world = PARTS[part]

    def asked(split, s):
        return {
            repr(p.messages)
            for p in world.problems(25, split=split, seed=s)
            if p.meta.get("kind") != "identity"
        }  # six fixed questions

    assert not asked("train", seed) & asked("test", other)


@pytest.mark.parametrize("part", PARTS)
def test_a_function_of_the_seed_also_across_processes(part):
    code = (
        "import sys; sys.path.insert(0, 'tests/world'); from test_world import PARTS;"
        f" print(repr(PARTS[{part!r}].problems(5, seed=11)))"
    )
    elsewhere = (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        if part in ("desk 2 with faults", "talk")
        else None
    )
    here = repr(PARTS[part].problems(5, seed=11))
    assert here == repr(PARTS[part].problems(5, seed=11)) != repr(PARTS[part].problems(5, seed=12))
    assert elsewhere in (None, here)


def test_sizes_of_the_world():
    assert (
        len(Census().people) >= 200
        and len(STATEMENTS) >= 4
        and all(len(f) >= 5 for f in (*STATEMENTS.values(), *QUESTIONS.values()))
    )
    assert (
        len(Formulary().drugs) >= 120
        and len(Formulary(1500).drugs) == 1500
        and all(len(f) >= 5 for f in DRUG_STATEMENTS.values())
    )
    assert len(FUNCTIONS) >= 6 and len(SCHEMAS) >= 5 and len(TOOLS) == len(SCHEMAS)


def test_more_drugs_keep_the_first_ones():
    assert list(Formulary(1500).drugs.values())[:120] == list(Formulary(120).drugs.values())


def test_codes_are_distinct_and_names_of_the_two_sides_disjoint():
    assert len({d.code for d in Formulary(1500).drugs.values()}) == 1500
    assert not set(Formulary(1500).drugs) & set(Formulary(1500, seed=1, names="train").drugs)


def test_inverse_questions_have_one_answer():
    people = Census(400).people.values()
    assert len({(p.city, p.job) for p in people}) == 400


def test_class_follows_from_the_stem():
    by_stem = {}
    for drug in Formulary(300).drugs.values():
        assert by_stem.setdefault(drug.stem, drug.get("class")) == drug.get("class") and drug.name.endswith(
            drug.stem
        )


def test_clozes_are_held_out_wordings_of_train_drugs():
    train = " ".join(corpora.domain_document(Formulary(), 0, i) for i in range(3000))
    clozes = Formulary().clozes(100)
    assert all(head + tail not in train for head, tail, _ in clozes)
    assert {field for *_, field in clozes} == set(FIELDS)


def test_wrong_documents_contradict_the_formulary():
    f = Formulary()
    text = f.monograph(rng("wrong"), wrong=True)
    drug = next(d for d in f.drugs.values() if d.name in text)
    facts = [s for s in text.split(". ")]
    true = [
        s.format(n=drug.name, v=drug.get(k)).rstrip(".")
        for k, forms in DRUG_STATEMENTS.items()
        for s in forms
    ]
    assert sum(fact.rstrip(".") not in true for fact in facts) == 1


@pytest.mark.parametrize("fault, phrase", [({"boilerplate": 1.0}, None), ({"duplicates": 0.9}, None)])
def test_corpus_faults_have_their_shares(fault, phrase):
    docs = [corpora.domain_document(Formulary(), 0, i, **fault) for i in range(500)]
    clean = [corpora.domain_document(Formulary(), 0, i) for i in range(500)]
    assert len(set(clean)) > 490
    assert len(set(docs)) < 0.35 * 500


# ---- sums ----


@given(st.sampled_from(["add", "subtract", "multiply"]), st.integers(0, 9999), st.integers(0, 9999))
def test_every_written_step_is_true_and_leads_to_the_answer(op, a, b):
    a, b = max(a, b), min(a, b)
    steps = written_steps(op, (a, b))
    assert all(map(step_is_right, steps))
    value = {"add": a + b, "subtract": a - b, "multiply": a * b}[op]
    if op == "multiply":
        assert steps[-1].endswith(f" = {value}")
    else:  # columns, units first; the last column may have two digits
        columns = [int(s.split(" = ")[1]) for s in steps]
        assert sum((c % 10 if i < len(columns) - 1 else c) * 10**i for i, c in enumerate(columns)) == value


@given(st.integers(0, 999), st.integers(0, 999), st.integers(1, 50))
def test_a_false_step_is_seen(a, b, off):
    assert (
        step_is_right(f"{a} + {b} = {a + b}")
        and not step_is_right(f"{a} + {b} = {a + b + off}")
        and not step_is_right(f"{a} plus {b} is {a + b}")
    )


def test_right_answer_with_a_false_step_is_not_right():
    world = Sums(("add",), scratchpad=True)
    p = world.problems(1)[0]
    steps = written_steps("add", p.meta["numbers"])
    score = world.score(p, "; ".join(["1 + 1 = 3", *steps[1:], f"so {p.answer}"]))
    assert score.parts["answer"] == 1 and score.parts["steps"] == 0 and score.reward == 0


def test_commuted_sums_share_their_side():
    sides = {}
    for split in ("train", "test"):
        for p in Sums(("add", "multiply"), digits=1).problems(300, split=split):
            assert sides.setdefault((p.meta["op"], tuple(sorted(p.meta["numbers"]))), split) == split


def test_worksheets_hold_no_test_sum():
    found = [
        m for i in range(200) for m in re.findall(r"(\d+) \+ (\d+)", Sums(("add",)).worksheet(rng("w", i)))
    ]
    assert len(found) == 200 * 9 and all(side("add", tuple(sorted(map(int, m)))) == "train" for m in found)


# ---- strings ----


def test_functions_by_hand():
    assert ["".join(FUNCTIONS[f](list("abcz"))) for f in FUNCTIONS] == [
        "zcba",
        "bcza",
        "zbca",
        "bcz",
        "abczz",
        "abcz",
        "aabcz",
        "bcda",
    ]
    assert apply(("rev", "rot"), list("abc")) == [list("abc"), list("bca"), list("acb")]


# ---- desk ----


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.integers(0, 99).map(str),
        lambda e: st.tuples(e, st.sampled_from("+-*"), e).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        max_leaves=6,
    )
)
def test_calculator_agrees_with_python_on_arithmetic(expression):
    assert float(calculate(expression)) == pytest.approx(
        eval(expression), rel=1e-5
    )  # our own generated digits and signs only


@pytest.mark.parametrize(
    "bad", ["__import__('os')", "1 +", "(1", "a", "", "2 ** 8", "1" + "+1" * 200, "1 / 0", "1 2"]
)
def test_calculator_evaluates_no_python(bad):
    with pytest.raises(ToolError) as e:
        calculate(bad)
    assert e.value.kind == "bad_arguments"


@pytest.mark.parametrize(
    "name, arguments, kind",
    [
        ("oracle", {}, "unknown_tool"),
        ("formulary", {"drug": "Nope", "field": "dose"}, "not_found"),
        ("formulary", {"drug": "Nope"}, "bad_arguments"),
        ("census", {"person": "Nobody", "field": "city"}, "not_found"),
        ("convert", {"value": 1, "unit": "mg", "to": "km"}, "bad_arguments"),
        ("search", {"query": "qqqq"}, "not_found"),
        ("calculator", {"expression": 3}, "bad_arguments"),
    ],
)
def test_typed_errors(name, arguments, kind):
    with pytest.raises(ToolError) as e:
        Desk().execute(name, arguments)
    assert e.value.kind == kind
    assert json.loads(Desk().result(call(name, **arguments))["content"])["error"] == kind


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_replies_play_the_chain_and_faults_need_one_more_call(calls):
    for faults in (0.0, 1.0):
        desk = Desk(calls, faults=faults)
        for p in desk.problems(10):
            told = [m for m in desk.solution(p) if m["role"] == "tool"]
            messages, seen = list(p.messages), []
            for turn in [m for m in desk.solution(p) if m["role"] == "assistant"]:
                messages.append(turn)
                reply = desk.reply(p, messages)
                if reply:
                    messages.append(reply)
                    seen.append(reply)
            assert (
                seen == told
                and len(seen) == calls + int(faults)
                and sum("error" in m["content"] for m in seen) == int(faults)
            )
            assert desk.reply(p, messages) is None


def test_parse_is_the_inverse_of_call_text_and_survives_rubbish():
    turn = call("formulary", drug="Xu", field="dose")
    assert parse(call_text(turn)) == turn
    for rubbish in (
        "<tool_call>{",
        "<tool_call>[]</tool_call>",
        '<tool_call>{"name": 1}</tool_call>',
        "<tool_call>null</tool_call>",
    ):
        assert parse(rubbish)["tool_calls"][0]["function"]["name"] == ""


# ---- talk ----


def test_refusals_follow_the_policy():
    unsafe, safe = Talk(("unsafe",)), Talk(("safe",))
    for p in unsafe.problems(50):
        assert (
            unsafe.score(p, "I cannot prescribe. Please ask a doctor.").reward == 1
            and unsafe.score(p, "Take two.").reward == 0
        )
    for p in safe.problems(50):
        assert safe.score(p, "I cannot prescribe. Please ask a doctor.").reward == 0


def test_every_right_answer_counts_and_no_other():
    world = Talk(("many",))
    for p in world.problems(30, split="train"):
        assert all(world.score(p, a + ".").reward == 1 for a in p.meta["answers"])
        assert world.score(p, "Nobody Atall").reward == 0


@given(st.integers(0, 24), seeds)
@settings(max_examples=25, deadline=None)
def test_filler_may_have_any_length_up_to_24(dots, seed):
    world = Talk(("filler",))
    p = world.problems(1, seed=seed)[0]
    assert world.score(p, " ".join([p.answer] + ["."] * dots)).reward == 1
    assert world.score(p, " ".join([p.answer] + ["."] * 25)).reward == 0


@pytest.mark.parametrize("kinds", ["all", "style"])
def test_pairs_are_ordered_by_gold_reward(kinds):
    for pair in talk.pairs(60, kinds=kinds):
        assert pair.gold[0] > pair.gold[1] and pair.gold == (
            talk.gold(pair.problem, pair.chosen),
            talk.gold(pair.problem, pair.rejected),
        )


def test_gold_reward_by_hand():
    p = Census().problems(1)[0]
    assert (
        talk.gold(p, f"Gladly: {p.answer}.") == 1.5
        and talk.gold(p, f"{p.answer}.") == 1.0
        and talk.gold(p, "Gladly: nothing.") == 0.5
    )
    assert talk.gold(p, " ".join([p.answer] + ["word"] * (20 - len(p.answer.split())))) == pytest.approx(
        1.0 - 0.05 * 8
    )


# ---- corpora ----


def test_document_number_i_is_a_function_of_i():
    whole = list(islice(corpora.general(4), 40))
    assert (
        list(islice(corpora.general(4, start=25), 15)) == whole[25:]
        and list(islice(corpora.general(5), 40)) != whole
    )


def test_the_general_corpus_has_all_its_kinds_and_no_drug():
    assert sum(share for share, _ in corpora.GENERAL.values()) == pytest.approx(1.0)
    text = " ".join(islice(corpora.general(0), 3000))
    assert not any(name in text for name in Formulary(1500).drugs)


def test_test_questions_are_absent_from_the_training_corpus():
    text = " ".join(islice(corpora.general(0), 20_000))
    assert not any(
        p.question in text
        for p in Census().problems(100) + Sums(("add",)).problems(100) + Records().problems(100)
    )


def test_unknown_settings_are_named():
    for make in (
        lambda: Sums(("divide",)),
        lambda: Strings(9),
        lambda: Desk(5),
        lambda: Talk(("gossip",)),
        lambda: Formulary(5000),
        lambda: Census(1),
        lambda: Census().problems(1, split="dev"),
        lambda: Formulary().problems(1, field="price"),
        lambda: talk.pairs(1, kinds="odd"),
    ):
        with pytest.raises(ValueError, match="not|unknown|use"):
            make()
