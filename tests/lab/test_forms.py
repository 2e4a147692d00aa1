"""Forms that people have: each is read as it is, or refused with file, line and what is wrong with the
record.
"""

import csv
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmlab.errors import UserError
from llmlab.lab import forms
from llmlab.lab import files

Q, A = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann."}
CLOCK = {"name": "clock", "description": "d", "parameters": {"type": "object", "properties": {}}}
CALLED = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": {"zone": "north"}}}


def one(path, fields, read=forms.conversations):
    """The only record of a file of JSON lines."""
    path.write_text(json.dumps(fields) + "\n", encoding="utf-8")
    (found,) = read(str(path)).records
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.jsonl"


# form -> (record, messages that it stands for)
CONVERSATIONS = {
    "messages": ({"messages": [Q, A]}, [Q, A]),
    "messages as text": ({"messages": json.dumps([Q, A])}, [Q, A]),
    "developer": (
        {"messages": [{"role": "developer", "content": "Be brief."}, Q, A]},
        [{"role": "system", "content": "Be brief."}, Q, A],
    ),
    "parts": ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Who?"}]}, A]}, [Q, A]),
    "content none": (
        {"messages": [Q, {"role": "assistant", "content": None, "tool_calls": [CALLED]}]},
        [Q, {"role": "assistant", "content": "", "tool_calls": [CALLED]}],
    ),
    "refusal": (
        {"messages": [Q, {"role": "assistant", "content": None, "refusal": "No."}]},
        [Q, A | {"content": "No."}],
    ),
    "weight 0": ({"messages": [Q, A | {"weight": 0}, Q, A]}, [Q, A | {"weight": 0}, Q, A]),
    "train false": ({"messages": [Q, A | {"train": False}, Q, A]}, [Q, A | {"weight": 0}, Q, A]),
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ann."}]},
        [Q, A],
    ),
    "ShareGPT, system": (
        {
            "system": "S",
            "conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ann."}],
        },
        [{"role": "system", "content": "S"}, Q, A],
    ),
    "Alpaca": ({"instruction": "Who?", "output": "Ann."}, [Q, A]),
    "Alpaca, input": (
        {"instruction": "Who?", "input": "Now.", "output": "Ann."},
        [Q | {"content": "Who?\n\nNow."}, A],
    ),
    "Alpaca, history": (
        {"instruction": "Who?", "output": "Ann.", "history": [["Who?", "Ann."]]},
        [Q, A, Q, A],
    ),
    "prompt, completion": ({"prompt": "Who?", "completion": "Ann."}, [Q, A]),
    "prompt, completion, messages": ({"prompt": [Q], "completion": [A]}, [Q, A]),
    "question, answer": ({"question": "Who?", "answer": "Ann."}, [Q, A]),
}


