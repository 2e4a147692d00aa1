"""Chapter 11: who writes, what the teacher says of it, self-distillation, rounding and training for it."""

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from llmlab.chapters.c11_distillation import distill, merging, own_prompts, qat, quantise, teaching
from llmlab.chapters.c11_distillation.distill import Distill, rewarded_tokens, share_tokens, taught_by
from llmlab.chapters.c11_distillation.leaflet import FIELDS, HINTS, Leaflet
from llmlab.chapters.c11_distillation.selfdistill import SelfDistill
from llmlab.errors import UserError
from llmlab.lab.experiment import BadKnob
from llmlab.lab.forms import Conversation
from llmlab.models.forward import forward
from llmlab.models.load import load
from llmlab.tokens import chat
from llmlab.tokens.batch import Batch
from llmlab.train import loop
from llmlab.world.base import Problem
from llmlab.world.reasoning import Reasoning
from llmlab.world.stepwise import written


@pytest.fixture(scope="module")
def reasoner():
    return load("reasoner")


def worked(tok, n: int = 3) -> tuple[Batch, list[Problem]]:
    world = Reasoning(("strings",), (1,))
    asked = world.problems(n, seed=3)
    return Batch.of_rows(tok, [chat.example(tok, p.messages, world.solution(p)) for p in asked]), asked


# ---- the teacher's column ----


def test_without_hints_the_column_is_the_teachers_logits(reasoner):
    batch, _ = worked(reasoner.tok)
    said = teaching.add_teacher(reasoner.model, reasoner.tok, batch)["teacher_logits"]
    there = batch.mask[:, 1:] > 0
    with torch.no_grad():
        assert torch.allclose(said[there], forward(reasoner.model, batch).logits[there], atol=1e-4)


def test_the_own_prompt_as_a_hint_changes_nothing(reasoner):
    batch, asked = worked(reasoner.tok)
    prompts = [chat.prompt(reasoner.tok, p.messages) for p in asked]
    plain = teaching.add_teacher(reasoner.model, reasoner.tok, batch)["teacher_logits"]
    hinted = teaching.add_teacher(reasoner.model, reasoner.tok, batch, prompts)["teacher_logits"]
    assert torch.allclose(plain, hinted, atol=1e-4)


def test_with_a_hint_each_token_gets_what_the_teacher_says_behind_it(reasoner):
    """Row by row, token by token: as if each answer stood behind its hint alone."""
    batch, asked = worked(reasoner.tok)
    world = Reasoning(("strings",), (1,))
    hints = [chat.prompt(reasoner.tok, p.messages)[: 12 + i] for i, p in enumerate(asked)]
    said = teaching.add_teacher(reasoner.model, reasoner.tok, batch, hints)["teacher_logits"]
    for i, (p, hint) in enumerate(zip(asked, hints)):
        ids, mask = chat.example(reasoner.tok, p.messages, world.solution(p))
        answer = [t for t, m in zip(ids, mask) if m]
        alone = torch.tensor([hint + answer])
        with torch.no_grad():
            logits = reasoner.model(input_ids=alone, use_cache=False).logits[0, len(hint) - 1 : -1]
        assert torch.allclose(said[i][batch.mask[i, 1:] > 0], logits, atol=1e-3)
    other = teaching.add_teacher(reasoner.model, reasoner.tok, batch)["teacher_logits"]
    assert not torch.allclose(said, other, atol=1e-1), "negative control: the hint says something"


def test_tool_turns_between_answers_stay_where_they_are():
    ids, mask = torch.arange(10), torch.tensor([0, 0, 1, 1, 0, 0, 1, 1, 0, 0])
    assert teaching.privileged(ids, mask, [90, 91, 92]) == (
        [90, 91, 92, 2, 3, 4, 5, 6, 7],
        [0, 0, 0, 1, 1, 0, 0, 1, 1],
    )


