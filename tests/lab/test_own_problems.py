"""Problems of your own with a check of your own: every fault of the file or the check is said, and a check
that takes too long has not said no.
"""

import json
import time

import pytest

from llmlab.errors import UserError
from llmlab.lab import own_problems
from llmlab.lab.own_problems import own
from llmlab.world.base import Problem

CHECK = '''
import time

def check(question: str, answer: str, said: str) -> bool:
    """Is the last word the answer?"""
    if "slow" in said:
        time.sleep(60)
    if "raise" in said:
        raise ValueError("no")
    if "odd" in said:
        return "yes"
    return said.split()[-1:] == [answer]
'''


@pytest.fixture
def file(tmp_path):
    """A file of twelve problems."""
    path = tmp_path / "mine.jsonl"
    rows = [{"question": f"Twice {i}?", "answer": str(2 * i)} for i in range(12)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def check(tmp_path, monkeypatch):
    """A check that may take half a second."""
    monkeypatch.setattr(own_problems, "SECONDS", 0.5)
    path = tmp_path / "my_check.py"
    path.write_text(CHECK)
    return path


def test_a_fifth_is_held_out_and_it_is_said(file):
    told = []
    found = own(str(file), on_found=told.append)
    assert len(found.train) + len(found.test) == 12 and found.test
    assert f"12 problems from JSON lines, {len(found.test)} of them held out" in told[0]
    assert "rule" in told[0]


@pytest.mark.parametrize(
    "row, told",
    [
        ({"answer": "4"}, "it asks nothing"),
        ({"question": " ", "answer": "4"}, "it asks nothing"),
        ({"question": "2 + 2?"}, "it has no answer"),
        ({"question": "2 + 2?", "answer": ["4"]}, "it has no answer"),
        ({"question": "2 + 2?", "answer": True}, "it has no answer"),
        ("no object", "not an object"),
    ],
)
def test_a_bad_record_is_named_by_its_line(tmp_path, row, told):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"question": "1 + 1?", "answer": 2}) + "\n" + json.dumps(row))
    with pytest.raises(UserError, match=f"line 2.*{told}"):
        own(str(path))


def test_other_names_numbers_and_gsm8k(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [
        {"prompt": "a?", "answer": 72},
        {"problem": "b?", "solution": "48 + 24 = 72\\n#### 72"},
        {"question": "c?", "target": "blue"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = own(str(path))
    assert sorted(p.answer for p in (*found.train, *found.test)) == ["72", "72", "blue"]


def test_a_check_of_your_own_says_yes_no_and_nothing(file, check):
    found = own(str(file), str(check))
    p = Problem(({"role": "user", "content": "Twice 2?"},), "4", {})
    assert found.judge(p, "it is 4") == (True, "") and found.judge(p, "it is 5") == (False, "")
    began = time.time()
    assert found.judge(p, "slow 4") == (False, "timeout") and time.time() - began < 10
    assert found.judge(p, "raise 4") == (False, "failed")
    assert found.judge(p, "odd 4") == (False, "bad_result")
    assert found.judge(p, "it is 4") == (True, ""), "the next answer is judged again"
    assert found.score(p, "slow 4").fault == "timeout" and not found.score(p, "it is 5").fault


def test_a_check_that_never_answers_ends_the_run(file, check, monkeypatch):
    monkeypatch.setattr(own_problems, "SECONDS", 0.1)
    monkeypatch.setattr(own_problems, "STUCK", 2)
    judge = own_problems.OwnCheck(str(check))
    p = Problem(({"role": "user", "content": "?"},), "4", {})
    assert judge(p, "slow") == (False, "timeout")
    with pytest.raises(UserError, match="no verdict 2 times in a row, the last time: timeout"):
        judge(p, "slow")


def test_another_check_is_another_set(file, check):
    one = repr(own(str(file), str(check)))
    check.write_text(CHECK + "\n# changed\n")
    assert repr(own(str(file), str(check))) != one != repr(own(str(file)))


@pytest.mark.parametrize(
    "source, told",
    [
        ("def other(x: int) -> int:\n    '''Doc.'''\n    return x", "has no check"),
        ("def check(said: str) -> bool:\n    '''Doc.'''\n    return True", "has no check"),
        (CHECK.replace('"""Is the last word the answer?"""', "pass"), "no docstring"),
        ("def check(", "line 1"),
        (CHECK.replace("said.split()[-1:] == [answer]", "False"), "accepts none of the first answers"),
    ],
)
def test_a_check_that_cannot_work_is_refused_before_anything_is_sampled(file, tmp_path, source, told):
    path = tmp_path / "bad_check.py"
    path.write_text(source)
    with pytest.raises(UserError, match=told):
        own(str(file), str(path))


@pytest.mark.parametrize("verifier", ["no.py", "README.md", "math"])
def test_a_verifier_is_a_file_or_the_library(file, verifier):
    with pytest.raises(UserError, match="is neither"):
        own(str(file), verifier)


def test_math_verify_knows_latex(tmp_path):
    pytest.importorskip("math_verify")
    path = tmp_path / "mine.jsonl"
    rows = [{"question": f"{i}?", "answer": "\\frac{1}{2}"} for i in range(3)]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = own(str(path), "math-verify")
    p = found.train[0]
    assert found.judge(p, "so \\boxed{0.5}")[0] and not found.judge(p, "so \\boxed{0.6}")[0]
