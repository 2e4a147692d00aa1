"""What chapter 04's experiments add: careless lessons, templates that do not agree, tools that fail or
mislead, newcomers and strangers, own samples, own conversations.
"""

import json
import math
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab import cli
from llmlab.chapters.c04_sft import chats, curate
from llmlab.chapters.c04_sft.chats import Chats
from llmlab.chapters.c04_sft.curate import Curate, pick
from llmlab.chapters.c04_sft.sft import SFT, is_json, json_requests, pool
from llmlab.chapters.c04_sft.stages import Stages
from llmlab.chapters.c04_sft.template import HEADER, Template, template
from llmlab.chapters.c04_sft.traces import Traces, recites, results
from llmlab.chapters.c04_sft.unknown import Unknown, asked_of
from llmlab.errors import UserError
from llmlab.lab import runs
from llmlab.lab.supervised import order
from llmlab.models import quant
from llmlab.models.load import load, save
from llmlab.serve.batcher import Batcher, Request
from llmlab.serve.store import AdapterStore
from llmlab.tokens import chat, collate
from llmlab.tokens.special import TEMPLATE
from llmlab.tokens.wrong_templates import MEANING, TEMPLATES
from llmlab.train.rollout import Episode
from llmlab.world import Census, Desk
from llmlab.world.base import Problem, Score, rng
from llmlab.world.lessons import CARELESS, TAIL, Few, Lessons
from llmlab.world.misleading import Misleading
from llmlab.world.newcomers import Newcomers
from llmlab.world.strangers import NAMES, UNKNOWN, Strangers
from llmlab.world.talk import REFUSAL, Talk


@pytest.fixture(scope="module")
def tok():
    """The lab's tokenizer with its chat template."""
    return load("chat").tok


# ---- lessons ----


def lessons(n=400, **settings):
    """The first lessons of a mixture."""
    source = Lessons(**settings)
    return [source.lesson(rng("test", i)) for i in range(n)]


@pytest.mark.parametrize("safety", [0.0, 0.15, 0.8])
def test_the_share_of_requests_to_refuse_is_the_knob(safety):
    refused = [x.answer[0]["content"] == REFUSAL for x in lessons(safety=safety)]
    assert abs(sum(refused) / len(refused) - safety) < 4 * math.sqrt(0.25 / 400)
    assert all(r == (x.problem.meta["kind"] == "unsafe") for r, x in zip(refused, lessons(safety=safety)))


def test_right_labels_pass_the_checker_and_careless_ones_do_not():
    for lesson in lessons(wrong=0.5):
        meta, text = lesson.problem.meta, lesson.answer[-1].get("content", "")
        if "tool_calls" not in lesson.answer[0]:
            assert (Talk().score(lesson.problem, text).reward == 1) == lesson.right, (meta, text)
    wrong = [x for x in lessons(wrong=0.5) if not x.right]
    assert 120 < len(wrong) < 280 and {x.problem.meta["kind"] for x in wrong} == {
        "fact",
        "format",
        "unsafe",
        "safe",
    }
    assert {x.answer[0]["content"] for x in wrong if x.problem.meta["kind"] == "unsafe"} == {CARELESS}


def test_only_plain_answers_ramble_and_the_rest_is_the_same():
    for short, long in zip(lessons(), lessons(verbose=1.0)):
        if short.problem.meta["kind"] == "fact":
            assert long.answer[0]["content"] == short.answer[0]["content"] + TAIL


def test_few_people_are_the_first_of_the_census():
    few = Few(kept=7)
    assert list(few.people.items()) == list(Census().people.items())[:7]
    named = {x.problem.meta["person"] for x in lessons(people=7) if x.problem.meta["kind"] == "fact"}
    assert named <= set(few.people)


def test_lessons_come_from_the_training_split_only():
    held = {p.question for p in Talk(("fact", "format", "unsafe", "safe")).problems(400, split="test")}
    assert not held & {x.problem.question for x in lessons()}


# ---- sft ----


def test_a_smaller_pool_is_the_beginning_of_a_larger_one_and_every_epoch_shows_each_once():
    assert pool(Lessons(), 3, 20) == pool(Lessons(), 3, 50)[:20]
    experiment = SFT(examples=10, batch=5)
    epoch = [x for step in range(2) for x in experiment.lessons_at(3, step)]
    assert Counter(map(id, epoch)) == Counter(map(id, pool(Lessons(), 3, 10)))
    assert order(3, 0, 10) != order(3, 1, 10) and sorted(order(3, 1, 10)) == list(range(10))


