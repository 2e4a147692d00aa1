"""The judge against learners' functions that raise, loop for ever, return anything, edit their inputs, print,
or draw random numbers.
"""

import ctypes
import random
import sys
import threading
import time

import numpy as np
import pytest
import torch

from llmlab.learn import judge
from llmlab.learn.exercises import NoExercise, get

RIGHT = get("packing_mask").reference
LEFT = {}  # what a learner's notebook holds: functions may read and write it


@pytest.fixture(autouse=True)
def from_the_start():
    judge.reset()
    yield


def test_a_right_function_passes_and_counts_as_true():
    result = judge.check("packing_mask", RIGHT)
    assert (
        result
        and result.passed
        and repr(result).startswith("✓ packing_mask: right in all ")
        and "hint" not in repr(result)
    )
    assert "#009E73" in result._repr_html_()


def test_a_wrong_one_is_told_why_with_the_first_failing_case():
    def mine(documents):
        positions, mask = RIGHT(documents)
        return positions, [1] * len(mask)

    result = judge.check("packing_mask", mine)
    shown = dict(result.shown)
    assert not result and "first token of each document: nothing precedes it" in result.message
    assert (
        shown["case"].startswith("three documents")
        and shown["documents"] == "[[5, 6, 0], [7, 8, 9, 0], [3, 0]]"
    )
    assert shown["wanted"] == "([0, 1, 2, 0, 1, 2, 3, 0, 1], [0, 1, 1, 0, 1, 1, 1, 0, 1])" and shown[
        "yours"
    ].endswith("1, 1, 1])")
    assert (
        'hint("packing_mask")' in repr(result)
        and "wanted" in repr(result)
        and "<table>" in result._repr_html_()
    )


def test_an_unknown_mistake_gets_the_place_where_it_differs():
    result = judge.check("packing_mask", lambda documents: ([7] * 9, [0] * 9))
    assert result.message == "the result at [0] at [0] is 7; wanted is 0."


def test_a_misconception_beside_another_care_is_still_recognised():
    from llmlab.chapters.c01_data_topology import exercises

    def mine(losses, mask):  # divides by rows, and spoils the empty batch besides nothing else
        return exercises.over_rows(losses, mask) if mask.sum() > 3 else exercises.token_mean(losses, mask)

    assert "number of rows" in judge.check("token_mean", mine).message


def test_a_constant_is_no_misconception():
    result = judge.check("which_lever", lambda diagnosis: "sft")
    assert result.message == "the result is 'sft'; wanted is 'ship'."


# ---- faults ----


def raising(documents):
    return documents[99]  # out of range


def test_raising_is_one_sentence_with_the_line():
    result = judge.check("packing_mask", raising)
    assert (
        result.message.startswith("it raised IndexError (list index out of range) in line ")
        and "return documents[99]" in result.message
    )
    assert (
        "Traceback" not in repr(result) and "\n" not in result.message and "yours" not in dict(result.shown)
    )


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError, RecursionError, StopIteration])
def test_nothing_a_function_raises_gets_out(error):
    def mine(documents):
        raise error

    assert error.__name__ in judge.check("packing_mask", mine).message


def test_deep_recursion_is_caught():
    def mine(documents):
        return mine(documents)

    assert "RecursionError" in judge.check("packing_mask", mine).message


def spinning(documents):
    while True:
        pass


def stubborn(documents):
    while True:
        try:
            LEFT["n"] = LEFT.get("n", 0) + 1
        except:  # noqa: E722
            pass


@pytest.mark.parametrize("function", [spinning, stubborn])
def test_a_python_loop_without_end_is_stopped(function):
    threads, began = threading.active_count(), time.monotonic()
    result = judge.check("packing_mask", function, limit=0.3)
    assert result.message == "it did not end within 0.3 s: does every loop come to an end?"
    assert time.monotonic() - began < 3 and threading.active_count() == threads


def test_the_limit_holds_for_all_cases_together():
    def mine(documents):
        time.sleep(0.1)
        return RIGHT(documents)

    began = time.monotonic()
    assert "did not end within 0.25 s" in judge.check("packing_mask", mine, limit=0.25).message
    assert time.monotonic() - began < 2


