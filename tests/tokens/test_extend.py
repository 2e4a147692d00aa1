"""Vocabulary extension: what is measured, what is chosen, and that the new rows are what their rule says,
tied and untied.
"""

import pytest
import torch
from helpers_families import FAMILIES, save_family
from hypothesis import given
from hypothesis import strategies as st

from llmlab.models.load import load
from llmlab.tokens import extend

WORDS = ["Xubvoprilex", "Zydzaxstatin", "Quafkuvolol"]


@pytest.fixture(scope="module")
def tok():
    return load("base").tok


def test_fragmentation_counts_pieces(tok):
    lengths = [len(tok(f" {w}", add_special_tokens=False)["input_ids"]) for w in WORDS]
    found = extend.fragmentation(tok, WORDS)
    assert found == {"tokens_per_word": sum(lengths) / 3, "shattered": sum(n >= 5 for n in lengths) / 3}
    assert extend.fragmentation(tok, ["the", "of"])["shattered"] == 0


def test_the_shortlist_ranks_by_tokens_saved(tok):
    texts = ["See Xubvoprilex and Xubvoprilex.", "See Zydzaxstatin of the the the."]
    ranked = dict(extend.shortlist(tok, texts, 10))
    assert list(ranked)[:2] == ["Xubvoprilex", "Zydzaxstatin"] and "the" not in ranked
    assert ranked["Xubvoprilex"] == 2 * (len(extend.pieces(tok, "Xubvoprilex")) - 1)


def test_tokens_saved_are_really_saved():
    loaded = load("base")
    texts = ["See Xubvoprilex and Xubvoprilex.", "Take Zydzaxstatin now."]
    before = sum(len(loaded.tok(t)["input_ids"]) for t in texts)
    ranked = extend.shortlist(loaded.tok, texts, 2)
    extend.add_words(loaded.model, loaded.tok, [w for w, _ in ranked])
    assert before - sum(len(loaded.tok(t)["input_ids"]) for t in texts) == sum(s for _, s in ranked)


@pytest.mark.parametrize("init", extend.INITS)
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_every_family_follow_their_rule(family, init, tmp_path):
    loaded = load(str(save_family(family, tmp_path / family)))
    model, tok, before = loaded.model, loaded.tok, len(loaded.tok)
    spelt = [extend.pieces(tok, w) for w in WORDS]
    old = {
        name: m.weight.detach().clone()
        for name, m in (("in", model.get_input_embeddings()), ("out", model.get_output_embeddings()))
    }
    new = extend.add_words(model, tok, WORDS, init, torch.Generator().manual_seed(0))
    assert new.tolist() == [before, before + 1, before + 2] and len(tok) == before + 3
    for name, matrix in (("in", model.get_input_embeddings()), ("out", model.get_output_embeddings())):
        assert matrix.weight.shape[0] == max(len(old[name]), before + 3)
        assert torch.equal(matrix.weight[:before], old[name][:before])
        rows = matrix.weight[new].detach()
        if init == "pieces":
            assert torch.allclose(rows, torch.stack([old[name][ids].mean(0) for ids in spelt]), atol=1e-6)
        if init == "mean":
            assert torch.allclose(
                rows, old[name][:before].mean(0).expand(3, -1), atol=0.1 * float(old[name].std())
            )
            assert not torch.equal(rows[0], rows[1])
        if init == "small":
            assert rows.abs().max() < 1e-3
    assert (
        model(torch.tensor([new.tolist()])).logits.shape[-1] == model.get_output_embeddings().weight.shape[0]
    )


def test_tied_matrices_stay_tied():
    loaded = load("base")
    extend.add_words(loaded.model, loaded.tok, WORDS)
    assert loaded.model.get_input_embeddings().weight is loaded.model.get_output_embeddings().weight


def test_a_word_is_one_token_behind_a_space_and_pieces_at_the_start():
    loaded = load("base")
    new = extend.add_words(loaded.model, loaded.tok, WORDS[:1])
    assert loaded.tok("of Xubvoprilex is")["input_ids"].count(int(new)) == 1
    assert int(new) not in loaded.tok("Xubvoprilex is")["input_ids"]
    assert loaded.tok.decode(loaded.tok("of Xubvoprilex is")["input_ids"]) == "of Xubvoprilex is"


@given(
    st.lists(
        st.sampled_from(["the", "drug", "Xubvoprilex", "in", "Zydzaxstatin", "42", "Belmont"]),
        min_size=1,
        max_size=12,
    )
)
def test_no_text_is_changed_by_the_extension(words):
    text = " ".join(words)
    assert EXTENDED.tok.decode(EXTENDED.tok(text)["input_ids"]) == text


EXTENDED = load("base")
extend.add_words(EXTENDED.model, EXTENDED.tok, WORDS)


def test_the_old_tokenizer_never_gives_a_new_id(tok):
    ids = tok("of Xubvoprilex and Zydzaxstatin")["input_ids"]
    assert max(ids) < 1024 <= max(EXTENDED.tok("of Xubvoprilex and Zydzaxstatin")["input_ids"])


def test_the_extended_tokenizer_survives_saving(tmp_path):
    from transformers import AutoTokenizer

    EXTENDED.tok.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "of Xubvoprilex and Zydzaxstatin"
    assert again(text)["input_ids"] == EXTENDED.tok(text)["input_ids"]


def test_a_wrong_init_is_refused(tok):
    with pytest.raises(ValueError, match="init is one of pieces, mean, random, small"):
        extend.add_words(EXTENDED.model, tok, WORDS, "zero")