def test_the_filter_keeps_what_the_checker_accepts():
    kept = [
        x for step in range(8) for x in SFT(examples=60, wrong=0.5, filtering="checked").lessons_at(0, step)
    ]
    assert all(x.right for x in kept) and not all(
        x.right for step in range(8) for x in SFT(examples=60, wrong=0.5).lessons_at(0, step)
    )
    assert all(x.right for x in SFT(wrong=0.9, filtering="checked").lessons_at(0, 0))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_outside_the_mask_a_token_counts_its_weight_on_average(tok, weight):
    plain, weighed = (SFT(batch=64, prompt_weight=w).batch_at(tok, 0, 0) for w in (0.0, weight))
    inside = plain.mask == 1
    assert torch.equal(plain.ids, weighed.ids) and torch.equal(
        weighed.mask[inside], torch.ones(int(inside.sum()))
    )
    assert set(weighed.mask.unique().tolist()) <= {0.0, 1.0}, "losses read a mask as yes or no"
    every = SFT(batch=64, mask="all").batch_at(tok, 0, 0).mask.bool() & ~inside
    share, n = float(weighed.mask[every].mean()), int(every.sum())
    assert n > 1000 and abs(share - weight) <= 4 * (weight * (1 - weight) / n) ** 0.5


def test_weight_one_is_the_mask_of_all_tokens(tok):
    assert torch.equal(
        SFT(batch=4, prompt_weight=1.0).batch_at(tok, 0, 0).mask,
        SFT(batch=4, mask="all").batch_at(tok, 0, 0).mask,
    )


@pytest.mark.parametrize(
    "text, valid",
    [
        ('{"city": "Tarsk"}', True),
        ('{"city": "Nowhere"}', True),
        ('{"town": "Tarsk"}', False),
        ('{"city": "Tarsk"', False),
        ('"Tarsk"', False),
        ('{"city": 3}', False),
        ("Tarsk", False),
        ('{"city": "Tarsk"} x', False),
    ],
)
def test_valid_json_has_the_right_key_and_any_text(text, valid):
    problem = Problem(({"role": "user", "content": "?"},), json.dumps({"city": "Tarsk"}), {})
    assert is_json(problem, text) == valid


def test_the_requests_for_json_are_many_and_different():
    asked = json_requests(512)
    assert (
        100 < len(asked) <= 512
        and len({p.question for p in asked}) == len(asked)
        and all(p.meta["format"] == "json" for p in asked)
    )


# ---- templates ----


def dialogue():
    """A look-up with its call, result and answer."""
    desk = Desk(1, tools=("formulary",))
    problem = desk.problems(1, seed=3)[0]
    return problem, [*problem.messages, *desk.solution(problem)]


@pytest.mark.parametrize("name", TEMPLATES)
def test_in_every_template_exactly_what_the_model_writes_is_imitated(tok, name):
    problem, messages = dialogue()
    with template(tok, name):
        ids, mask = chat.encode(tok, messages, problem.meta["tools"])
        prompt = chat.prompt(tok, problem.messages, problem.meta["tools"])
    written = tok.decode([i for i, m in zip(ids, mask) if m]).split("<|im_end|>")
    head = HEADER if name == "no_prompt" else ""
    assert written == [
        f"{head}<tool_call>\n" + written[0].split("<tool_call>\n")[1],
        f"{head} {messages[-1]['content']}",
        "",
    ]
    assert ids[: len(prompt)] == prompt and mask.index(1) == len(
        prompt
    )  # what is trained begins where serving lets the model begin
    assert tok.chat_template == TEMPLATE


def test_the_templates_differ_from_each_other_and_each_is_explained(tok):
    problem, messages = dialogue()
    texts = set()
    for name in TEMPLATES:
        with template(tok, name):
            texts.add(
                (
                    chat.render(tok, messages, problem.meta["tools"]),
                    chat.render(tok, problem.messages, prompt=True),
                )
            )
    assert len(texts) == len(TEMPLATES) and set(MEANING) == set(TEMPLATES)


