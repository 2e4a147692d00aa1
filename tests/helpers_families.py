"""Model families as they are found in the wild: each with its own tokenizer, special tokens, BOS habit and
chat template, but tiny.
"""

import copy
import json
from functools import lru_cache
from importlib.resources import files
from itertools import islice
from pathlib import Path

from helpers_models import tiny
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from llmlab.models.load import Loaded, new_lab_model
from llmlab.tokens.special import TEMPLATE
from llmlab.world import corpora

FAMILIES = ("qwen3", "llama", "gemma3")
QWEN_MARKS = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>"]


def template(name: str) -> str:
    """A chat template as its makers publish it (TRL ships copies)."""
    return (files("trl") / "chat_templates" / f"{name}.jinja").read_text()


def small(tok, seed: int = 0, **sizes) -> Loaded:
    """A random lab model, small enough for a step in milliseconds, with a copy of the lab tokenizer and its
    template.
    """
    tok = copy.deepcopy(tok)
    tok.chat_template = TEMPLATE
    shape = dict(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        intermediate_size=64,
    )
    return Loaded(new_lab_model(tok, seed, **(shape | sizes)), tok, "tiny", f"tiny-{seed}")


@lru_cache
def texts() -> list[str]:
    return list(islice(corpora.general(), 200))


def byte_level(special: list[str], vocab: int = 400) -> Tokenizer:
    """As Qwen and Llama 3 have it: pieces of bytes."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator(
        texts(),
        trainers.BpeTrainer(
            vocab_size=vocab, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    return tok


def sentence_pieces(special: list[str], vocab: int = 400) -> Tokenizer:
    """As Gemma has it: spaces written as ▁, unknown characters fall back to byte tokens."""
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.Replace(" ", "▁")
    tok.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tok.train_from_iterator(
        (t[:200] for t in texts()),
        trainers.BpeTrainer(vocab_size=vocab - 256, special_tokens=special, show_progress=False),
    )
    state = json.loads(tok.to_str())
    state["model"] |= {"byte_fallback": True, "unk_token": "<unk>", "fuse_unk": True}
    state["model"]["vocab"] |= {f"<0x{b:02X}>": len(state["model"]["vocab"]) + b for b in range(256)}
    tok = Tokenizer.from_str(json.dumps(state))
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tok


def with_bos(tok: Tokenizer, bos: str) -> Tokenizer:
    """Puts BOS in front of every text that is encoded with add_special_tokens."""
    tok.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tok.token_to_id(bos))]
    )
    return tok


@lru_cache
def tokenizer(family: str, chat_template: str = "") -> PreTrainedTokenizerFast:
    """The family's tokenizer. qwen3: eos ends a turn, no BOS · llama: BOS, no padding token · gemma3: BOS,
    eos ends a text, not a turn.
    """
    if family == "qwen3":
        inner = byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
        inner.add_tokens([AddedToken(mark, normalized=False) for mark in QWEN_MARKS])
        names = dict(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    elif family == "llama":
        inner = byte_level(
            ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
        )
        inner, names = (
            with_bos(inner, "<|begin_of_text|>"),
            dict(bos_token="<|begin_of_text|>", eos_token="<|eot_id|>"),
        )
    else:
        inner = with_bos(
            sentence_pieces(["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]), "<bos>"
        )
        inner.add_tokens([AddedToken("\n", normalized=False)])
        names = dict(bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
    tok = PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False, **names)
    tok.chat_template = template(chat_template or {"llama": "llama3"}.get(family, family))
    return tok


def save_family(family: str, folder: Path) -> Path:
    """A folder as save_pretrained leaves it."""
    tok = tokenizer(family)
    model = tiny(family, vocab=len(tok))
    model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id = (
        tok.bos_token_id,
        tok.eos_token_id,
        tok.pad_token_id,
    )
    model.generation_config.bos_token_id, model.generation_config.eos_token_id = (
        tok.bos_token_id,
        tok.eos_token_id,
    )
    model.generation_config.pad_token_id = tok.pad_token_id
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    return folder
