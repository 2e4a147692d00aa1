"""Preferences on your own pairs: what a file may hold, what is held out, the reference as a table, and
adapters that can be served.
"""

import json
import math
from dataclasses import replace
from itertools import islice

import pytest
import torch

from llmlab import cli, paths
from llmlab.chapters.c06_preferences import pairs
from llmlab.chapters.c06_preferences.pairs import Pairs
from llmlab.cli.run import only_writer
from llmlab.errors import UserError
from llmlab.lab import runs
from llmlab.models.frozen import frozen_copy
from llmlab.models.load import load, save
from llmlab.serve.batcher import Batcher, Request
from llmlab.serve.store import AdapterStore
from llmlab.tokens.pairs import last_turn
from llmlab.train import loop

PROMPT = '{"prompt": "Hi", "chosen": "Hello.", "rejected": "What?"}'
AS_TRL = (
    '{"prompt": [{"role": "user", "content": "Hi"}], "chosen": [{"role": "assistant", "content": "Hello."}],'
    ' "rejected": [{"role": "assistant", "content": "What?"}]}'
)
WHOLE = (
    '{"chosen": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}], "rejected":'
    ' [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "What?"}], "tools": []}'
)
TWICE = WHOLE.replace('{"chosen"', '{"prompt": "Hi", "chosen"')
CALL = (
    '{"prompt": "Dose?", "chosen": {"role": "assistant", "content": null, "tool_calls": [{"type": "function",'
    ' "function": {"name": "f", "arguments": "{\\"a\\": 1}"}}]}, "rejected": "Much.", "tools": [{"type":'
    ' "function", "function": {"name": "f", "parameters": {}}}]}'
)


def asked(n: int) -> list[str]:
    """Lines with n questions."""
    return [
        json.dumps({"prompt": f"Who is number {i}?", "chosen": f"It is {i}.", "rejected": "No idea."})
        for i in range(n)
    ]


