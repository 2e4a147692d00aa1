"""llmlab audit: errors of a verifier counted by hand, and every mistake in a file said with its line."""

import json

import pytest

from llmlab import cli, paths
from llmlab.cli.audit import FIELDS, answers, judged

ROWS = [
    dict(kind="a", question="?", answer="4", said="so 4.", right=True),
    dict(kind="a", question="?", answer="4", said="four", right=True),
    dict(kind="b", question="?", answer="4", said="4, or rather 5; so 4.", right=False),
    dict(kind="b", question="?", answer="4", said="so 5.", right=False),
]


def test_errors_are_counted_by_kind():
    counts, wrong = judged(ROWS, lambda p, said: (said.endswith("4."), ""))
    assert counts["a"] == {"right": 2, "false_negatives": 1}
    assert counts["b"] == {"wrong": 2, "false_positives": 1}
    assert [row["said"] for row, _ in wrong] == ["four", "4, or rather 5; so 4."]


def test_no_verdict_is_no_error():
    counts, wrong = judged(ROWS[:1], lambda p, said: (False, "timeout"))
    assert counts["a"] == {"right": 1, "faults": 1} and wrong == [(ROWS[0], "timeout")]


def test_the_shipped_answers_are_of_both_kinds_and_ours_errs_in_some(capsys):
    rows = answers(str(paths.data() / "audit.jsonl"))
    assert len(rows) >= 50 and 0.3 < sum(r["right"] for r in rows) / len(rows) < 0.7
    assert len({(r["question"], r["said"]) for r in rows}) == len(rows)
    assert cli.main(["audit", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    errors = sum(
        of.get(e, 0) for of in list(told.values())[1:] for e in ("false_positives", "false_negatives")
    )
    assert 0 < errors < len(rows) / 5, "an audit without an error would show nothing"
    assert cli.main(["audit", "--wrong"]) == 0 and "J = " in capsys.readouterr().out


@pytest.mark.parametrize("lacking", [f for f in FIELDS if f != "kind"])
def test_a_field_that_lacks_is_named_with_its_line(tmp_path, capsys, lacking):
    file = tmp_path / "answers.jsonl"
    bad = {k: v for k, v in ROWS[1].items() if k != lacking}
    file.write_text(json.dumps(ROWS[0]) + "\n" + json.dumps(bad))
    assert cli.main(["audit", str(file)]) == 2
    said = capsys.readouterr().err
    assert "line 2" in said and lacking in said


@pytest.mark.parametrize(
    "content, told", [("", "holds no answers"), ("[1", "JSON"), ('{"a": 1}', "no question")]
)
def test_a_file_of_something_else(tmp_path, capsys, content, told):
    file = tmp_path / "answers.jsonl"
    file.write_text(content)
    assert cli.main(["audit", str(file)]) == 2 and told in capsys.readouterr().err


def test_a_check_of_your_own_is_audited(tmp_path, capsys):
    check = tmp_path / "my_check.py"
    check.write_text(
        'def check(question: str, answer: str, said: str) -> bool:\n    """Anything."""\n    return True\n'
    )
    assert cli.main(["audit", "--verifier", str(check), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verifier"] == "my_check.py"
    assert all(of.get("false_positives", 0) == of.get("wrong", 0) for of in list(told.values())[1:])
