"""Models: the lab checkpoints, any folder, any hub id; safetensors only, no remote code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging as hf_logging

from .. import paths
from ..errors import UserError

hf_logging.disable_progress_bar()  # loading 2 MB needs no bar, and ours is on the screen
FILES = (
    "*.safetensors",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)  # what decides how a model behaves
SIZES = dict(
    hidden_size=128,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=4,
    head_dim=32,
    intermediate_size=384,
    max_position_embeddings=2048,
    rope_theta=10_000.0,
    tie_word_embeddings=True,
)


class BadCheckpoint(UserError):
    """A checkpoint that is missing, truncated or not allowed; the message names the fix."""


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer and the fingerprint under which runs remember it."""

    model: Any
    tok: Any
    name: str
    fingerprint: str

    @property
    def is_lab(self) -> bool:
        return self.name in paths.LAB


def new_lab_model(tok, seed: int = 0, **sizes) -> Qwen3ForCausalLM:
    """A random lab model: the Qwen3 architecture at about 1 M parameters, a function of the seed."""
    config = Qwen3Config(
        vocab_size=len(tok),
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        bos_token_id=None,
        **(SIZES | sizes),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(config)


def save(folder: Path, model, tok) -> None:
    """bf16 weights as safetensors and the tokenizer, into a folder."""
    was = {p.dtype for p in model.parameters()}.pop()
    model.to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    model.to(was)
    tok.save_pretrained(folder)


def resolve(name: str) -> Path | None:
    """The folder of a lab checkpoint or of a path; None for a hub id."""
    if name in paths.LAB:
        folder = paths.data() / "checkpoints" / name
        if not (folder / "model.safetensors").exists():
            raise BadCheckpoint(f"the lab checkpoint '{name}' is missing; run: llmlab build {name}")
        return folder
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise BadCheckpoint(
            f"there is no model '{name}'; give {', '.join(paths.LAB)}, a folder with config.json and"
            " *.safetensors, or a hub id such as Qwen/Qwen3-0.6B"
        )
    return None


def check_weights(folder: Path) -> None:
    """Every safetensors file opens and is whole. Raises BadCheckpoint."""
    if not (folder / "config.json").exists():
        raise BadCheckpoint(f"'{folder}' has no config.json; give a folder saved with save_pretrained")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadCheckpoint(
            f"'{folder}' has no *.safetensors; other weight files are not read (they can run code): convert"
            " them first"
        )
    for file in files:
        try:
            with safe_open(file, "pt") as f:
                f.keys()
        except (SafetensorError, OSError) as e:
            fix = (
                f"llmlab build {folder.name}"
                if folder.parent == paths.data() / "checkpoints"
                else "copy it again"
            )
            raise BadCheckpoint(
                f"'{file}' is truncated or not a safetensors file ({str(e)[:60]}); {fix}"
            ) from None


def check_seal(name: str, mark: str) -> None:
    """A lab checkpoint's files are those that its card was written for. Raises BadCheckpoint."""
    if card(name).get("fingerprint", mark) != mark:
        raise BadCheckpoint(
            f"the lab checkpoint '{name}' is not the one that was built: its weights, tokenizer or config"
            f" were changed; get it back (git checkout data/checkpoints/{name}), or run: llmlab build {name}"
        )


def load(name: str = "base", device: str = "cpu", dtype: torch.dtype = torch.float32, **how) -> Loaded:
    """A model by name: a lab checkpoint ('base', 'chat', …), a folder, or a hub id. fp32 by default.
    how: more for from_pretrained (a quantisation).

    Raises BadCheckpoint with one sentence: missing, truncated, without tokenizer, not reachable, weights that
    the config wants and the files have not, a tokenizer with more tokens than the model.
    """
    folder = resolve(name)
    if folder is not None:
        check_weights(folder)
    mark = fingerprint(folder, name)
    if name in paths.LAB:
        check_seal(name, mark)
    model, tok = _weights(str(folder or name), name, dtype=dtype, **how), tokenizer(name)
    rows = model.get_input_embeddings().weight.shape[0]
    if rows < len(tok):
        raise BadCheckpoint(
            f"the tokenizer of '{name}' has {len(tok)} tokens, and the model only {rows}: one of them is"
            " another model's, or model.resize_token_embeddings(len(tokenizer)) was forgotten"
        )
    return Loaded(model if how else model.to(device), tok, name, mark)


def _weights(where: str, name: str, **how):
    """The model as its files have it, every weight. Raises BadCheckpoint."""
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            where,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are told, and refused here
            **how,
        )
    except Exception as e:  # whatever a foreign config.json leads transformers into
        raise BadCheckpoint(
            f"the model '{name}' cannot be loaded ({_first_line(e)}); check the folder, or your network for a"
            " hub id"
        ) from None
    model, said = loaded
    check_keys(name, said)
    return model


def check_keys(name: str, said: dict) -> None:
    """The files hold what the config asks for: every weight, in its shape. Raises BadCheckpoint."""
    if unlike := sorted(said["mismatched_keys"]):
        key, found, wanted = unlike[0]
        raise BadCheckpoint(
            f"the weights of '{name}' are not those of its config.json ({key} is {list(found)} in the file"
            f" and {list(wanted)} by the config, {len(unlike)} in all); copy the folder again"
        )
    if missing := sorted(said["missing_keys"]):
        raise BadCheckpoint(
            f"the weights of '{name}' lack {missing[0]} ({len(missing)} in all), which its config.json asks"
            " for; they would be random: copy the folder again"
        )


def tokenizer(name: str):
    """The tokenizer of a model by name. Raises BadCheckpoint."""
    where = str(resolve(name) or name)
    try:
        tok = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    except Exception as e:  # whatever foreign tokenizer files lead transformers into
        raise BadCheckpoint(
            f"the model '{name}' has no usable tokenizer ({_first_line(e)}); save it into the same folder"
        ) from None
    if set(tok("a text", add_special_tokens=False)["input_ids"]) <= set(
        tok.all_special_ids
    ):  # made by transformers out of a config.json alone
        raise BadCheckpoint(
            f"the model '{name}' has no usable tokenizer (no tokenizer files); save it into the same folder"
        )
    if not tok.is_fast:
        raise BadCheckpoint(
            f"the tokenizer of '{name}' is a slow one, without character offsets; convert it to"
            " tokenizer.json"
        )
    return tok


def fingerprint(folder: Path | None, name: str) -> str:
    """Hash of the folder's model and tokenizer files, or the name of a hub id: a run on changed weights,
    template or config is another run.
    """
    if folder is None:
        return name
    return paths.hash_files(sorted(f for pattern in FILES for f in folder.glob(pattern)))


def card(name: str) -> dict:
    """The figures stored beside a lab checkpoint (recipe hash, fingerprint, measured skills, versions)."""
    return read_card(paths.data() / "checkpoints" / name)


def read_card(folder: Path) -> dict:
    """The card in a checkpoint's folder; empty if there is none or it is broken, which counts as stale."""
    try:
        found = json.loads((folder / "card.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:120]