def test_it_also_stops_a_loop_when_called_in_another_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(judge.check("packing_mask", spinning, limit=0.3)))
    thread.start()
    thread.join(10)
    assert "did not end" in found[0].message


def test_a_block_that_cannot_be_interrupted_is_left_behind(monkeypatch):
    monkeypatch.setattr(judge, "GRACE", 0.1)
    release = threading.Event()

    def mine(documents):
        time.sleep(1.5)  # in C: an exception arrives only afterwards
        release.set()

    began = time.monotonic()
    result = judge.check("packing_mask", mine, limit=0.2)
    assert (
        "cannot be interrupted; it goes on in the background" in result.message
        and time.monotonic() - began < 1.2
    )
    assert not release.wait(2)  # when the block ends, so does the thread
    assert judge.check("packing_mask", RIGHT)


def test_the_kernels_stop_button_stops_the_function(monkeypatch):
    threads = threading.active_count()
    join = threading.Thread.join
    calls = []

    def pressed(self, timeout=None):
        calls.append(timeout)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return join(self, timeout)

    monkeypatch.setattr(threading.Thread, "join", pressed)
    with pytest.raises(KeyboardInterrupt):
        judge.check("packing_mask", spinning)
    assert threading.active_count() == threads and judge.check("packing_mask", RIGHT)


@pytest.mark.parametrize("value, said", [
    (None, "is None: the function needs a `return`"),
    (3, "is a whole number; wanted is a tuple"),
    ("x", "is a string; wanted is a tuple"),
    (([0], [0], [0]), "has the length 3; wanted is 2"),
    (torch.zeros(2, 9), "is a tensor of shape [2, 9]; wanted is a tuple"),
])  # fmt: skip
def test_a_wrong_type_or_shape_is_named(value, said):
    assert said in judge.check("packing_mask", lambda documents: value).message


def test_a_wrong_dtype_is_named():
    mine = lambda rows, pad: tuple(x.float() for x in get("left_pad").reference(rows, pad))
    assert "holds floats (torch.float32); wanted are whole numbers" in judge.check("left_pad", mine).message


def test_a_result_that_does_not_bear_looking_at():
    class Bad(list):
        def __iter__(self):
            raise RuntimeError

        def __len__(self):
            return 2

        def __repr__(self):
            raise RuntimeError

    result = judge.check("packing_mask", lambda documents: Bad())
    assert "cannot be compared" in result.message and "of type Bad" in repr(result)


def test_edited_inputs_are_noticed_even_if_the_result_is_right():
    def mine(documents):
        result = RIGHT(documents)
        documents[0].append(1)
        return result

    result = judge.check("packing_mask", mine)
    assert result.message == "it changes its input documents: the caller still needs it. Work on a copy."
    assert dict(result.shown)["documents"] == "[[5, 6, 0], [7, 8, 9, 0], [3, 0]]"

    def in_place(losses, mask):
        losses.mul_(1 + 1e-6)
        return get("token_mean").reference(losses, mask)

    assert "changes its input losses" in judge.check("token_mean", in_place).message


def test_prints_are_taken_and_told(capsys):
    def talking(documents):
        print("hello", documents)
        return RIGHT(documents)

    result = judge.check("packing_mask", talking)
    assert result and "It prints ('hello [[5, 6, 0]" in result.notes[0] and capsys.readouterr().out == ""
    silent = judge.check("packing_mask", lambda documents: print("7"))
    crashed = judge.check("packing_mask", lambda documents: print("7") or 1 / 0)
    assert (
        "it returned nothing: use `return`" in silent.notes[0] and "returned nothing" not in crashed.notes[0]
    )


def test_what_others_print_meanwhile_passes():
    stdout, heard = sys.stdout, []

    class Ear:
        def write(self, text):
            heard.append(text)
            return len(text)

        def flush(self):
            pass

    def mine(documents):
        if not heard:
            other = threading.Thread(target=lambda: print("from elsewhere"))
            other.start()
            other.join()
        return RIGHT(documents)

    sys.stdout = Ear()
    try:
        result = judge.check("packing_mask", mine)
    finally:
        sys.stdout = stdout
    assert result and result.notes == () and "from elsewhere" in heard