def test_a_sampled_token_is_rewarded_by_the_ratio(reasoner):
    batch, _ = worked(reasoner.tok)
    student = load("chat").model
    batch = loop.add_logprobs(student, batch, "old_logprobs")
    rewarded = rewarded_tokens(reasoner.model, batch)
    there = batch.mask[:, 1:] > 0
    wanted = rewarded["ref_logprobs"] - batch["old_logprobs"]
    assert torch.equal(rewarded["advantages"][there], wanted[there]) and wanted[there].abs().max() > 1


# ---- texts ----


def test_forms_of_a_solution():
    said = "a = 1; b = 2; so 2."
    assert teaching.as_form(said, "steps") == said
    assert teaching.as_form(said, "answer") == "so 2."
    assert teaching.as_form(said, "long") == "a = 1; a = 1; b = 2; b = 2; so 2."
    assert teaching.as_form("no end", "answer") == "no end"
    assert {written(teaching.as_form(said, form))[1] for form in teaching.FORMS} == {"2"}


def attempt(text: str, right: bool, logprob: float = -1.0):
    episode = SimpleNamespace(problem=Problem(({"role": "user", "content": "?"},), "2"), text=text)
    return SimpleNamespace(text=text, right=right, tokens=1, logprob=logprob, episode=episode)


def test_filters_of_the_teachers_texts(monkeypatch, reasoner):
    groups = [
        [attempt("x; so 2.", True, -1), attempt("x; so 2.", True, -2), attempt("so 3.", False, -9)],
        [attempt("so 2.", True, -3)],
    ]
    asked: set[int] = set()
    monkeypatch.setattr(teaching, "attempts", lambda m, t, w, a, k, **how: asked.add(k) or groups)
    of = {k: [t.said for t in teaching.from_teacher(reasoner, None, [], k)] for k in teaching.KEEP}
    assert of["all"] == ["x; so 2.", "x; so 2.", "so 3.", "so 2."] and asked == {teaching.DRAWN}, (
        "as many of the teacher's samples under every filter"
    )
    assert of["right"] == ["x; so 2.", "x; so 2.", "so 2."]
    assert of["distinct"] == ["x; so 2.", "so 3.", "so 2."]
    assert of["likely"] == ["x; so 2.", "x; so 2."], "the likelier half"


def test_each_text_comes_once_an_epoch_and_levels_come_in_order():
    d = Distill(writer="data", problems=8, batch=4)
    assert sorted(d.numbers(0, 0, 8) + d.numbers(0, 1, 8)) == list(range(8))
    assert d.numbers(0, 0, 8) != d.numbers(1, 0, 8)
    easy = Distill(writer="data", problems=8, batch=4, order="easy_first", level=2, steps=4)
    assert [max(easy.numbers(0, s, 8)) < 4 for s in range(4)] == [True, True, False, False]
    levels = lambda e: [p.meta["level"] for p in e.asked(e.world(), 0)]
    assert levels(easy) == [1] * 4 + [2] * 4
    assert levels(replace(easy, order="hard_first")) == [2] * 4 + [1] * 4
    mixed = replace(easy, order="mixed")
    assert {p.question for p in mixed.asked(mixed.world(), 0)} == {
        p.question for p in easy.asked(easy.world(), 0)
    }, "the same problems, in no order of levels"
    assert {max(mixed.numbers(0, s, 8)) < 4 for s in range(4)} == {False}


# ---- distill ----


@pytest.mark.parametrize("knobs, told", [
    (dict(keep="right"), "--writer teacher"),
    (dict(form="long"), "--writer teacher or data"),
    (dict(writer="data", loss="token"), "--writer student"),
    (dict(loss="labels", labels=0.5), "read by --loss kl"),
    (dict(loss="token", top_k=4), "read by --loss kl"),
    (dict(top_k=4, temperature=2.0), "choose --temperature 1"),
    (dict(writer="teacher", order="easy_first", keep="right"), "leave --keep out"),
    (dict(loss="dpo"), "add --writer teacher"),
    (dict(loss="dpo", writer="teacher", order="mixed"), "leave --order out"),
])  # fmt: skip
def test_knobs_that_would_change_nothing_are_refused(knobs, told):
    with pytest.raises(BadKnob, match=told):
        Distill(**knobs)