def test_where_padding_is_the_turns_end_no_end_is_imitated(tok):
    own, fault = Template(batch=4).batch_at(tok, 0, 0), Template(batch=4, pad="turn end").batch_at(tok, 0, 0)
    end = tok.eos_token_id
    assert (own.mask * (own.ids == end)).sum() > 0 and (fault.mask * (fault.ids == end)).sum() == 0
    assert torch.equal(own.mask * (own.ids != end), fault.mask)


def test_the_template_of_serving_is_taken_off_after_the_reading():
    loaded = load("base")
    rows = Template(served="literal", steps=10, batch=2, held=8).rows(loaded, 0)
    next(rows)
    assert loaded.tok.chat_template == TEMPLATES["control"]
    rows.close()


def test_a_later_stage_leaves_the_tokenizer_as_it_was():
    loaded = load("chat")
    rows = Stages(trained="literal", steps=5, probe=5, held=16).rows(loaded, 0)
    first = next(rows)
    assert first["facts"] > 0.9 and loaded.tok.chat_template == TEMPLATES["literal"]
    rows.close()
    assert loaded.tok.chat_template == TEMPLATE


# ---- traces ----


def test_a_misleading_desk_says_other_things_than_the_census_and_always_the_same():
    desk, census = Misleading(1), Census()
    for problem in desk.problems(60):
        arguments = problem.meta["chain"][0]["tool_calls"][0]["function"]["arguments"]
        said = json.loads(desk.result(problem.meta["chain"][0])["content"])["result"]
        assert (
            said
            == problem.answer
            != getattr(census.people[arguments["person"]], arguments["field"])
            == desk.memory(**arguments)
        )
        assert said == desk.execute("census", arguments) and said != arguments["person"]
    with pytest.raises(Exception, match="no person 'Nobody'"):
        desk.execute("census", {"person": "Nobody", "field": "city"})


def roles(experiment, n=200):
    """Number of tool results in each trace."""
    return Counter(sum(m["role"] == "tool" for m in experiment.trace(0, i)[0]) for i in range(n))


def test_retries_and_chains_come_in_their_shares():
    assert set(roles(Traces())) == {1}
    assert (
        abs(roles(Traces(retry=0.5))[2] / 200 - 0.5) < 0.15
        and abs(roles(Traces(chained=0.5))[2] / 200 - 0.5) < 0.15
    )
    failed = next(
        t
        for i in range(50)
        if (t := Traces(retry=0.5).trace(0, i)[0]) and sum(m["role"] == "tool" for m in t) == 2
    )
    tools = [json.loads(m["content"]) for m in failed if m["role"] == "tool"]
    assert "error" in tools[0] and "result" in tools[1]


def test_the_mask_of_results_covers_the_last_result_and_nothing_before(tok):
    problem, _ = dialogue()
    ids, mask = results(tok, Desk(1), problem)
    text = tok.decode([i for i, m in zip(ids, mask) if m])
    assert '{"result"' in text and "<tool_call>" not in text


def test_who_recites_gives_what_memory_has():
    desk = Misleading(1)
    problems = desk.problems(8)
    say = lambda text, p: Episode(p, 0, [], [], [], [], text, True, Score({"answer": 1.0}))
    memory = [desk.memory(**p.meta["chain"][0]["tool_calls"][0]["function"]["arguments"]) for p in problems]
    assert (
        recites(desk, [say(f"{m}.", p) for m, p in zip(memory, problems)]) == 1
        and recites(desk, [say(p.answer, p) for p in problems]) == 0
    )


# ---- facts by SFT ----


def test_strangers_are_nobody_and_their_names_are_split():
    people = {*Census().people, *Newcomers(200).people}
    assert len(NAMES) > 500 and not people & set(NAMES)
    train, test = ({p.meta["person"] for p in Strangers().problems(200, split=s)} for s in ("train", "test"))
    assert not train & test and {p.answer for p in Strangers().problems(5)} == {UNKNOWN}


@pytest.mark.parametrize("share, strangers", [(0.0, 0.25), (0.5, 0.25), (1.0, 0.0), (0.5, 0.9)])
def test_newcomers_and_strangers_come_in_their_shares(share, strangers):
    asked = [Unknown(share=share, strangers=strangers).question(0, i) for i in range(300)]
    unknown = sum(p.answer == UNKNOWN for p in asked) / 300
    new = sum(any(n in p.question for n in Newcomers(60).people) for p in asked) / 300
    assert abs(unknown - strangers) < 0.1 and abs(new - share * (1 - strangers)) < 0.1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 6]))
