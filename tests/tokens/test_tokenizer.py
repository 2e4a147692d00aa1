"""The lab tokenizer: what it must shatter, what it must keep whole, and that it is a function of its
recipe.
"""

import pytest
from helpers_families import FAMILIES, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.errors import UserError
from llmlab.tokens.special import SPECIAL, document_end
from llmlab.tokens.tokenizer import train
from llmlab.world import Formulary


def pieces(tok, text) -> int:
    return len(tok(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("number", ["7", "42", "1984", "31415926535"])
def test_every_digit_is_a_token(shipped, number):
    tokens = shipped.tok.tokenize(f"is {number}mg")
    assert [t for t in tokens if any(c.isdigit() for c in t)] == list(number)


def test_no_token_holds_more_than_one_digit(shipped):
    assert max(sum(c.isdigit() for c in token) for token in shipped.tok.get_vocab()) == 1


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_any_text_comes_back(shipped, text):
    assert shipped.tok.decode(shipped.tok(text, add_special_tokens=False)["input_ids"]) == text


def test_drug_names_are_shattered(shipped):
    shattered = [n for n in Formulary().drugs if pieces(shipped.tok, f" {n}") >= 5]
    assert len(Formulary().drugs) == 120 and len(shattered) >= 0.9 * 120


@pytest.mark.parametrize(
    "word", ["system", "user", " assistant", "name", "arguments", " Keller", " lives", "Question", "Answer"]
)
def test_everyday_words_are_whole(shipped, word):
    assert pieces(shipped.tok, word) == 1


@pytest.mark.parametrize("mark", SPECIAL)
def test_marks_are_one_token(shipped, mark):
    assert shipped.tok(f"a{mark}b", add_special_tokens=False)["input_ids"][1:-1] == [
        shipped.tok.convert_tokens_to_ids(mark)
    ]


def test_training_is_a_function_of_its_arguments():
    first, again, other = (
        train(vocab=400, documents=300, seed=s).backend_tokenizer.to_str() for s in (0, 0, 1)
    )
    assert first == again and first != other


def test_the_shipped_tokenizer_is_what_the_recipe_gives(shipped):
    assert train().get_vocab() == shipped.tok.get_vocab()


def test_documents_end_with_the_end_of_text_not_of_a_turn(shipped):
    ends = {f: tokenizer(f).decode([document_end(tokenizer(f))]) for f in FAMILIES}
    assert ends == {"qwen3": "<|endoftext|>", "llama": "<|eot_id|>", "gemma3": "<eos>"}
    assert shipped.tok.decode([document_end(shipped.tok)]) == "<|endoftext|>"


def test_a_tokenizer_without_an_end_is_one_sentence():
    from helpers_families import byte_level
    from transformers import PreTrainedTokenizerFast

    with pytest.raises(UserError, match="no end-of-text token; set tok.eos_token"):
        document_end(PreTrainedTokenizerFast(tokenizer_object=byte_level([])))