def test_the_size_says_where_a_run_starts():
    assert Distill().default_model == Distill.default_model == "student_m"
    assert Distill(size="small").default_model == "student_s"
    assert replace(Distill(size="small"), size="large").default_model == "student_l"


def other_tokens(loaded):
    tok = SimpleNamespace(get_vocab=lambda: {"a": 0}, chat_template="x")
    return replace(loaded, tok=tok, name="another")


def test_another_tokenizer_is_refused_but_for_texts(reasoner):
    other = other_tokens(reasoner)
    assert not share_tokens(reasoner, other)
    for d in (Distill(), Distill(writer="data"), Distill(loss="token")):
        with pytest.raises(UserError, match="different tokenizers.*--writer teacher --loss labels"):
            taught_by(d, other)
    assert taught_by(Distill(writer="teacher", loss="labels"), other).name == "reasoner"


def test_on_policy_batches_are_the_students_own_and_reproducible():
    d = Distill(batch=3, problems=6, level=1, size="medium")
    student, teacher = load("student_m"), load("reasoner")
    draw = lambda: list(islice(d.stream(student, teacher, d.world(), 1, 0), 2))
    one, again = draw(), draw()
    for a, b in zip(one, again):
        assert torch.equal(a.ids, b.ids) and torch.equal(a["teacher_logits"], b["teacher_logits"])
        assert a.info["sampled"] == a.mask.sum() and set(a.info) == {"reward", "sampled"}
    assert one[0].ids.shape != one[1].ids.shape or not torch.equal(one[0].ids, one[1].ids)


def test_own_conversations_are_problems(tmp_path):
    turns = ({"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"})
    assert own_prompts.problem(Conversation(turns), 1) == Problem(turns[:1], "4", {"tools": None})
    for bad in (turns[:1], turns[1:]):
        with pytest.raises(UserError, match="conversation 7 does not end"):
            own_prompts.problem(Conversation(bad), 7)
    file = tmp_path / "mine.jsonl"
    file.write_text(
        "\n".join(f'{{"question": "q{i}", "prompt": "p{i}", "completion": "c{i}"}}' for i in range(20))
    )
    told: list[str] = []
    found = own_prompts.own(str(file), on_found=told.append)
    assert len(found.train) == 18 and len(found.test) == 2 and "2 held out" in told[0]


def test_pairs_prefer_the_teachers_text_to_what_the_student_said_at_first(reasoner):
    student = load("student_m")
    d = Distill(writer="teacher", loss="dpo", level=1, problems=6, batch=4, held=4, steps=2)
    recipe = d.recipe(student, 0)
    with torch.no_grad():  # the student moves; its pairs don't
        for p in student.model.parameters():
            p.add_(0.05)
    batch = next(recipe.stream(0))
    first = load("student_m")
    texts = teaching.from_teacher(reasoner, d.world(), d.asked(d.world(), 0), seed=0)
    said = {(t.problem.question, t.said) for t in texts}
    own = {
        (t.problem.question, t.said) for t in teaching.answers(first, d.world(), [t.problem for t in texts])
    }
    for i in range(len(batch)):
        words = student.tok.decode(batch.ids[i][batch.mask[i] > 0], skip_special_tokens=True).strip()
        assert any(a.strip() == words for _, a in (own if i % 2 else said)), words
    told = loop.add_logprobs(first.model, batch, "ref_logprobs")["ref_logprobs"] * batch.mask[:, 1:]
    assert torch.allclose(batch["ref_logprobs"], told, atol=1e-4), "the reference is the student as it began"


def test_no_text_left_is_said():
    with pytest.raises(UserError, match="no text is left .* choose --keep all"):
        Distill().numbers(0, 0, 0)


# ---- self-distillation ----


def test_leaflets_hold_the_answer_and_another_drugs_do_not():
    world = Leaflet(5)
    for p in world.problems(20, split="train", seed=1):
        read = {h: world.hinted(p, h).messages[-1]["content"] for h in HINTS}
        assert p.answer.removesuffix(".") in read["passage"] and p.meta["name"] in read["passage"]
        assert read["none"] == p.question and "Cite" in read["cited"]
        assert f"{p.meta['name']}: " not in read["other"]
        assert world.score(p, f"{p.answer[:-1]} [1].").reward == 1 and world.score(p, "fever.").reward in (
            0,
            1,
        )
        assert p.meta["field"] in FIELDS


