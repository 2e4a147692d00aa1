"""The mask under every chat template that TRL ships: every answer is in, nothing else is, or the conversation
is refused for a reason that the text shows.
"""

import collections
import json

import pytest
from helpers_templates import CONVERSATIONS, TEMPLATES, lab, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.tokens import chat, render, spans
from llmlab.tokens.special import TEMPLATE
from llmlab.world.talk import Talk

OTHERS = ("QUESTION", "SYSTEM", "RESULT")
MOST_REFUSED = 0.25  # of the pairs of template and conversation


def words_of(message) -> list[str]:
    """What the assistant says in a message, by hand."""
    found = [w for w in ("ANSWER", "ANTWORT", "LOOKING", "MORE.", "same") if w in (message["content"] or "")]
    for c in message.get("tool_calls", ()):
        arguments = c["function"]["arguments"]
        found += ["clock", *(json.loads(arguments) if isinstance(arguments, str) else arguments).values()]
    return found


def shows_all(tok, messages, tools) -> bool:
    """Does the template, asked in any form, write a text with every word of the assistant, in order?"""
    for form in (render.Form(p, s) for p in (False, True) for s in (False, True)):
        try:
            text = tok.apply_chat_template(
                form.of(messages), tools=tools, tokenize=False, enable_thinking=False
            )
        except Exception:  # the template's own refusal
            continue
        at = 0
        for words in (w for m in messages if m["role"] == "assistant" for w in words_of(m)):
            at = text.find(words, at) + len(words) if words in text[at:] else -1
            if at < 0:
                break
        if at >= 0:
            return True
    return False


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_answer_is_in_and_nothing_else_or_the_template_cannot(name):
    tok = tokenizer(name)
    for label, (messages, tools) in CONVERSATIONS.items():
        try:
            found = chat.assistant_spans(tok, messages, tools)
        except (chat.NoMask, chat.NoTemplate) as e:
            assert not shows_all(tok, messages, tools), (label, e)
            continue
        text = chat.render(tok, messages, tools)
        answers = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
        assert [t.message for t in found] == answers, label
        ends = 0
        for turn in found:
            said = text[turn.start : turn.end]
            assert ends <= turn.start <= turn.end, label
            assert all(w in said for w in words_of(messages[turn.message])), (label, said)
            assert not any(w in said for w in OTHERS), (label, said)
            ends = turn.end


def test_refusing_is_the_exception():
    count = collections.Counter()
    for name in TEMPLATES:
        for messages, tools in CONVERSATIONS.values():
            try:
                chat.assistant_spans(tokenizer(name), messages, tools)
                count["made"] += 1
            except (chat.NoMask, chat.NoTemplate):
                count["refused"] += 1
    print(dict(count))
    assert count["refused"] <= MOST_REFUSED * count.total()


MARKED = [name for name, text in TEMPLATES.items() if "{% generation %}" in text or "{%- generation" in text]
AFTER = {"</s>"}  # Phi-3 writes it on a line of its own, behind the <|end|> at which a server stops
STOPS = {"<|tool_response>"}  # what ends a call of Gemma 4, which TRL leaves out


@pytest.mark.parametrize("name", MARKED)
def test_beside_trls_own_marks_only_the_generation_prompt_and_blanks_differ(name):
    """TRL's training templates mark what is generated. They train what the model is given at inference too
    (<think></think>, <|start|>assistant), and the line break behind a turn; beside that all is the same.
    """
    tok, compared = tokenizer(name), 0
    for label, (messages, tools) in CONVERSATIONS.items():
        try:
            ids, ours = chat.encode(tok, messages, tools)
        except (chat.NoMask, chat.NoTemplate):
            continue
        theirs = tok.apply_chat_template(
            render.form(tok).of(messages),
            tools=tools,
            return_dict=True,
            return_assistant_tokens_mask=True,
            enable_thinking=False,
        )
        assert theirs["input_ids"] == ids
        marks = theirs["assistant_masks"]
        given = "".join(
            chat.render(tok, [{"role": "user", "content": "a"}], tools, prompt=True, thinking=thinking)
            for thinking in (False, True)
        )
        for i, mine, other in zip(ids, ours, marks):
            token = tok.decode(i)
            if mine and not other:
                assert token in STOPS, (label, token)
            if other and not mine:
                assert not token.strip() or token in AFTER or token in given, (label, token)
        compared += sum(ours)
    assert compared > 100


# --- our own template
# --------------------------------------------------------------------------------------------------