@pytest.mark.parametrize("fields, messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_conversation_in_any_form(path, fields, messages):
    assert list(one(path, fields).messages) == messages


@pytest.mark.parametrize(
    "arguments", [{"zone": "north"}, '{"zone": "north"}', ""], ids=["object", "text", "nothing"]
)
def test_arguments_are_an_object(path, arguments):
    call = {"function": {"name": "clock", "arguments": arguments}}
    found = one(path, {"messages": [Q, {"role": "assistant", "content": "", "tool_calls": [call]}]})
    wanted = {"zone": "north"} if arguments else {}
    assert found.messages[1]["tool_calls"][0]["function"] == {"name": "clock", "arguments": wanted}


def test_a_legacy_call_and_its_result(path):
    call = {"role": "assistant", "content": None, "function_call": {"name": "clock", "arguments": "{}"}}
    result = {"role": "function", "name": "clock", "content": "12:04"}
    found = one(path, {"messages": [Q, call, result, A], "functions": [CLOCK]})
    assert found.messages[1]["tool_calls"][0]["function"]["name"] == "clock"
    assert found.messages[2]["role"] == "tool" and found.tools == ({"type": "function", "function": CLOCK},)


@pytest.mark.parametrize("tools", [[CLOCK], [{"type": "function", "function": CLOCK}], json.dumps([CLOCK])])
def test_tools_in_any_form(path, tools):
    assert one(path, {"messages": [Q, A], "tools": tools}).tools == ({"type": "function", "function": CLOCK},)


BETTER, WORSE = A, {"role": "assistant", "content": "Bob."}
PAIRS = {
    "text": ({"prompt": "Who?", "chosen": "Ann.", "rejected": "Bob."}, [Q]),
    "messages": ({"prompt": [Q], "chosen": [BETTER], "rejected": [WORSE]}, [Q]),
    "prompt inside": ({"chosen": [Q, BETTER], "rejected": [Q, WORSE]}, [Q]),
    "prompt twice": ({"prompt": [Q], "chosen": [Q, BETTER], "rejected": [Q, WORSE]}, [Q]),
    "a message each": ({"prompt": "Who?", "chosen": BETTER, "rejected": WORSE}, [Q]),
    "ShareGPT": (
        {
            "conversations": [{"from": "human", "value": "Who?"}],
            "chosen": {"from": "gpt", "value": "Ann."},
            "rejected": {"from": "gpt", "value": "Bob."},
        },
        [Q],
    ),
    "HH": (
        {
            "chosen": "\n\nHuman: Who?\n\nAssistant: Ann.",
            "rejected": "\n\nHuman: Who?\n\nAssistant: Bob.",
        },
        [Q],
    ),
    "HH, longer": (
        {
            "chosen": "\n\nHuman: Who?\n\nAssistant: Ann.\n\nHuman: Who?\n\nAssistant: Ann.",
            "rejected": "\n\nHuman: Who?\n\nAssistant: Ann.\n\nHuman: Who?\n\nAssistant: Bob.",
        },
        [Q, A, Q],
    ),
    "HH prompt": ({"prompt": "\n\nHuman: Who?\n\nAssistant:", "chosen": " Ann.", "rejected": " Bob."}, [Q]),
    "system": (
        {"prompt": "Who?", "chosen": "Ann.", "rejected": "Bob.", "system": "S"},
        [{"role": "system", "content": "S"}, Q],
    ),
    "history": (
        {"prompt": "Who?", "chosen": "Ann.", "rejected": "Bob.", "history": [["Who?", "Ann."]]},
        [Q, A, Q],
    ),
    "instruction, input": (
        {"instruction": "Who?", "input": "Now.", "chosen": "Ann.", "rejected": "Bob."},
        [Q | {"content": "Who?\n\nNow."}],
    ),
    "UltraFeedback": (
        {
            "instruction": "Who?",
            "completions": [
                {"response": "Bob.", "overall_score": 2.0},
                {"response": "Cid.", "overall_score": 5.0},
                {"response": "Ann.", "overall_score": 8.5},
            ],
        },
        [Q],
    ),
}


@pytest.mark.parametrize("fields, messages", PAIRS.values(), ids=PAIRS)
def test_a_pair_in_any_form(path, fields, messages):
    before, chosen, rejected, tools = one(path, fields, forms.pairs)
    assert list(before) == messages and (chosen, rejected, tools) == (BETTER, WORSE, None)


def test_labelled_answers_are_paired_by_their_prompt_and_what_is_left_over_is_counted(path):
    rows = [
        ("Who?", "Ann.", True),
        ("Who?", "Bob.", False),
        ("Who?", "Cid.", False),
        ("Where?", "Here.", True),
    ]
    path.write_text("\n".join(json.dumps(dict(zip(("prompt", "completion", "label"), r))) for r in rows))
    found = forms.pairs(str(path))
    assert [(p[1]["content"], p[2]["content"]) for p in found.records] == [("Ann.", "Bob.")]
    assert "answers without a counterpart (2 ×)" in found.told("pairs")
    path.write_text(json.dumps({"prompt": "Who?", "completion": "Ann.", "label": True}))
    with pytest.raises(UserError, match="no prompt has a good and a bad one"):
        forms.pairs(str(path))


# what is wrong -> (record, words of the refusal)
BAD = {
    "image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, A]},
        "content is a list with a part of type image_url",
    ),
    "arguments": (
        {"messages": [Q, A | {"tool_calls": [{"function": {"name": "clock", "arguments": "{zone}"}}]}]},
        "arguments of the call of clock are not JSON",
    ),
    "role": ({"messages": [{"role": "narrator", "content": "x"}, A]}, "the role 'narrator'"),
    "no role": ({"messages": [{"content": "x"}, A]}, "the role 'None'"),
    "nobody answers": ({"messages": [Q]}, "no message of the assistant"),
    "weights": ({"messages": [Q, A | {"weight": 0}]}, "every answer in it has weight 0"),
    "half a weight": ({"messages": [Q, A | {"weight": 0.5}]}, "the weight 0.5"),
    "empty": ({"messages": []}, "list of messages is empty"),
    "a number": ({"messages": [Q, {"role": "assistant", "content": 5}]}, "content is a int"),
    "two systems": (
        {"system": "S", "messages": [{"role": "system", "content": "T"}, Q, A]},
        "a system field and another system message",
    ),
    "text": ({"text": "Once upon a time"}, "llmlab run cpt reads those"),
    "a pair": (
        {"prompt": "Who?", "chosen": "Ann.", "rejected": "Bob."},
        "llmlab run pairs learns from those",
    ),
    "other fields": ({"foo": 1, "bar": 2}, "it has the fields foo, bar"),
    "tools": ({"messages": [Q, A], "tools": "[clock"}, "tools are text that is not JSON"),
    "a list": ([1, 2], "a JSON list, not an object"),
}