def test_training_and_test_ask_in_other_words():
    world = Leaflet(5)
    sides = [{p.question for p in world.problems(60, split=s, seed=2)} for s in ("train", "test")]
    assert not sides[0] & sides[1]
    facts = [
        {(p.meta["name"], p.meta["field"]) for p in world.problems(60, split=s)} for s in ("train", "test")
    ]
    assert facts[0] == facts[1], "and ask for the same facts"


def test_the_reader_reads_a_leaflet_and_knows_nothing_without():
    reader, e = load("reader"), SelfDistill(held=16, drugs=4)
    e.address(reader)
    found = e.prober(reader.model, reader.tok)(0)
    assert found["hinted"] > 0.8 and found["recall"] == 0.0 and found["known"] > 0.8


def test_all_methods_learn_from_as_many_samples():
    reader = load("reader")
    e = SelfDistill(prompts=3, group=2, drugs=3)
    e.address(reader)
    for method in ("self", "grpo", "sft"):
        stream, _ = replace(e, method=method).learnt(reader, 0)
        batch = next(iter(stream(0)))
        assert len(batch) == 6, method


def test_hints_are_of_the_self_teacher_alone():
    with pytest.raises(BadKnob, match="read by --method self"):
        SelfDistill(method="grpo", hint="cited")


# ---- rounding ----


def test_fewer_bits_lose_more_and_every_number_of_bits_begins_with_the_full_model():
    rows = list(quantise.Quantise(held=6).rows(load("chat"), 0))
    assert [r["step"] for r in rows] == [0, 8, 10, 11, 12, 13, 14]
    errors = [r["weight_error"] for r in rows]
    assert errors == sorted(errors) and errors[0] == 0 < errors[1] < 0.01
    losses = [r["general_loss"] for r in rows]
    assert losses[1] == pytest.approx(losses[0], abs=0.01) and losses[-1] > losses[0] + 1


def test_gptq_looks_at_what_it_is_told_to():
    chat_ = load("chat")
    ids = {
        c: list(islice(quantise.Quantise(calibration=c).ids(chat_.tok, 0), 400)) for c in quantise.CALIBRATION
    }
    assert len({tuple(v) for v in ids.values()}) == 3
    assert "What" in chat_.tok.decode(ids["conversations"])
    seen = quantise.Quantise(scheme="gptq", tokens=256).seen(chat_.model, chat_.tok, 0)
    assert {len(x) for x in seen.values()} == {256} and len(seen) == 28


def test_the_formats_of_gguf_have_their_own_numbers_of_bits():
    rows = list(quantise.Quantise(scheme="gguf", held=4).rows(load("chat"), 0))
    assert [r["bits"] for r in rows] == [16, 8.5, 5.5, 4.5]
    mx = list(quantise.Quantise(scheme="mxfp4", held=4).rows(load("chat"), 0))
    assert [r["bits"] for r in mx] == [16, 4.25] and mx[-1]["weight_error"] > rows[-1]["weight_error"] > 0
    for scheme in quantise.GGUF:
        with pytest.raises(BadKnob, match="groups of 32"):
            quantise.Quantise(scheme=scheme, group=64)


def test_the_teachers_top_k_takes_the_place_of_its_logits():
    student, teacher = load("student_m"), load("reasoner")
    d = Distill(writer="data", batch=2, problems=4, top_k=5, level=1)
    batch = next(d.stream(student, teacher, d.world(), 0, 0))
    assert batch["teacher_ids"].shape[-1] == 5 and "teacher_logits" not in batch.given


@pytest.mark.parametrize("experiment", [quantise.Quantise, qat.QAT, merging.Merging])
def test_a_group_that_fills_no_row_is_said(experiment):
    with pytest.raises(BadKnob, match="--group 24 does not divide"):
        experiment(group=24)


