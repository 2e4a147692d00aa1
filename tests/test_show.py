"""`llmlab show`: what it prints is what is trained, token for token, and together it is the text that the
model sees.
"""

import json

import pytest
from helpers_families import FAMILIES, save_family
from helpers_templates import CONVERSATIONS, lab
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab import cli
from llmlab.chapters.c04_sft.chats import Chats
from llmlab.models.load import load
from llmlab.tokens import chat
from llmlab.learn.pieces import pieces

TWO = [{"messages": CONVERSATIONS[name][0]} for name in ("2 turns", "system, 1 turns")]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, TWO)), encoding="utf-8")
    return str(path)


def shown(capsys, *argv) -> list[dict]:
    assert cli.main(["show", *argv, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_one_json_object_a_conversation_with_its_pieces(capsys, file):
    found = shown(capsys, "chats", "--domain", file, "--model", "chat")
    assert [f["conversation"] for f in found] == [1, 2]
    for f, given_ in zip(found, TWO):
        text = "".join(p["text"] for p in f["pieces"])
        assert text == chat.render(lab(), given_["messages"])
        trained = [p["text"] for p in f["pieces"] if p["trained"]]
        answers = [m["content"] for m in given_["messages"] if m["role"] == "assistant"]
        assert [t.removesuffix("<|im_end|>").strip() for t in trained] == answers


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_what_the_run_trains_on_a_folder_too(capsys, tmp_path, file, family):
    folder = str(save_family(family, tmp_path / family))
    tok = load(folder).tok
    found = shown(capsys, "chats", "--domain", file, "--model", folder)
    for f, c in zip(found, Chats.own(file)):
        ids, mask = chat.encode(tok, c.messages)
        assert f["pieces"] == pieces(tok, ids, mask)
        assert (
            sum(len(tok(p["text"], add_special_tokens=False)["input_ids"]) for p in f["pieces"])
            >= len(ids) - 2
        )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list("ab ü😀\n") + ["<|im_end|>"]), st.booleans()), max_size=30))
def test_pieces_are_the_text_again(letters):
    tok = lab()
    out = tok("".join(c for c, _ in letters), add_special_tokens=False, return_offsets_mapping=True)
    mask = [i % 2 for i in range(len(out["input_ids"]))]
    found = pieces(tok, out["input_ids"], mask)
    assert "".join(p["text"] for p in found) == tok.decode(out["input_ids"])
    assert [p["trained"] for p in found] == [bool(i % 2) for i in range(len(mask))]


def test_the_terminal_says_the_share_and_what_is_odd(capsys, file):
    assert cli.main(["show", "chats", "--domain", file, "--model", "chat"]) == 0
    out = capsys.readouterr().out
    assert (
        "2 conversations from JSON lines (messages)" in out
        and "tokens in 1 examples are trained; 1 more are held out" in out
    )
    assert cli.main(["show", "chats", "--domain", file, "--model", "chat", "--mask", "json"]) == 0
    assert "nothing trained: 2 of them, the first is conversation 1" in capsys.readouterr().out


def test_a_run_shows_the_first_conversation_before_it_begins(capsys, home, file):
    assert (
        cli.main(["run", "chats", "--domain", file, "--model", "chat", "--steps", "10", "--batch", "2"]) == 0
    )
    out = capsys.readouterr().out
    assert (
        out.index("conversation 1 (held out; it would train: underlined)")
        < out.index("conversation 2 (trained: underlined)")
        < out.index("are trained")
        < out.index("answer_loss")
    )


def test_a_run_of_which_nothing_is_trained_is_refused(capsys, home, file):
    argv = ["run", "chats", "--domain", file, "--model", "chat", "--steps", "10"]
    assert cli.main([*argv, "--mask", "json"]) == 2
    assert "is a token trained under --mask json" in capsys.readouterr().err


def test_an_answer_longer_than_a_row_is_named_before_the_first_step(capsys, home, tmp_path):
    long = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "so " * 300}]}
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join(map(json.dumps, [TWO[0], TWO[1], long, TWO[0]])))
    argv = ["chats", "--domain", str(path), "--model", "chat", "--length", "64"]
    assert cli.main(["run", *argv, "--steps", "10"]) == 2
    assert "conversation 3: the answer has" in capsys.readouterr().err
    assert cli.main(["show", *argv]) == 0
    assert "answer longer than a row: 1 of them, the first is conversation 3" in capsys.readouterr().out


def test_batches_count_rows_in_which_nothing_is_trained():
    some = Chats(mask="json", batch=8, steps=10)
    row = next(r for r in some.rows(load("chat"), 0) if r["step"] == 1)
    assert 0 < row["untrained_rows"] < 8, "some of the lab's conversations answer in JSON"


def test_pairs_and_documents_are_shown_too(capsys, tmp_path):
    pairs, text = tmp_path / "pairs.jsonl", tmp_path / "a.txt"
    pairs.write_text(
        json.dumps({"prompt": "Who?", "chosen": "Ann.", "rejected": "Bob."})
        + "\n"
        + json.dumps({"prompt": "Where?", "chosen": "Here.", "rejected": "There."})
    )
    found = shown(capsys, "pairs", "--domain", str(pairs))
    assert [(f["pair"], f["answer"]) for f in found] == [
        (1, "chosen"),
        (1, "rejected"),
        (2, "chosen"),
        (2, "rejected"),
    ]
    text.write_text(" ".join(f"word{i}" for i in range(2000)))
    rows = shown(capsys, "cpt", "--domain", str(text))
    assert len(rows) > 5 and all(p["trained"] for r in rows for p in r["pieces"])


@pytest.mark.parametrize(
    "argv, words",
    [
        ([], "say whose view of your data"),
        (["policy"], "policy reads no data of yours"),
        (["nothing"], "there is no experiment 'nothing'"),
        (["chats", "--domain", "none.jsonl"], "'none.jsonl' does not exist"),
        (["chats", "--mask", "x"], "--mask is one of"),
    ],
)
def test_mistakes_are_one_sentence(capsys, argv, words):
    assert cli.main(["show", *argv]) == 2
    assert words in capsys.readouterr().err


# --- what is kept


def killed(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_killed_while_it_writes_its_model_leaves_no_half_folder_and_goes_on(
    capsys, home, tmp_path, file, monkeypatch, method
):
    out = tmp_path / "mine" / "1"
    argv = ["run", "chats", "--domain", file, "--model", "chat", "--steps", "10", "--batch", "2"]
    argv += ["--method", method, "--out", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(type(lab()), "save_pretrained", killed)  # the weights are written by then
        assert cli.main(argv) == 130
    assert not out.exists() and (tmp_path / "mine" / "1.part").exists()
    assert cli.main(argv) == 0
    assert {f.suffix for f in out.iterdir()} >= {".safetensors", ".json"} and not (
        tmp_path / "mine" / "1.part"
    ).exists()
    capsys.readouterr()
    assert cli.main(argv) == 2 and "is not empty" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_said_before_training(capsys, home, tmp_path, file, monkeypatch):
    (tmp_path / "a file").write_text("x")
    argv = ["run", "chats", "--domain", file, "--out", str(tmp_path / "a file" / "model")]
    monkeypatch.setattr("llmlab.lab.runs.run", lambda *a, **k: pytest.fail("training was begun"))
    assert cli.main(argv) == 2 and "cannot write to" in capsys.readouterr().err
