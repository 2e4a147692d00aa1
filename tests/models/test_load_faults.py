"""Folders that are not what they seem: one sentence each, and never a model with random weights in it."""

import json
import shutil

import pytest
from helpers_models import byte_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from llmlab import cli, paths
from llmlab.lab import checkpoints
from llmlab.models import load as models
from llmlab.models.load import BadCheckpoint, load
from llmlab.models.quant import load_4bit


@pytest.fixture
def folder(tmp_path):
    """A copy of the base model, as a folder of the user's."""
    return shutil.copytree(paths.data() / "checkpoints" / "base", tmp_path / "mine")


def edited(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


CHANGES = [
    {"num_hidden_layers": 5, "layer_types": ["full_attention"] * 5},
    {"num_hidden_layers": -1},
    {"hidden_size": "abc"},
    {"hidden_size": 64},
    {"hidden_size": None},
    {"vocab_size": 10},
    {"vocab_size": -3},
    {"vocab_size": "many"},
    {"intermediate_size": 383},
    {"model_type": "nope"},
    {"model_type": 3},
    {"model_type": None},
    {"hidden_act": "x"},
    {"num_attention_heads": 0},
    {"num_key_value_heads": 3},
    {"rope_parameters": {"rope_type": "yarn"}},
    {"rope_parameters": 5},
    {"tie_word_embeddings": False},
    {"layer_types": ["a"]},
    {"head_dim": 7},
    {"dtype": "float4"},
    {"max_position_embeddings": "x"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda c: "-".join(map(str, c.items()))[:40])
@pytest.mark.parametrize("how", [load, load_4bit])
def test_a_config_that_does_not_fit_is_one_sentence(folder, changes, how):
    edited(folder, **changes)
    with pytest.raises(BadCheckpoint) as error:
        how(str(folder))
    assert "mine" in str(error.value) and "\n" not in str(error.value)


RAW = [b"", b"[]", b"null", b"{", b"3", b'"a"', b"{}", b"\xff\xfe", b"[" * 100_000, b'{"a": 1e999}', b"NaN"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("raw", RAW, ids=range(len(RAW)))
def test_a_file_that_is_no_json_is_one_sentence_and_exit_code_2(folder, name, raw, capsys, home):
    (folder / name).write_bytes(raw)
    argv = ["run", "sft", "--model", str(folder), "--steps", "10", "--batch", "2"]
    code = cli.main(argv) if raw else 2
    said = capsys.readouterr().err
    if code == 2 and raw:
        assert len(said.strip().splitlines()) == 1 and "Traceback" not in said
    else:  # an empty or odd tokenizer_config is no fault: tokenizer.json says it all
        assert not raw or name == "tokenizer_config.json"


def test_weights_that_are_missing_are_not_made_up(folder):
    """Without this, the layer would be random and the run would train it in silence."""
    edited(folder, num_hidden_layers=5, layer_types=["full_attention"] * 5)
    with pytest.raises(BadCheckpoint, match=r"lack model\.layers\.4\.\S+ \(\d+ in all\).*would be random"):
        load(str(folder))


@pytest.mark.parametrize("how", [load, load_4bit])
def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder, how):
    loaded = load("base")
    loaded.tok.add_tokens(["new", "words"])
    loaded.tok.save_pretrained(folder)
    with pytest.raises(BadCheckpoint, match="1026 tokens, and the model only 1024"):
        how(str(folder))


def gpt2(folder, positions: int = 64):
    tok = byte_tokenizer()
    config = GPT2Config(
        vocab_size=len(tok), n_embd=32, n_layer=2, n_head=2, n_positions=positions, eos_token_id=None
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tok.save_pretrained(folder)
    return str(folder)


def test_rows_longer_than_the_table_of_positions_are_one_sentence(tmp_path, capsys, home):
    text = tmp_path / "texts"
    text.mkdir()
    for i in range(8):
        (text / f"{i}.txt").write_text(f"A long text, number {i}. " * 40)
    argv = ["run", "cpt", "--steps", "10", "--batch", "2", "--domain", str(text)]
    assert cli.main([*argv, "--model", gpt2(tmp_path / "gpt2")]) == 2
    said = capsys.readouterr().err
    assert "tokens is longer than the 64 positions that this model has" in said and "Traceback" not in said


# ---- sealed checkpoints ----


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A data folder of its own with the two checkpoints."""
    shutil.copytree(paths.data() / "checkpoints", tmp_path / "data" / "checkpoints")
    monkeypatch.setenv("LLMLAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "checkpoints"


def flip(file, at: int):
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(raw)


@pytest.mark.parametrize("at", [-1, -1000, 500_000])
def test_one_flipped_bit_of_the_weights_is_noticed(shipped, at):
    assert checkpoints.is_current("base")
    flip(shipped / "base" / "model.safetensors", at)
    assert not checkpoints.is_current("base")
    with pytest.raises(BadCheckpoint, match="'base' is not the one that was built.*llmlab build base"):
        load("base")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_another_models_file_is_noticed(shipped, name, tmp_path):
    other = gpt2(tmp_path / "gpt2")
    shutil.copy(f"{other}/{name}", shipped / "chat" / name)
    assert not checkpoints.is_current("chat")
    with pytest.raises(BadCheckpoint):
        load("chat")


def test_a_card_without_seal_is_stale_and_the_model_still_loads(shipped):
    card = json.loads((shipped / "base" / "card.json").read_text())
    del card["fingerprint"]
    (shipped / "base" / "card.json").write_text(json.dumps(card))
    assert not checkpoints.is_current("base") and load("base")


def test_a_build_seals_what_it_stores(shipped):
    loaded = load("base")
    card = models.card("base")
    card.pop("fingerprint")
    checkpoints.store("base", loaded.model, loaded.tok, card)
    assert checkpoints.is_current("base")