def test_calibration_of_a_model_that_is_always_sure():
    """Sure of every token and half of the rows wrong: the error is a half."""
    ids = torch.tensor([[1, 2, 3], [1, 2, 4]])
    batch = Batch(ids, torch.tensor([[0.0, 1, 1], [0, 1, 1]]))
    logits = torch.zeros(2, 3, 9)
    logits[:, 0, 2] = logits[:, 1, 3] = 50.0

    class Sure(torch.nn.Module):
        config = SimpleNamespace(max_position_embeddings=99, model_type="x")

        def forward(self, input_ids, **_):
            return SimpleNamespace(logits=logits[:, : input_ids.shape[1]])

    assert quantise.calibration(Sure(), [batch]) == pytest.approx(0.5, abs=1e-6)


def test_sums_are_read_as_the_reward_reads_them():
    """With a full stop an answer is as right, and GRPO may come to write it; the reading of the demonstrated
    wording has a name of its own.
    """
    e, chatty = qat.QAT(train="grpo", when="ptq", bits=8, held=24), load("chat")
    read = e.prober(chatty.model, chatty.tok)
    before = read(0)
    sums, opt = qat.SKILLS["long_sums"], torch.optim.AdamW(chatty.model.parameters(), lr=1e-3)
    rows = [
        chat.example(chatty.tok, p.messages, [{"role": "assistant", "content": f"{p.answer}."}])
        for p in sums.problems(96, split="train", seed=1)
    ]
    for step in range(6):
        batch = Batch.of_rows(chatty.tok, rows[16 * step :][:16])
        (-forward(chatty.model, batch).logprobs * batch.mask[:, 1:]).sum().div(batch.mask.sum()).backward()
        opt.step()
        opt.zero_grad()
    after = read(6)
    assert before["verbatim_sums"] > 0.3 and after["verbatim_sums"] == 0
    assert after["full_sums"] > 0.3 and after["long_sums"] > 0.2


@pytest.mark.parametrize("train", qat.TRAIN)
def test_readings_are_of_the_rounded_model_and_ptq_trains_the_full_one(train):
    rows = {}
    for when in ("ptq", "qat"):
        chat_ = load("chat")
        e = qat.QAT(when=when, train=train, steps=2, probe=2, batch=16, held=4)
        e.address(chat_)
        rows[when] = list(e.rows(chat_, 0))
        from llmlab.models import formats

        low = [formats.integer(m.weight, 3, 32) for m in formats.linears(chat_.model).values()]
        now = [m.weight for m in formats.linears(chat_.model).values()]
        is_rounded = all(torch.allclose(a, b, atol=1e-5) for a, b in zip(low, now))
        assert is_rounded == (when == "ptq"), "what is handed on answers as it was read"
    start = [{k: v for k, v in r[0].items()} for r in rows.values()]
    assert start[0] == pytest.approx(start[1], abs=1e-4), "both begin with the same rounded model"


def test_a_rounded_sampler_is_measured_and_its_tokens_are_weighed():
    found = {}
    for importance in qat.WEIGHED:
        chat_ = load("chat")
        e = qat.QAT(
            train="grpo", when="ptq", sampler="rounded", importance=importance, steps=2, batch=16, held=4
        )
        stream, _ = e.learnt(chat_.model, chat_.tok, 0)
        found[importance] = next(stream(0))
    columns = {name: b["old_logprobs"] for name, b in found.items()}
    assert torch.equal(columns["clipped"], columns["truncated"])
    mask = found["none"].mask[:, 1:]
    apart = ((columns["clipped"] - columns["none"]) * mask).sum() / mask.sum()
    assert found["none"].info["mismatch"] == pytest.approx(float(apart), abs=1e-6)
    assert all(b.info["mismatch"] > 0.01 for b in found.values()), "three bits are another policy"
    same = replace(e, sampler="trained", importance="clipped")
    assert "mismatch" not in next(same.learnt(chat_.model, chat_.tok, 0)[0](0)).info