@pytest.mark.parametrize("fields, words", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_said_with_its_line(path, fields, words):
    path.write_text(json.dumps({"messages": [Q, A]}) + "\n" + json.dumps(fields) + "\n")
    with pytest.raises(UserError) as e:
        forms.conversations(str(path))
    assert words in str(e.value) and f"{path}, line 2" in str(e.value) and "--skip_bad" in str(e.value)
    found = forms.conversations(str(path), skip_bad=True)
    assert len(found.records) == 1 and "1 bad ones skipped" in found.told("conversations")


BAD_PAIRS = {
    "a tie": ({"prompt": "Who?", "chosen": "Ann.", "rejected": "Ann."}, "are the same"),
    "other prompts": (
        {"chosen": [Q, A], "rejected": [Q | {"content": "Where?"}, A]},
        "before their last message",
    ),
    "not the assistant": (
        {"prompt": "Who?", "chosen": [Q], "rejected": [Q | {"content": "x"}]},
        "not the assistant's",
    ),
    "nothing asked": ({"chosen": "Ann.", "rejected": "Bob."}, "nothing is asked"),
    "equal scores": (
        {"instruction": "Who?", "completions": [{"response": x, "overall_score": 1} for x in "ab"]},
        "the same score",
    ),
    "messages": ({"messages": [Q, A]}, "not chosen and rejected"),
}


@pytest.mark.parametrize("fields, words", BAD_PAIRS.values(), ids=BAD_PAIRS)
def test_what_is_no_pair_is_said_with_its_line(path, fields, words):
    path.write_text(json.dumps(fields) + "\n")
    with pytest.raises(UserError, match=words):
        forms.pairs(str(path))


def test_what_is_only_dropped_is_named_once_with_its_count(path):
    rows = [{"messages": [Q, A], "id": i, "source": "web", "meta": None} for i in range(3)]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert forms.conversations(str(path)).told("conversations") == (
        "3 conversations from JSON lines (messages); left out: id (3 ×), source (3 ×)"
    )


# --- files
# ------------------------------------------------------------------------------------------------------------

ROWS = [{"instruction": f"Say {i}\u2028!", "output": f"{i}"} for i in range(4)]


def saved(tmp_path, kind):
    """The same rows in a kind of file."""
    lines = "\n".join(json.dumps(r, ensure_ascii=False) for r in ROWS).encode()
    if kind == "parquet":
        import pandas as pd

        pd.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    elif kind == "datasets":
        from datasets import Dataset

        Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "a.datasets"))
    elif kind == "csv":
        with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, ["instruction", "output"])
            writer.writeheader(), writer.writerows(ROWS)
    else:
        raw = {
            "jsonl": lines,
            "JSONL": lines,
            "bom.jsonl": b"\xef\xbb\xbf" + lines,
            "crlf.jsonl": lines.replace(b"\n", b"\r\n"),
            "json": json.dumps(ROWS, indent=1).encode(),
            "jsonl.gz": gzip.compress(lines),
            "json.gz": gzip.compress(json.dumps(ROWS).encode()),
        }[kind]
        (tmp_path / f"a.{kind}").write_bytes(raw)
    return str(tmp_path / f"a.{kind}")


