"""Masks of messages: what the assistant wrote and the token that ends it, nothing else, whatever the
tokenizer and template.
"""

import copy
from itertools import groupby

import pytest
from helpers_families import FAMILIES, small, template, tokenizer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trl.chat_template_utils import (
    has_generation_markers,
    is_chat_template_prefix_preserving,
    is_chat_template_stop_token_trained,
)

from llmlab.tokens import chat
from llmlab.tokens.special import TEMPLATE, document_end
from llmlab.world import Desk, Talk
from llmlab.world.desk import TOOLS, call_text

SYSTEM = {"role": "system", "content": "You are the desk of Verania."}
STOP = {
    "lab": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "qwen3_training": "<|im_end|>",
    "llama": "<|eot_id|>",
    "gemma3": "<end_of_turn>",
}
TALKS = {
    "one answer": ["Where does Anna live?", "In Tarsk."],
    "three answers": ["Hi!", "Hello.", "Where?", "Tarsk, or: Velden", "Sure?", "Yes."],
    "first letter of a mark": ["As XML.", "<city>Velden</city>", "Once more.", "<tool>", "Again.", "|x|"],
    "unicode": ["¿Dónde?", "İstra – 漢字 🙂 e\u0301", "ß", "Ü"],
    "the answer says what the question said": ["Tarsk.", "Tarsk.", "Tarsk.", "Tarsk."],
    "asks about the stop token": ["What is <|im_end|> <|eot_id|> <end_of_turn>?", "A mark."],
}