@pytest.mark.parametrize(
    "change, fix",
    [
        (dict(sampler="rounded"), "add --train grpo --when ptq"),
        (dict(sampler="rounded", train="grpo"), "--when ptq"),
        (dict(train="grpo", importance="none"), "add --sampler rounded"),
    ],
    ids=str,
)
def test_a_sampler_that_nothing_reads_is_refused(change, fix):
    with pytest.raises(BadKnob, match=fix):
        qat.QAT(**change)


# ---- an adapter and few bits ----


@pytest.fixture(scope="module")
def adapted():
    """(experiment, full model, student with an adapter that is not zero, tokenizer)."""
    chat_, e = load("chat"), merging.Merging(bits=3, held=4, rank=2)
    full = merging.frozen_copy(chat_.model)
    student = merging.adapt(chat_.model, rank=2, seed=0)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in student.named_parameters():
            if "lora_B" in name:
                p.copy_(torch.randn(p.shape, generator=draw) * 0.02)
    return e, full, student, chat_.tok


def test_the_change_is_what_merging_adds(adapted):
    e, full, student, tok = adapted
    change = merging.change_of(student)
    assert set(change) == set(merging.formats.linears(full))
    ids = torch.arange(5, 40)[None]
    with torch.no_grad():
        beside = merging.with_change(merging.frozen_copy(full), change)(ids, use_cache=False).logits
        assert torch.allclose(beside, student(ids, use_cache=False).logits, atol=1e-4)


def test_the_three_deployments_are_w_plus_d_q_w_plus_d_and_q_of_both(adapted):
    e, full, student, tok = adapted
    change = merging.change_of(student)
    weights = {n: layer.weight for n, layer in merging.formats.linears(full).items()}
    found = {how: merging.formats.linears(m) for how, m in e.deployed(full, change).items()}
    for n, w in weights.items():
        assert torch.allclose(found["unrounded"][n].weight, w + change[n])
        assert torch.allclose(found["beside"][n].weight, e.rounding(n, w) + change[n])
        assert torch.equal(found["merged"][n].weight, e.rounding(n, w + change[n]))
        assert torch.equal(weights[n], dict(full.named_modules())[n].weight), "the full model stays"


def test_a_step_of_the_grid_is_the_distance_of_neighbouring_levels():
    w, e = torch.tensor([[7.0, -3, 1, 0] * 8 + [0.7] * 32]), merging.Merging(bits=4)
    assert e.step_of(w)[0, [0, 31, 32]].tolist() == pytest.approx([1.0, 1.0, 0.1])
    levels = e.rounding("", w)[0, :32] / 1.0
    assert torch.equal(levels, levels.round())


def test_it_trains_beside_the_weights_that_it_is_told_to():
    rows = {}
    for base in merging.BASES:
        chat_ = load("chat")
        e = merging.Merging(base=base, bits=3, steps=2, probe=2, batch=2, held=4)
        rows[base] = list(e.rows(chat_, 0))
    first = {base: {k: v for k, v in r[0].items() if k in merging.Merging.curves} for base, r in rows.items()}
    assert first["rounded"] == first["full"] and first["full"]["change"] == 0.0
    assert first["full"]["calls_beside"] == first["full"]["calls_merged"] < first["full"]["calls_unrounded"]
    losses = [next(r["loss"] for r in every if "loss" in r) for every in rows.values()]
    assert losses[0] > losses[1], "weights of three bits say less about a new skill"


def test_students_can_learn_calls_from_the_model_that_makes_them(reasoner):
    d = Distill(family="calls", writer="data", loss="labels", batch=2, problems=4)
    batch = next(d.stream(load("student_m"), reasoner, d.world(), 0, 0))
    said = [reasoner.tok.decode(ids[m > 0]) for ids, m in zip(batch.ids, batch.mask)]
    assert all(s.startswith("<tool_call>\n{") and s.endswith("</tool_call><|im_end|>") for s in said)
    assert distill.taught_by(d, load("student_m")).name == "chat"
    assert distill.taught_by(Distill(), load("student_m")).name == "reasoner"
    with pytest.raises(BadKnob, match="the reasoner has unlearnt calls: leave --teacher out"):
        d.under("reasoner")
    assert distill.taught_by(d.under("reader"), load("student_m")).name == "reader"