@pytest.fixture
def file(tmp_path):
    """Writes lines into a file and gives its path."""

    def write(*lines):
        (tmp_path / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
        return str(tmp_path / "pairs.jsonl")

    return write


def test_three_ways_to_write_a_pair_are_the_same(file):
    found = Pairs.own(file(PROMPT, "", AS_TRL, WHOLE, CALL))
    assert (
        found[0]
        == found[1]
        == found[2]
        == (
            ({"role": "user", "content": "Hi"},),
            {"role": "assistant", "content": "Hello."},
            {"role": "assistant", "content": "What?"},
            None,
        )
    )
    assert (
        found[3][1]["tool_calls"][0]["function"]["arguments"] == {"a": 1}
        and found[3][3][0]["function"]["name"] == "f"
    )


def test_files_as_other_programs_write_them(file, tmp_path):
    assert Pairs.own(file(TWICE, AS_TRL))[0] == Pairs.own(file(TWICE, AS_TRL))[1]
    path = tmp_path / "marks.jsonl"
    path.write_text("\ufeff" + PROMPT.replace("Hi", "Hi\u2028there") + "\r\n" + PROMPT, encoding="utf-8")
    assert Pairs.own(str(path))[0][0][0]["content"] == "Hi\u2028there"


@pytest.mark.parametrize(
    "line, problem",
    [
        ("{", "line 2: it is no JSON"),
        ("[]", "line 2: it is a JSON list"),
        ('{"prompt": "Hi", "chosen": "a"}', "line 2: "),
        ('{"prompt": "Hi", "chosen": "a", "rejected": "a"}', "line 2: "),
        ('{"prompt": "Hi", "chosen": "a", "rejected": 3}', "line 2: "),
        ('{"prompt": [], "chosen": "a", "rejected": "b"}', "line 2: "),
        (CALL.replace('"name": "f", "arg', '"arg'), "line 2: "),
        (AS_TRL.replace("[{", '[{"role": "user", "content": "1"}, {', 2), "line 2: "),
        (
            '{"prompt": [{"role": "assistant", "content": "Hi"}], "chosen": "a", "rejected": "b"}',
            "line 2: ",
        ),
        ('{"prompt": "Hi", "chosen": [], "rejected": "b"}', "line 2: "),
        ('{"prompt": "Hi", "chosen": {"role": "user", "content": "a"}, "rejected": "b"}', "line 2: "),
        ("", "holds 1 pair;"),
        (PROMPT, "about the same question"),
    ],
)
def test_a_bad_file_of_pairs_is_one_sentence(file, capsys, line, problem):
    assert cli.main(["run", "pairs", "--domain", file(PROMPT, line)]) == 2
    said = capsys.readouterr().err
    assert problem in said and said.count("\n") == 1


def test_no_file_no_template_and_nothing_short_enough_are_sentences(file, tmp_path, capsys):
    assert cli.main(["run", "pairs", "--domain", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl' does not exist; give a file of .jsonl" in capsys.readouterr().err
    assert cli.main(["run", "pairs", "--model", "base"]) == 2
    assert "no chat template" in capsys.readouterr().err
    with pytest.raises(
        UserError,
        match=r"no pair to learn from has at most 16 tokens a row \(the shortest has \d+\); raise --length",
    ):
        next(Pairs(length=16).rows(load("chat"), 0))
    long = json.dumps({"prompt": "Why?", "chosen": "because " * 300, "rejected": "No."})
    with pytest.raises(UserError, match="no held-out pair has at most 128 tokens a row; raise --length"):
        next(Pairs(length=128, batch=4).rows(load("chat"), 0, texts=Pairs.own(file(long, *asked(5)))))


def test_a_question_is_on_one_side_only_with_all_its_pairs(file):
    lines = [line for line in asked(40) for _ in range(2)]
    learnt, held = pairs.divided(Pairs.own(file(*lines)))
    sides = [{t[0][0]["content"] for t in side} for side in (learnt, held)]
    assert not sides[0] & sides[1] and (len(learnt), len(held)) == (72, 8)


def test_what_is_too_long_is_left_out_and_counted(file):
    long = json.dumps({"prompt": "Why?", "chosen": "because " * 300, "rejected": "No."})
    texts = Pairs.own(file(*asked(18), long, *asked(19)[18:]))
    row = next(Pairs(length=128, batch=4).rows(load("chat"), 0, texts=texts))
    assert row["too_long"] == pytest.approx(1 / 20)


def test_the_table_holds_what_a_frozen_copy_says_and_the_first_loss_is_ln_2():
    chat, experiment = load("chat"), Pairs(batch=6)
    plan, encoded = experiment.plan(chat.tok, list(pairs.examples()[:40]), 0)
    assert (
        len(plan) == 6 * 60
        and sorted(plan[:40]) == sorted(plan[40:80]) == list(range(40))
        and plan[:40] != plan[40:80]
    )  # epochs, each in its own order
    copy = frozen_copy(chat.model)
    for batch in islice(experiment.stream(chat.model, chat.tok, plan, encoded)(3), 2):
        said = loop.add_logprobs(copy, batch, "old_logprobs")["old_logprobs"]
        inside = batch.mask[:, 1:] > 0
        torch.testing.assert_close(batch["ref_logprobs"][inside], said[inside], atol=1e-4, rtol=0)
    losses = [r["loss"] for r in Pairs(batch=4, steps=5).rows(load("chat"), 0) if "loss" in r]
    assert math.isclose(losses[0], math.log(2), abs_tol=1e-4) and losses[-1] < losses[0]


def test_the_table_is_that_of_the_start_when_a_run_is_taken_up_again(tmp_path):
    """A reference read after the checkpoint would be the half-trained model."""
    experiment, path = Pairs(steps=8, batch=4, probe=4, method="lora", lr=5e-3), tmp_path / "run.state"
    whole = list(experiment.rows(load("chat"), 0))
    half = experiment.rows(load("chat"), 0, checkpoint=loop.Checkpoint(path, seconds=0.0))
    list(islice(half, 5))
    half.close()
    assert path.exists()
    again = list(experiment.rows(load("chat"), 0, checkpoint=loop.Checkpoint(path, seconds=0.0)))
    assert [r["loss"] for r in again if "loss" in r][-3:] == [r["loss"] for r in whole if "loss" in r][-3:]


def test_adapters_of_own_pairs_are_kept_and_can_be_served(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path / "home"))
    greeted = [
        json.dumps({"prompt": q, "chosen": "Hello.", "rejected": "What?"})
        for q in ("Hi", "Hey", "Good day", "Greetings")
    ] * 3
    out = tmp_path / "adapters" / "anna" / "1"
    command = [
        "run",
        "pairs",
        "--domain",
        file(*greeted),
        "--method",
        "lora",
        "--targets",
        "attention",
        "--nll",
        "1",
        "--lr",
        "0.01",
        "--steps",
        "30",
        "--batch",
        "4",
        "--out",
        str(out),
    ]
    assert cli.main(command) == 0
    capsys.readouterr()
    batcher = Batcher(load("chat"), AdapterStore(tmp_path / "adapters"))
    mine, base = (
        batcher.answer([Request(name, ({"role": "user", "content": "Hi"},))])[0].text
        for name in ("anna", "base")
    )
    batcher.close()
    assert mine == "Hello." != base


def test_only_the_last_turn_of_the_assistant_is_learnt():
    tok = load("chat").tok
    before = (
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Who?"},
    )
    (ids, mask), _ = pairs.two_rows(
        tok, (before, *({"role": "assistant", "content": c} for c in ("Me.", "You.")), None)
    )
    assert tok.decode([i for i, m in zip(ids, mask) if m]).strip().startswith(
        "Me."
    ) and "Hello" in tok.decode(ids)
    assert (
        last_turn([7, 8, 9, 7], [1, 0, 1, 1])[1] == [0, 0, 1, 1]
        and last_turn([7, 8], [1, 1])[1] == [1, 1]
        and last_turn([7, 8, 9], [1, 1, 0])[1] == [1, 1, 0]
    )


def test_an_interrupted_run_with_a_folder_goes_on_where_it_was(tmp_path, monkeypatch):
    """`out` asks for weights, which a stored run has not; what was begun is not forgotten for it."""
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path / "home"))
    experiment, seen, starts, steps = (
        Pairs(steps=12, batch=4, probe=6, out=str(tmp_path / "mine")),
        [],
        [],
        loop.steps,
    )
    monkeypatch.setattr(
        loop, "steps", lambda *given, **named: (starts.append(named["start"]), steps(*given, **named))[1]
    )
    with pytest.raises(runs.Interrupted):
        runs.run(experiment, again=False, stop=lambda: len(seen) > 5, on_row=seen.append)
    elsewhere = replace(experiment, out=str(tmp_path / "other"))
    runs.run(elsewhere, again=False)  # another folder is no other run
    assert starts == [0, 5] and (tmp_path / "other" / "model.safetensors").exists()
    runs.run(experiment, again=False)
    runs.run(experiment)
    assert starts == [0, 5, 0]  # what is stored is made again where weights are wanted, and read where not