@pytest.mark.parametrize(
    "kind",
    [
        "jsonl",
        "JSONL",
        "bom.jsonl",
        "crlf.jsonl",
        "json",
        "jsonl.gz",
        "json.gz",
        "csv",
        "parquet",
        "datasets",
    ],
)
def test_every_kind_of_file_holds_the_same_records(tmp_path, kind):
    found = forms.conversations(saved(tmp_path, kind))
    said = [(c.messages[0]["content"], c.messages[1]["content"]) for c in found.records]
    assert said == [(r["instruction"], r["output"]) for r in ROWS]


def test_a_csv_row_with_too_many_cells_is_said_with_its_line(tmp_path):
    (tmp_path / "a.csv").write_text("instruction,output\nSay 1,1\nSay 2,2,3\n")
    with pytest.raises(UserError, match="line 3: it has more cells than the head has names"):
        forms.conversations(str(tmp_path / "a.csv"))


STRANGE = {
    "brackets": b"[" * 100_000,
    "half an array": b'[{"a": 1}',
    "binary": bytes(range(256)),
    "nothing": b"",
    "a number": b"5",
    "broken gzip": b"\x1f\x8b\x08broken",
}


@pytest.mark.parametrize("raw", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz", "a.parquet"])
def test_strange_files_are_one_sentence(tmp_path, name, raw):
    (tmp_path / name).write_bytes(raw)
    try:
        found = forms.conversations(str(tmp_path / name))
        assert found.records == []
    except UserError as e:
        assert str(tmp_path) in str(e) and "\n" not in str(e)


@pytest.mark.parametrize("path", ["none.jsonl", "~nosuchuser/a", "a" * 5000, "a\0b", "/dev/zero", "."])
def test_a_path_that_is_no_file_is_one_sentence(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(files.Unreadable) as e:
        forms.conversations(path)
    assert len(str(e.value)) < 500


KEYS = st.sampled_from(
    [
        "messages",
        "conversations",
        "role",
        "content",
        "from",
        "value",
        "prompt",
        "completion",
        "chosen",
        "rejected",
    ]
    + [
        "instruction",
        "input",
        "output",
        "history",
        "system",
        "tools",
        "tool_calls",
        "function",
        "arguments",
        "name",
    ]
    + ["completions", "overall_score", "label", "weight", "function_call", "type", "text", "x"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=5))
@pytest.mark.parametrize("read", [forms.conversations, forms.pairs])
def test_any_json_is_read_or_refused_in_a_sentence(tmp_path_factory, read, fields):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(json.dumps(fields))
    try:
        read(str(path))
    except UserError as e:
        assert str(path) in str(e)
