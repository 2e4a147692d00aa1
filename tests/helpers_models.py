"""Tiny random models of three architectures, sharp enough (large weights) that a wrong position or mask
changes what they say.
"""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCAB = 300
ARCHITECTURES = ["qwen3", "llama", "gemma3"]


def tiny(name: str, vocab: int = VOCAB, seed: int = 0):
    """qwen3: tied head, grouped keys · llama: own head · gemma3: a sliding-window layer (8 tokens) under a
    full one.

    Gemma's head is not tied here: with random weights its scaled embeddings would make it repeat the last
    token for ever.
    """
    torch.manual_seed(seed)
    common = dict(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=128,
    )
    common |= dict(
        vocab_size=vocab,
        initializer_range=0.2,
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    if name == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**common, tie_word_embeddings=True)).eval()
    if name == "llama":
        return LlamaForCausalLM(LlamaConfig(**common, tie_word_embeddings=False)).eval()
    layers = dict(
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        query_pre_attn_scalar=16,
        tie_word_embeddings=False,
    )
    return Gemma3ForCausalLM(Gemma3TextConfig(**common, **layers)).eval()


def byte_tokenizer(size: int = VOCAB) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `size` tokens with an end-of-text token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(
        ['{"name":"Ann","age":31}', "the name and the age of a person"] * 20, trainer
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