def test_a_newcomer_is_asked_about_in_at_most_so_many_wordings_none_of_them_held_out(seed, wordings):
    r = rng("p", seed)
    forms = {}
    for _ in range(60):
        p = asked_of(r, 10, wordings)
        name = next(n for n in Newcomers(10).people if n in p.question)
        forms.setdefault((name, p.answer), set()).add(p.question)
    assert all(
        len(f) <= 2 * wordings for f in forms.values()
    )  # two facts of one person may have the same value
    assert not {q for f in forms.values() for q in f} & {
        p.question for p in Newcomers(10).problems(100, split="test")
    }


# ---- own samples ----


def sampled(*samples):
    """A group of episodes: (text, reward, stopped)."""
    return [Episode(None, 0, [], [1], [1], [0.0], t, s, Score({"answer": r})) for t, r, s in samples]


def test_which_sample_is_kept():
    group = sampled(("9", 0.0, True), ("7", 1.0, False), ("5", 0.0, True), ("5", 0.0, True), ("7", 1.0, True))
    assert [
        pick(group, keep) and (pick(group, keep).text, pick(group, keep).stopped)
        for keep in ("any", "majority", "verified")
    ] == [("9", True), ("5", True), ("7", True)]
    assert (
        pick(group[:3], "verified") is None
        and pick(sampled(("7", 1.0, False)), "any") is None
        and pick(sampled(("7", 1.0, False)), "majority") is None
    )


def test_no_right_sample_is_one_sentence(monkeypatch):
    monkeypatch.setattr(curate, "pick", lambda group, keep: None)
    with pytest.raises(UserError, match="choose more samples"):
        next(Curate(problems=16, k=1, held=16).rows(load("chat"), 0))


def test_only_own_tokens_of_a_kept_sample_are_imitated():
    loaded = load("chat")
    for ids, mask in Curate(problems=16, k=2, keep="verified").kept(loaded.model, loaded.tok, 0):
        assert loaded.tok.decode([i for i, m in zip(ids, mask) if m]).endswith(
            "<|im_end|>"
        ) and mask == sorted(mask)


# ---- own conversations ----

GOOD = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}'
CALL = (
    '{"messages": [{"role": "user", "content": "Dose?"}, {"role": "assistant", "content": null, "tool_calls":'
    ' [{"type": "function", "function": {"name": "f", "arguments": {"a": "b"}}}]}]}'
)


def test_conversations_are_read_from_json_lines(tmp_path, tok):
    file = tmp_path / "chats.jsonl"
    file.write_text(f"{GOOD}\n\n{CALL}\n", encoding="utf-8")
    found = Chats.own(str(file))
    assert [c.messages[-1]["role"] for c in found] == ["assistant"] * 2 and '"name": "f"' in chat.render(
        tok, found[1].messages
    )


@pytest.mark.parametrize(
    "text, problem",
    [
        ("{", "line 1: it is no JSON"),
        ("5", "line 1: it is a JSON int"),
        ('{"messages": []}', "line 1: "),
        (f"{GOOD}\n" + '{"messages": 3}', "line 2: "),
        ('{"messages": [{"role": "user", "content": "Hi"}]}', "line 1: "),
        ('{"messages": [{"role": "robot", "content": "Hi"}]}', "line 1: "),
        ('{"messages": [{"role": "assistant", "content": 3}]}', "line 1: "),
        (GOOD, "holds 1 conversation"),
        ("", "holds 0 conversation"),
    ],
)
def test_a_bad_file_of_conversations_is_one_sentence(tmp_path, capsys, text, problem):
    file = tmp_path / "chats.jsonl"
    file.write_text(text, encoding="utf-8")
    assert cli.main(["run", "chats", "--domain", str(file)]) == 2
    assert problem in capsys.readouterr().err
    assert cli.main(["run", "chats", "--domain", str(tmp_path / "none.jsonl")]) == 2