def talk(texts, system=False):
    return ([SYSTEM] if system else []) + [
        {"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(texts)
    ]


def tool_talk(calls=2, faults=0.0, seed=0):
    """(problem, the whole conversation) of the tool desk."""
    world = Desk(calls, faults=faults)
    problem = world.problems(1, split="train", seed=seed)[0]
    return problem, [*problem.messages, *world.solution(problem)]


def written(message, family) -> str:
    """What the assistant has to generate in a turn, by the world's own account; the lab's answers begin with
    a space.
    """
    return (
        call_text(message)
        if message.get("tool_calls")
        else " " * (family == "lab" and message["content"] != "") + message["content"]
    )


def trained_texts(tok, ids, mask) -> list[str]:
    """The text of each unbroken stretch of trained tokens."""
    return [
        tok.decode([i for i, _ in part])
        for kept, part in groupby(zip(ids, mask), key=lambda pair: pair[1])
        if kept
    ]


def expected_texts(messages, family) -> list[str]:
    return [written(m, family) + STOP[family] for m in messages if m["role"] == "assistant"]


@pytest.fixture(scope="session")
def toks(shipped):
    lab = small(shipped.tok).tok
    return {"lab": lab, "qwen3_training": tokenizer("qwen3", "qwen3_training")} | {
        f: tokenizer(f) for f in FAMILIES
    }


@pytest.fixture
def searched(toks):
    """The lab tokenizer with a template that differs by a comment, so that its turns are searched for like a
    foreign template's.
    """
    tok = copy.deepcopy(toks["lab"])
    tok.chat_template = TEMPLATE + "{# not ours #}"
    return tok


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("name", TALKS)
@pytest.mark.parametrize("family", STOP)
def test_trained_are_the_answers_and_their_stop_tokens(toks, family, name, system):
    messages = talk(TALKS[name], system)
    ids, mask = chat.encode(toks[family], messages)
    assert trained_texts(toks[family], ids, mask) == expected_texts(messages, family)


@pytest.mark.parametrize("family", ["lab", "qwen3", "qwen3_training"])
@pytest.mark.parametrize("calls, faults", [(1, 0.0), (2, 1.0), (3, 0.0)])
def test_calls_are_trained_and_tool_results_are_not(toks, family, calls, faults):
    tok = toks[family]
    _, messages = tool_talk(calls, faults)
    ids, mask = chat.encode(tok, messages, TOOLS)
    assert trained_texts(tok, ids, mask) == expected_texts(messages, family)
    unseen = tok.decode([i for i, kept in zip(ids, mask) if not kept])
    assert all(m["content"] in unseen for m in messages if m["role"] == "tool")


@pytest.mark.parametrize("name", TALKS)
def test_searching_finds_the_turns_that_our_template_marks(toks, searched, name):
    messages = talk(TALKS[name], system=True)
    assert chat.encode(searched, messages) == chat.encode(toks["lab"], messages)
    marked = toks["lab"].apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    assert chat.encode(searched, messages) == (marked["input_ids"], marked["assistant_masks"])


def test_searching_finds_marked_calls_too(toks, searched):
    for seed in range(20):
        _, messages = tool_talk(2, 0.5, seed)
        assert chat.encode(searched, messages, TOOLS) == chat.encode(toks["lab"], messages, TOOLS)


def test_our_template_is_fit_for_training(toks):
    assert has_generation_markers(TEMPLATE)
    assert is_chat_template_prefix_preserving(toks["lab"])
    assert is_chat_template_stop_token_trained(toks["lab"])


def test_trl_would_reject_qwens_own_template(toks):
    """The checks above can fail."""
    assert not has_generation_markers(template("qwen3"))
    assert not is_chat_template_prefix_preserving(toks["qwen3"])
    assert not is_chat_template_stop_token_trained(toks["qwen3"])


def test_no_think_block_is_trained_by_qwens_own_template(toks):
    tok = toks["qwen3"]
    ids, mask = chat.encode(tok, talk(TALKS["three answers"]))
    think = tok.convert_tokens_to_ids("<think>")
    assert think in ids and think not in [i for i, kept in zip(ids, mask) if kept]


def test_a_written_thought_is_trained(toks):
    messages = talk(["How many?", "<think>\nOne and one.\n</think>\n\nTwo."])
    ids, mask = chat.encode(toks["qwen3"], messages)
    assert trained_texts(toks["qwen3"], ids, mask) == [messages[1]["content"] + "<|im_end|>"]


@pytest.mark.parametrize("family", ["lab", "qwen3", "llama", "gemma3"])
def test_a_question_with_its_answer_begins_with_the_prompt(toks, family):
    tok, messages = toks[family], talk(["Where does Anna live?"], system=True)
    ids, mask = chat.example(tok, messages, [{"role": "assistant", "content": "In Tarsk."}])
    start = chat.prompt(tok, messages)
    assert ids[: len(start)] == start and not any(mask[: len(start)]) and mask[len(start)]


@pytest.mark.parametrize("family", ["lab", "qwen3_training"])
@pytest.mark.parametrize("calls", [1, 2, 3])
def test_an_appended_conversation_is_the_encoded_one(toks, family, calls):
    """Rollouts append what was sampled and what the tools said; training on the whole conversation sees the
    same ids.
    """
    tok = toks[family]
    problem, messages = tool_talk(calls, seed=3)
    ids, done = chat.prompt(tok, problem.messages, TOOLS), len(problem.messages)
    while done < len(messages):
        ids += tok(written(messages[done], family) + STOP[family], add_special_tokens=False)["input_ids"]
        replies = [m for m in messages[done + 1 : done + 2] if m["role"] == "tool"]
        if replies:
            ids += chat.added(tok, messages[: done + 1], replies, TOOLS)
        done += 1 + len(replies)
    whole, _ = chat.encode(tok, messages, TOOLS)
    assert whole[: len(ids)] == ids and tok.decode(whole[len(ids) :]).strip() == ""


@pytest.mark.parametrize("family", ["lab", "llama", "gemma3", "qwen3_training"])
def test_an_appended_question_is_the_encoded_one(toks, family):
    tok, messages = toks[family], talk(TALKS["three answers"])
    ids = chat.prompt(tok, messages[:1])
    for i in (1, 3):
        ids += tok(written(messages[i], family) + STOP[family], add_special_tokens=False)["input_ids"]
        ids += chat.added(tok, messages[: i + 1], [messages[i + 1]])
    assert ids == chat.prompt(tok, messages[:5])


def test_a_template_that_rewrites_earlier_turns_cannot_be_continued(toks):
    with pytest.raises(chat.NoTemplate, match="rewrites earlier turns"):
        chat.added(toks["qwen3"], talk(["Hi!", "Hello."]), talk(["Where?"]))


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_one_begin_of_text_token(toks, family):
    tok, messages = toks[family], talk(TALKS["three answers"])
    assert tok("x")["input_ids"][0] == tok.bos_token_id  # the habit that would double it
    assert chat.encode(tok, messages)[0].count(tok.bos_token_id) == 1
    assert chat.prompt(tok, messages[:1]).count(tok.bos_token_id) == 1
    assert tok.bos_token_id not in chat.added(tok, messages[:2], messages[2:3])


def test_without_a_template_the_sentence_says_what_to_do(toks):
    tok = copy.deepcopy(toks["lab"])
    tok.chat_template = None
    with pytest.raises(chat.NoTemplate, match="choose a chat model, or set tok.chat_template"):
        chat.encode(tok, talk(["Hi!", "Hello."]))


def test_a_conversation_that_the_template_refuses_is_one_sentence(toks):
    with pytest.raises(chat.NoTemplate, match="roles must alternate"):
        chat.encode(toks["gemma3"], talk(["Hi!"]) + talk(["Hello?", "Yes."]))


def test_plain_form(shipped):
    tok, messages = copy.deepcopy(shipped.tok), talk(["Where does Anna live?"])
    tok.chat_template = None
    for answer in ("In Tarsk", "In Tarsk."):
        ids, mask = chat.example(tok, messages, [{"role": "assistant", "content": answer}])
        assert tok.decode(ids) == "Question: Where does Anna live?\nAnswer: In Tarsk."
        assert trained_texts(tok, ids, mask) == [" In Tarsk."]
    assert tok.decode(chat.prompt(tok, messages)) == "Question: Where does Anna live?\nAnswer:"
    stops = chat.stop_ids(tok)
    assert tok.convert_tokens_to_ids("Ċ") in stops and document_end(tok) in stops
    assert all("\n" in tok.decode([i]) or i in tok.all_special_ids for i in stops)


@pytest.mark.parametrize("family", STOP)
def test_stops_are_the_end_of_turn_and_of_text(toks, family):
    tok, stops = toks[family], chat.stop_ids(toks[family])
    assert {tok.convert_tokens_to_ids(STOP[family]), document_end(tok), tok.eos_token_id} == stops
    assert stops <= set(tok.all_special_ids) | set(tok.added_tokens_decoder)


words = st.text(st.characters(codec="utf-8"), max_size=24)


@settings(max_examples=150, deadline=None)
@given(head=words, tail=words, family=st.sampled_from(["lab", "qwen3", "gemma3"]))
@example(head="Anna Kel", tail="ler", family="lab")  # one piece across the seam
def test_a_continuation_trains_every_token_that_reaches_beyond_the_head(toks, head, tail, family):
    tok = toks[family]
    ids, mask = chat.continuation(tok, head, tail)
    first = mask.index(1) if 1 in mask else len(mask)
    assert all(mask[first:])
    assert head.startswith(tok.decode(ids[:first]))
    assert not tail or not head.startswith(tok.decode(ids[: first + 1]))
    assert tok.decode(ids) == head + tail


@settings(max_examples=60, deadline=None)
@given(
    st.lists(words.filter(lambda t: t == t.strip()), min_size=2, max_size=6),
    st.sampled_from(["lab", "llama", "gemma3"]),
)
def test_any_text_is_trained_exactly_when_the_assistant_says_it(toks, texts, family):
    messages = talk(texts[: len(texts) // 2 * 2])
    ids, mask = chat.encode(toks[family], messages)
    assert trained_texts(toks[family], ids, mask) == expected_texts(messages, family)


def test_talk_problems_of_every_kind_are_trained_exactly(toks):
    world = Talk()
    for problem in world.problems(60, split="train"):
        answer = world.solution(problem)
        ids, mask = chat.example(toks["lab"], problem.messages, answer, problem.meta.get("tools"))
        assert trained_texts(toks["lab"], ids, mask) == expected_texts(answer, "lab")