def test_a_flood_of_prints_does_not_fill_the_memory():
    def mine(documents):
        while True:
            print("x" * 1000)

    assert "did not end" in judge.check("packing_mask", mine, limit=0.3).message


def test_random_generators_are_given_back():
    def mine(documents):
        random.seed(99), np.random.seed(99), torch.manual_seed(99)
        random.random(), np.random.rand(), torch.rand(3)
        return RIGHT(documents)

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    wanted = random.random(), np.random.rand(), float(torch.rand(1))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert judge.check("packing_mask", mine)
    assert (random.random(), np.random.rand(), float(torch.rand(1))) == wanted


def test_a_function_that_rolls_dice_is_judged_alike_every_time():
    def mine(documents):
        positions, mask = RIGHT(documents)
        return positions, [random.randint(0, 1) for _ in mask]

    assert repr(judge.check("packing_mask", mine)) == repr(judge.check("packing_mask", mine))


def test_closures_over_the_notebooks_variables_work():
    helper = {"first": 0}
    seen = []

    def mine(documents):
        seen.append(len(documents))
        positions = [p for ids in documents for p in range(len(ids))]
        return positions, [int(p != helper["first"]) for p in positions]

    assert judge.check("packing_mask", mine) and len(seen) >= 10


@pytest.mark.parametrize("given, said", [
    ([0, 1], 'check wants the function itself, not its result: check("packing_mask", my_function).'),
    (None, "check wants the function itself"),
    (lambda: 1, "it is called as packing_mask(documents), but takes ()."),
    (lambda documents, length: 1, "but takes (documents, length)."),
    (lambda *, documents: 1, "but takes (*, documents)."),
])  # fmt: skip
def test_what_cannot_be_called_is_a_sentence(given, said):
    assert said in judge.check("packing_mask", given).message


def test_markup_in_values_is_text():
    def mine(diagnosis):
        return "<script>alert(1)</script>"

    result = judge.check("which_lever", mine)
    assert "<script>" not in result._repr_html_() and "&lt;script&gt;" in result._repr_html_()


# ---- hints, solution, reset, task ----


def test_hints_come_in_steps_and_reset_begins_again():
    steps = [repr(judge.hint("shift")) for _ in range(5)]
    assert [s[:11] for s in steps[:3]] == ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3"] and steps[3] == steps[
        4
    ]
    assert 'solution("shift")' in steps[3] and repr(judge.hint("interval")).startswith("Hint 1")
    judge.reset("shift")
    assert repr(judge.hint("shift")) == steps[0] and repr(judge.hint("interval")).startswith("Hint 2")
    judge.reset()
    assert repr(judge.hint("interval")).startswith("Hint 1")


def test_task_and_solution_are_cell_values():
    asked, solved = judge.task("shift"), judge.solution("shift")
    assert (
        "def shift(logits, ids):" in repr(asked)
        and "```python\ndef shift(" in asked._repr_markdown_()
        and "..." in repr(asked)
    )
    assert (
        "log_softmax" not in repr(asked)
        and "log_softmax" in repr(solved)
        and "import torch.nn.functional as F" in repr(solved)
    )
    assert len(solved.code) >= 2


@pytest.mark.parametrize(
    "call", [judge.task, judge.hint, judge.solution, judge.reset, lambda name: judge.check(name, RIGHT)]
)
def test_unknown_names_are_a_sentence(call):
    with pytest.raises(NoExercise, match="there is no exercise 'shfit'; did you mean shift"):
        call("shfit")


def test_the_notebook_shows_that_sentence_without_a_traceback():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance()
    try:
        with capture_output() as seen:
            shell.run_cell("from llmlab.learn.judge import hint\nhint('shfit')")
    finally:
        InteractiveShell.clear_instance()
    assert "did you mean shift" in seen.stdout + seen.stderr and "Traceback" not in seen.stdout + seen.stderr


# ---- functions that harm what they run in ----


