"""Exact claims: each function proves its claim on the lab model, or raises AssertionError; it returns what it
found in words.
"""


def tokens_saved() -> str:
    """C024: the share of drug names of five tokens and more, and the tokens that their own ids save on domain
    text.
    """
    old, new, words, texts = _two_tokenizers()
    from ...tokens import extend

    measured = extend.fragmentation(old, words)
    before, after = _count(old, texts), _count(new, texts)
    assert measured["shattered"] > 0.5 and after < before, f"{measured}, {before} -> {after} tokens"
    assert extend.fragmentation(new, words)["tokens_per_word"] == 1.0
    return (
        f"{measured['shattered']:.0%} of {len(words)} names are five tokens and more"
        f" ({measured['tokens_per_word']:.1f} on average); with a token each, domain text takes"
        f" {1 - after / before:.0%} fewer tokens"
    )


def old_tokenizer() -> str:
    """C029: the old tokenizer never emits a new id, so the new rows are never read; the new one's ids mean
    nothing to the old.
    """
    old, new, words, texts = _two_tokenizers()
    emitted = {i for ids in old(texts)["input_ids"] for i in ids}
    assert max(emitted) < len(old) < len(new), "the old tokenizer emits a new id"
    unreadable = {i for ids in new(texts)["input_ids"] for i in ids if i >= len(old)}
    assert unreadable and old.decode(sorted(unreadable)) == "", "the old tokenizer can read a new id"
    return f"of {len(new) - len(old)} new ids the old tokenizer emits none, and decodes each to nothing"


def rows_saved() -> str:
    """C030: tokens, and rows of 128 of them, before and after."""
    old, new, _, texts = _two_tokenizers()
    counts = {name: _count(tok, texts) for name, tok in (("before", old), ("after", new))}
    rows = {name: -(-n // 128) for name, n in counts.items()}
    assert counts["after"] < counts["before"] and rows["after"] < rows["before"]
    return (
        f"{len(texts)} monographs: {counts['before']:,} tokens in {rows['before']} rows before,"
        f" {counts['after']:,} in {rows['after']} after"
    )


def _count(tok, texts) -> int:
    return sum(len(ids) for ids in tok(texts, add_special_tokens=False)["input_ids"])


def _two_tokenizers():
    """The base's tokenizer, the same with a token for every drug name, those names, and domain text."""
    from ...models.load import load
    from ...tokens import extend
    from ...world import corpora
    from ...world.formulary import Formulary

    formulary = Formulary(24)
    words = list(formulary.drugs)
    texts = [corpora.domain_document(formulary, 0, i) for i in range(400)]
    old, grown = load("base"), load("base")
    extend.add_words(grown.model, grown.tok, words)
    return old.tok, grown.tok, words, texts