def test_a_folder_that_was_filled_meanwhile_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path / "home"))
    out = tmp_path / "mine"
    experiment = Pairs(steps=6, batch=4, probe=3, out=str(out))

    def filled(row):
        out.mkdir(exist_ok=True)
        (out / "diary.txt").write_text("mine")

    with pytest.raises(UserError, match="mine.part': rename it"):
        runs.run(experiment, again=False, on_row=filled)
    assert [p.name for p in out.iterdir()] == ["diary.txt"] and (
        tmp_path / "mine.part" / "model.safetensors"
    ).exists()


def test_two_writers_of_one_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path / "home"))
    out = str(tmp_path / "mine")
    with only_writer(out), pytest.raises(paths.Busy, match="another 'llmlab run --out .*mine' is at work"):
        with only_writer(out):
            pass


def test_own_pairs_through_trl(file, tmp_path, monkeypatch, capsys):
    pytest.importorskip("trl")
    monkeypatch.setenv("LLMLAB_HOME", str(tmp_path))
    assert (
        cli.main(
            [
                "run",
                "pairs",
                "--engine",
                "trl",
                "--domain",
                file(*asked(20)),
                "--steps",
                "5",
                "--batch",
                "4",
                "--json",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1])["metrics"]["preferred"]["final"] > 0


@pytest.mark.parametrize("loss", ["orpo", "simpo"])
def test_a_folder_in_4_bits_learns_to_prefer(tmp_path, loss):
    save(tmp_path / "folder", load("chat").model, load("chat").tok)
    experiment = Pairs(method="qlora", loss=loss, steps=20, batch=8, probe=20, lr=5e-3)
    rows = list(experiment.rows(experiment.load(str(tmp_path / "folder"), "cpu"), 0))
    assert rows[-1]["preferred"] > 0.9 and rows[0]["preferred"] == 0


def test_pairs_turned_round_teach_the_opposite():
    turned = tuple(
        (messages, rejected, chosen, tools) for messages, chosen, rejected, tools in pairs.examples()
    )
    straight, round_ = (
        list(Pairs(steps=10, batch=8, probe=10).rows(load("chat"), 0, texts=t))[-1]
        for t in (pairs.examples(), turned)
    )
    assert straight["chosen_logprob"] > round_["rejected_logprob"]


@pytest.mark.parametrize(
    "argv",
    [
        ["prefer", "--gamma", "2"],
        ["prefer", "--method", "simpo", "--smoothing", "0.1"],
        ["pairs", "--loss", "ipo", "--smoothing", "0.1"],
    ],
)
def test_a_knob_that_the_loss_does_not_read_is_said(argv, capsys):
    assert cli.main(["run", *argv]) == 2
    assert "leaves it alone; choose --" in capsys.readouterr().err