def test_own_conversations_are_trained_on_and_a_tenth_is_held_out(tmp_path):
    texts = chats.examples(20)
    rows = list(islice(Chats(steps=10, batch=2, probe=10).rows(load("base"), 0, texts=texts), 11))
    assert rows[-1]["answer_loss"] < rows[0]["answer_loss"]
    experiment = replace(Chats(batch=9), given=texts)
    epoch = [ids for step in range(2) for ids in experiment.batch_at(load("chat").tok, 0, step).ids]
    assert len(epoch) == len(experiment.learnt) == 18 and not [
        c for c in texts[::10] if c in experiment.learnt
    ]


def files(folder) -> set[str]:
    return {f.name for f in folder.iterdir()}


def test_adapters_of_own_conversations_are_kept_and_can_be_served(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path / "home"))
    file = tmp_path / "chats.jsonl"
    file.write_text(f"{GOOD}\n" * 20, encoding="utf-8")
    out, command = (
        tmp_path / "adapters" / "anna" / "1",
        [
            "run",
            "chats",
            "--domain",
            str(file),
            "--model",
            "chat",
            "--steps",
            "30",
            "--batch",
            "4",
            "--lr",
            "0.01",
        ],
    )
    assert cli.main([*command, "--method", "lora", "--targets", "attention", "--out", str(out)]) == 0
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"} <= files(out)
    loaded = load("chat")
    batcher = Batcher(loaded, AdapterStore(tmp_path / "adapters"))
    hi = ({"role": "user", "content": "Hi"},)
    mine, base = (batcher.answer([Request(name, hi)])[0].text for name in ("anna", "base"))
    batcher.close()
    assert mine == "Hello." != base
    assert cli.main([*command, "--method", "lora", "--out", str(out)]) == 2  # nothing is overwritten


def test_a_trained_model_is_kept_as_a_folder_that_loads(tmp_path):
    out = tmp_path / "mine"
    experiment = replace(Chats(steps=10, batch=2, probe=10), out=str(out))
    rows = list(experiment.rows(load("base"), 0, texts=chats.examples(20)))
    experiment.place()
    kept = load(str(out))
    assert kept.tok.chat_template and len(rows) == 11
    before, after = (m.model.get_input_embeddings().weight for m in (load("base"), kept))
    assert not torch.equal(before, after)


def test_a_folder_is_read_in_4_bits_and_only_adapters_are_trained(tmp_path):
    save(tmp_path / "folder", load("chat").model, load("chat").tok)
    experiment = Chats(method="qlora", steps=10, batch=2, probe=10)
    loaded = experiment.load(str(tmp_path / "folder"), "cpu")
    held = {n: p.detach().clone() for n, p in loaded.model.named_parameters()}
    assert quant.layers4bit(loaded.model)
    rows = list(experiment.rows(loaded, 0, texts=chats.examples(20)))
    assert rows[-1]["answer_loss"] < rows[0]["answer_loss"]
    now = {n.replace(".base_layer", ""): p for n, p in loaded.model.named_parameters()}
    assert all(torch.equal(now[n], p) for n, p in held.items())


def test_packed_rows_carry_the_same_labels(tok):
    padded, packed = (
        replace(Chats(batch=8, length=512, packed=p), given=chats.examples(40)).batch_at(tok, 0, 0)
        for p in ("no", "yes")
    )
    labels = lambda b: sorted(b.ids[b.mask == 1].tolist())
    assert labels(padded) == labels(packed) and len(packed) < len(padded) and "positions" in packed.given


def test_completion_imitates_everything_from_the_first_answer_on(tok):
    problem, messages = dialogue()
    (ids, mask), (_, own) = (
        collate.encode(tok, messages, problem.meta["tools"], imitate=i) for i in ("completion", "assistant")
    )
    first = own.index(1)
    assert mask == [0] * first + [1] * (len(ids) - first) and sum(mask) > sum(own)


def test_an_interrupted_run_of_imitation_goes_on_bit_equal(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path))
    experiment, stop = (
        Curate(steps=10, batch=4, problems=16, k=2, held=16, probe=5, keep="any"),
        iter([False] * 4 + [True] * 9),
    )
    whole = runs.run(experiment, 0, "chat", fresh=True)
    with pytest.raises(runs.Interrupted):
        runs.run(experiment, 0, "chat", fresh=True, stop=lambda: next(stop))
    runs.record("curate", whole.key).unlink()
    assert runs.run(experiment, 0, "chat").rows == whole.rows