def hostile_results():
    """Objects that do something else than a result when they are looked at."""

    def forever(self, *_):
        while True:
            pass

    slow_repr = type("SlowRepr", (), {"__repr__": forever})()
    slow_equal = type("SlowEqual", (), {"__eq__": forever, "__hash__": object.__hash__})()
    slow_list = type("SlowList", (list,), {"__len__": forever, "__iter__": forever, "__repr__": forever})()
    exits = type("Exits", (), {"__repr__": lambda self: sys.exit(3), "__eq__": lambda *_: sys.exit(3)})()
    deep = []
    for _ in range(100_000):
        deep = [deep]
    return {
        "repr for ever": slow_repr,
        "repr for ever in a list": [slow_repr],
        "== for ever": slow_equal,
        "a list that never ends": slow_list,
        "looking at it exits": exits,
        "brackets without end": deep,
    }


@pytest.mark.parametrize("kind", list(hostile_results()))
def test_looking_at_a_result_is_under_the_limit_too(kind):
    returned, began = hostile_results()[kind], time.monotonic()
    result = judge.check("packing_mask", lambda documents: returned, limit=0.4)
    assert not result and time.monotonic() - began < 4
    assert repr(result) and result._repr_html_()
    assert judge.check("packing_mask", RIGHT)


def patching(documents):
    """Replaces what everything else computes with."""
    import builtins
    import math
    import os

    torch.isclose = torch.equal = lambda *_, **__: True
    torch.Tensor.double = lambda self: self * 0
    torch.Tensor.softmax = None
    torch.nn.functional.log_softmax = None
    math.exp = math.isclose = lambda *_, **__: True
    builtins.len = lambda _: 3
    random.seed = np.random.seed = lambda *_: None
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(torch.get_num_threads() + 3)
    sys.setrecursionlimit(150)
    os.chdir("/")
    return [], []


def test_what_a_function_replaces_is_put_back():
    import builtins
    import math
    import os

    watched = {
        "torch.isclose": lambda: torch.isclose,
        "Tensor.double": lambda: torch.Tensor.double,
        "Tensor.softmax": lambda: torch.Tensor.softmax,
        "log_softmax": lambda: torch.nn.functional.log_softmax,
        "math.exp": lambda: math.exp,
        "len": lambda: builtins.len,
        "seed": lambda: random.seed,
        "dtype": torch.get_default_dtype,
        "threads": torch.get_num_threads,
        "recursion": sys.getrecursionlimit,
        "folder": os.getcwd,
        "_exit": lambda: os._exit,
    }
    before = {name: look() for name, look in watched.items()}
    assert not judge.check("packing_mask", patching)
    assert {name: look() for name, look in watched.items()} == before
    assert judge.check("packing_mask", RIGHT)


@pytest.mark.parametrize("way", ["sys.exit", "os._exit", "os.abort", "os.kill", "exit()"])
def test_a_function_that_ends_the_process_does_not(way):
    import os
    import signal

    ends = {
        "sys.exit": lambda documents: sys.exit(0),
        "os._exit": lambda documents: os._exit(0),
        "os.abort": lambda documents: os.abort(),
        "os.kill": lambda documents: os.kill(os.getpid(), signal.SIGKILL),
        "exit()": lambda documents: exit(),
    }
    result = judge.check("packing_mask", ends[way])
    assert not result and "it raised SystemExit" in result.message


def test_printing_for_ever_is_cut_and_stopped(capsys):
    def chatty(documents):
        while True:
            print("still here")
            print("and here", file=sys.stderr)

    result = judge.check("packing_mask", chatty, limit=0.3)
    said = capsys.readouterr()
    assert not result and "did not end within 0.3 s" in result.message
    assert "here" not in said.out and "here" not in said.err and len(repr(result)) < 2000


def test_one_left_behind_prints_nowhere(capsys, monkeypatch):
    monkeypatch.setattr(judge, "GRACE", 0.1)
    out, err, end = sys.stdout, sys.stderr, time.monotonic() + 2

    def stuck(documents):
        ctypes.CDLL(None).usleep(800_000)  # not Python, so it cannot be interrupted
        while time.monotonic() < end:
            try:
                print("late words")
            except:  # noqa: E722
                pass

    assert "restart the kernel" in judge.check("packing_mask", stuck, limit=0.2).message
    sys.stdout.write("others still print\n")
    time.sleep(max(0, end - time.monotonic()))
    assert capsys.readouterr().out == "others still print\n"
    sys.stdout, sys.stderr = out, err
