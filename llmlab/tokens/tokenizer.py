"""The lab tokenizer: a byte-level BPE trained on the general corpus only, single digits, Qwen's special-token
strings.
"""

import json
from itertools import islice

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ..world import Talk, corpora
from ..world.desk import SCHEMAS, SYSTEM
from .special import DOCUMENT_END, SPECIAL, TURN_END


def corpus(documents: int, seed: int):
    """General text and general conversation (JSON, roles, formats, the tools' signatures), no drugs: what the
    tokenizer may see.
    """
    signatures = " ".join(f"{n}({', '.join(s['properties'])})" for n, s in SCHEMAS.items())
    calls = " ".join(
        json.dumps({"name": n, "arguments": {a: "" for a in s["properties"]}}) for n, s in SCHEMAS.items()
    )
    talk = Talk(kinds=("fact", "format", "identity", "persona"))
    yield from islice(corpora.general(seed), documents)
    yield from (
        f"system user assistant {SYSTEM} {signatures} {calls} {p.question} {p.answer}"
        for p in talk.problems(documents // 10, split="train", seed=seed)
    )


def train(vocab: int = 1024, documents: int = 20_000, seed: int = 0) -> PreTrainedTokenizerFast:
    """Train the tokenizer; a function of its arguments."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(
        corpus(documents, seed),
        trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tok,
        eos_token=TURN_END,
        pad_token=DOCUMENT_END,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