def followed(tok, messages, tools=None):
    """ids and mask by following the template, whatever marks it has."""
    text = chat.render(tok, messages, tools)
    turns = chat.assistant_spans(tok, messages, tools)
    out = tok(text, add_special_tokens=False, return_offsets_mapping=True)
    mask = [int(any(a < e and s < b for a, b, _ in turns)) for s, e in out["offset_mapping"]]
    return out["input_ids"], mask


@pytest.mark.parametrize("seed", range(20))
def test_following_our_template_gives_what_its_marks_say(seed):
    tok = lab()
    assert tok.chat_template == TEMPLATE
    for p in Talk().problems(4, split="train", seed=seed):
        messages = (*p.messages, {"role": "assistant", "content": p.answer + "."})
        assert followed(tok, messages, p.meta.get("tools")) == chat.encode(tok, messages, p.meta.get("tools"))


PIECES = [*"ab <>|/\n\"'\\{}", "<|im_end|>", "<|im_start|>", "<think>", "</think>"]
WORDS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4),
    st.sampled_from(["qwen3", "phi3", "glm4moe", "llama3"]),
)
def test_whatever_is_said_the_turns_are_the_assistants_own(pairs, name):
    """Any words, quoted control tokens too: a turn holds its answer, and what is outside all turns is what
    the same conversation has there with other answers.
    """
    tok = tokenizer(name)
    messages = [
        m for q, a in pairs for m in ({"role": "user", "content": q}, {"role": "assistant", "content": a})
    ]
    try:
        found = chat.assistant_spans(tok, messages)
    except chat.NoMask:
        return
    text = chat.render(tok, messages)
    for (_, a), turn in zip(pairs, found):
        assert a.rpartition("</think>")[2].strip() in text[turn.start : turn.end]
    outside = text[: found[0].start]
    other = [{**m, "content": "zzz"} if m["role"] == "assistant" else m for m in messages]
    assert chat.render(tok, other).startswith(outside)


# --- the proof can fail
# --------------------------------------------------------------------------------------------------


def parts_without_ends(template, messages, settings):
    """A maker that forgets where a message ends: what follows is the last one's."""
    text, found = SPANS(template, messages, settings)
    last, made = None, []
    for p in found:
        last = p.message if p.message is not None and messages[p.message]["role"] == "assistant" else last
        made.append(p._replace(message=last if last is not None else p.message))
    return text, made


SPANS = spans.parts


def wrong(name: str) -> bool:
    try:
        test_every_answer_is_in_and_nothing_else_or_the_template_cannot(name)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("name", ["qwen3", "phi3", "gptoss"])
def test_a_maker_that_forgets_where_a_turn_ends_is_noticed(monkeypatch, name):
    monkeypatch.setattr(spans, "parts", parts_without_ends)
    assert wrong(name)


@pytest.mark.parametrize("name", ["qwen3", "gemma", "gptoss"])
def test_a_maker_that_trains_the_generation_prompt_is_noticed_beside_trls_marks(monkeypatch, name):
    from llmlab.tokens import turns

    monkeypatch.setattr(turns, "_head", lambda *_: 0)
    name = f"{name}_training"
    tok = tokenizer(name)
    ids, mask = chat.encode(tok, *CONVERSATIONS["2 turns"])
    given = tok(chat.render(tok, CONVERSATIONS["2 turns"][0][:1], prompt=True), add_special_tokens=False)[
        "input_ids"
    ]
    assert mask[len(given) - 1], "the last token of the prompt carries loss"


def test_what_a_template_hides_is_said_with_the_message():
    with pytest.raises(chat.NoMask, match=r"whole of message 2 \(assistant\): 'clock' is missing"):
        chat.encode(tokenizer("llama3"), *CONVERSATIONS["a call"])
    with pytest.raises(chat.NoTemplate, match="System role not supported"):
        chat.encode(tokenizer("gemma"), *CONVERSATIONS["system, 1 turns"])


def test_thoughts_that_a_template_drops_are_counted():
    messages, _ = CONVERSATIONS["reasoning"]
    assert chat.dropped_reasoning(tokenizer("qwen3"), messages) == 1, "Qwen3 keeps the last one"
    assert chat.dropped_reasoning(tokenizer("phi3"), messages) == 2
    assert chat.dropped_reasoning(tokenizer("qwen3_8"), messages) == 0
    assert chat.dropped_reasoning(tokenizer("phi3"), CONVERSATIONS["2 turns"][0]) == 0


def test_the_forms_that_templates_want_are_found():
    wanted = {n: render.form(tokenizer(n)) for n in ("qwen3", "smolvlm", "deepseekv3")}
    assert wanted["qwen3"] == render.Form() and wanted["smolvlm"].parts and wanted["deepseekv3"].strings
